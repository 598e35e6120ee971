"""What the products of an accelerator would do to a trained run, emulated here.

`python -m benchmarks.rounding WORKDIR …`; the windows of each domain are an option.

The operands of products are rounded to TF32's 10 bits of mantissa or to bfloat16's 7,
and multiplied in float32. In "three" products an operand is the sum of two such
numbers, in "six" of three. "everywhere" is the whole network, as JAX computes what
names no precision; the other rows are `precision`, with the decoder in float32.
Figures as `benchmarks.precision` has them, beside float32 on this device; mIoU is that
of the windows.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import numpy as np
from jax.lax import Precision
from jaxtyping import Array

from benchmarks.precision import compared, first_windows, joined, outputs
from crossearth_jax.build_data import build_data
from crossearth_jax.models.precision import Arithmetic, Formula
from crossearth_jax.report.table import Section, Table
from crossearth_jax.run.trained import TrainedRun, load_run
from crossearth_jax.scoring.metrics import confusion_matrix, confusion_metrics

COLUMNS = ("class", "mask", "pixel", "jumps", "same class", "mIoU")


class Rounding(NamedTuple):
    """How operands of products are rounded.

    Attributes:
      bits: of mantissa.
      parts: numbers of so many bits that an operand is the sum of; 1, 2, 3 parts are
        1, 3, 6 products.
      everywhere: in float32's products too, and in convolutions.
    """

    bits: int
    parts: int
    everywhere: bool


TF32, BFLOAT16 = 10, 7
ROUNDINGS = {
    "TF32 everywhere (an H100's default)": Rounding(TF32, 1, True),
    "bfloat16 everywhere (a TPU's default)": Rounding(BFLOAT16, 1, True),
    "three products of bfloat16 everywhere": Rounding(BFLOAT16, 2, True),
    "three products of TF32 everywhere": Rounding(TF32, 2, True),
    '"float32" on a TPU: six products of bfloat16': Rounding(BFLOAT16, 3, True),
    '"tensorfloat32" on CUDA': Rounding(TF32, 1, False),
    '"tensorfloat32" on a TPU': Rounding(BFLOAT16, 2, False),
}


def main(argv: Sequence[str]) -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rounding")
    parser.add_argument("workdirs", nargs="+", type=Path, metavar="WORKDIR")
    parser.add_argument("--windows", type=int, default=16, help="of each domain")
    options = parser.parse_args(argv)
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}\n")
    found = [
        (workdir.name, *row)
        for workdir in options.workdirs
        for row in rows(workdir, options.windows)
    ]
    header = ("run", "domain", "products", *COLUMNS)
    align = "lll" + "r" * len(COLUMNS)
    print(Table(header, align, [Section(found)]).as_markdown())


def rows(workdir: Path, count: int) -> Iterator[list[str]]:
    """Domain, products, and `COLUMNS`."""
    exact, rounded = (load_run(workdir, name) for name in ("float32", "tensorfloat32"))
    for domain in build_data(exact.settings.data).domains:
        windows = first_windows(domain.source, count, exact.windows.crop)
        labels = np.stack([domain.source[i].label for i in range(len(windows))])
        labels = labels[:, : exact.windows.crop, : exact.windows.crop]

        def miou(found: list[np.ndarray], labels: np.ndarray = labels) -> str:
            classes = found[2].shape[-1]
            counts = confusion_matrix(found[2].argmax(-1), labels, classes)
            return f"{100 * confusion_metrics(counts).miou:.2f}"

        expected = joined(outputs(exact, windows))
        yield [domain.name, '"float32" on CPU and CUDA', *[""] * 5, miou(expected)]
        for name, rounding in ROUNDINGS.items():
            run = exact if rounding.everywhere else rounded
            found = emulated_outputs(run, windows, rounding)
            *cells, jumps, same = compared(expected, found, found)
            yield [domain.name, name, *cells[:3], jumps, same, miou(found)]


def emulated_outputs(
    run: TrainedRun, windows: np.ndarray, rounding: Rounding
) -> list[np.ndarray]:
    """Logits of all windows as `joined` gives them."""
    with emulated(rounding):
        return joined(outputs(run, windows))


@contextmanager
def emulated(rounding: Rounding) -> Iterator[None]:
    """What is traced within rounds the operands of its products."""
    convolve = Arithmetic.convolution

    def product(self: Arithmetic, formula: Formula, *operands: Array) -> Array:
        if self is Arithmetic.FLOAT32 and not rounding.everywhere:
            return formula(*operands, precision=Precision.HIGHEST)
        return summed(
            lambda x, y: formula(x, y, precision=Precision.HIGHEST), *operands, rounding
        )

    def convolution(
        self: Arithmetic, x: Array, y: Array, *args: Any, **options: Any
    ) -> Array:
        if not rounding.everywhere:
            return convolve(self, x, y, *args, **options)
        return summed(
            lambda x, y: convolve(self, x, y, *args, **options), x, y, rounding
        )

    with (
        mock.patch.object(Arithmetic, "product", product),
        mock.patch.object(Arithmetic, "convolution", convolution),
    ):
        yield


def summed(
    product: Callable[[Array, Array], Array], x: Array, y: Array, rounding: Rounding
) -> Array:
    """The products of an operand's parts that count, smallest first."""
    left, right = (parts(each, rounding) for each in (x, y))
    places = [(i, j) for i in range(len(left)) for j in range(len(right) - i)]
    places.sort(key=sum, reverse=True)
    return sum(product(left[i], right[j]) for i, j in places)


def parts(x: Array, rounding: Rounding) -> list[Array]:
    """Numbers of few bits whose sum is nearly x, largest first."""
    found = []
    for _ in range(rounding.parts):
        found.append(jax.lax.reduce_precision(x, 8, rounding.bits))
        x = x - found[-1]
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
