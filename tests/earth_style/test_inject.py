import jax
import jax.numpy as jnp
import numpy as np
import pytest

from crossearth_jax.earth_style.inject import masked_image, styled_image
from crossearth_jax.earth_style.masks import altered_mask
from crossearth_jax.pixels.normalise import normalise

KEY = jax.random.key(2)
MASK = {"ratio": 0.3, "block": 8}
PIXELS = np.random.default_rng(0).uniform(0, 255, (2, 64, 48, 3)).astype(np.float32)
X = normalise(PIXELS)


def negative(key, image):
    """A restyling whose result is known."""
    return 1 - image


def test_styled_where_altered_and_untouched_elsewhere():
    styled = np.asarray(styled_image(KEY, X, negative, **MASK))
    expected = np.asarray(normalise(255 - PIXELS))
    changed = (styled != np.asarray(X)).any(-1)
    np.testing.assert_allclose(styled[changed], expected[changed], atol=1e-4)
    np.testing.assert_array_equal(styled[~changed], np.asarray(X)[~changed])
    assert 0.15 < changed.mean() < 0.45  # τ = 0.3 over 96 blocks
    blocks = changed.reshape(2, 8, 8, 6, 8).mean((2, 4))
    assert set(np.unique(blocks)) == {0, 1}


def test_equation5_styles_the_other_part():
    altered = styled_image(KEY, X, negative, **MASK)
    opposite = styled_image(KEY, X, negative, polarity="equation5", **MASK)
    one = (np.asarray(altered) != np.asarray(X)).any(-1)
    other = (np.asarray(opposite) != np.asarray(X)).any(-1)
    np.testing.assert_array_equal(one, ~other)


def test_restyling_sees_rgb_in_the_unit_range():
    seen = {}

    def spy(key, image):
        seen["image"] = np.asarray(image)
        return image

    beyond = X.at[0, 0, 0].set(100.0)  # as after photometric distortion
    result = styled_image(KEY, beyond, spy, ratio=1.0, block=8)
    np.testing.assert_allclose(seen["image"][1], PIXELS[1] / 255, atol=1e-5)
    np.testing.assert_array_equal(seen["image"][0, 0, 0], 1)
    np.testing.assert_allclose(result[1], X[1], atol=1e-5)


def test_prompt_replaces_the_hidden_part():
    prompt = jnp.full((64, 48, 3), 9.0)
    masked = np.asarray(masked_image(KEY, X, prompt, **MASK))
    hidden = np.asarray(altered_mask(KEY, 2, 64, 48, **MASK))
    np.testing.assert_array_equal(masked[hidden], 9)
    np.testing.assert_array_equal(masked[~hidden], np.asarray(X)[~hidden])
    assert hidden.any() and not hidden.all()


def test_product_is_equation6_by_the_letter():
    prompt = jax.random.normal(KEY, (64, 48, 3))
    masked = masked_image(KEY, X, prompt, prompt_mode="product", **MASK)
    keep = ~np.asarray(altered_mask(KEY, 2, 64, 48, **MASK))[..., None]
    np.testing.assert_allclose(masked, X * keep * prompt, atol=1e-6)
    zero = masked_image(KEY, X, 0 * prompt, prompt_mode="product", **MASK)
    assert not np.asarray(zero).any()


def test_gradients():
    """Into the prompt where it is seen; not through the restyling."""

    def shown(prompt):
        return masked_image(KEY, X, prompt, **MASK).sum()

    hidden = np.asarray(altered_mask(KEY, 2, 64, 48, **MASK))
    gradient = jax.grad(shown)(jnp.zeros((64, 48, 3)))
    np.testing.assert_array_equal(gradient[..., 0], hidden.sum(0))

    def through(scale):
        return styled_image(KEY, X, lambda _, image: scale * image, **MASK).sum()

    assert jax.grad(through)(0.5) == 0


def test_keys_and_types():
    masked = masked_image(KEY, X, jnp.zeros((64, 48, 3)), **MASK)
    again = masked_image(KEY, X, jnp.zeros((64, 48, 3)), **MASK)
    np.testing.assert_array_equal(masked, again)
    styled = styled_image(KEY, X, negative, **MASK)
    np.testing.assert_array_equal(styled, styled_image(KEY, X, negative, **MASK))
    other = styled_image(jax.random.key(8), X, negative, **MASK)
    assert (np.asarray(other) != np.asarray(styled)).any()
    half = X.astype(jnp.bfloat16)
    assert styled_image(KEY, half, negative, **MASK).dtype == jnp.bfloat16
    prompt = jnp.zeros((64, 48, 3))
    assert masked_image(KEY, half, prompt, **MASK).dtype == jnp.bfloat16


def test_prompt_of_another_size():
    with pytest.raises(
        ValueError, match="images of 64x48 and a visual prompt of 32x48"
    ):
        masked_image(KEY, X, jnp.zeros((32, 48, 3)), **MASK)
