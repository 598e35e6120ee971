"""Scores named domains: windows → one confusion matrix each → report and pictures.

It takes a score function and sources of records, and knows no model.
"""

import json
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Float, Int, UInt8

from crossearth_jax import hosts
from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.datasets import Record, Source
from crossearth_jax.data.pipeline import eval_records
from crossearth_jax.host_resize import fitted_image, resize_on_host
from crossearth_jax.metrics import confusion_matrix, extra_scores, scores
from crossearth_jax.normalise import normalise
from crossearth_jax.progress import progress
from crossearth_jax.report.counts import (
    Confidence,
    DomainCounts,
    ImageCounts,
    confidence,
    write_counts,
)
from crossearth_jax.report.pictures import Example, domain_picture
from crossearth_jax.report.tables import mean_fraction
from crossearth_jax.sliding import ScoreFn, stream_scores
from crossearth_jax.whole_file import whole_file

Role = Literal["source", "unseen"]


@dataclass(frozen=True)
class ScoredDomain:
    """What to score.

    Attributes:
      name: as in the report.
      role: "source" for a held-out part of a training domain, else "unseen".
      source: its records.
      fit: pixels; images are resized to this longest edge first, see `host_resize`.
        Scores are counted at the label's own size all the same.
    """

    name: str
    role: Role
    source: Source
    fit: int | None = None


@dataclass(frozen=True)
class DomainResult:
    """The pixels of one domain, counted.

    Attributes:
      name: as in the report.
      role: "source" or "unseen".
      skipped: names of the images that could not be read (`Record.valid` False).
      examples: evenly spaced over the domain, for its picture.
      counts: of every scored image.
    """

    name: str
    role: Role
    skipped: tuple[str, ...]
    examples: tuple[Example, ...]
    counts: DomainCounts

    @property
    def images(self) -> int:
        """How many were scored."""
        return len(self.counts.images)

    @property
    def confusion(self) -> Int[np.ndarray, "K K"]:
        """Rows truth, columns prediction, over all images."""
        return self.counts.total()


def evaluate(
    score_fn: ScoreFn,
    domains: Sequence[ScoredDomain],
    *,
    classes: ClassSet,
    workdir: str | os.PathLike[str],
    crop: int,
    stride: int,
    patch: int,
    batch: int,
    examples: int = 4,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Scores every domain; writes `report.json`, `pictures/` and `counts/`.

    Several hosts share the images of every domain; the first writes.

    Args:
      score_fn: normalised windows [b, h, w, 3] → scores [b, h, w, K], see `sliding`.
      domains: distinct names; they become file names.
      classes: names and palette, by class id.
      workdir: folder of the report, made if it is not there.
      crop: window length.
      stride: step between windows.
      patch: the network's patch size.
      batch: windows per call of `score_fn`.
      examples: rows of a picture at most.
      about: anything to keep in the report, such as the step.

    Returns:
      The report as written: fractions of 1, None where a score is undefined.

    Raises:
      ValueError: no domain, a name that is empty, doubled or no file name, or
        an image or label that does not fit.
    """
    _check_names([domain.name for domain in domains])
    results = [
        evaluate_domain(
            score_fn,
            domain,
            classes=classes,
            crop=crop,
            stride=stride,
            patch=patch,
            batch=batch,
            examples=examples,
        )
        for domain in domains
    ]
    entries = {result.name: domain_entry(result, classes) for result in results}
    report = {
        "classes": list(classes.names),
        "domains": entries,
        "unseen_mean_mIoU": _unseen_mean(entries),
        "about": dict(about or {}),
    }
    if hosts.is_first():
        _write(Path(workdir), report, results, classes)
    hosts.wait_for_all()
    return report


def _write(
    folder: Path,
    report: Mapping[str, Any],
    results: Sequence[DomainResult],
    classes: ClassSet,
) -> None:
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for result in results:
        _write_picture(folder / "pictures" / f"{result.name}.png", result, classes)
        write_counts(folder / "counts", result.name, result.counts)
    text = json.dumps(report, indent=2, allow_nan=False)
    with whole_file(folder / "report.json") as place:
        place.write_text(text + "\n")


def evaluate_domain(
    score_fn: ScoreFn,
    domain: ScoredDomain,
    *,
    classes: ClassSet,
    crop: int,
    stride: int,
    patch: int,
    batch: int,
    examples: int = 4,
) -> DomainResult:
    """Counts one domain's pixels; arguments as `evaluate`, which see.

    Raises:
      ValueError: the source is empty, the scores have another number of classes, or
        a label value is no class.
    """
    if len(domain.source) == 0:
        raise ValueError(f"got no images in domain {domain.name!r}: check it")
    windows = {"crop": crop, "stride": stride, "patch": patch, "batch": batch}
    own = _score_share(score_fn, domain, len(classes.names), examples, windows)
    parts = hosts.gather(own)
    in_order = sorted(one for part in parts for one in part.skipped)
    shown = sorted((one for part in parts for one in part.shown), key=lambda x: x[0])
    counts = [one for part in parts for one in part.counts]
    return DomainResult(
        domain.name,
        domain.role,
        skipped=tuple(name for _, name in in_order),
        examples=tuple(example for _, example in shown),
        counts=DomainCounts(
            len(classes.names),
            tuple(sorted(counts, key=lambda image: image.place)),
            sum((part.confidence for part in parts), Confidence.none()),
        ),
    )


@dataclass
class _Share:
    """What one host counted; images by their place in the domain."""

    skipped: list[tuple[int, str]]
    shown: list[tuple[int, Example]]
    counts: list[ImageCounts]
    confidence: Confidence


def _score_share(
    score_fn: ScoreFn,
    domain: ScoredDomain,
    num_classes: int,
    examples: int,
    windows: Mapping[str, int],
) -> _Share:
    """Scores every so many-th image: this host's."""
    places = range(jax.process_index(), len(domain.source), jax.process_count())
    last = len(domain.source) - 1
    chosen = set(np.linspace(0, last, examples).round().astype(int).tolist())
    share = _Share([], [], [], Confidence.none())

    def skip(place: int, record: Record) -> None:
        share.skipped.append((place, record.name))
        advance()

    what, quiet = f"scored {domain.name}", not hosts.is_first()
    with progress(what, len(places), "images", quiet=quiet) as advance:
        for place, record, result in scored_records(
            score_fn, domain, places, num_classes, windows, skip
        ):
            prediction = result.argmax(2).astype(np.uint8)
            matrix = _counted(record, prediction, num_classes, domain.name)
            share.counts.append(ImageCounts.of(place, record.name, matrix))
            share.confidence += confidence(result, prediction, record.label)
            if place in chosen:
                example = record.name, record.image, record.label, prediction
                share.shown.append((place, Example(*example)))
            advance()
    return share


def scored_records(
    score_fn: ScoreFn,
    domain: ScoredDomain,
    places: Sequence[int],
    num_classes: int,
    windows: Mapping[str, int],
    skip: Callable[[int, Record], None],
) -> Iterator[tuple[int, Record, Float[np.ndarray, "_ _ K"]]]:
    """Yields some records of a domain with their scores at the label's size.

    Args:
      score_fn: as `evaluate`.
      domain: where the records are.
      places: of the records in the domain.
      num_classes: K.
      windows: crop, stride, patch and batch.
      skip: called with what could not be read.

    Raises:
      ValueError: the scores have another number of classes or are not finite.
    """
    waiting: deque[tuple[int, Record]] = deque()  # sent, scores not yet back

    def valid_images() -> Iterator[np.ndarray]:
        records = eval_records(_At(domain.source, places))
        for place, record in zip(places, records, strict=True):
            if record.valid:
                waiting.append((place, record))
                yield np.asarray(normalise(fitted_image(record.image, domain.fit)))
            else:
                skip(place, record)

    for result in stream_scores(score_fn, valid_images(), **windows):
        place, record = waiting.popleft()
        yield place, record, label_scores(result, record.label.shape, num_classes)


@dataclass(frozen=True)
class _At:
    """Some records of a source."""

    source: Source
    places: Sequence[int]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Record:
        return self.source[self.places[index]]

    @property
    def names(self) -> Sequence[str]:
        return [self.source.names[place] for place in self.places]

    def fingerprint(self) -> str:
        return f"{self.source.fingerprint()} {self.places}"


def predicted_classes(
    result: Float[np.ndarray, "H W K"], size: tuple[int, int], num_classes: int
) -> UInt8[np.ndarray, "h w"]:
    """Arg-max of averaged scores, resized bilinearly to the label's size before it."""
    return label_scores(result, size, num_classes).argmax(2).astype(np.uint8)


def label_scores(
    result: Float[np.ndarray, "H W K"], size: tuple[int, int], num_classes: int
) -> Float[np.ndarray, "h w K"]:
    """Averaged scores, resized bilinearly to the label's size.

    Raises:
      ValueError: another number of classes than expected, or not finite.
    """
    if result.shape[2] != num_classes:
        raise ValueError(
            f"got scores of {result.shape[2]} classes, expected {num_classes}: the "
            "model and the class set differ"
        )
    if not np.isfinite(result).all():  # the arg-max of nan would pass for class 0
        raise ValueError("got scores that are not finite: the training has diverged")
    return resize_on_host(result, size)


def domain_entry(result: DomainResult, classes: ClassSet) -> dict[str, Any]:
    """One domain of `report.json`: fractions of 1, None where undefined."""
    found = scores(result.confusion)
    extra = extra_scores(
        found.iou, foreground=classes.foreground, clutter=classes.clutter
    )

    def by_class(values: Float[np.ndarray, "K"]) -> dict[str, float | None]:
        return dict(zip(classes.names, map(_or_none, values.tolist()), strict=True))

    return {
        "role": result.role,
        "mIoU": _or_none(found.miou),
        **{what: _or_none(value) for what, value in extra.items()},
        "mF1": _or_none(found.mf1),
        "IoU": by_class(found.iou),
        "F1": by_class(found.f1),
        "accuracy": by_class(found.accuracy),
        "precision": by_class(found.precision),
        "overall_accuracy": _or_none(found.overall_accuracy),
        "images": result.images,
        "skipped": list(result.skipped),
        "confusion": result.confusion.tolist(),
    }


def _unseen_mean(entries: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Mean mIoU of the unseen domains; None if there is none or one is undefined."""
    mious = [e["mIoU"] for e in entries.values() if e["role"] == "unseen"]
    return mean_fraction(mious)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _check_names(names: list[str]) -> None:
    for name in names:
        if name in ("", ".", "..") or Path(name).name != name or "\\" in name:
            raise ValueError(
                f"got a domain named {name!r}, expected a plain file name: rename it"
            )
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"got domains {names}, expected at least one and no name twice: rename them"
        )


def _counted(
    record: Record, prediction: UInt8[np.ndarray, "H W"], num_classes: int, domain: str
) -> Int[np.ndarray, "K K"]:
    """One image's confusion matrix; an error names the image."""
    try:
        return confusion_matrix(record.label, prediction, num_classes)
    except ValueError as error:
        raise ValueError(f"{domain}, {record.name}: {error}") from error


def _write_picture(path: Path, result: DomainResult, classes: ClassSet) -> None:
    miou = scores(result.confusion).miou
    shown = "undefined" if math.isnan(miou) else f"{100 * miou:.1f} %"
    title = f"{result.name} ({result.role}), mIoU {shown}"
    picture = domain_picture(title, result.examples, classes.names, classes.palette)
    with whole_file(path) as place:
        picture.save(place, format="PNG")
