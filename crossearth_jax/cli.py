"""`crossearth COMMAND …`: the front door.

Commands are imported when they run: the worker processes of `prepare` import this
module again and must not load JAX.
"""

import importlib
import sys
from collections.abc import Sequence
from difflib import get_close_matches

from crossearth_jax import __version__
from crossearth_jax.system.output import until_unread

# What takes a command's arguments and gives the exit status, and what it does.
COMMANDS = {
    "prepare": (
        "crossearth_jax.commands.prepare:main",
        "a data set's raw archives to folders that train and score",
    ),
    "tiles": (
        "crossearth_jax.commands.tiles:main",
        "your own scenes and polygons to tiles that train and score",
    ),
    "configs": (
        "crossearth_jax.commands.configs:main",
        "the packaged configurations, and a copy of one to edit",
    ),
    "convert": (
        "weights_convert.__main__:main",
        "released weights of PyTorch to the ones that train here, and back",
    ),
    "models": (
        "crossearth_jax.commands.models:main",
        "released weights that have a name here, and which are on this machine",
    ),
    "download": (
        "crossearth_jax.commands.download:main",
        "weights by name, checked and converted:  crossearth download dinov2-large",
    ),
    "train": (
        "crossearth_jax.main:train",
        "train and score:  crossearth train --config configs/demo.py",
    ),
    "eval": (
        "crossearth_jax.main:evaluate",
        "score the newest checkpoint of a --workdir",
    ),
    "rerun": (
        "crossearth_jax.commands.rerun:main",
        "repeat a run and compare every logged metric",
    ),
    "replay": (
        "crossearth_jax.commands.replay:main",
        "look at a step whose loss was not finite",
    ),
    "predict": (
        "crossearth_jax.commands.predict:main",
        "class maps of GeoTIFFs:  crossearth predict WORKDIR a.tif --out maps",
    ),
    "view": (
        "crossearth_jax.commands.view:main",
        "maps in a browser:  crossearth view maps --scene a.tif",
    ),
    "trust": (
        "crossearth_jax.commands.trust:main",
        "how well a run expects to do where nobody has labels",
    ),
    "export": (
        "crossearth_jax.commands.export:main",
        "a trained model as a StableHLO file that needs JAX alone",
    ),
    "settings": (
        "crossearth_jax.commands.settings:main",
        "the benchmark's 29 settings beside the paper's scores",
    ),
    "compare": (
        "crossearth_jax.commands.compare:main",
        "finished runs beside the paper's tables",
    ),
    "features": (
        "crossearth_jax.commands.features:main",
        "what a run sees:  crossearth features WORKDIR a.png --out seen",
    ),
    "umap": (
        "crossearth_jax.commands.umap:main",
        "its features by class and domain, and how far domains lie apart",
    ),
    "report": (
        "crossearth_jax.commands.report:main",
        "finished runs as one HTML file to look at and to mail",
    ),
    "ablate": (
        "crossearth_jax.commands.ablate:main",
        "the runs of an ablation table of the paper, and the table",
    ),
    "style-statistics": (
        "crossearth_jax.commands.style_statistics:main",
        "Earth statistics of a folder of field imagery",
    ),
}

USAGE = "\n".join(
    [
        "usage: crossearth COMMAND [options]",
        "       crossearth --version",
        "",
        *(f"  {name:<18}{about}" for name, (_, about) in COMMANDS.items()),
        "",
        "`crossearth COMMAND --help` lists the options of a command.",
        "",
        "Exit status: 0 done, also where a run was asked to stop and saved; 1 wrong",
        "input, in one line (--traceback shows where); 2 wrong usage; 130 Ctrl-C; 141",
        "nobody read the output to its end (`| head`).",
    ]
)


def main(argv: Sequence[str] | None = None) -> int:
    """Passes the rest of the command line on to one command; gives the exit status."""
    given = sys.argv[1:] if argv is None else argv
    return until_unread(lambda: _run(*(given or ["--help"])))


def _run(command: str, *rest: str) -> int:
    if command in COMMANDS:
        module, _, function = COMMANDS[command][0].partition(":")
        return getattr(importlib.import_module(module), function)(list(rest))
    if command in ("-h", "--help", "help"):
        print(USAGE)
        return 0
    if command == "--version":
        print(f"crossearth {__version__}")
        return 0
    near = "".join(f", such as {c}" for c in get_close_matches(command, COMMANDS, 1))
    print(
        f"{USAGE}\n\nerror: got command {command!r}, expected one of these{near}",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
