"""Scores one named domain: records → windows → one confusion matrix per image."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, Int, UInt8

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.datasets import Record, Role, ScoredDomain, Source
from crossearth_jax.data.pipeline import eval_records
from crossearth_jax.pixels.normalise import normalise
from crossearth_jax.pixels.resample_host import fitted_image, resize_on_host
from crossearth_jax.scoring.counts import (
    Confidence,
    DomainCounts,
    ImageCounts,
    confidence,
)
from crossearth_jax.scoring.metrics import confusion_matrix
from crossearth_jax.scoring.sliding import stream_scores
from crossearth_jax.scoring.windows import ScoreFn, Windows
from crossearth_jax.system import hosts
from crossearth_jax.system.progress import progress


@dataclass(frozen=True)
class Example:
    """One scored image as it was read: uint8 RGB, and class ids at label size."""

    name: str
    image: UInt8[np.ndarray, "H W 3"]
    truth: UInt8[np.ndarray, "h w"]
    prediction: UInt8[np.ndarray, "h w"]


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


def evaluate_domain(
    score_fn: ScoreFn,
    domain: ScoredDomain,
    *,
    classes: ClassSet,
    windows: Windows,
    examples: int = 4,
) -> DomainResult:
    """Counts one domain's pixels; see `evaluate` for the arguments.

    Raises:
      ValueError: the source is empty, the scores have another number of classes, or
        a label value is not a class.
    """
    if len(domain.source) == 0:
        raise ValueError(f"got no images in domain {domain.name!r}: check it")
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
    windows: Windows,
) -> _Share:
    """Scores every n-th image: this host's share."""
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
    windows: Windows,
    skip: Callable[[int, Record], None],
) -> Iterator[tuple[int, Record, Float[np.ndarray, "_ _ K"]]]:
    """Yields some records of a domain with their scores at the label's size.

    Args:
      score_fn: as `evaluate`.
      domain: where the records are.
      places: of the records in the domain.
      num_classes: K.
      windows: their sizes.
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

    for result in stream_scores(score_fn, valid_images(), windows):
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


def _counted(
    record: Record, prediction: UInt8[np.ndarray, "H W"], num_classes: int, domain: str
) -> Int[np.ndarray, "K K"]:
    """One image's confusion matrix; an error names the image."""
    try:
        return confusion_matrix(record.label, prediction, num_classes)
    except ValueError as error:
        raise ValueError(f"{domain}, {record.name}: {error}") from error
