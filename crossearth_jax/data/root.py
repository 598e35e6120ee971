"""`data.root`: where the benchmark's prepared data sets lie, and how they get there.

A configuration writes {root}/DOMAIN/SPLIT; several data sets may share one root.
"""

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from crossearth_jax.paper.settings import CLIMATES

# What to prepare for a domain folder: `crossearth prepare THIS --raw DIR --out ROOT`.
PREPARED_BY = {
    "potsdam_irrg": "potsdam",
    "potsdam_rgb": "potsdam",
    "potsdam5_irrg": "potsdam --classes 5",
    "potsdam5_rgb": "potsdam --classes 5",
    "vaihingen": "vaihingen",
    "rescuenet": "rescuenet",
    "loveda_urban": "loveda",
    "loveda_rural": "loveda",
    "whu_aerial": "whu_building",
    "whu_satellite": "whu_building",
    "deepglobe": "deepglobe",
    "massachusetts": "massachusetts",
    **dict.fromkeys(CLIMATES, "casid"),
}


def prepare_command(domain: str, root: str = "ROOT") -> str:
    """The command that writes a domain's folder."""
    return f"crossearth prepare {PREPARED_BY[domain]} --raw DIR --out {root}"


def fill_root(text: str, root: str | None) -> str:
    """The folders of a configuration with their root."""
    return text.replace("{root}", root or "")


def check_prepared(texts: Sequence[str], root: str | None) -> None:
    """Names the commands that make what is missing below the root.

    Args:
      texts: folders as a configuration has them, e.g. "tem={root}/tem/test".
      root: `data.root`.

    Raises:
      ValueError: a text needs a root and there is none, or a split is missing.
    """
    places = re.findall(r"\{root\}/([\w.-]+)(?:/([\w.-]+))?", ",".join(texts))
    if not places:
        return
    if not root:
        raise ValueError(
            "got no data.root, expected the folder of the prepared data: set "
            "--config.data.root=ROOT" + _commands([d for d, _ in places], "ROOT")
        )
    folder = Path(root).expanduser()
    # A packed split is a file, SPLIT.array_record.
    missing = [(d, s) for d, s in places if not any((folder / d).glob(f"{s}*"))]
    if missing:
        listed = ", ".join(str(folder.joinpath(*place)) for place in missing)
        raise ValueError(
            f"got no {listed}, expected prepared data there: correct "
            f"--config.data.root={root}" + _commands([d for d, _ in missing], root)
        )


def _commands(domains: Iterable[str], root: str) -> str:
    """The end of a message; empty if none of the domains is the benchmark's."""
    known = [domain for domain in domains if domain in PREPARED_BY]
    if not known:
        return ""
    commands = dict.fromkeys(prepare_command(d, shlex.quote(root)) for d in known)
    return ", or prepare it:" + "".join(f"\n  {command}" for command in commands)
