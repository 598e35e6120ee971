"""`crossearth report`: finished runs as one HTML file that explains itself.

Numbers come from what a scoring left in the workdir; the model is loaded only for the
images that are shown, so memory and size do not grow with the data set.
"""

import argparse
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from crossearth_jax.build_data import Data, build_data, build_restyle
from crossearth_jax.commands.compare import make_sheets
from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.parser import add_palette, make_parser
from crossearth_jax.data.classes import ClassSet, load_classes
from crossearth_jax.data.datasets import ScoredDomain
from crossearth_jax.data.pipeline import train_batches
from crossearth_jax.models.parameters import combine
from crossearth_jax.pixels.colour_vision import shown_palette
from crossearth_jax.pixels.normalise import denormalise, normalise
from crossearth_jax.report.check_report import check_report
from crossearth_jax.report.compare import beside_paper
from crossearth_jax.report.examples import Shown
from crossearth_jax.report.experiments import Experiment, read_experiment
from crossearth_jax.report.figure import figure
from crossearth_jax.report.page import RunView, page
from crossearth_jax.report.trust_view import read_least_trusted, read_trust
from crossearth_jax.run import provenance
from crossearth_jax.run.metrics import by_step
from crossearth_jax.run.trained import TrainedRun, load_run
from crossearth_jax.scoring.counts import DomainCounts, read_counts
from crossearth_jax.scoring.domain import Example, scored_records
from crossearth_jax.scoring.score_fn import make_score_fn
from crossearth_jax.scoring.windows import ScoreFn
from crossearth_jax.system.compiling import set_up_compiler
from crossearth_jax.system.escape import terminal
from crossearth_jax.system.read_json import read_json_lines
from crossearth_jax.system.whole_file import whole_file

DESCRIPTION = """\
Writes one HTML file about finished runs: scores beside the paper's, confused classes,
best, median and worst images of every domain, the images that cost most, calibration,
losses, what the training shows the model, and where it all came from."""
COSTLY = 10  # images that cost most mIoU, over all domains


def main(argv: Sequence[str]) -> int:
    """`crossearth report WORKDIR [WORKDIR …] [--out report.html]`."""
    parser = make_parser("crossearth report", DESCRIPTION)
    add = parser.add_argument
    add("workdirs", nargs="+", type=Path, metavar="WORKDIR", help="of a finished run")
    add(
        "--out",
        type=Path,
        default=Path("report.html"),
        metavar="FILE",
        help="default: report.html",
    )
    add_palette(parser)
    return guarded(run, parser.parse_args(argv))


def run(given: argparse.Namespace) -> None:
    """Writes the page."""
    set_up_compiler()
    runs = [view_of(workdir, given.palette) for workdir in given.workdirs]
    sheets = make_sheets(given.workdirs)
    drawn = figure(sheets) or ""
    if len(runs) == 1:  # without the paper's scores they repeat the run's own table
        sheets = [sheet for sheet in sheets if beside_paper(sheet)]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(given.out) as place, place.open("w", encoding="utf-8") as file:
        file.writelines(page(runs, sheets, drawn))
    for note in dict.fromkeys(note for run in runs for note in run.missing):
        print(f"not shown: {terminal(note, 1_000)}")
    print(f"wrote {given.out}, {given.out.stat().st_size / 1e6:.1f} MB")


def view_of(workdir: Path, palette: str = "run") -> RunView:
    """Collects what a page shows about one run.

    Data or weights that are not there any more leave their part of the page out.

    Args:
      workdir: of the run.
      palette: one of `colour_vision.PALETTES`.

    Raises:
      ValueError: it is not the workdir of a scored run.
    """
    experiment = read_experiment(workdir)
    check_report(experiment.report, page=True)
    counts = {
        name: read_counts(workdir / "counts", name)
        for name in experiment.report["domains"]
    }
    missing = []
    if None in counts.values():
        missing.append(
            f"images and calibration: {workdir} has no counts of all domains; score it "
            "again with `crossearth eval`, its --config and its --workdir"
        )
    trust, least = None, ""
    try:
        trust, least = read_trust(workdir), read_least_trusted(workdir)
    except ValueError as error:
        missing.append(f"what the run expects of itself: {error}")
    shown, costly, views = {}, (), {}
    try:
        run = load_run(workdir, step=_scored_step(experiment))
        data = build_data(run.settings.data)
        shown, costly = _images(run, data, counts)
        views = training_views(run, data)
    except (ValueError, OSError) as error:
        missing.append(f"images, since weights or data cannot be read: {error}")
    return RunView(
        experiment=experiment,
        classes=_classes(workdir, palette),
        counts=counts,
        shown=shown,
        costly=costly,
        views=views,
        metrics=_lines(workdir / "metrics.jsonl"),
        provenance=_origin(experiment),
        missing=tuple(missing),
        trust=trust,
        least=least,
    )


def _classes(workdir: Path, palette: str) -> ClassSet:
    classes = load_classes(workdir / "classes.json")
    return replace(classes, palette=shown_palette(classes.palette, palette))


def _scored_step(experiment: Experiment) -> str | None:
    """The checkpoint that the scores are of; None where the report does not tell."""
    return None if experiment.step is None else str(experiment.step)


# ---- images -------------------------------------------------------------------------


def _images(
    run: TrainedRun, data: Data, counts: Mapping[str, DomainCounts | None]
) -> tuple[dict[str, list[Shown]], list[Shown]]:
    """Best, median and worst of each domain, and the costliest of all."""
    known = {name: one for name, one in counts.items() if one}
    domains = [domain for domain in data.domains if domain.name in known]
    typical = {d.name: examples_of(known[d.name]) for d in domains}
    costly = costliest({d.name: known[d.name].costs() for d in domains})
    network, seen = run.network, {}
    score_fn = make_score_fn(network.graph, run.state.params, network.frozen)
    for domain in domains:
        wanted = {index for _, name, index in costly if name == domain.name}
        wanted |= {*typical[domain.name].values()}
        found = _predicted(score_fn, run, domain, known[domain.name], wanted)
        seen |= {(domain.name, index): one for index, one in found.items()}
    mious = {domain.name: known[domain.name].own_miou() for domain in domains}

    def shown(name: str, index: int, why: str) -> Shown:
        return Shown(name, seen[name, index], why, float(mious[name][index]))

    by_domain = {
        name: [shown(name, i, why) for why, i in chosen.items() if (name, i) in seen]
        for name, chosen in typical.items()
    }
    ranked = [
        shown(name, i, f"costs {100 * cost:.2f} points")
        for cost, name, i in costly
        if (name, i) in seen
    ]
    return by_domain, ranked


def costliest(
    costs: Mapping[str, Float[np.ndarray, "_"]],
) -> list[tuple[float, str, int]]:
    """(cost, domain, index) of the images that cost most, over all domains."""
    every = [
        (cost, name, index)
        for name, of_images in costs.items()
        for index, cost in enumerate(of_images.tolist())
        if cost > 0
    ]
    return sorted(every, reverse=True)[:COSTLY]


def examples_of(counts: DomainCounts) -> dict[str, int]:
    """Indices of the best, the median and the worst image by their own mIoU."""
    mious = counts.own_miou()
    order = [i for i in np.argsort(mious, kind="stable").tolist() if mious[i] >= 0]
    places = {"best": -1, "median": len(order) // 2, "worst": 0}
    few = {0: (), 1: ("worst",), 2: ("best", "worst")}  # no image twice
    return {why: order[places[why]] for why in few.get(len(order), places)}


def _predicted(
    score_fn: ScoreFn,
    run: TrainedRun,
    domain: ScoredDomain,
    counts: DomainCounts,
    wanted: Collection[int],
) -> dict[int, Example]:
    """Some images of a domain, by their index in its counts."""
    index_at = {counts.images[index].place: index for index in wanted}
    found = scored_records(
        score_fn,
        domain,
        sorted(index_at),
        len(run.classes.names),
        run.windows.on_devices(),
        lambda *_: None,
    )
    return {
        index_at[place]: Example(
            record.name, record.image, record.label, scores.argmax(2).astype(np.uint8)
        )
        for place, record, scores in found
    }


def training_views(
    run: TrainedRun, data: Data
) -> dict[str, UInt8[np.ndarray, "H W 3"]]:
    """X of the first batch, X_S and X_M made of it, and what MIM rebuilds of them."""
    settings, objective = run.settings, run.settings.objective
    restyle = build_restyle(settings.style)
    batches = train_batches(
        data.train,
        settings.augment,
        batch_size=1,
        seed=settings.train.seed,
        start_step=0,
        host_index=0,
        host_count=1,
        num_threads=1,
        num_workers=0,
        order=data.order,
    )
    try:
        image = next(batches).image
    finally:
        batches.close()

    def make(params: Any, frozen: Any, image: Array, key: Array) -> dict[str, Array]:
        model = nnx.merge(run.network.graph, combine(params, frozen))
        clean, keys = normalise(image), jax.random.split(key)
        views = {"X": clean}
        if (style := objective.style) and restyle:
            views["X_S"] = style.image(keys[0], clean, restyle)
        if masked := objective.masked:
            views["X_M"] = masked.image(keys[1], clean, model.prompt[...])
            stacked = jnp.concatenate([*views.values()])
            rebuilt = model.reconstruct(model.taps(stacked))
            named = [f"reconstruction of {name}" for name in views]
            views |= {n: rebuilt[i : i + 1] for i, n in enumerate(named)}
        return {n: jnp.clip(denormalise(x[0]), 0, 255) for n, x in views.items()}

    views = jax.jit(make)(
        run.state.params, run.network.frozen, image, jax.random.key(settings.train.seed)
    )
    # A jitted function returns its names sorted.
    rank = ["X", "X_S", "X_M"]
    names = sorted(views, key=lambda n: (n not in rank, rank.index(n.split()[-1])))
    return {name: np.asarray(views[name]).astype(np.uint8) for name in names}


# ---- files --------------------------------------------------------------------------


def _lines(path: Path) -> list[dict[str, float]]:
    """Logged steps; none where a run left none."""
    if not path.is_file():
        return []
    try:
        entries = read_json_lines(path)
    except ValueError as error:
        raise ValueError(
            f"got {path} ({error}), expected what training writes: remove that line"
        ) from error
    steps = by_step(one for one in entries if isinstance(one.get("step"), int))
    return list(steps.values())


def _origin(experiment: Experiment) -> list[dict[str, Any]]:
    try:
        return provenance.read(experiment.place)
    except ValueError:
        return []
