r"""What the run's own functions compile to for an accelerator that is not there.

python -m benchmarks.accelerator h100 step
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Before JAX starts: the accelerator is compiled for, not used.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")

from benchmarks.accelerator import report
from benchmarks.accelerator.compiling import compiled
from benchmarks.accelerator.targets import targets
from benchmarks.our_side import benchmark_config
from crossearth_jax.models.families import VARIANTS
from crossearth_jax.system.whole_file import whole_file


def main(argv: Sequence[str] | None = None) -> None:
    """Compiles, prints, and keeps what was asked for."""
    options = parse(argv)
    config = benchmark_config(
        options.variant, options.crop, batch=options.batch, precision=options.precision
    )
    config.backbone.remat = options.remat
    target = targets()[options.target]
    made = compiled(config, options.classes, options.what, target, options.devices)
    found = report.figures(made, target)
    print(report.shown(found), flush=True)
    if options.text:
        options.text.write_text(made.program.as_text())
    if options.json:
        with whole_file(options.json) as place:
            place.write_text(json.dumps(found, indent=1) + "\n")


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
    parser.add_argument("--crop", type=int, default=512, help="pixels")
    parser.add_argument("--batch", type=int, default=1, help="images of all devices")
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument(
        "--precision",
        choices=("float32", "tensorfloat32", "bfloat16"),
        default="bfloat16",
    )
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--remat", action="store_true", help="recompute the blocks")
    parser.add_argument("--json", type=Path, help="file that keeps the figures")
    parser.add_argument("--text", type=Path, help="file for the compiled program")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
