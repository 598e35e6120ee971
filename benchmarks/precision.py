"""How far a trained run's logits in bfloat16 are from those in float32.

`python -m benchmarks.precision WORKDIR …`; the windows of each domain are an option.
The last prediction counts, as in inference: class and mask logits of the queries, and
the pixels' logits that both make, which windows are averaged by (method.md section 9).
Distances are relative to the float32 ones, ‖a - b‖ / ‖b‖, over all windows of a domain;
"median query" is the median of the queries' own distances of class logits, and the last
column the share of pixels whose class stays.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from crossearth_jax import build
from crossearth_jax.models.mask2former import semantic_scores
from crossearth_jax.normalise import normalise
from crossearth_jax.predict.predictor import TrainedRun, load_run
from crossearth_jax.train_step import combine

NAMES = ("class logits", "mask logits", "pixel logits", "median query")


def main(argv: Sequence[str]) -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision")
    parser.add_argument("workdirs", nargs="+", type=Path, metavar="WORKDIR")
    parser.add_argument("--windows", type=int, default=16, help="of each domain")
    options = parser.parse_args(argv)
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}\n")
    print(f"| run | domain | {' | '.join(NAMES)} | same class |\n|-|-|-:|-:|-:|-:|-:|")
    for workdir in options.workdirs:
        runs = [load_run(workdir, precision) for precision in ("f32", "bf16")]
        for domain in build.build_data(runs[0].config).domains:
            windows = first_windows(domain.source, options.windows, runs[0].crop)
            cells = compared(*(logits(run, windows) for run in runs))
            print(
                f"| {workdir.name} | {domain.name} | {' | '.join(cells)} |", flush=True
            )


def compared(wide: list[np.ndarray], half: list[np.ndarray]) -> list[str]:
    """Cells of a row, from what `logits` gives for both types."""
    found = [distance(b, a) for a, b in zip(wide, half, strict=True)]
    classes = wide[0].shape[-1]
    queries = (x[0].reshape(-1, classes) for x in (half, wide))
    found.append(np.median([distance(*pair) for pair in zip(*queries, strict=True)]))
    same = (wide[2].argmax(-1) == half[2].argmax(-1)).mean()
    return [f"{100 * x:.2f} %" for x in (*found, same)]


def first_windows(
    source: Sequence, count: int, crop: int
) -> Float[np.ndarray, "N H W 3"]:
    """The upper left window of the first records, normalised."""
    records = (source[i] for i in range(min(count, len(source))))
    images = [record.image[:crop, :crop] for record in records]
    whole = [image for image in images if image.shape[:2] == (crop, crop)]
    return np.asarray(normalise(np.stack(whole)))


def logits(run: TrainedRun, windows: Float[np.ndarray, "N H W 3"]) -> list[np.ndarray]:
    """`NAMES` of every window, one after another through the network."""
    graph = run.network.graph

    @jax.jit
    def one(params: dict, image: Array) -> tuple[Array, Array, Array]:
        model = nnx.merge(graph, params)
        output = model.segment(model.taps(image), image)
        classes, masks = output.class_logits[-1], output.mask_logits[-1]
        return classes, masks, semantic_scores(classes, masks, image.shape[1:3])

    params = combine(run.state.params, run.network.frozen)
    found = [jax.device_get(one(params, window[None])) for window in windows]
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def distance(got: np.ndarray, expected: np.ndarray) -> float:
    """‖a - b‖ / ‖b‖."""
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


if __name__ == "__main__":
    main(sys.argv[1:])
