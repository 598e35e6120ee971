"""Rein adapters against the equations of method.md section 2, written out in NumPy."""

import jax
import numpy as np
import pytest
from flax import nnx
from small_run import random_like

from crossearth_jax.models import rein as rein_module
from crossearth_jax.models.rein import Rein

SIZES = {"depth": 3, "width": 8, "query_width": 6, "num_tokens": 5, "patch_size": 4}


def build(rank):
    make = {**SIZES, "rank": rank, "scale": 1e-3}
    return nnx.eval_shape(lambda: Rein(**make, rngs=nnx.Rngs(0)))


@pytest.fixture(scope="module", params=[2, 0], ids=["low rank", "full rank"])
def rein(request):
    graph, shapes = nnx.split(build(request.param))
    return nnx.merge(graph, random_like(nnx.to_pure_dict(shapes)))


def tokens(rein):
    if rein.rank:
        return np.asarray(rein.tokens_a[...]) @ np.asarray(rein.tokens_b[...])
    return np.asarray(rein.tokens[...])


def linear(layer, x):
    return x @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])


def test_parameters_of_vit_large():
    make = {"depth": 24, "width": 1024, "query_width": 256, "num_tokens": 100}
    model = nnx.eval_shape(
        lambda: Rein(**make, rank=16, patch_size=16, scale=1e-3, rngs=nnx.Rngs(0))
    )
    assert sum(x.size for x in jax.tree.leaves(nnx.state(model))) == 2_990_081


def test_layers_share_everything_but_their_tokens(rein):
    shapes = {
        k: v.shape
        for k, v in nnx.to_pure_dict(nnx.state(rein)).items()
        if k[0:2] == "to"
    }
    expected = (
        {"tokens_a": (3, 5, 2), "tokens_b": (3, 2, 8)}
        if rein.rank
        else {"tokens": (3, 5, 8)}
    )
    assert shapes == expected
    assert rein.mlp_delta_f.kernel.shape == (8, 8)


@pytest.mark.parametrize("layer", [0, 2])
def test_refinement_is_the_equation(rein, layer):
    feature = np.random.default_rng(1).normal(size=(2, 7, 8)).astype(np.float32)
    t = tokens(rein)[layer]
    logits = feature @ t.T / np.sqrt(8)
    s = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    # The first token only takes attention away: its value is dropped.
    inner = s[..., 1:] @ linear(rein.mlp_token2feat, t[1:]) + feature
    expected = feature + float(rein.scale[...]) * linear(rein.mlp_delta_f, inner)
    got = jax.jit(lambda x: rein(layer, x))(feature)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert not np.allclose(got, feature, atol=1e-4)


@pytest.mark.parametrize("is_patch", [None, np.arange(7)[:, None] > 0])
def test_an_accelerator_refines_alike(rein, is_patch, monkeypatch):
    """Derivatives too; the network's own arrays are the module's state."""
    feature = np.random.default_rng(1).normal(size=(2, 7, 8)).astype(np.float32)
    graph, params = nnx.split(rein)

    def loss(params, feature):
        refine = nnx.merge(graph, params).refiner()
        for layer in range(3):
            feature = refine(layer, feature, is_patch)
        return (feature**3).sum()

    expected = jax.jit(jax.grad(loss, (0, 1)))(params, feature)
    monkeypatch.setattr(rein_module, "for_cpu", lambda: False)
    got = jax.jit(jax.grad(lambda *x: loss(*x), (0, 1)))(params, feature)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


def test_queries_interleave_maximum_mean_and_last(rein):
    moved = linear(rein.transform, tokens(rein))  # [L, m, D]
    parts = np.stack([moved.max(0), moved.mean(0), moved[-1]], -1).reshape(5, -1)
    expected = linear(rein.merge, parts)
    np.testing.assert_allclose(rein.queries(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("rank", "bound"),
    [(2, (6 / (3 * 16 + (2 * 8) ** 0.5)) ** 0.5), (0, (6 / (3 * 16 + 8)) ** 0.5)],
)
def test_tokens_start_uniform_in_the_papers_range(rank, bound):
    make = {**SIZES, "rank": rank, "scale": 1e-3, "num_tokens": 200}
    rein = jax.jit(
        lambda: nnx.to_pure_dict(nnx.state(Rein(**make, rngs=nnx.Rngs(0))))
    )()
    drawn = np.concatenate([v.ravel() for k, v in rein.items() if k[:6] == "tokens"])
    assert 0.98 * bound < np.abs(drawn).max() <= bound
    assert np.abs(drawn.mean()) < 0.1 * bound
    assert float(rein["scale"]) == pytest.approx(1e-3)
