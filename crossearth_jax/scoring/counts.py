"""What scoring keeps of every image: `counts/DOMAIN.npz`, small enough to keep.

A confusion matrix per image, of which only the cells that are not zero are kept, and
the pixels of the domain by the model's confidence. A report finds the images worth
looking at from it, and scores none of them again.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num, UInt8

from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.system.read_json import parse_json
from crossearth_jax.system.read_npz import read_npz
from crossearth_jax.system.whole_file import whole_file

BINS = 20  # of confidence, each 5 % wide
MOST_IMAGES = 200_000  # of a domain that is read back


@dataclass(frozen=True)
class Confidence:
    """Pixels by the confidence of their prediction, in `BINS` equal steps of 0 to 1.

    Attributes:
      pixels: how many.
      right: how many of them have the true class.
      total: sum of their confidences.
    """

    pixels: Int[np.ndarray, "N"]
    right: Int[np.ndarray, "N"]
    total: Float[np.ndarray, "N"]

    @classmethod
    def none(cls) -> "Confidence":
        """No pixel yet."""
        zeros = np.zeros(BINS, np.int64)
        return cls(zeros, zeros.copy(), np.zeros(BINS))

    def __add__(self, other: "Confidence") -> "Confidence":
        """The pixels of both."""
        return Confidence(
            self.pixels + other.pixels,
            self.right + other.right,
            self.total + other.total,
        )

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean of |right - confidence| over pixels.

        Of bins, weighted by their pixels (Guo et al. 2017, equation 3); nan without
        pixels.
        """
        if not self.pixels.sum():
            return float("nan")
        return float(np.abs(self.right - self.total).sum() / self.pixels.sum())


def confidence(
    scores: Float[np.ndarray, "H W K"],
    prediction: UInt8[np.ndarray, "H W"],
    truth: UInt8[np.ndarray, "H W"],
) -> Confidence:
    """Counts one image's annotated pixels by the winning class's share of the scores.

    Args:
      scores: of every class, at the label's size; what is negative counts as 0.
      prediction: their arg-max.
      truth: class ids, 255 where nothing is annotated.
    """
    floor = np.maximum(scores, 0)
    total = floor.sum(2)
    share = np.divide(floor.max(2), total, out=np.zeros_like(total), where=total > 0)
    counted = truth != IGNORE
    share, right = share[counted], (prediction == truth)[counted]
    place = np.minimum((share * BINS).astype(np.int64), BINS - 1)
    return Confidence(
        np.bincount(place, minlength=BINS),
        np.bincount(place[right], minlength=BINS),
        np.bincount(place, share.astype(np.float64), minlength=BINS),
    )


@dataclass(frozen=True)
class ImageCounts:
    """One image: its place in the domain, its name, and its cells that are not 0."""

    place: int
    name: str
    cells: Int[np.ndarray, "n"]  # K * truth + prediction
    pixels: Int[np.ndarray, "n"]

    @classmethod
    def of(
        cls, place: int, name: str, confusion: Int[np.ndarray, "K K"]
    ) -> "ImageCounts":
        """From a confusion matrix."""
        cells = np.flatnonzero(confusion)
        return cls(place, name, cells, confusion.ravel()[cells])


@dataclass(frozen=True)
class DomainCounts:
    """The images of one domain.

    Attributes:
      num_classes: K.
      images: those that could be read, in the order of the domain.
      confidence: of all their pixels.
    """

    num_classes: int
    images: tuple[ImageCounts, ...]
    confidence: Confidence

    def confusion(self, index: int) -> Int[np.ndarray, "K K"]:
        """Rows truth, columns prediction, of one image."""
        matrix = np.zeros(self.num_classes**2, np.int64)
        matrix[self.images[index].cells] = self.images[index].pixels
        return matrix.reshape(self.num_classes, self.num_classes)

    def total(self) -> Int[np.ndarray, "K K"]:
        """Rows truth, columns prediction, over all images."""
        matrix = np.zeros(self.num_classes**2, np.int64)
        for image in self.images:
            matrix[image.cells] += image.pixels
        return matrix.reshape(self.num_classes, self.num_classes)

    @cached_property
    def margins(self) -> tuple[Num[np.ndarray, "I K"], ...]:
        """Per image and class: true and found pixels, and those that are right."""
        shape = len(self.images), self.num_classes
        true, found, right = (np.zeros(shape) for _ in range(3))
        for row, image in enumerate(self.images):
            of, to = np.divmod(image.cells, self.num_classes)
            np.add.at(true[row], of, image.pixels)
            np.add.at(found[row], to, image.pixels)
            np.add.at(right[row], of[of == to], image.pixels[of == to])
        return true, found, right

    def own_miou(self) -> Float[np.ndarray, "I"]:
        """Each image's mIoU by itself, over the classes it shows; nan for none."""
        return _miou(*self.margins)

    def costs(self) -> Float[np.ndarray, "I"]:
        """By how much the domain's mIoU would rise without an image."""
        whole = [one.sum(0, keepdims=True) for one in self.margins]
        without = [w - one for w, one in zip(whole, self.margins, strict=True)]
        return np.nan_to_num(_miou(*without) - _miou(*whole))


def _miou(
    true: Num[np.ndarray, "I K"],
    found: Num[np.ndarray, "I K"],
    right: Num[np.ndarray, "I K"],
) -> Float[np.ndarray, "I"]:
    """Means over the defined classes."""
    union = true + found - right
    iou = np.divide(right, union, out=np.zeros(union.shape), where=union > 0)
    defined = (union > 0).sum(1)
    undefined = np.full(len(union), np.nan)
    return np.divide(iou.sum(1), defined, out=undefined, where=defined > 0)


def write_counts(folder: Path, name: str, counts: DomainCounts) -> None:
    """Writes `folder/NAME.npz`: a few kilobytes per hundred images."""
    images = counts.images
    cells = [image.cells for image in images]
    pixels = [image.pixels for image in images]
    empty = np.zeros(0, np.int64)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / f"{name}.npz") as place, place.open("wb") as file:
        np.savez_compressed(
            file,
            num_classes=np.int64(counts.num_classes),
            names=np.frombuffer(json.dumps([i.name for i in images]).encode(), "u1"),
            places=np.array([i.place for i in images], np.int64),
            lengths=np.array([len(one) for one in cells], np.int64),
            cells=np.concatenate([empty, *cells]).astype(np.uint16),
            pixels=np.concatenate([empty, *pixels]).astype(np.uint32),
            bin_pixels=counts.confidence.pixels,
            bin_right=counts.confidence.right,
            bin_total=counts.confidence.total,
        )


def read_counts(folder: Path, name: str) -> DomainCounts | None:
    """Reads what `write_counts` wrote; None where there is no such file.

    Raises:
      ValueError: the file is damaged.
    """
    path = folder / f"{name}.npz"
    if not path.is_file():
        return None
    try:
        held = read_npz(path)
        names: Sequence[str] = parse_json(held["names"].tobytes())
        _check(held, names)
        bins = (held[f"bin_{what}"] for what in ("pixels", "right", "total"))
        return DomainCounts(
            int(held["num_classes"]), tuple(_images(names, held)), Confidence(*bins)
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"got {path}, which cannot be read ({error}), expected the counts of a "
            "scoring: score the run again with `crossearth eval`"
        ) from error


def _check(held: dict[str, np.ndarray], names: Any) -> None:
    """Raises `ValueError` for arrays that are not what `write_counts` writes."""
    texts = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not texts or len(names) > MOST_IMAGES:
        raise ValueError(f"expected a list of at most {MOST_IMAGES:,} names")
    for key in ("places", "lengths", "cells", "pixels"):
        if held[key].dtype.kind not in "iu" or held[key].ndim != 1:
            raise ValueError(f"{key} are no list of counts")
        if held[key].min(initial=0) < 0:
            raise ValueError(f"{key} are negative")
    classes = held["num_classes"]
    if classes.dtype.kind not in "iu" or classes.shape or not 0 < classes < IGNORE + 1:
        raise ValueError("its number of classes is none")
    if not len(held["places"]) == len(held["lengths"]) == len(names):
        raise ValueError("its lists have different lengths")
    # Python's sum does not wrap round.
    total = sum(held["lengths"].tolist())
    if not total == len(held["cells"]) == len(held["pixels"]):
        raise ValueError("its lists have different lengths")
    if held["cells"].max(initial=0) >= int(classes) ** 2:
        raise ValueError("it counts classes that there are not")
    for what in ("pixels", "right", "total"):
        bins = held[f"bin_{what}"]
        sound = bins.dtype.kind in "iuf" and bins.shape == (BINS,)
        if not sound or not np.isfinite(bins).all():
            raise ValueError(f"bin_{what} are not {BINS} numbers")


def _images(names: Sequence[str], held: dict[str, np.ndarray]) -> Iterable[ImageCounts]:
    ends = np.cumsum(held["lengths"])[:-1]
    # As stored, 6 bytes a cell; as int64 a file of 30 MB would take 80.
    cells, pixels = (np.split(held[key], ends) for key in ("cells", "pixels"))
    for i, name in enumerate(names):
        yield ImageCounts(int(held["places"][i]), name, cells[i], pixels[i])
