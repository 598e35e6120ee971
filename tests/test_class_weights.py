"""`loss.class_weights`: given, or by the pixels of the labels."""

import dataclasses

import numpy as np
import pytest

from crossearth_jax.build_data import Data, inverse_frequency, weighted
from crossearth_jax.config import default
from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.synthetic.source import SyntheticSource
from crossearth_jax.run_settings import read_settings

CLASSES = ClassSet(("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
PIXELS = np.array([[60, 0, 0], [20, 20, 0]])
DATA = Data(CLASSES, SyntheticSource("sub", 1, seed=0), (), None, PIXELS)


def settings(weights):
    config = default()
    config.loss.class_weights = weights
    return read_settings(config)


def weights_of(given, data=DATA):
    return weighted(settings(given), data).objective.segmentation.class_weights


def test_none_are_the_papers_and_numbers_are_taken():
    assert weights_of(None) is None
    assert weights_of((1, 4.5, 2)) == (1.0, 4.5, 2.0)


def test_a_class_with_its_share_of_the_pixels_weighs_1():
    """n / (C n_c): 80 and 20 pixels of two classes; the third is not there."""
    assert weights_of("inverse_frequency") == (100 / 160, 100 / 40, 1.0)
    assert inverse_frequency(np.array([[7, 7, 7]])) == (1.0, 1.0, 1.0)
    shares = PIXELS.sum(0) / PIXELS.sum()
    assert shares @ weights_of("inverse_frequency") == pytest.approx(1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((1, 2), r"of 2 numbers, expected 3, one for each of a, b, c"),
        ((1, 0, 2), r"expected a number above 0 for each class, such as 1,4.5, or"),
        ((1, "x", 2), r"expected a number above 0"),
        ((1, float("nan"), 2), r"expected a number above 0"),
        ("frequency", r'got loss.class_weights=.frequency., .*"inverse_frequency"'),
    ],
)
def test_weights_that_mean_nothing(given, message):
    with pytest.raises(ValueError, match=message):
        weights_of(given)


def test_labels_have_to_be_counted():
    with pytest.raises(ValueError, match=r"got loss.class_weights without counts"):
        weights_of("inverse_frequency", dataclasses.replace(DATA, pixels=None))
