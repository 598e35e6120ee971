r"""What the run's own functions compile to for an accelerator that is not there.

    python -m benchmarks.accelerator h100 step
    python -m benchmarks.accelerator v5e step --devices 4 --batch 4

Of a GPU: the kernels it would launch, the loops it keeps, the bytes it moves, in which
precision its products run, which libraries it calls, its memory, and a modelled time,
by module of ours. Of a TPU: code, memory, operations, loops and what chips exchange.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

if __name__ == "__main__":
    # Before JAX starts: the accelerator is compiled for, not used.
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")

import jax

from benchmarks.accelerator import page, report
from benchmarks.accelerator.compiling import compiled, three_passes
from benchmarks.accelerator.targets import targets
from benchmarks.our_side import benchmark_config
from crossearth_jax.commands.values import count
from crossearth_jax.models.families import VARIANTS
from crossearth_jax.system.whole_file import whole_file

LEVEL = "JAX_OPTIMIZATION_LEVEL"  # of the compiler; JAX reads it
PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
STYLED = 0.1  # share of steps; the branch counts in full wherever it is above 0


def main(argv: Sequence[str] | None = None) -> None:
    """Compiles, prints, and keeps what was asked for."""
    options = parse(argv)
    config = benchmark_config(
        options.variant, options.crop, batch=options.batch, precision=options.precision
    )
    config.backbone.remat = options.remat
    if options.style:
        config.style.probability, config.style.transfer = STYLED, options.style
    target = targets()[options.target]
    asked = options.what, target, options.devices
    passes = three_passes(target) if options.three_passes else nullcontext()
    try:
        with passes:
            made = compiled(config, options.classes, *asked)
    except (ImportError, ValueError) as error:
        raise SystemExit(f"benchmarks.accelerator: {error}") from None
    found = {
        "command": command(options),
        "jax": jax.__version__,
        **report.figures(made, target),
    }
    print(report.shown(found), flush=True)
    if options.text:
        with whole_file(options.text) as place:
            place.write_text(made.program.as_text())
    if options.json:
        with whole_file(options.json) as place:
            place.write_text(json.dumps(found, indent=1) + "\n")
    if options.document:
        page.keep(page.FIGURES, name(options), options.document, found)
        page.write()


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options; see --help."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accelerator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", choices=list(targets()))
    parser.add_argument("what", choices=("step", "scores"))
    parser.add_argument("--variant", choices=list(VARIANTS), default="vit_large")
    parser.add_argument("--crop", type=count, default=512, help="pixels")
    parser.add_argument("--batch", type=count, default=1, help="images of all devices")
    parser.add_argument("--classes", type=count, default=5)
    parser.add_argument("--precision", choices=PRECISIONS, default="bfloat16")
    parser.add_argument(
        "--three-passes",
        action="store_true",
        help="instead of true float32, as which nothing runs: what exactness costs",
    )
    parser.add_argument("--devices", type=count, default=1)
    parser.add_argument("--remat", action="store_true", help="recompute the blocks")
    parser.add_argument(
        "--style",
        choices=("fourier", "statistics"),
        help="with Earth style by a stand-in: its branch counts as taken",
    )
    parser.add_argument("--json", type=new_file, help="file that keeps the figures")
    parser.add_argument("--text", type=new_file, help="file for the compiled program")
    parser.add_argument(
        "--document",
        choices=page.STATES,
        nargs="?",
        const=page.STATES[-1],
        help="keep the figures in docs/ and write them into docs/performance.md",
    )
    options = parser.parse_args(argv)
    if options.batch % options.devices:
        parser.error(
            f"got --batch {options.batch} on {options.devices} devices, expected a "
            "multiple: --batch counts the images of all devices"
        )
    return options


def new_file(text: str) -> Path:
    """In a folder that exists: compiling takes minutes, and then it is too late."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(
            f"got {text}, expected a file in a folder that exists"
        )
    return path


def command(options: argparse.Namespace) -> str:
    """What compiles the same again."""
    names = ("variant", "crop", "batch", "classes", "precision", "devices")
    given = [f"--{name} {getattr(options, name)}" for name in names]
    given += [f"--style {options.style}"] if options.style else []
    given += ["--three-passes"] if options.three_passes else []
    given += ["--remat"] if options.remat else []
    words = [*level(), "python -m benchmarks.accelerator", options.target, options.what]
    return " ".join([*words, *given])


def level() -> list[str]:
    """The variable that sets the compiler's effort, if one does."""
    given = jax.config.jax_optimization_level
    return [] if given == "UNKNOWN" else [f"{LEVEL}={given}"]


def name(options: argparse.Namespace) -> str:
    """Of a program, in a table."""
    words = [f"{options.target} {options.what}", f"{options.crop}²"]
    words += [f"batch {options.batch}", options.precision]
    words += [options.variant] if options.variant != "vit_large" else []
    words += [f"{options.devices} devices"] if options.devices > 1 else []
    words += ["float32 in three passes"] if options.three_passes else []
    words += ["blocks recomputed"] if options.remat else []
    words += [f"style by {options.style}"] if options.style else []
    return ", ".join([*words, *level()])


if __name__ == "__main__":
    main(sys.argv[1:])
