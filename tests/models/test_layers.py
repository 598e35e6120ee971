import jax
import jax.numpy as jnp
import numpy as np
import pytest

from crossearth_jax.models import layers


def inputs(batch=2, queries=5, keys=7, heads=3, width=4):
    rng = np.random.default_rng(0)
    shapes = [(batch, n, heads, width) for n in (queries, keys, keys)]
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def value_and_gradients(*qkv):
    def loss(*qkv):
        out = layers.attend(*qkv)
        return (out**3).sum(), out

    gradients, out = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(*qkv)
    return [out, *gradients]


def test_attention_is_jaxs():
    qkv = inputs()
    expected = jax.nn.dot_product_attention(*qkv)
    np.testing.assert_allclose(layers.attend(*qkv), expected, atol=1e-6)
    mask = jnp.arange(7)[None, None, None] < jnp.array([3, 6])[:, None, None, None]
    mask = jnp.broadcast_to(mask, (2, 1, 5, 7))
    expected = jax.nn.dot_product_attention(*qkv, mask=mask)
    np.testing.assert_allclose(layers.attend(*qkv, mask), expected, atol=1e-6)


@pytest.mark.parametrize("sizes", [{}, {"heads": 1}, {"batch": 1, "queries": 1}])
def test_many_weights_give_the_same_head_by_head(sizes, monkeypatch):
    qkv = inputs(**sizes)
    few = value_and_gradients(*qkv)
    monkeypatch.setattr(layers, "FEW_WEIGHTS", 0)
    many = value_and_gradients(*qkv)
    for a, b in zip(few, many, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_many_weights_are_not_kept_for_the_backward_pass(monkeypatch):
    qkv = inputs(queries=200, keys=200)
    kept = []
    for few in (layers.FEW_WEIGHTS, 0):
        monkeypatch.setattr(layers, "FEW_WEIGHTS", few)
        _, backward = jax.vjp(lambda *x: layers.attend(*x), *qkv)
        kept.append(sum(leaf.size for leaf in jax.tree.leaves(backward)))
    assert kept[0] > 3 * 2 * 200 * 200 > 10 * kept[1]
