"""One arithmetic for values of all types, whichever way it is computed."""

import numpy as np
import pytest

from crossearth_jax.pixels.scaling import pairs_of, scaled, scaled_bands, to_8_bits

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "kind", ["u1", "<u2", ">u2", "<i2", ">i2", "<i4", "<f4", "<f8"]
)
@pytest.mark.parametrize("pair", [(0, 4000), (-50.5, 120), (7, 7)])
def test_tables_and_small_images_give_what_the_formula_gives(kind, pair):
    values = (RNG.random((300, 300, 1)) * 9000 - 300).astype("f8")
    info = np.iinfo(kind) if kind[-2] in "ui" else None
    values = values if info is None else values.clip(info.min, info.max)
    values = values.astype(kind)
    low, high = pair
    share = (values.astype(np.float64) - low) / max(high - low, 1e-12)
    expected = np.rint((share * 255).clip(0, 255).astype(np.float32))
    found = scaled_bands(values, [pair])
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(scaled_bands(values[:9, :9], [pair]), found[:9, :9])
    np.testing.assert_array_equal(to_8_bits(scaled(values, *pair)), found)


def test_bands_have_their_own_limits_and_nan_is_0():
    values = np.array([[[0.5, 50, np.nan], [2, -1, np.inf]]], np.float32)
    found = scaled_bands(values, [(0, 1), (0, 100), (0, 1)])
    np.testing.assert_array_equal(found, [[[128, 128, 0], [255, 0, 255]]])


def test_pairs():
    assert pairs_of((0, 9), 3) == ((0, 9),) * 3 == pairs_of([(0, 9)], 3)
    assert pairs_of(((0, 1), (0, 2)), 2) == ((0, 1), (0, 2))
    with pytest.raises(ValueError, match=r"got 2 pairs of LOW,HIGH for 3 band"):
        pairs_of(((0, 1), (0, 2)), 3)
