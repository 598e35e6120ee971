"""Arithmetic of products: values and derivatives on the device at hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from crossearth_jax.models.attention import attend
from crossearth_jax.models.precision import Arithmetic, arithmetic_of

RNG = np.random.default_rng(0)
X, Y = (jnp.asarray(RNG.normal(size=(8, 8)), jnp.float32) for _ in range(2))


def with_gradients(arithmetic: Arithmetic) -> tuple:
    def loss(x: jax.Array, y: jax.Array) -> jax.Array:
        layer = arithmetic.linear(8, 8, rngs=nnx.Rngs(0))
        product = layer(arithmetic.matmul(x, y)) + arithmetic.einsum("ij,kj->ik", x, y)
        heads = product.reshape(1, 8, 2, 4)
        return jnp.square(attend(heads, heads, heads, arithmetic=arithmetic)).sum()

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(
        X.astype(arithmetic.dtype), Y.astype(arithmetic.dtype)
    )


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="a GPU has TF32")
def test_tensorfloat32_is_float32_where_there_is_none():
    same = jax.tree.map(
        np.array_equal,
        with_gradients(Arithmetic.TENSORFLOAT32),
        with_gradients(Arithmetic.FLOAT32),
    )
    assert all(jax.tree.leaves(same))


def test_bfloat16_rounds_operands_and_sums_in_float32():
    rounded = [np.asarray(x.astype(jnp.bfloat16), np.float64) for x in (X, Y)]
    product = Arithmetic.BFLOAT16.matmul(
        *(x.astype(jnp.bfloat16) for x in (X, Y)), jnp.float32
    )
    np.testing.assert_allclose(product, rounded[0] @ rounded[1], rtol=1e-5, atol=1e-6)


def test_an_unknown_precision_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r'got precision="float16".*"tensorfloat32"'):
        arithmetic_of("float16")
