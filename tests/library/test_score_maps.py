"""`crossearth_jax.score`, and what importing the package costs."""

import subprocess
import sys

import numpy as np
import pytest

import crossearth_jax as ce

NAMES = ("field", "water", "wood")
TRUTH = np.array([[0, 0, 1, 1], [1, 2, 255, 255]], np.uint8)
FOUND = np.array([[0, 1, 1, 1], [1, 0, 2, 0]], np.uint8)


def test_scores_of_one_map():
    scores = ce.score(FOUND, TRUTH, NAMES)
    assert isinstance(scores, ce.Scores) and scores.classes == NAMES
    np.testing.assert_array_equal(scores.confusion, [[1, 1, 0], [0, 3, 0], [1, 0, 0]])
    np.testing.assert_allclose(scores.iou, [1 / 3, 3 / 4, 0])
    assert scores.miou == pytest.approx(13 / 36)
    assert scores.overall_accuracy == pytest.approx(4 / 6)


def test_sums_score_maps_together():
    one, other = np.zeros((1, 2), int), np.array([[0, 1]])
    both = ce.score(one, one, NAMES) + ce.score(other, np.ones((1, 2), int), NAMES)
    np.testing.assert_array_equal(both.confusion, [[2, 0, 0], [1, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(both.iou, [2 / 3, 1 / 2, np.nan])
    assert both.miou == pytest.approx(7 / 12)
    with pytest.raises(ValueError, match="expected one list of classes"):
        _ = both + ce.score(one, one, ["a", "b", "c"])
    with pytest.raises(TypeError):
        _ = both + 1


def test_nothing_annotated_is_undefined():
    nothing = ce.score(np.zeros((2, 2), int), np.full((2, 2), 255), NAMES)
    assert np.isnan([nothing.miou, nothing.overall_accuracy, *nothing.iou]).all()


@pytest.mark.parametrize(
    ("found", "truth", "classes", "said"),
    [
        (FOUND[:1], TRUTH, NAMES, r"shape \(1, 4\) and a truth of \(2, 4\)"),
        (FOUND / 1, TRUTH, NAMES, "prediction of type float64, .*: cast it"),
        (np.zeros((2, 4, 3)), TRUTH, NAMES, "arg-max over the classes"),
        (FOUND, TRUTH > 0, NAMES, "truth of type bool"),
        (FOUND, None, NAMES, "truth of type object"),
        (FOUND.astype(int) - 1, TRUTH, NAMES, "prediction with the value -1"),
        (FOUND, TRUTH.astype(int) * 2, NAMES, "truth with the value 510"),
        (FOUND + 2, TRUTH, NAMES, r"prediction values \[3\]"),
        (np.full((2, 4), 255), TRUTH, NAMES, r"prediction values \[255\]"),
        (FOUND[0], TRUTH[0], NAMES, r"shape \(4,\), expected rows and columns"),
        (FOUND[:0], TRUTH[:0], NAMES, r"shape \(0, 4\)"),
        (FOUND, TRUTH, "abc", "got classes 'abc', expected 1 to 255 names"),
        (FOUND, TRUTH, [], "names that differ"),
        (FOUND, TRUTH, ["a", "a"], "names that differ"),
        (FOUND, TRUTH, [1, 2], "names that differ"),
        (FOUND, TRUTH, ["a", "b"], r"values \[2\], expected 0 to 1"),
    ],
)
def test_what_cannot_be_scored_is_one_line(found, truth, classes, said):
    with pytest.raises(ValueError, match=said) as caught:
        ce.score(found, truth, classes)
    assert "\n" not in str(caught.value)


def test_importing_the_package_brings_nothing_heavy():
    script = (
        "import sys, crossearth_jax\n"
        "assert not {'jax', 'numpy', 'absl'} & set(sys.modules)\n"
        "assert set(crossearth_jax.__all__) <= set(dir(crossearth_jax))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_names_that_are_not_there_are_attribute_errors():
    assert all(hasattr(ce, name) for name in ce.__all__)
    with pytest.raises(AttributeError, match="no attribute 'predict_all'"):
        _ = ce.predict_all
