import numpy as np
import pytest

from crossearth_jax.scoring.metrics import (
    confusion_matrix,
    confusion_metrics,
    extra_metrics,
)


def labels(*rows):
    return np.array(rows, np.uint8)


def test_confusion_matrix_counts_truth_in_rows_and_leaves_out_ignored():
    truth = labels([0, 0, 1, 255], [2, 2, 2, 255])
    prediction = labels([0, 1, 1, 0], [2, 2, 0, 2])
    expected = [[1, 1, 0], [0, 1, 0], [1, 0, 2]]
    got = confusion_matrix(truth, prediction, 3)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, expected)


def test_confusion_matrix_equals_a_loop():
    rng = np.random.default_rng(0)
    truth = rng.choice(np.uint8([0, 1, 2, 3, 255]), (17, 23))
    prediction = rng.integers(0, 4, (17, 23), np.uint8)
    expected = np.zeros((4, 4), int)
    for t, p in zip(truth.flat, prediction.flat, strict=True):
        if t != 255:
            expected[t, p] += 1
    np.testing.assert_array_equal(confusion_matrix(truth, prediction, 4), expected)


def test_another_ignore_value():
    got = confusion_matrix(labels([0, 1, 1]), labels([1, 1, 2]), 3, ignore=0)
    np.testing.assert_array_equal(got, [[0, 0, 0], [0, 1, 1], [0, 0, 0]])


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([[0, 7]], [[0, 1]], r"label values \[7\], expected 0 to 2 or 255"),
        ([[0, 1]], [[0, 3]], r"prediction values \[3\]"),
        ([[0, 1]], [[0], [1]], "expected one shape"),
    ],
)
def test_bad_maps_are_refused(truth, prediction, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(labels(*truth), labels(*prediction), 3)


def test_stray_prediction_under_an_ignored_label_does_not_count():
    assert confusion_matrix(labels([255, 0]), labels([9, 0]), 1).tolist() == [[1]]


def test_scores_by_hand():
    found = confusion_metrics(np.array([[6, 2], [1, 11]]))
    np.testing.assert_allclose(found.iou, [6 / 9, 11 / 14])
    np.testing.assert_allclose(found.accuracy, [6 / 8, 11 / 12])
    np.testing.assert_allclose(found.precision, [6 / 7, 11 / 13])
    np.testing.assert_allclose(found.f1, [12 / 15, 22 / 25])
    assert found.miou == pytest.approx((6 / 9 + 11 / 14) / 2)
    assert found.mf1 == pytest.approx((12 / 15 + 22 / 25) / 2)
    assert found.overall_accuracy == pytest.approx(17 / 20)


def test_absent_class_is_left_out_but_a_false_alarm_counts_as_zero():
    absent = confusion_metrics(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    assert np.isnan(absent.iou[2]) and np.isnan(absent.f1[2])
    assert absent.miou == pytest.approx((3 / 4 + 4 / 5) / 2)
    alarm = confusion_metrics(np.array([[3, 0, 1], [0, 4, 0], [0, 0, 0]]))
    assert alarm.iou[2] == alarm.f1[2] == alarm.precision[2] == 0
    assert np.isnan(alarm.accuracy[2])
    assert alarm.miou == pytest.approx((3 / 4 + 1 + 0) / 3)


def test_nothing_counted_is_undefined_without_a_warning(recwarn):
    empty = confusion_metrics(np.zeros((2, 2), np.int64))
    assert np.isnan([empty.miou, empty.mf1, empty.overall_accuracy, *empty.iou]).all()
    assert not recwarn.list


def test_counts_stay_exact_above_float32():
    found = confusion_metrics(np.array([[2**24 + 1, 0], [0, 1]]))
    assert found.iou[0] == 1
    assert confusion_metrics(np.array([[2**24, 1], [0, 1]])).overall_accuracy < 1


def test_extra_scores_are_those_of_the_same_matrix():
    """Clutter leaves the mean only: its pixels still lower what was called wrongly."""
    iou = confusion_metrics(np.array([[6, 0, 0], [0, 5, 3], [1, 2, 4]])).iou
    np.testing.assert_allclose(iou, [6 / 7, 5 / 10, 4 / 10])
    assert extra_metrics(iou) == {}
    assert extra_metrics(iou, foreground=1) == {"foreground_IoU": 0.5}
    found = extra_metrics(iou, clutter=2)
    assert found == {"mIoU_without_clutter": pytest.approx((6 / 7 + 5 / 10) / 2)}


def test_extra_scores_of_absent_classes():
    iou = np.array([np.nan, 0.25, np.nan])
    assert np.isnan(extra_metrics(iou, foreground=0)["foreground_IoU"])
    assert extra_metrics(iou, clutter=2)["mIoU_without_clutter"] == 0.25
    assert np.isnan(extra_metrics(iou, clutter=1)["mIoU_without_clutter"])
