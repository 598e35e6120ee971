"""`crossearth COMMAND …`: the friendly face of the package's entry points.

Commands are imported when they run: the worker processes of `prepare` import this
module again and must not load JAX.
"""

import importlib
import sys

USAGE = """usage: crossearth COMMAND [options]

  prepare           a data set's raw archives to folders that train and score
  train             train and score:  crossearth train --config configs/demo.py
  eval              score the newest checkpoint of a --workdir
  rerun             repeat a run and compare every logged metric
  replay            look at a step whose loss was not finite
  predict           class maps of GeoTIFFs:  crossearth predict WORKDIR a.tif --out maps
  export            a trained model as a StableHLO file that needs JAX alone
  settings          the benchmark's 29 settings beside the paper's scores
  compare           finished runs beside the paper's tables
  features          what a run sees:  crossearth features WORKDIR a.png --out seen
  umap              its features by class and domain, and how far domains lie apart
  report            finished runs as one HTML file to look at and to mail
  ablate            the runs of an ablation table of the paper, and the table
  style-statistics  Earth statistics of a folder of field imagery

`crossearth COMMAND --help` lists the options of a command."""


# Modules whose `main` takes the arguments and returns the exit status.
COMMANDS = {
    "prepare": "crossearth_jax.commands.prepare",
    "rerun": "crossearth_jax.commands.rerun",
    "replay": "crossearth_jax.commands.replay",
    "predict": "crossearth_jax.commands.predict",
    "export": "crossearth_jax.commands.export",
    "settings": "crossearth_jax.commands.settings",
    "compare": "crossearth_jax.commands.compare",
    "features": "crossearth_jax.commands.features",
    "umap": "crossearth_jax.commands.umap",
    "report": "crossearth_jax.commands.report",
    "ablate": "crossearth_jax.commands.ablate",
    "style-statistics": "crossearth_jax.commands.style_statistics",
}


def main() -> None:
    """Passes the rest of the command line on to one command."""
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    rest = sys.argv[2:]
    if command in COMMANDS:
        sys.exit(importlib.import_module(COMMANDS[command]).main(rest))
    elif command in ("train", "eval"):
        from crossearth_jax import main as training

        sys.argv = [f"crossearth {command}", f"--mode={command}", *rest]
        training.start()
    elif command in ("-h", "--help", "help"):
        print(USAGE)
    else:
        sys.exit(f"error: got command {command!r}\n\n{USAGE}")
