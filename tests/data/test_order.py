"""Unequal folders and rare classes: shares, and what holds for every order."""

import math

import numpy as np
import pytest

from crossearth_jax.data.order import ByClass, ByFolder, EveryRecord, make_order

SIZES = (3, 12, 5)
PIXELS = np.zeros((20, 3), np.int64)
PIXELS[:, 0] = 100
PIXELS[3:15, 0] = 700
PIXELS[[2, 7, 16], 1] = 20
FOLDER = np.repeat([0, 1, 2], SIZES)


def drawn(order, count, seed=3):
    return taken(order.stream(seed), count)


def taken(stream, count):
    return [int(stream[i]) for i in range(count)]


def made(**settings):
    return make_order(SIZES, PIXELS, **settings)


ORDERS = {
    "images": made(),
    "sources": made(balance="sources"),
    "pixels": made(balance="pixels"),
    "classes": made(rare_class_sampling=0.1),
    "both": made(rare_class_sampling=0.1, balance="sources"),
}


@pytest.mark.parametrize("name", ORDERS)
def test_the_order_follows_from_seed_and_position(name):
    order = ORDERS[name]
    whole = drawn(order, 60)
    assert whole[:30] != drawn(order, 30, seed=4)
    stream = order.stream(3)
    assert taken(stream[40:], 20) == whole[40:]  # resumed
    for host in (0, 1):  # hosts take turns
        assert taken(stream[host::2], 10) == whole[host:20:2]


def test_the_usual_order_takes_each_record_once_in_an_epoch():
    assert made() == EveryRecord(20)
    assert sorted(drawn(made(), 20)) == list(range(20))
    with pytest.raises(ValueError, match="without records"):
        EveryRecord(0).stream(3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("balance", "shares"),
    [("sources", (1, 1, 1)), ("pixels", (320, 8420, 520))],
)
def test_folders_come_by_their_shares(balance, shares):
    order = made(balance=balance)
    assert order == ByFolder(SIZES, tuple(map(float, shares)))
    count = np.bincount(drawn(order, 300), minlength=20)
    found = np.bincount(FOLDER, count) / 300
    np.testing.assert_allclose(found, np.array(shares) / sum(shares), atol=0.01)
    for folder in range(3):  # in which all records come alike
        assert np.ptp(count[folder == FOLDER]) <= 1


def test_a_folder_without_a_labelled_pixel_never_comes_by_pixels():
    pixels = np.where(FOLDER[:, None] == 1, 0, PIXELS)
    order = make_order(SIZES, pixels, balance="pixels")
    assert set(FOLDER[drawn(order, 40)]) == {0, 2}


def test_rare_classes_are_drawn_as_daformer_does():
    """P(c) = exp((1 - f_c) / T) / Σ, and never a class that no record holds."""
    order = made(rare_class_sampling=0.5)
    total = PIXELS.sum()
    shares = [PIXELS[:, 0].sum() / total, PIXELS[:, 1].sum() / total]
    weights = [math.exp((1 - f) / 0.5) for f in shares]
    expected = [w / sum(weights) for w in weights]
    np.testing.assert_allclose(order.probabilities(), [*expected, 0])

    # Class 0 is in all records, class 1 in three.
    found = np.bincount(drawn(order, 4000), minlength=20) / 4000
    each = np.full(20, expected[0] / 20)
    each[[2, 7, 16]] += expected[1] / 3
    np.testing.assert_allclose(found, each, atol=0.02)


def test_a_small_temperature_takes_the_rarest_class_alone():
    order = made(rare_class_sampling=1e-4)
    np.testing.assert_array_equal(order.probabilities(), [0, 1, 0])
    assert set(drawn(order, 200)) == {2, 7, 16}


def test_balance_weighs_the_records_that_hold_a_class():
    """Folders 0, 1 and 2 have one record each of the rare class, of 3, 12 and 5."""
    order = made(rare_class_sampling=1e-4, balance="sources")
    found = np.bincount(drawn(order, 4000), minlength=20)[[2, 7, 16]] / 4000
    expected = np.array([1 / 3, 1 / 12, 1 / 5])
    np.testing.assert_allclose(found, expected / expected.sum(), atol=0.03)
    assert isinstance(order, ByClass)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"balance": "folders"}, r"data.balance='folders', expected images, pixels"),
        ({"rare_class_sampling": 0.0}, r"expected a temperature above 0"),
        ({"rare_class_sampling": float("nan")}, r"expected a temperature above 0"),
    ],
)
def test_settings_that_mean_nothing(settings, message):
    with pytest.raises(ValueError, match=message):
        made(**settings)


@pytest.mark.parametrize("asked", [{"balance": "pixels"}, {"rare_class_sampling": 1.0}])
def test_pixels_have_to_be_counted(asked):
    with pytest.raises(ValueError, match=r"set data\.check_labels=True"):
        make_order(SIZES, None, **asked)
    with pytest.raises(ValueError, match="without a pixel of any class"):
        make_order(SIZES, PIXELS * 0, **asked)
    assert make_order(SIZES, None, balance="sources") == ORDERS["sources"]
