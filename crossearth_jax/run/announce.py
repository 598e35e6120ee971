"""What a run prints about itself before the first step, and its best at the end."""

import shlex
from pathlib import Path

import jax
from jaxtyping import PyTree
from rich.console import Console
from rich.markup import escape as markup_free

from crossearth_jax.build import Network
from crossearth_jax.build_data import Data
from crossearth_jax.earth_style.restyle import Restyling
from crossearth_jax.report.table import Section, Table
from crossearth_jax.run_settings import RunSettings
from crossearth_jax.system.escape import terminal

FACT = 2_000  # characters of a line; 255 classes are not all listed


def announce(
    settings: RunSettings,
    workdir: Path,
    data: Data,
    network: Network,
    restyle: Restyling | None,
    start: int,
) -> None:
    """Prints parameters, devices, data and where everything is written."""
    console = Console(highlight=False)
    parameter_table(network.trainable, network.frozen).show(console)
    devices, train = jax.devices(), settings.train
    facts = {
        "devices": f"{len(devices)} x {devices[0].device_kind}, "
        f"{jax.process_count()} host(s)",
        "precision": settings.precision,
        "global batch": f"{train.batch_size} x {settings.augment.crop}² pixels",
        "training data": f"{len(data.train)} images, classes: "
        f"{', '.join(data.classes.names)}",
        **_raw_images(settings),
        "scored domains": ", ".join(
            f"{d.name} ({d.role}, {len(d.source)})" for d in data.domains
        )
        or "none",
        **_class_weights(settings, data),
        "Earth style": restyle.description if restyle else "off",
        "backbone": settings.backbone,
        "steps": f"{start} of {train.steps} done" if start else f"{train.steps}",
        "written to": str(workdir.absolute()),
    }
    for name, fact in facts.items():
        console.print(fact_line(name, fact), soft_wrap=True)


def _raw_images(settings: RunSettings) -> dict[str, str]:
    raw = settings.data.raw
    gsd = "" if raw.gsd is None else f"{raw.gsd:g} m a pixel"
    words = ", ".join(filter(None, (raw.words(), gsd)))
    return {"raw images": words} if words else {}


def _class_weights(settings: RunSettings, data: Data) -> dict[str, str]:
    weights = settings.objective.segmentation.class_weights
    if weights is None:
        return {}
    pairs = zip(data.classes.names, weights, strict=True)
    return {"class weights": ", ".join(f"{name} {w:.3g}" for name, w in pairs)}


def announce_best(step: int | None, miou: float | None, workdir: Path) -> None:
    """Prints which checkpoint was kept as the best one, and how to take it."""
    if step is None or miou is None or jax.process_index() != 0:
        return
    print(
        f"best on the source domain: step {step}, mIoU {100 * miou:.1f} %; "
        f"`--step best` takes it, as in crossearth predict {shlex.quote(str(workdir))} "
        "SCENE --out DIR --step best"
    )


def fact_line(name: str, fact: str) -> str:
    """A line for rich; the fact, which names classes and folders, holds no markup."""
    return f"[bold]{name:>15}[/]  {markup_free(terminal(fact, FACT))}"


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
