import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from crossearth_jax.models import layers


@pytest.mark.parametrize("on_cpu", [True, False])
@pytest.mark.parametrize("mean", [0.0, 30.0])
def test_layer_norm_is_nnxs(mean, on_cpu, monkeypatch):
    """Values and every derivative, far from zero too."""
    monkeypatch.setattr(layers, "for_cpu", lambda: on_cpu)
    rng = np.random.default_rng(0)
    x = jnp.asarray(mean + rng.normal(size=(2, 5, 16)), jnp.float32)
    weight = jnp.asarray(rng.normal(size=x.shape), jnp.float32)
    params = {
        k: jnp.asarray(rng.normal(size=16), jnp.float32) for k in ("scale", "bias")
    }
    options = {"epsilon": 1e-6, "rngs": nnx.Rngs(0)}
    ours = layers.layer_norm(16, dtype=jnp.float32, **options)
    theirs = nnx.LayerNorm(16, use_fast_variance=False, **options)

    def derivatives(module):
        graph = nnx.graphdef(module)

        def loss(x, params):
            out = nnx.merge(graph, params)(x)
            return (out * weight).sum(), out

        return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(x, params)

    for a, b in zip(
        jax.tree.leaves(derivatives(ours)),
        jax.tree.leaves(derivatives(theirs)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


def test_gelu_of_an_accelerator_is_exact(monkeypatch):
    x = jnp.linspace(-6, 6, 999)
    expected = nnx.gelu(x, approximate=False)
    monkeypatch.setattr(layers, "for_cpu", lambda: False)
    np.testing.assert_allclose(layers.gelu(x), expected, atol=1e-6)
    half = layers.gelu(x.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), expected, rtol=0.01, atol=0.01)


def test_layer_norm_gives_the_compute_type():
    norm = layers.layer_norm(16, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (3, 16))
    assert norm(x).dtype == jnp.bfloat16
    expected = layers.normalised(x, jnp.ones(16), jnp.zeros(16), norm.epsilon)
    np.testing.assert_array_equal(norm(x), expected.astype(jnp.bfloat16))
