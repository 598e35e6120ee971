"""`crossearth export`: a trained model as a file that runs without this package."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.parser import add_step, make_parser
from crossearth_jax.run.export import PLATFORMS, WEIGHTS, export
from crossearth_jax.run.licences import licences
from crossearth_jax.run.onnx_file import PRECISION, check_onnx, export_onnx
from crossearth_jax.run.released import load_model
from crossearth_jax.run.trained import PRECISIONS
from crossearth_jax.system.compiling import set_up_compiler
from crossearth_jax.system.escape import terminal

FORMATS = ("stablehlo", "onnx")
SYMBOLIC = "symbolic"
# Of StableHLO alone: options and what they are where they are not given.
_STABLEHLO = {"platforms": "cpu,cuda,tpu", "weights": "file"}


def main(argv: Sequence[str]) -> int:
    """`crossearth export RUN --out NAME.stablehlo`, or NAME.onnx."""
    parser = make_parser(
        "crossearth export",
        "Writes a trained model as a file that runs without this package:\n"
        "  stablehlo  for JAX alone: uint8 RGB windows in, class scores out\n"
        "  onnx       for ONNX Runtime and QGIS: RGB 0-1 in, shares of the classes "
        "out\nSee docs/export.md.",
    )
    add = parser.add_argument
    add("checkpoint", help="workdir of a run, a checkpoint in it, a file, or a name")
    add_step(parser)
    add("--out", type=Path, required=True, help="NAME.stablehlo or NAME.onnx")
    add("--format", choices=FORMATS, help="default: as --out ends")
    add(
        "--batch",
        help="windows per call; symbolic, the default of stablehlo: any number; "
        "default of onnx: 1",
    )
    add(
        "--platforms", help=f"stablehlo: of {', '.join(PLATFORMS)}; default the first 3"
    )
    add(
        "--weights",
        choices=WEIGHTS,
        help="stablehlo: file (default) is beside the function, baked in it",
    )
    add(
        "--precision",
        choices=PRECISIONS,
        help="default: as it was trained; onnx: float32",
    )
    return guarded(run, parser.parse_args(argv))


def run(options: argparse.Namespace) -> None:
    """Writes the function and what lies beside it."""
    if _format(options) == "onnx":
        _run_onnx(options)
        return
    set_up_compiler()
    for name, usual in _STABLEHLO.items():
        if getattr(options, name) is None:
            setattr(options, name, usual)
    written = export(
        load_model(options.checkpoint, options.precision, step=options.step),
        options.out,
        batch=_batch(options.batch or SYMBOLIC),
        platforms=options.platforms.split(","),
        weights=options.weights,
    )
    for path in written:
        _report(path)


def _format(options: argparse.Namespace) -> str:
    ends = {f".{name}": name for name in FORMATS}
    return options.format or ends.get(options.out.suffix, FORMATS[0])


def _run_onnx(options: argparse.Namespace) -> None:
    for name in _STABLEHLO:
        if getattr(options, name) is not None:
            raise ValueError(
                f"got --{name} with --format onnx, expected it with stablehlo alone: "
                "leave it out"
            )
    if options.precision not in (None, PRECISION):
        raise ValueError(
            f"got --precision {options.precision} with --format onnx, expected "
            f"{PRECISION}, which QGIS computes in: leave it out"
        )
    batch = _batch(options.batch or "1")
    if batch is None:
        raise ValueError(
            "got --batch symbolic with --format onnx, expected a number: leave it out "
            "for 1, which is what QGIS takes"
        )
    check_onnx(options.out, batch)
    set_up_compiler()
    model = load_model(options.checkpoint, PRECISION, step=options.step)
    found = export_onnx(
        model,
        options.out,
        batch=batch,
        licences=licences(options.checkpoint, model.workdir),
    )
    print(f"checked: {found.words()}")
    _report(options.out)


def _report(path: Path) -> None:
    print(f"{terminal(path)}  {path.stat().st_size / 1e6:.1f} MB")


def _batch(text: str) -> int | None:
    if text == SYMBOLIC:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(
            f"got --batch {text}, expected a number or symbolic"
        ) from error
