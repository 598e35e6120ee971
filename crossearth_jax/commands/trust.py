"""`crossearth trust RUN [SCENE|FOLDER …]`: how well a run expects to do."""

import argparse
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.parser import add_step, make_parser
from crossearth_jax.commands.predict_as_trained import as_trained
from crossearth_jax.commands.predict_inputs import find_sources
from crossearth_jax.commands.predict_options import add_reading, reading_of
from crossearth_jax.features.domains import choose_domains
from crossearth_jax.predict import geo
from crossearth_jax.predict.predictor import Predictor
from crossearth_jax.predict.scene import Reading, open_scene
from crossearth_jax.predict.sources import Source, settings_of
from crossearth_jax.predict.strip import Block
from crossearth_jax.report.table import Section, Table
from crossearth_jax.report.trust_view import NAME, PICTURE
from crossearth_jax.run.trained import PRECISIONS, TrainedRun, load_run, weights_digest
from crossearth_jax.scoring.counts import Confidence
from crossearth_jax.scoring.metrics import by_class
from crossearth_jax.scoring.score_fn import make_score_fn
from crossearth_jax.scoring.windows import ScoreFn
from crossearth_jax.system.compiling import set_up_compiler
from crossearth_jax.system.escape import terminal
from crossearth_jax.system.whole_file import whole_file
from crossearth_jax.trust.baseline import Baseline
from crossearth_jax.trust.estimate import entry, sentence
from crossearth_jax.trust.judge import Verdict, judge_domain, judge_scenes
from crossearth_jax.trust.keep import last_tap
from crossearth_jax.trust.kept import read_baseline
from crossearth_jax.trust.least import least_trusted_picture

NOTE = (
    "Expected values are estimates: docs/trust.md has how far they were off where "
    "labels told. Distance and outside compare features with the source's."
)


def main(argv: Sequence[str]) -> int:
    """Runs the command."""
    return guarded(run, _parser().parse_args(argv))


def run(options: argparse.Namespace) -> None:
    """Judges the run's own domains, or what is given; prints a table."""
    set_up_compiler()
    trained = load_run(options.run, options.precision, options.step)
    digest = weights_digest(trained.network, trained.state)
    names = trained.classes.names
    baseline = read_baseline(trained.workdir, names, digest)
    parts = trained.network, trained.state
    score_fn = make_score_fn(parts[0].graph, parts[1].params, parts[0].frozen)
    windows = trained.windows.changed(batch=options.batch).on_devices()
    look = baseline, score_fn, last_tap(*parts)
    verdicts: list[Verdict] = []
    labelled, scenes = _sorted_inputs(options.inputs)
    if labelled or not options.inputs:
        text = ",".join(labelled) or None
        for domain in choose_domains(trained, text, options.encoding):
            verdicts.append(judge_domain(*look, domain, windows))
    predictor = Predictor(score_fn, trained.classes, windows)
    reading = reading_of(options)
    if scenes:
        reading = as_trained(reading, trained.raw_images, options)
    for name, sources in scenes:
        blocks = (_blocks_of(predictor, source, reading) for source in sources)
        verdicts.append(judge_scenes(*look, name, blocks))
    _report(verdicts, baseline.accuracy)
    content = _content(verdicts, trained, baseline)
    places = [options.json] if options.json else []
    if not options.inputs:
        places.append(trained.workdir / NAME)  # the report shows it
        _draw(verdicts, trained)
    for path in places:
        with whole_file(path) as place:
            place.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def _sorted_inputs(
    inputs: Sequence[str],
) -> tuple[list[str], list[tuple[str, list[Source]]]]:
    """Labelled domains as `choose_domains` reads them, and scenes by name.

    Raises:
      ValueError: there is no such input, or two share a name.
    """
    labelled: list[str] = []
    scenes: list[tuple[str, list[Source]]] = []
    for text in inputs:
        path = Path(text)
        if "=" in text and not path.exists():
            labelled.append(text)
        elif (path / "images").is_dir() and (path / "labels").is_dir():
            name = path.resolve().name
            labelled.append(f"{name}={path / 'images'}:{path / 'labels'}")
        else:
            found = find_sources([text])
            scenes.append((path.name if path.is_dir() else path.stem, found))
    names = [text.partition("=")[0] for text in labelled] + [name for name, _ in scenes]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ValueError(
            f"got several inputs named {repeated[0]}, expected different names: judge "
            "them in two calls, or together as a folder"
        )
    return labelled, scenes


def _blocks_of(
    predictor: Predictor, source: Source, reading: Reading
) -> Callable[[ScoreFn], Iterable[Block]]:
    """A scene's finished rows, scored by whatever function is given."""

    def blocks(score_fn: ScoreFn) -> Iterator[Block]:
        with (
            geo.needed("rasterio").Env(**settings_of(source)),
            open_scene(source, reading) as scene,
        ):
            layout = predictor.windows.lay(scene.grid.height, scene.grid.width)
            batches = predictor.read(scene.read_rows, layout, np.uint8)
            yield from replace(predictor, score_fn=score_fn).blocks(batches, layout)

    return blocks


def _report(verdicts: Sequence[Verdict], source_accuracy: float) -> None:
    rows = []
    for one in verdicts:
        found = one.found
        between = f"{_percent(found.low)} to {_percent(found.high)}"
        rows.append(
            [
                one.name,
                one.role,
                _percent(found.accuracy),
                between,
                _percent(one.accuracy),
                _percent(found.miou),
                _percent(one.miou),
                "" if math.isnan(found.distance) else f"{found.distance:.2f}",
                _percent(found.outside),
            ]
        )
    header = ("domain", "role", "accuracy, expected", "range", "true")
    header += ("mIoU, expected", "true", "distance", "outside")
    sections = [Section(rows)]
    Table(header, "llrrrrrrr", sections, notes=[NOTE]).show()
    for one in verdicts:
        if one.accuracy is None:
            print(f"{terminal(one.name)}: {sentence(one.found, source_accuracy)}")


def _draw(verdicts: Sequence[Verdict], trained: TrainedRun) -> None:
    """The least trusted windows of the run's own domains, which the report shows."""
    found = [(one.name, one.least) for one in verdicts if one.role != "source"]
    if any(patches for _, patches in found):
        picture = least_trusted_picture(found, trained.classes)
        path = trained.workdir / PICTURE
        path.parent.mkdir(exist_ok=True)
        with whole_file(path) as place:
            picture.save(place, format="PNG")


def _percent(share: float | None) -> str:
    return "" if share is None or math.isnan(share) else f"{100 * share:.1f}"


def _content(
    verdicts: Sequence[Verdict], trained: TrainedRun, baseline: Baseline
) -> dict[str, Any]:
    names = trained.classes.names
    domains = {
        one.name: {
            "role": one.role,
            **entry(one.found),
            "overall_accuracy": one.accuracy,
            "mIoU": one.miou,
            "estimated_IoU": by_class(one.found.iou, names),
            "estimated_precision": by_class(one.found.precision, names),
            "estimators": dict(one.found.accuracies),
        }
        for one in verdicts
    }
    return {
        "about": trained.about(),
        "source_accuracy": baseline.accuracy,
        "temperature": baseline.thresholds.temperature,
        "domains": domains,
        "reliability": {
            "before": _bins(baseline.before),
            "after": _bins(baseline.after),
        },
    }


def _bins(one: Confidence) -> dict[str, list[float]]:
    return {
        "pixels": one.pixels.tolist(),
        "right": one.right.tolist(),
        "total": one.total.tolist(),
    }


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "crossearth trust",
        "How well a run expects to do on scenes that nobody has labelled, and how much "
        "they look like its source domain.",
    )
    add = parser.add_argument
    add("run", help="workdir of a run, or a folder in its checkpoints/")
    add(
        "inputs",
        nargs="*",
        metavar="SCENE|FOLDER",
        help="raster, address, or folder of rasters, judged together; a folder with "
        "images/ and labels/, or NAME=IMAGES:LABELS, is also compared with its labels; "
        "default the run's own domains",
    )
    add_step(parser)
    add("--json", type=Path, metavar="FILE", help="write the numbers")
    add("--encoding", help="of the labels of folders; default the run's")
    add("--batch", type=int, help="windows per call; default the run's eval.batch")
    add("--precision", choices=sorted(PRECISIONS), help="default the run's")
    add_reading(parser)
    return parser
