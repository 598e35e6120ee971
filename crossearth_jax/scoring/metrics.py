"""Metrics of a domain, all from one confusion matrix (benchmarks, "Scoring")."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from crossearth_jax.pixels.labels import IGNORE

BINS = 256  # every value a uint8 label can have


def confusion_matrix(
    truth: UInt8[np.ndarray, "H W"],
    prediction: UInt8[np.ndarray, "h w"],
    num_classes: int,
    ignore: int = IGNORE,
) -> Int[np.ndarray, "K K"]:
    """Counts pixels by (true class, predicted class); add matrices to pool images.

    Args:
      truth: class ids; pixels of value `ignore` are not counted.
      prediction: class ids, of the truth's shape.
      num_classes: K.
      ignore: the label value that means "not annotated".

    Raises:
      ValueError: the shapes differ, or a counted pixel has an id of K or more.
    """
    if truth.shape != prediction.shape:
        raise ValueError(
            f"got a truth of {truth.shape} and a prediction of {prediction.shape}, "
            "expected one shape: resize the scores to the label before the arg-max"
        )
    pair = truth.ravel().astype(np.uint16) * BINS + prediction.ravel()
    counts = np.bincount(pair, minlength=BINS * BINS).reshape(BINS, BINS)
    counts[ignore] = 0
    for what, seen in (("label", counts.sum(1)), ("prediction", counts.sum(0))):
        stray = np.flatnonzero(seen[num_classes:]) + num_classes
        if stray.size:
            raise ValueError(
                f"got {what} values {stray.tolist()}, expected 0 to {num_classes - 1} "
                f"or {ignore} (ignored): check the classes against the label files"
            )
    return counts[:num_classes, :num_classes].astype(np.int64)


@dataclass(frozen=True)
class ConfusionMetrics:
    """Fractions of 1, float64; nan where a class leaves one undefined.

    Attributes:
      iou: per class; nan if the class is in neither truth nor prediction, and 0 if
        it is predicted but nowhere true.
      accuracy: per class, the share of its true pixels that was found (recall).
      precision: per class, the share of its predicted pixels that is right.
      f1: per class, equal to Dice; defined wherever `iou` is.
      miou: mean of the defined `iou`; nan without any.
      mf1: mean of the defined `f1`; nan without any.
      overall_accuracy: share of all counted pixels that is right.
    """

    iou: Float[np.ndarray, "K"]
    accuracy: Float[np.ndarray, "K"]
    precision: Float[np.ndarray, "K"]
    f1: Float[np.ndarray, "K"]
    miou: float
    mf1: float
    overall_accuracy: float


def confusion_metrics(confusion: Int[np.ndarray, "K K"]) -> ConfusionMetrics:
    """Metrics of a confusion matrix with rows for the truth."""
    right = np.diag(confusion)
    true, predicted = confusion.sum(1), confusion.sum(0)
    iou = _ratio(right, true + predicted - right)
    f1 = _ratio(2 * right, true + predicted)
    return ConfusionMetrics(
        iou=iou,
        accuracy=_ratio(right, true),
        precision=_ratio(right, predicted),
        f1=f1,
        miou=_mean(iou),
        mf1=_mean(f1),
        overall_accuracy=float(_ratio(right.sum()[None], true.sum()[None])[0]),
    )


def extra_metrics(
    iou: Float[np.ndarray, "K"],
    *,
    foreground: int | None = None,
    clutter: int | None = None,
) -> dict[str, float]:
    """What a class set is also scored by, on the same confusion matrix.

    Args:
      iou: per class, `ConfusionMetrics.iou`.
      foreground: id of the one class of interest: gives "foreground_IoU", its IoU.
      clutter: id of the left-over class: gives "mIoU_without_clutter". Only the class
        is left out of the mean. Its pixels stay counted, so that calling clutter a
        car is still an error and the other classes keep the IoU they are listed with.
    """
    found = {}
    if foreground is not None:
        found["foreground_IoU"] = float(iou[foreground])
    if clutter is not None:
        found["mIoU_without_clutter"] = _mean(np.delete(iou, clutter))
    return found


def or_none(value: float) -> float | None:
    """A score as JSON has it: None where it is undefined."""
    return None if math.isnan(value) else value


def by_class(
    values: Float[np.ndarray, "K"], names: Sequence[str]
) -> dict[str, float | None]:
    """Scores of classes by name, each as `or_none`."""
    return dict(zip(names, map(or_none, values.tolist()), strict=True))


def _mean(values: Float[np.ndarray, "K"]) -> float:
    """Of the defined values; nan without one."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _ratio(
    part: Int[np.ndarray, "N"], whole: Int[np.ndarray, "N"]
) -> Float[np.ndarray, "N"]:
    """Part / whole, nan where whole is 0."""
    undefined = np.full(whole.shape, np.nan)
    return np.divide(part, whole, out=undefined, where=whole > 0)
