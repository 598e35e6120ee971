"""Deformable attention: both ways to add up the corners give the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from crossearth_jax.models import deform_attn
from crossearth_jax.models.deform_attn import sample_levels

SIZES = [(2, 3), (4, 6)]


def inputs():
    """Two images, seven queries, three heads of four channels, five points a level."""
    rng = np.random.default_rng(0)
    tokens = sum(h * w for h, w in SIZES)
    value = rng.normal(size=(2, tokens, 3, 4))
    locations = rng.uniform(-0.2, 1.2, (2, 7, 3, 2, 5, 2))  # some outside
    weights = rng.random((2, 7, 3, 2, 5))
    return [x.astype(np.float32) for x in (value, locations, weights)]


def loss(value, locations, weights):
    sampled = sample_levels(value, SIZES, locations, weights)
    return (sampled * jnp.arange(4.0)).sum() + jnp.square(sampled).sum(), sampled


def test_all_points_at_once_are_the_points_one_by_one(monkeypatch):
    differentiate = jax.value_and_grad(loss, (0, 1, 2), has_aux=True)
    (_, expected), gradients = jax.jit(differentiate)(*inputs())
    at_once = {
        "_point_by_point": deform_attn._all_points,
        "_point_by_point_backward": deform_attn._all_points_backward,
    }
    for name, function in at_once.items():
        monkeypatch.setattr(deform_attn, name, function)
    (_, got), others = jax.jit(differentiate)(*inputs())
    np.testing.assert_allclose(got, expected, atol=1e-5)
    for x, y in zip(others, gradients, strict=True):
        np.testing.assert_allclose(x, y, atol=2e-4)


@pytest.mark.parametrize(("platform", "loops"), [("cpu", 2), ("cuda", 0), ("tpu", 2)])
def test_only_a_gpu_takes_all_points_at_once(platform, loops):
    traced = jax.jit(jax.grad(lambda *x: loss(*x)[0], (0, 1, 2))).trace(*inputs())
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert text.count("stablehlo.while") == loops
