"""Scores named domains: windows → one confusion matrix each → report and pictures.

It takes a score function and sources of records, and knows no model.
"""

import json
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import jax
import numpy as np
from jaxtyping import Float, Int, UInt8
from rich.console import Console
from rich.progress import Progress

from crossearth_jax import hosts
from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.datasets import Record, Source
from crossearth_jax.data.pipeline import eval_records
from crossearth_jax.metrics import confusion_matrix, extra_scores, scores
from crossearth_jax.normalise import normalise
from crossearth_jax.report.counts import (
    Confidence,
    DomainCounts,
    ImageCounts,
    confidence,
    write_counts,
)
from crossearth_jax.report.pictures import Example, domain_picture
from crossearth_jax.sliding import ScoreFn, stream_scores
from crossearth_jax.whole_file import whole_file

Role = Literal["source", "unseen"]
SECONDS_BETWEEN_LINES = 10.0  # of progress, where no bar can be drawn


@dataclass(frozen=True)
class ScoredDomain:
    """What to score.

    Attributes:
      name: as in the report.
      role: "source" for a held-out part of a training domain, else "unseen".
      source: its records.
      fit: pixels; images are resized to this longest edge first, see `fitted_size`.
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
      confusion: rows truth, columns prediction, over all images.
      images: how many were scored.
      skipped: names of the images that could not be read (`Record.valid` False).
      examples: evenly spaced over the domain, for its picture.
      counts: of every image, for `crossearth report`.
    """

    name: str
    role: Role
    confusion: Int[np.ndarray, "K K"]
    images: int
    skipped: tuple[str, ...]
    examples: tuple[Example, ...]
    counts: DomainCounts


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
    counts = sorted((one for part in parts for one in part.counts), key=_place)
    return DomainResult(
        domain.name,
        domain.role,
        confusion=sum(part.confusion for part in parts),
        images=sum(part.images for part in parts),
        skipped=tuple(name for _, name in in_order),
        examples=tuple(example for _, example in shown),
        counts=DomainCounts(
            len(classes.names),
            tuple(counts),
            sum((part.confidence for part in parts), Confidence.none()),
        ),
    )


def _place(image: ImageCounts) -> int:
    return image.place


@dataclass
class _Share:
    """What one host counted; images by their place in the domain."""

    confusion: Int[np.ndarray, "K K"]
    images: int
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
    empty = np.zeros((num_classes, num_classes), np.int64)
    share = _Share(empty, 0, [], [], [], Confidence.none())

    def skip(place: int, record: Record) -> None:
        share.skipped.append((place, record.name))
        advance()

    with _progress(domain.name, len(places)) as advance:
        for place, record, result in scored_records(
            score_fn, domain, places, num_classes, windows, skip
        ):
            prediction = result.argmax(2).astype(np.uint8)
            matrix = _counted(record, prediction, num_classes, domain.name)
            share.confusion += matrix
            share.images += 1
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
                yield np.asarray(normalise(_fitted(record.image, domain.fit)))
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
    return _resized(result, size)


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
    return None if not mious or None in mious else sum(mious) / len(mious)


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


def fitted_size(height: int, width: int, longest: int) -> tuple[int, int]:
    """Height and width of the same shape whose longer edge is `longest`.

    As mmsegmentation's Resize with keep_ratio, which the authors use for RescueNet:
    halves are rounded up, and a smaller image is enlarged.
    """
    scale = longest / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def _fitted(image: UInt8[np.ndarray, "H W 3"], longest: int | None) -> np.ndarray:
    if longest is None:
        return image
    return _resized(image, fitted_size(*image.shape[:2], longest))


def _resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear, half-pixel centres, no antialias; in NumPy, so no size compiles."""
    if values.shape[:2] == tuple(size):
        return values
    height, width = size
    resized = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized.reshape(height, width, values.shape[2])  # cv2 drops a single K


@contextmanager
def _progress(name: str, total: int) -> Iterator[Callable[[], None]]:
    """Gives a function to call per image: moves a bar, or prints a line at times."""
    console = Console(quiet=not hosts.is_first())
    begin = printed = time.monotonic()
    done = 0

    def line() -> None:
        nonlocal printed
        now = printed = time.monotonic()
        text = f"scored {name}: {done} of {total} images in {now - begin:.0f} s"
        console.out(text, highlight=False)

    def advance() -> None:
        nonlocal done
        done += 1
        if time.monotonic() - printed > SECONDS_BETWEEN_LINES and done < total:
            line()

    if not console.is_terminal:
        yield advance
        line()
        return
    with Progress(console=console) as bar:
        task = bar.add_task(f"scoring {name}", total=total)
        yield lambda: bar.advance(task)


def _write_picture(path: Path, result: DomainResult, classes: ClassSet) -> None:
    miou = scores(result.confusion).miou
    shown = "undefined" if math.isnan(miou) else f"{100 * miou:.1f} %"
    title = f"{result.name} ({result.role}), mIoU {shown}"
    picture = domain_picture(title, result.examples, classes.names, classes.palette)
    with whole_file(path) as place:
        picture.save(place, format="PNG")
