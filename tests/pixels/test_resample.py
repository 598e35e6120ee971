"""Resampling; the comparison with PyTorch is in tests/parity."""

import jax.numpy as jnp
import numpy as np
import pytest

from crossearth_jax.pixels.resample import (
    bicubic_matrix,
    resize_bicubic,
    resize_bilinear,
    sample_bilinear,
    shrink_bilinear,
)


def ramp(height, width):
    y, x = np.mgrid[:height, :width]
    return jnp.asarray((10.0 * y + x)[None, ..., None], jnp.float32)


def test_bilinear_uses_half_pixel_centres_and_clamps():
    row = jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1)
    got = resize_bilinear(row, (1, 4))[0, 0, :, 0]
    np.testing.assert_allclose(got, [0, 0.25, 0.75, 1], atol=1e-6)


def test_bilinear_shrinks_without_antialias():
    impulse = jnp.zeros((1, 1, 8, 1)).at[0, 0, 4].set(1.0)
    got = resize_bilinear(impulse, (1, 2))[0, 0, :, 0]
    # Pixel 1 samples position 5.5, between 5 and 6: the impulse at 4 is not seen.
    np.testing.assert_allclose(got, [0, 0], atol=1e-6)


@pytest.mark.parametrize("size", [(8, 12), (4, 3), (2, 4), (16, 24), (5, 7), (32, 2)])
def test_shrinking_is_resizing(size):
    x = np.random.default_rng(0).normal(size=(2, 16, 24, 3)).astype(np.float32)
    expected = resize_bilinear(x, size)
    np.testing.assert_allclose(
        shrink_bilinear(jnp.asarray(x), size), expected, atol=1e-6
    )


def test_bilinear_to_the_same_size_changes_nothing():
    x = ramp(3, 5)
    assert np.array_equal(resize_bilinear(x, (3, 5)), x)


def test_bicubic_weights_have_pytorchs_coefficient():
    """a = −0.75 at the offsets 1/4 and 3/4 of a doubling; −0.5 gives others."""
    row = bicubic_matrix(8, 16)[8]
    np.testing.assert_allclose(
        row[2:6], [-0.03515625, 0.26171875, 0.87890625, -0.10546875], atol=1e-6
    )
    assert not row[:2].any()
    assert not row[6:].any()


@pytest.mark.parametrize(("n_in", "n_out"), [(4, 7), (7, 4), (5, 5), (37, 32)])
def test_bicubic_keeps_constants_and_an_unchanged_size(n_in, n_out):
    matrix = bicubic_matrix(n_in, n_out)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)
    if n_in == n_out:
        np.testing.assert_allclose(matrix, np.eye(n_in), atol=1e-6)


def test_explicit_scale_sets_the_sampling_grid():
    """Output pixel i stands at (i + 0.5) / scale - 0.5, whatever the sizes are."""
    np.testing.assert_array_equal(bicubic_matrix(8, 4, 1.0), np.eye(8)[:4])
    # DINOv2 passes (h + 0.1) / n, which is not h / n.
    assert np.abs(bicubic_matrix(4, 8) - bicubic_matrix(4, 8, 8.1 / 4)).max() > 1e-3


def test_bicubic_resizes_each_axis_with_its_own_scale():
    x = ramp(6, 4)
    got = resize_bicubic(x, (6, 8))
    np.testing.assert_allclose(got[0, :, :, 0], x[0, :, :, 0] @ bicubic_matrix(4, 8).T)
    got = resize_bicubic(x, (3, 4), (0.5, 1.0))
    assert got.shape == (1, 3, 4, 1)
    rows = bicubic_matrix(6, 3, 0.5)
    np.testing.assert_allclose(got[0, :, 0, 0], rows @ x[0, :, 0, 0], rtol=1e-6)


def test_sampling_hits_pixel_centres_x_first():
    maps = ramp(3, 5)[0]
    points = jnp.array([[(2 + 0.5) / 5, (1 + 0.5) / 3], [(2 + 1.0) / 5, 0.5 / 3]])
    np.testing.assert_allclose(
        sample_bilinear(maps, points)[:, 0], [12.0, 2.5], atol=1e-5
    )


def test_sampling_fades_to_zero_at_the_border():
    maps = jnp.ones((4, 4, 1))
    points = jnp.array([[0.0, 0.5], [0.0, 0.0], [-1.0, 0.5], [1.0, 0.5]])
    np.testing.assert_allclose(
        sample_bilinear(maps, points)[:, 0], [0.5, 0.25, 0, 0.5], atol=1e-6
    )
