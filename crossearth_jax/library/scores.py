"""Scores of class maps against the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int, Integer
from numpy.typing import ArrayLike

from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.scoring.metrics import (
    ConfusionMetrics,
    confusion_matrix,
    confusion_metrics,
)


@dataclass(frozen=True, eq=False)
class Scores:
    """What `score` finds; the sum of those of several images scores them together.

    Attributes:
      classes: names of the K classes.
      confusion: pixels, int64 [K, K]: rows truth, columns prediction.
    """

    classes: tuple[str, ...]
    confusion: Int[np.ndarray, "K K"]

    @property
    def iou(self) -> Float[np.ndarray, "K"]:
        """Intersection over union of each class, 0-1, float64.

        nan where a class is in neither truth nor prediction.
        """
        return self._metrics.iou

    @property
    def miou(self) -> float:
        """Mean of the defined `iou`, 0-1; nan without any."""
        return self._metrics.miou

    @property
    def overall_accuracy(self) -> float:
        """Share of the annotated pixels that are right, 0-1; nan without any."""
        return self._metrics.overall_accuracy

    @cached_property
    def _metrics(self) -> ConfusionMetrics:
        return confusion_metrics(self.confusion)

    def __add__(self, other: "Scores") -> "Scores":
        """The pixels of both.

        Raises:
          ValueError: their classes differ.
        """
        if not isinstance(other, Scores):
            return NotImplemented
        if self.classes != other.classes:
            raise ValueError(
                f"got scores of {self.classes} and of {other.classes}, expected one "
                "list of classes: score both with it"
            )
        return Scores(self.classes, self.confusion + other.confusion)


def score(prediction: ArrayLike, truth: ArrayLike, classes: Sequence[str]) -> Scores:
    """Compares a class map with the truth.

    Args:
      prediction: class ids [H, W], whole numbers from 0 to K - 1.
      truth: class ids [H, W]; 255 where nothing is annotated, which is not counted.
      classes: names of the K classes, in the order of their ids.

    Raises:
      ValueError: arrays are not of whole numbers, their shapes differ, or an id has no
        class.
    """
    names = _names(classes)
    found, wanted = _ids("prediction", prediction), _ids("truth", truth)
    if found.shape != wanted.shape:
        raise ValueError(
            f"got a prediction of shape {found.shape} and a truth of {wanted.shape}, "
            "expected one shape: bring them to the same pixels first"
        )
    return Scores(names, confusion_matrix(wanted, found, len(names)))


def _names(classes: Sequence[str]) -> tuple[str, ...]:
    names = () if isinstance(classes, str | bytes) else tuple(classes)
    sound = all(isinstance(name, str) for name in names)
    if not (sound and 0 < len(names) <= IGNORE and len(set(names)) == len(names)):
        raise ValueError(
            f"got classes {classes!r:.80}, expected 1 to {IGNORE} names that differ, "
            'such as ["water", "forest"], or the `classes` of a run'
        )
    return names


def _ids(what: str, values: ArrayLike) -> Integer[np.ndarray, "H W"]:
    """Whole numbers as uint8; none of them is lost."""
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        fix = "take the arg-max over the classes first" if array.ndim > 2 else "cast it"
        raise ValueError(
            f"got a {what} of type {array.dtype}, expected whole numbers: {fix}"
        )
    if array.ndim != 2 or not array.size:
        raise ValueError(
            f"got a {what} of shape {array.shape}, expected rows and columns: score "
            "images one by one, and add what comes out"
        )
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > IGNORE:
        stray = low if low < 0 else high
        raise ValueError(
            f"got a {what} with the value {stray}, expected class ids, or {IGNORE} "
            "where nothing is annotated: change it"
        )
    return array.astype(np.uint8)
