"""`crossearth export`: a trained model as a StableHLO file that needs JAX alone."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.parser import add_step, make_parser
from crossearth_jax.run.export import PLATFORMS, WEIGHTS, export
from crossearth_jax.run.trained import PRECISIONS, load_run
from crossearth_jax.system.compiling import set_up_compiler


def main(argv: Sequence[str]) -> int:
    """`crossearth export CHECKPOINT --out NAME.stablehlo`."""
    parser = make_parser(
        "crossearth export",
        "Writes a trained model as a StableHLO function that JAX alone runs: uint8 RGB "
        "windows\nin, class scores out. See docs/export.md.",
    )
    parser.add_argument("checkpoint", type=Path, help="workdir, or a checkpoint in it")
    add_step(parser)
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
    return guarded(run, parser.parse_args(argv))


def run(options: argparse.Namespace) -> None:
    """Writes the function and what lies beside it."""
    set_up_compiler()
    written = export(
        load_run(options.checkpoint, options.precision, options.step),
        options.out,
        batch=_batch(options.batch),
        platforms=options.platforms.split(","),
        weights=options.weights,
    )
    for path in written:
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


def _batch(text: str) -> int | None:
    if text == "symbolic":
        return None
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(
            f"got --batch {text}, expected a number or symbolic"
        ) from error
