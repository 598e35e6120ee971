"""Scores against mmsegmentation's IoUMetric, as recorded."""

import json

import numpy as np
import pytest
from outside import FIXTURES, needs_fixtures

from crossearth_jax.scoring.metrics import confusion_matrix, confusion_metrics

PAIRS = {"A": (0, 1, 2, 3), "B": (0, 1, 2, 3), "D": (0,)}

pytestmark = needs_fixtures("metrics.npz", "metrics.json")


@pytest.fixture(scope="module")
def recorded():
    return np.load(FIXTURES / "metrics.npz")


def confusion(recorded, tag, pairs):
    predictions = "B_pred" if tag == "B" else "pred"
    return sum(
        confusion_matrix(recorded[f"label{i}"], recorded[f"{predictions}{i}"], 6)
        for i in pairs
    )


@pytest.mark.parametrize("tag", PAIRS)
def test_areas_are_equal(recorded, tag):
    matrix = confusion(recorded, tag, PAIRS[tag])
    right, true, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    np.testing.assert_array_equal(right, recorded[f"{tag}_area_intersect"])
    np.testing.assert_array_equal(true, recorded[f"{tag}_area_label"])
    np.testing.assert_array_equal(predicted, recorded[f"{tag}_area_pred"])
    union = true + predicted - right
    np.testing.assert_array_equal(union, recorded[f"{tag}_area_union"])


@pytest.mark.parametrize("tag", PAIRS)
def test_scores_are_equal(recorded, tag):
    ours = confusion_metrics(confusion(recorded, tag, PAIRS[tag]))
    for name, values in {
        "IoU": ours.iou,
        "Acc": ours.accuracy,
        "Recall": ours.accuracy,
        "Precision": ours.precision,
        "Dice": ours.f1,
        # theirs is undefined, ours 0, for a class that is predicted and never true
        "Fscore": np.where(np.isnan(ours.accuracy), np.nan, ours.f1),
        "aAcc": ours.overall_accuracy,
    }.items():
        np.testing.assert_allclose(
            values, recorded[f"{tag}_{name}"], rtol=0, atol=1e-6, err_msg=name
        )


@pytest.mark.parametrize("tag", PAIRS)
def test_reported_means_are_equal(recorded, tag):
    ours = confusion_metrics(confusion(recorded, tag, PAIRS[tag]))
    theirs = json.loads((FIXTURES / "metrics.json").read_text())[tag]
    assert round(100 * ours.miou, 2) == pytest.approx(theirs["mIoU"], abs=1e-5)
    overall = round(100 * ours.overall_accuracy, 2)
    assert overall == pytest.approx(theirs["aAcc"], abs=1e-5)
    mean_accuracy = round(100 * np.nanmean(ours.accuracy), 2)
    assert mean_accuracy == pytest.approx(theirs["mAcc"], abs=1e-5)


def test_undefined_scores_set_to_zero_are_their_nan_to_num(recorded):
    ours = confusion_metrics(confusion(recorded, "C", range(4)))
    np.testing.assert_allclose(np.nan_to_num(ours.iou), recorded["C_IoU"], atol=1e-6)
