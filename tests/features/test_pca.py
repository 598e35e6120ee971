"""Principal components and the maps that they colour."""

import numpy as np
import pytest

from crossearth_jax.features.maps import as_picture, feature_maps, injector_change
from crossearth_jax.features.pca import fit_basis, stretched


def drawn(n, seed=0):
    """Features with variances 9, 4, 1 and 0 along rotated axes."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    return (rng.normal(size=(n, 4)) * (3, 2, 1, 0) @ axes + 5).astype(np.float32), axes


def test_the_basis_is_that_of_all_parts_together():
    features, axes = drawn(4000)
    basis = fit_basis([features[:1000], features[1000:]], 3)
    np.testing.assert_allclose(
        np.abs(basis.components @ axes.T), np.eye(4)[:3], atol=0.1
    )
    np.testing.assert_allclose(basis.explained, np.array([9, 4, 1]) / 14, atol=0.03)
    assert basis.explained.sum() == pytest.approx(1, abs=1e-6)
    projected = basis.project(features)
    np.testing.assert_allclose(projected.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(projected.var(0), (9, 4, 1), rtol=0.1)


def test_signs_do_not_depend_on_the_order_of_the_features():
    features, _ = drawn(500)
    one, two = fit_basis([features], 3), fit_basis([features[::-1]], 3)
    np.testing.assert_allclose(one.components, two.components, atol=1e-9)
    largest = np.abs(one.components).argmax(1)
    assert (one.components[np.arange(3), largest] > 0).all()


@pytest.mark.parametrize("bad", [np.zeros((1, 4)), np.full((5, 4), np.nan)])
def test_what_has_no_variance_is_refused(bad):
    with pytest.raises(ValueError, match="two or more, all finite"):
        fit_basis([bad], 3)


def test_a_stretch_is_shared_and_forgives_outliers():
    maps = [np.linspace(0, 1, 300).reshape(10, 10, 3), np.full((10, 10, 3), 2.0)]
    maps[1][0, 0] = 1e6
    low, high = stretched(maps)
    assert low.min() == 0 and low.max() < 0.6 and high.min() == 1
    constant = stretched([np.ones((4, 4, 3))])[0]
    assert np.isfinite(constant).all()


def test_variants_have_own_colours_unless_they_share_them():
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(1, 1, 6, 5, 8)).astype(np.float32)
    features = [np.concatenate([plain, 3 * plain]), np.concatenate([plain, 3 * plain])]
    own = feature_maps(features, share_variants=False)
    shared = feature_maps(features, share_variants=True)
    assert [(m.tap, m.variant, len(m.colours)) for m in own] == [(0, 0, 2), (0, 1, 2)]
    np.testing.assert_allclose(own[0].colours[0], own[1].colours[0], atol=1e-4)
    assert np.abs(shared[0].colours[0] - shared[1].colours[0]).mean() > 0.1
    spread = np.linalg.norm(plain[0, 0].reshape(30, 8) - plain.mean((0, 1, 2, 3)))
    expected = np.linalg.norm(2 * plain) / spread
    assert injector_change(features) == pytest.approx([expected], rel=1e-5)
    with pytest.raises(ValueError, match="got 2 tokens"):
        feature_maps([features[0][:1, :, :1, :2]], share_variants=False)


def test_a_map_is_upsampled_to_its_pixels_and_cut():
    colours = np.zeros((2, 3, 3), np.float32)
    colours[:, 1] = 1
    picture = as_picture(colours, 8, (13, 20))
    assert picture.shape == (13, 20, 3)
    assert (picture[:, :4] == 0).all() and (picture[:, 11:13] > 230).all()
