"""What `crossearth features` and `crossearth umap` have in common."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from absl import logging

from crossearth_jax.main import enable_compilation_cache
from crossearth_jax.predict.predictor import PRECISIONS

STOPPED = 130  # exit status after Ctrl-C, as shells have it


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
    add("--traceback", action="store_true", help="show where an error came from")


def guarded(
    run: Callable[[argparse.Namespace], None], options: argparse.Namespace
) -> int:
    """Runs a command; an error of the user's input becomes one line."""
    logging.set_verbosity(logging.WARNING)
    enable_compilation_cache()
    try:
        run(options)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return STOPPED
    except (ValueError, OSError, ImportError) as error:
        if options.traceback:
            raise
        print(f"error: {error}\n(--traceback shows where)", file=sys.stderr)
        return 1
    return 0
