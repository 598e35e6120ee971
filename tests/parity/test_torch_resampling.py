"""Resampling against PyTorch, deformable attention against an explicit loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from crossearth_jax.models.deform_attn import sample_levels
from crossearth_jax.models.dinov2 import resize_positions
from crossearth_jax.pixels.resample import (
    resize_bicubic,
    resize_bicubic_antialiased,
    resize_bilinear,
    sample_bilinear,
)

torch = pytest.importorskip("torch")
functional = torch.nn.functional

SIZES = [((8, 8), (32, 32)), ((9, 7), (4, 3)), ((5, 6), (13, 4)), ((3, 3), (3, 3))]


def numbers(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


def nchw(array):
    return torch.from_numpy(np.moveaxis(np.asarray(array), -1, 1).copy())


@pytest.mark.parametrize(("before", "after"), SIZES)
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resize(before, after, mode):
    x = numbers(2, *before, 3)
    ours = {"bilinear": resize_bilinear, "bicubic": resize_bicubic}[mode]
    expected = functional.interpolate(nchw(x), size=after, mode=mode)
    np.testing.assert_allclose(
        ours(jnp.asarray(x), after).transpose(0, 3, 1, 2), expected, atol=5e-6
    )


@pytest.mark.parametrize("scale", [(2.1, 1.9), (0.52, 1.03)])
def test_bicubic_with_a_scale_factor(scale):
    x = numbers(1, 8, 8, 3)
    expected = functional.interpolate(nchw(x), scale_factor=scale, mode="bicubic")
    size = tuple(expected.shape[2:])
    ours = resize_bicubic(jnp.asarray(x), size, scale)
    np.testing.assert_allclose(ours.transpose(0, 3, 1, 2), expected, atol=5e-6)


@pytest.mark.parametrize(("before", "after"), [((37, 37), (32, 32)), *SIZES])
def test_antialiased_bicubic_of_models_with_registers(before, after):
    x = numbers(1, *before, 3)
    expected = functional.interpolate(
        nchw(x), size=after, mode="bicubic", antialias=True
    )
    if before == (37, 37):
        ours = resize_positions(x.reshape(-1, 3), *after, registers=True)
        ours = ours.reshape(1, *after, 3)
    else:
        ours = resize_bicubic_antialiased(jnp.asarray(x), after)
    np.testing.assert_allclose(ours.transpose(0, 3, 1, 2), expected, atol=5e-6)


@pytest.mark.slow
def test_sampling_and_its_gradient():
    maps = numbers(5, 7, 2)
    xy = np.random.default_rng(1).uniform(-0.2, 1.2, (40, 2)).astype(np.float32)
    weight = numbers(40, 2)

    def total(maps, xy):
        return (sample_bilinear(maps, xy) * weight).sum()

    their_maps = nchw(maps[None]).requires_grad_()
    their_xy = torch.from_numpy(xy).requires_grad_()
    expected = functional.grid_sample(
        their_maps, 2 * their_xy[None, None] - 1, align_corners=False
    )[0, :, 0].T
    ours = sample_bilinear(jnp.asarray(maps), jnp.asarray(xy))
    np.testing.assert_allclose(ours, expected.detach(), atol=1e-5)
    (expected * torch.from_numpy(weight)).sum().backward()
    by_maps, by_xy = jax.grad(total, (0, 1))(jnp.asarray(maps), jnp.asarray(xy))
    np.testing.assert_allclose(by_maps, their_maps.grad[0].permute(1, 2, 0), atol=1e-5)
    np.testing.assert_allclose(by_xy, their_xy.grad, atol=1e-4)


def one_sample(tokens, height, width, x, y):
    """Bilinear value at (x, y) in [0, 1] of a map of tokens [height · width, d]."""
    x, y = x * width - 0.5, y * height - 0.5
    value = np.zeros(tokens.shape[1])
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            if 0 <= row < height and 0 <= column < width:
                share = (1 - abs(y - row)) * (1 - abs(x - column))
                value += share * tokens[row * width + column]
    return value


def test_deformable_sampling_is_the_loop():
    sizes, batch, queries, heads, points, width = [(2, 3), (5, 4)], 2, 3, 2, 2, 4
    tokens = sum(h * w for h, w in sizes)
    random = np.random.default_rng(0)
    value = random.standard_normal((batch, tokens, heads, width))
    grid = (batch, queries, heads, len(sizes), points)
    locations = random.uniform(-0.3, 1.3, (*grid, 2))
    weights = random.uniform(size=grid)
    expected = np.zeros((batch, queries, heads, width))
    for b, q, h, level, p in np.ndindex(grid):
        start = sum(m * n for m, n in sizes[:level])
        height, columns = sizes[level]
        part = value[b, start : start + height * columns, h]
        x, y = locations[b, q, h, level, p]
        sample = one_sample(part, height, columns, x, y)
        expected[b, q, h] += weights[b, q, h, level, p] * sample
    as_jax = (jnp.asarray(a, jnp.float32) for a in (value, locations, weights))
    value, locations, weights = as_jax
    got = sample_levels(value, sizes, locations, weights)
    np.testing.assert_allclose(got, expected, atol=1e-5)
