"""What a run prints about itself before the first step."""

from pathlib import Path

import jax
from flax import nnx
from jaxtyping import PyTree
from ml_collections import ConfigDict
from rich.console import Console

from crossearth_jax.build import Network
from crossearth_jax.build_data import Data
from crossearth_jax.report.table import Section, Table


def announce(
    config: ConfigDict,
    workdir: Path,
    data: Data,
    network: Network,
    restyle: nnx.Module | None,
    start: int,
) -> None:
    """Prints parameters, devices, data and where everything is written."""
    console = Console(highlight=False)
    parameter_table(network.trainable, network.frozen).show(console)
    devices = jax.devices()
    facts = {
        "devices": f"{len(devices)} x {devices[0].device_kind}, "
        f"{jax.process_count()} host(s)",
        "precision": config.precision,
        "global batch": f"{config.train.batch_size} x {config.data.crop}² pixels",
        "training data": f"{len(data.train)} images, classes: "
        f"{', '.join(data.classes.names)}",
        "scored domains": ", ".join(
            f"{d.name} ({d.role}, {len(d.source)})" for d in data.domains
        )
        or "none",
        "Earth style": _style(restyle),
        "backbone": _backbone(config),
        "steps": f"{start} of {config.train.steps} done"
        if start
        else str(config.train.steps),
        "written to": str(workdir.absolute()),
    }
    for name, fact in facts.items():
        console.print(f"[bold]{name:>15}[/]  {fact}", soft_wrap=True)


def _style(restyle: nnx.Module | None) -> str:
    return restyle.description.removeprefix("Earth style: ") if restyle else "off"


def _backbone(config: ConfigDict) -> str:
    backbone = config.backbone
    origin = backbone.weights or "random weights"
    state = "trained too" if backbone.trainable else "frozen"
    return f"{backbone.variant}, {origin}, {state}"


def parameter_counts(trainable: PyTree, frozen: PyTree) -> dict[str, tuple[int, int]]:
    """(trainable, frozen) numbers of scalars of each top-level module."""

    def count(tree: PyTree) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(tree))

    names = sorted({*trainable, *frozen})
    return {n: (count(trainable.get(n, {})), count(frozen.get(n, {}))) for n in names}


def parameter_table(trainable: PyTree, frozen: PyTree) -> Table:
    """Trainable and frozen parameters per module."""
    counts = parameter_counts(trainable, frozen)
    total = tuple(sum(pair[i] for pair in counts.values()) for i in (0, 1))
    rows = [
        (name, *(f"{n:,}" for n in pair))
        for name, pair in (counts | {"total": total}).items()
    ]
    sections = Section(rows[:-1]), Section(rows[-1:], "bold")
    return Table(("module", "trainable", "frozen"), "lrr", sections, "parameters")
