"""The parser that every command starts from; imports nothing heavy."""

import argparse
from collections.abc import Sequence

CONFIG_HELP = (
    "configuration: a file, such as configs/demo.py, or the name of a packaged one, "
    "such as casid:sub; `crossearth configs` lists those"
)


def make_parser(
    command: str, description: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    """A parser with what all commands have: --help and --traceback.

    Args:
      command: as it is typed, such as "crossearth train".
      description: what it does; line breaks are kept.
      epilog: what follows the options in --help; line breaks are kept.
    """
    parser = argparse.ArgumentParser(
        prog=command,
        description=description,
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_traceback(parser)
    return parser


def add_traceback(parser: argparse.ArgumentParser, default: bool | str = False) -> None:
    """Adds the option that `guarded` reads."""
    parser.add_argument(
        "--traceback",
        action="store_true",
        default=default,
        help="show where an error came from",
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """Adds --config and names --config.KEY, which `split_changes` takes out."""
    parser.add_argument(
        "--config", required=True, metavar="FILE[:ARGUMENT]", help=CONFIG_HELP
    )
    parser.add_argument(
        "--config.KEY", metavar="VALUE", help="changes a key of it; may be repeated"
    )


def add_step(parser: argparse.ArgumentParser) -> None:
    """Adds --step, which chooses a checkpoint of a workdir; None is the newest."""
    parser.add_argument(
        "--step",
        metavar="best|last|N",
        help="checkpoint of the workdir: the best on the source domain (of a run with "
        "train.keep_best), the newest (default), or that of step N",
    )


def add_palette(parser: argparse.ArgumentParser) -> None:
    """Adds --palette, one of `pixels.colour_vision.PALETTES`."""
    parser.add_argument(
        "--palette",
        choices=("run", "accessible"),
        default="run",
        help="colours of the classes: the run's (default), or accessible, which "
        "colour-blind eyes tell apart",
    )


def split_changes(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Takes the changes of a configuration out of a command line.

    Args:
      argv: may hold "--config.KEY=VALUE", "--config.KEY" "VALUE", and for a key that
        is True or False "--config.KEY" or "--noconfig.KEY" alone.

    Returns:
      The changes, "--config.KEY=VALUE" where there is a value; the other arguments.
    """
    changes, rest = [], []
    words = list(argv)
    while words:
        word = words.pop(0)
        if not word.startswith(("--config.", "--noconfig.")):
            rest.append(word)
        elif "=" in word or word.startswith("--no") or not words:
            changes.append(word)
        elif words[0].startswith("--"):
            changes.append(word)
        else:
            changes.append(f"{word}={words.pop(0)}")
    return changes, rest
