"""`crossearth configs`: the packaged configurations, and a copy of one to edit."""

import argparse
import ast
from collections.abc import Sequence
from pathlib import Path

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.parser import make_parser
from crossearth_jax.config_file import USERS, packaged, packaged_files
from crossearth_jax.system.whole_file import whole_file


def main(argv: Sequence[str]) -> int:
    """`crossearth configs [--copy NAME [--to PATH]]`."""
    parser = make_parser(
        "crossearth configs",
        "Lists the packaged configurations, each with the first line about it. What "
        "is copied to\nconfigs/NAME.py is found before the packaged one.",
    )
    parser.add_argument("--copy", metavar="NAME", help="writes one to edit")
    parser.add_argument(
        "--to", type=Path, metavar="PATH", help="of the copy (default: configs/NAME.py)"
    )
    options = parser.parse_args(argv)
    if options.to and not options.copy:
        parser.error("got --to without --copy, expected --copy NAME --to PATH")
    return guarded(run, options)


def run(options: argparse.Namespace) -> None:
    """Lists, or copies one."""
    if options.copy:
        path = copy(options.copy, options.to)
        print(f"wrote {path}: crossearth train --config {path}")
        return
    files = packaged_files()
    width = max(len(path.stem) for path in files)
    for path in files:
        print(f"{path.stem:<{width}}  {first_line(path)}")


def first_line(path: Path) -> str:
    """The first line of a configuration's docstring."""
    words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return words.partition("\n")[0]


def copy(name: str, to: Path | None = None) -> Path:
    """Copies a packaged configuration.

    Args:
      name: such as "casid", "casid.py" or "configs/casid.py".
      to: the copy, or a folder for it; None writes configs/NAME.py.

    Raises:
      ValueError: there is no such configuration, or a file at the copy's place, or it
        would not be one of Python.
    """
    source = packaged() / f"{Path(name).stem}.py"
    if source not in packaged_files():
        names = ", ".join(path.stem for path in packaged_files())
        raise ValueError(f"got --copy {name}, expected one of {names}")
    target = to or USERS / source.name
    if target.is_dir():
        target /= source.name
    if target.suffix != ".py":
        raise ValueError(f"got --to {to}, expected a folder or a path ending in .py")
    if target.exists():
        raise ValueError(
            f"got {target}, which is there already, expected a new file: remove it, or "
            "choose another with --to"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as place:
        place.write_bytes(source.read_bytes())
    return target
