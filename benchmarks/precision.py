"""How far a trained run's logits in bfloat16 are from those in float32.

`python -m benchmarks.precision WORKDIR …`; the windows of each domain are an option.
The last prediction counts, as in inference: class and mask logits of the queries, and
the pixels' logits that both make, which windows are averaged by (method.md section 9).
Distances are relative to the float32 ones, ‖a - b‖ / ‖b‖, over all of a domain.

A decoder layer attends where the mask before it exceeds one half, and everywhere if
that is nowhere: a jump, which the smallest rounding can set off. So the distances are
measured twice: of the model as it is ("free"), and with the float32 model's choice of
where each query looks ("same view"), which leaves the roundings alone. "jumps" counts
the queries whose class logits are more than a tenth off in the free model; the last
column is its share of pixels whose class stays.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from crossearth_jax.build_data import build_data
from crossearth_jax.models import mask2former
from crossearth_jax.models.parameters import combine
from crossearth_jax.pixels.normalise import normalise
from crossearth_jax.report.table import Section, Table
from crossearth_jax.run.trained import TrainedRun, load_run

NAMES = ("class", "mask", "pixel")
COLUMNS = (*(f"{name}, {how}" for how in ("free", "same view") for name in NAMES),)
JUMP = 0.1  # relative distance of a query's class logits


class Output(NamedTuple):
    """What is computed of a window.

    Attributes:
      logits: [1, Q, K + 1] of classes, [1, Q, h, w] of masks, [1, H, W, K] of pixels.
      views: [1, Q, S] of every decoder layer: where its queries look.
    """

    logits: tuple[Float[Array, "..."], ...]
    views: tuple[Bool[Array, "1 Q _"], ...]


def main(argv: Sequence[str]) -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision")
    parser.add_argument("workdirs", nargs="+", type=Path, metavar="WORKDIR")
    parser.add_argument("--windows", type=int, default=16, help="of each domain")
    options = parser.parse_args(argv)
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}\n")
    names = ("run", "domain", *COLUMNS, "jumps", "same class")
    rows = []
    for workdir in options.workdirs:
        wide, half = (load_run(workdir, name) for name in ("float32", "bfloat16"))
        for domain in build_data(wide.settings.data).domains:
            windows = first_windows(domain.source, options.windows, wide.windows.crop)
            expected = outputs(wide, windows)
            free = outputs(half, windows)
            same_view = outputs(half, windows, [output.views for output in expected])
            cells = compared(*map(joined, (expected, free, same_view)))
            rows.append((workdir.name, domain.name, *cells))
    align = "ll" + "r" * (len(names) - 2)
    print(Table(names, align, [Section(rows)]).as_markdown())


def compared(
    expected: list[np.ndarray], free: list[np.ndarray], same_view: list[np.ndarray]
) -> list[str]:
    """Cells of a row, from what `joined` gives for each."""
    found = [
        distance(got, wanted)
        for half in (free, same_view)
        for got, wanted in zip(half, expected, strict=True)
    ]
    queries = [x[0].reshape(-1, x[0].shape[-1]) for x in (free, expected)]
    apart = [distance(*pair) for pair in zip(*queries, strict=True)]
    same = (free[2].argmax(-1) == expected[2].argmax(-1)).mean()
    jumps = f"{sum(x > JUMP for x in apart)} of {len(apart)}"
    return [*(f"{100 * x:.2f} %" for x in found), jumps, f"{100 * same:.2f} %"]


def first_windows(
    source: Sequence, count: int, crop: int
) -> Float[np.ndarray, "N H W 3"]:
    """The upper left window of the first records, normalised."""
    records = (source[i] for i in range(min(count, len(source))))
    images = [record.image[:crop, :crop] for record in records]
    whole = [image for image in images if image.shape[:2] == (crop, crop)]
    return np.asarray(normalise(np.stack(whole)))


def outputs(
    run: TrainedRun,
    windows: Float[np.ndarray, "N H W 3"],
    views: Sequence[tuple[np.ndarray, ...]] | None = None,
) -> list[Output]:
    """Of every window, one after another through the network.

    `views` of each window take the place of what the network would choose.
    """
    graph = run.network.graph

    @jax.jit
    def one(params: dict, image: Array, given: tuple[Array, ...] | None) -> Output:
        model = nnx.merge(graph, params)
        with recorded_views(given) as seen:
            output = model.segment(model.taps(image), image)
        classes, masks = output.class_logits[-1], output.mask_logits[-1]
        pixels = mask2former.semantic_scores(classes, masks, image.shape[1:3])
        return Output((classes, masks, pixels), tuple(seen))

    params = combine(run.state.params, run.network.frozen)
    given = views or [None] * len(windows)
    return [
        jax.device_get(one(params, window[None], view))
        for window, view in zip(windows, given, strict=True)
    ]


@contextmanager
def recorded_views(given: Sequence[Array] | None) -> Iterator[list[Array]]:
    """What the decoder's layers attend to; `given` replaces it."""
    choose, seen = mask2former.attention_mask, []

    def view(mask_logits: Array, size: tuple[int, int]) -> Array:
        chosen = choose(mask_logits, size) if given is None else given[len(seen)]
        seen.append(chosen)
        return chosen

    with mock.patch.object(mask2former, "attention_mask", view):
        yield seen


def joined(found: list[Output]) -> list[np.ndarray]:
    """`NAMES` of all windows."""
    each = zip(*(output.logits for output in found), strict=True)
    return [np.concatenate(parts) for parts in each]


def distance(got: np.ndarray, expected: np.ndarray) -> float:
    """‖a - b‖ / ‖b‖."""
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


if __name__ == "__main__":
    main(sys.argv[1:])
