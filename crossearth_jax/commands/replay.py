"""`crossearth replay DUMP`: repeats a step that was not finite, and looks closely."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import PyTree
from rich.console import Console

from crossearth_jax import build, config
from crossearth_jax.build_data import build_restyle
from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.parser import make_parser
from crossearth_jax.data.classes import load_classes
from crossearth_jax.data.pipeline import Batch
from crossearth_jax.models.parameters import dotted, undotted
from crossearth_jax.report.table import Section, Table
from crossearth_jax.run_settings import read_settings
from crossearth_jax.system.compiling import set_up_compiler
from crossearth_jax.system.escape import quoted, terminal
from crossearth_jax.system.read_json import read_json
from crossearth_jax.system.safetensors_file import load_arrays
from crossearth_jax.train_step import Metrics, make_gradients, step_key


def main(argv: Sequence[str]) -> int:
    """`crossearth replay WORKDIR/nonfinite/step_N`."""
    parser = make_parser(
        "crossearth replay",
        "Computes the losses and gradients of a dumped step again and reports where "
        "the first\nvalues that are not finite are.",
    )
    parser.add_argument("dump", type=Path, help="WORKDIR/nonfinite/step_N")
    return guarded(run, parser.parse_args(argv))


def run(options: argparse.Namespace) -> None:
    """Prints what a dumped step holds."""
    set_up_compiler()
    replay(options.dump, Console(highlight=False))


def replay(dump: Path, console: Console) -> Metrics:
    """Prints images, parameters, losses and gradients of a dumped step.

    Returns:
      The losses.

    Raises:
      ValueError: the dump is not complete.
    """
    parts = sorted(dump.glob("batch.*.safetensors"))
    if not parts or not (dump / "params.safetensors").is_file():
        raise ValueError(
            f"got {dump} without batch and parameters, expected a folder that a run "
            "wrote: WORKDIR/nonfinite/step_N"
        )
    given = config.load(dump / "config.json")
    settings = read_settings(given)
    classes = load_classes(dump.parents[1] / "classes.json")
    network = build.build_network(given, len(classes.names), restored=True)
    try:
        about = [read_json(path) for path in sorted(dump.glob("about.*.json"))]
        step, names = about[0]["step"], [n for part in about for n in part["names"]]
        arrays = [load_arrays(part) for part in parts]
        batch = Batch(
            *(np.concatenate([a[name] for a in arrays]) for name in ("image", "label"))
        )
        _check_batch(batch)
        held = load_arrays(dump / "params.safetensors")
        wanted = dotted(network.trainable)
        if wrong := [k for k, x in wanted.items() if held[k].shape != x.shape]:
            raise ValueError(f"{wrong[0]} of shape {held[wrong[0]].shape}")
        params = undotted(held, network.trainable)
        objective, weights = settings.objective, about[0].get("class_weights")
        objective = objective.weighted(weights) if weights else objective
        key = step_key(jax.random.key(settings.train.seed), step)
    except Exception as error:  # the content decides what goes wrong
        raise ValueError(
            f"got a damaged dump {dump} ({quoted(error)}), expected what a run wrote"
        ) from error
    restyle = build_restyle(settings.style)
    graph, restyle_state = nnx.split(restyle) if restyle else (None, {})
    compute = make_gradients(
        network.graph,
        graph,
        objective,
        accumulate=settings.train.accumulate,
    )
    frozen = {"model": network.frozen, "restyle": restyle_state}
    gradients, metrics = jax.jit(compute)(params, frozen, batch, key)
    listed = terminal(", ".join(map(str, names)), 1_000)
    console.print(f"step {step}, images: {listed}", markup=False)
    console.print(f"classes in the labels: {np.unique(batch.label).tolist()}")
    _losses(metrics).show(console)
    _finiteness(params, gradients).show(console)
    return metrics


def _check_batch(batch: Batch) -> None:
    image, label = batch.image, batch.label
    fits = image.shape == (*label.shape, 3) and label.ndim == 3
    if not fits or image.dtype != np.uint8 or label.dtype != np.uint8:
        raise ValueError(
            f"images {image.dtype}{image.shape} and labels {label.dtype}{label.shape}"
        )


def _losses(metrics: Metrics) -> Table:
    rows = [(name, f"{float(value):.6g}") for name, value in sorted(metrics.items())]
    return Table(("loss", "value"), "lr", [Section(rows)], "losses")


def _finiteness(params: PyTree, gradients: PyTree) -> Table:
    """Arrays with values that are not finite, or the largest gradients."""
    values, slopes = dotted(params), dotted(gradients)
    broken = {p: int((~jnp.isfinite(g)).sum()) for p, g in slopes.items()}
    broken = {path: n for path, n in broken.items() if n}
    whole = slopes.keys() - broken  # in no order among numbers that are none
    largest = sorted(whole, key=lambda p: (-float(jnp.abs(slopes[p]).max()), p))
    rows = []
    for path in [*broken, *largest][:12]:
        value, slope = (float(jnp.abs(t[path]).max()) for t in (values, slopes))
        rows.append((path, f"{value:.4g}", f"{slope:.4g}", str(broken.get(path, 0))))
    title = f"{len(broken)} of {len(slopes)} gradients hold values that are not finite"
    header = "parameter", "largest |value|", "largest |gradient|", "not finite"
    return Table(header, "lrrr", [Section(rows)], title)
