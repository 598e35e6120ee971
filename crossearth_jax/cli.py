"""`crossearth COMMAND …`: the friendly face of the package's entry points.

Commands are imported when they run: the worker processes of `prepare` import this
module again and must not load JAX.
"""

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


def main() -> None:
    """Passes the rest of the command line on to one command."""
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    rest = sys.argv[2:]
    if command == "prepare":
        from crossearth_jax.data.prepare import command as preparing

        sys.exit(preparing.main(rest))
    elif command in ("train", "eval"):
        from crossearth_jax import main as training

        sys.argv = [f"crossearth {command}", f"--mode={command}", *rest]
        training.start()
    elif command == "rerun":
        from crossearth_jax import rerun

        sys.exit(rerun.main(rest))
    elif command == "replay":
        from crossearth_jax import replay

        sys.exit(replay.main(rest))
    elif command == "predict":
        from crossearth_jax.predict import command as predicting

        sys.exit(predicting.main(rest))
    elif command == "export":
        from crossearth_jax import export

        sys.exit(export.main(rest))
    elif command == "settings":
        from crossearth_jax import settings

        sys.exit(settings.main(rest))
    elif command == "compare":
        from crossearth_jax import compare

        sys.exit(compare.main(rest))
    elif command == "features":
        from crossearth_jax.features import maps_command

        sys.exit(maps_command.main(rest))
    elif command == "umap":
        from crossearth_jax.features import umap_command

        sys.exit(umap_command.main(rest))
    elif command == "report":
        from crossearth_jax import explain

        sys.exit(explain.main(rest))
    elif command == "ablate":
        from crossearth_jax import ablate

        sys.exit(ablate.main(rest))
    elif command == "style-statistics":
        from crossearth_jax.earth_style import statistics

        sys.exit(statistics.main(rest))
    elif command in ("-h", "--help", "help"):
        print(USAGE)
    else:
        sys.exit(f"error: got command {command!r}\n\n{USAGE}")
