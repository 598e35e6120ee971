"""What `crossearth features` and `crossearth umap` have in common."""

import argparse
from pathlib import Path

from crossearth_jax.command_line import add_traceback
from crossearth_jax.predict.predictor import PRECISIONS


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which features of which run."""
    add = parser.add_argument
    add("checkpoint", help="workdir of a run, or a folder in its checkpoints/")
    add("--out", type=Path, required=True, help="folder of the results")
    add(
        "--injector",
        action=argparse.BooleanOptionalAction,
        help="features with or without Injector(GSE)",
    )
    add("--batch", type=int, help="windows per call; default the run's eval.batch")
    add("--precision", choices=sorted(PRECISIONS), help="default the run's")
    add_traceback(parser)
