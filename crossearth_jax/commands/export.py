"""`crossearth export`: a trained model as a StableHLO file that needs JAX alone."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from crossearth_jax.run.export import PLATFORMS, WEIGHTS, export
from crossearth_jax.run.trained import PRECISIONS, load_run
from crossearth_jax.system.compiling import set_up_compiler


def main(argv: Sequence[str]) -> int | None:
    """Runs the command; an error of the user's input becomes one line."""
    parser = argparse.ArgumentParser(
        prog="crossearth export",
        description="Writes a trained model as a StableHLO function that JAX alone "
        "runs: uint8 RGB windows in, class scores out. See docs/export.md.",
    )
    parser.add_argument("checkpoint", type=Path, help="workdir, or a checkpoint in it")
    parser.add_argument("--out", type=Path, required=True, help="NAME.stablehlo")
    parser.add_argument(
        "--batch", default="symbolic", help="windows per call; symbolic: any number"
    )
    parser.add_argument(
        "--platforms", default="cpu,cuda,tpu", help=f"of {', '.join(PLATFORMS)}"
    )
    parser.add_argument(
        "--weights",
        choices=WEIGHTS,
        default="file",
        help="file: beside the function, baked: in it",
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="default: as it was trained"
    )
    options = parser.parse_args(argv)
    set_up_compiler()
    try:
        written = export(
            load_run(options.checkpoint, options.precision),
            options.out,
            batch=_batch(options.batch),
            platforms=options.platforms.split(","),
            weights=options.weights,
        )
    except (ValueError, OSError) as error:
        parser.exit(1, f"error: {error}\n")
    for path in written:
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    return None


def _batch(text: str) -> int | None:
    if text == "symbolic":
        return None
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(
            f"got --batch {text}, expected a number or symbolic"
        ) from error
