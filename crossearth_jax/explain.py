"""`crossearth report`: finished runs as one HTML file that explains itself.

Numbers come from what a scoring left in the workdir; the model is loaded only for the
images that are shown, so memory and size do not grow with the data set.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, UInt8

from crossearth_jax import build, provenance, sharding
from crossearth_jax.compare import make_sheets
from crossearth_jax.data.classes import load_classes
from crossearth_jax.data.datasets import Record
from crossearth_jax.data.pipeline import train_batches
from crossearth_jax.earth_style.inject import masked_image, styled_image
from crossearth_jax.evaluate import ScoredDomain, scored_records
from crossearth_jax.normalise import denormalise, normalise
from crossearth_jax.predict.predictor import TrainedRun, load_run
from crossearth_jax.report.counts import DomainCounts, read_counts
from crossearth_jax.report.experiments import Experiment, read_experiment
from crossearth_jax.report.page import RunView, Shown, page
from crossearth_jax.train import make_score_fn
from crossearth_jax.train_step import combine
from crossearth_jax.whole_file import whole_file

DESCRIPTION = """\
Writes one HTML file about finished runs: scores beside the paper's, confused classes,
best, median and worst images of every domain, the images that cost most, calibration,
losses, what the training shows the model, and where it all came from."""
EXAMPLES = ("best", "median", "worst")
COSTLY = 10  # images that cost most mIoU, over all domains


def main(argv: Sequence[str]) -> int | None:
    """`crossearth report WORKDIR [WORKDIR …] [--out report.html]`."""
    parser = argparse.ArgumentParser(
        prog="crossearth report",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("workdirs", nargs="+", type=Path, metavar="WORKDIR")
    parser.add_argument("--out", type=Path, default=Path("report.html"), metavar="FILE")
    given = parser.parse_args(argv)
    try:
        runs = [view_of(workdir) for workdir in given.workdirs]
        sheets = make_sheets(given.workdirs)
    except ValueError as error:
        parser.exit(1, f"error: {error}\n")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(given.out) as place, place.open("w", encoding="utf-8") as file:
        file.writelines(page(runs, sheets))
    for note in dict.fromkeys(note for run in runs for note in run.missing):
        print(f"not shown: {note}")
    print(f"wrote {given.out}, {given.out.stat().st_size / 1e6:.1f} MB")


def view_of(workdir: Path) -> RunView:
    """Collects what a page says about one run.

    Data or weights that are not there any more leave their part of the page out.

    Raises:
      ValueError: it is no workdir of a scored run.
    """
    experiment = read_experiment(workdir)
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
    shown, costly, views = {}, (), {}
    try:
        run = load_run(workdir)
        data = build.build_data(run.config)
        shown, costly = _images(run, data, counts)
        views = training_views(run, data)
    except (ValueError, OSError) as error:
        missing.append(f"images, since weights or data cannot be read: {error}")
    return RunView(
        experiment=experiment,
        classes=load_classes(workdir / "classes.json"),
        counts=counts,
        shown=shown,
        costly=costly,
        views=views,
        metrics=_lines(workdir / "metrics.jsonl"),
        provenance=_origin(experiment),
        missing=tuple(missing),
    )


# ---- images -------------------------------------------------------------------------


def _images(
    run: TrainedRun, data: build.Data, counts: Mapping[str, DomainCounts | None]
) -> tuple[dict[str, list[Shown]], list[tuple[str, Shown]]]:
    """Best, median and worst of each domain, and the costliest of all."""
    score_fn = make_score_fn(run.network, run.state)
    known = [domain for domain in data.domains if counts.get(domain.name)]
    wanted = {d.name: examples_of(counts[d.name]) for d in known}
    costs = sorted(
        (
            (cost, domain.name, index)
            for domain in known
            for index, cost in enumerate(counts[domain.name].costs().tolist())
        ),
        reverse=True,
    )[:COSTLY]
    shown: dict[str, list[Shown]] = {}
    costly: dict[tuple[str, int], Shown] = {}
    for domain in known:
        counted = counts[domain.name]
        reasons = dict(wanted[domain.name])
        reasons |= {
            index: f"costs {100 * cost:.2f} points"
            for cost, name, index in costs
            if name == domain.name and cost > 0 and index not in reasons
        }
        mious = counted.own_miou()
        places = {counted.images[index].place: index for index in sorted(reasons)}
        for place, record, prediction in _predicted(
            score_fn, run, domain, sorted(places)
        ):
            index = places[place]
            one = Shown(
                record.name,
                reasons[index],
                float(mious[index]),
                record.image,
                record.label,
                prediction,
            )
            if index in wanted[domain.name]:
                shown.setdefault(domain.name, []).append(one)
            costly[domain.name, index] = one
    for several in shown.values():
        several.sort(key=lambda one: EXAMPLES.index(one.why))
    ranked = [
        (name, _because(costly[name, index], cost))
        for cost, name, index in costs
        if cost > 0 and (name, index) in costly
    ]
    return shown, ranked


def _because(shown: Shown, cost: float) -> Shown:
    why = f"costs {100 * cost:.2f} points"
    return Shown(
        shown.name, why, shown.miou, shown.image, shown.truth, shown.prediction
    )


def examples_of(counts: DomainCounts) -> dict[int, str]:
    """Indices of the best, the median and the worst image by their own mIoU."""
    mious = counts.own_miou()
    order = [i for i in np.argsort(mious, kind="stable").tolist() if mious[i] >= 0]
    if not order:
        return {}
    chosen = {order[-1]: "best", order[len(order) // 2]: "median", order[0]: "worst"}
    return chosen if len(order) > 2 else {order[-1]: "best", order[0]: "worst"}


def _predicted(
    score_fn: Any, run: TrainedRun, domain: ScoredDomain, places: Sequence[int]
) -> Iterator[tuple[int, Record, UInt8[np.ndarray, "h w"]]]:
    windows = build.build_windows(run.config)
    windows["batch"] = sharding.whole_batch(run.config.eval.batch)
    found = scored_records(
        score_fn, domain, places, len(run.classes.names), windows, lambda *_: None
    )
    for place, record, scores in found:
        yield place, record, scores.argmax(2).astype(np.uint8)


def training_views(
    run: TrainedRun, data: build.Data
) -> dict[str, UInt8[np.ndarray, "H W 3"]]:
    """X of the first batch, X_S and X_M made of it, and what MIM rebuilds of them."""
    config, objective = run.config, build.build_objective(run.config)
    restyle = build.build_restyle(config)
    batches = train_batches(
        data.train,
        build.build_augment(config),
        batch_size=1,
        seed=config.train.seed,
        start_step=0,
        host_index=0,
        host_count=1,
        num_threads=1,
        num_workers=0,
    )
    try:
        image = next(batches).image
    finally:
        batches.close()

    def make(params: Any, frozen: Any, image: Array, key: Array) -> dict[str, Array]:
        model = nnx.merge(run.network.graph, combine(params, frozen))
        clean, keys = normalise(image), jax.random.split(key)
        views = {"X": clean}
        if style := objective.style:
            views["X_S"] = styled_image(
                keys[0],
                clean,
                restyle,
                ratio=style.ratio,
                block=style.block,
                polarity=style.polarity,
            )
        if masked := objective.masked:
            views["X_M"] = masked_image(
                keys[1],
                clean,
                model.prompt[...],
                ratio=masked.ratio,
                block=masked.block,
                prompt_mode=masked.prompt,
            )
            stacked = jnp.concatenate([*views.values()])
            rebuilt = model.reconstruct(model.taps(stacked))
            named = [f"reconstruction of {name}" for name in views]
            views |= {n: rebuilt[i : i + 1] for i, n in enumerate(named)}
        return {n: jnp.clip(denormalise(x[0]), 0, 255) for n, x in views.items()}

    views = jax.jit(make)(
        run.state.params, run.network.frozen, image, jax.random.key(config.train.seed)
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
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def _origin(experiment: Experiment) -> list[dict[str, Any]]:
    try:
        return provenance.read(experiment.place)
    except ValueError:
        return []
