import jax.numpy as jnp
import numpy as np
import pytest

from crossearth_jax.predict.tta import SCALES, augmented


def windows(height=64, width=96):
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, height, width, 3)).astype(np.float32)


def test_no_kind_changes_nothing():
    def score(w):
        return w

    assert augmented(score, (), patch=32) is score


@pytest.mark.parametrize("kinds", [("flips",), ("flips", "scales"), ("scales",)])
def test_a_score_of_the_pixel_alone_stays(kinds):
    smooth = np.ones((2, 64, 96, 3), np.float32) * np.float32([1, 2, 3])
    got = augmented(lambda w: 2 * w, kinds, patch=32)(smooth)
    np.testing.assert_allclose(got, 2 * smooth, rtol=1e-5)


def test_flips_make_the_scores_symmetric():
    def place(w):
        down = jnp.arange(w.shape[1])[:, None, None]
        along = jnp.arange(w.shape[2])[:, None]
        return w * 0 + down + 10.0 * along

    got = np.asarray(augmented(place, ("flips",), patch=32)(windows()))
    np.testing.assert_allclose(got, 63 / 2 + 10 * 95 / 2, rtol=1e-5)
    values = windows()
    np.testing.assert_allclose(
        augmented(lambda w: w, ("flips",), patch=32)(values), values, rtol=1e-5
    )


def test_scales_are_whole_patches_and_few():
    seen = []

    def score(w):
        seen.append(w.shape)
        return w

    got = augmented(score, ("scales",), patch=32)(windows(128, 64))
    assert got.shape == (2, 128, 64, 3)
    assert seen == [(2, 96, 64, 3), (2, 128, 64, 3), (2, 160, 64, 3)]
    assert len(SCALES) == 3


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="flips or scales"):
        augmented(lambda w: w, ("rotations",), patch=32)
