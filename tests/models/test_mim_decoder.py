"""MIM decoders (method.md section 7); the shared ASPP's numbers are in tests/parity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_run import random_like

from crossearth_jax.models.mim_decoder import (
    DILATIONS,
    AsppDecoder,
    LinearDecoder,
    SharedAsppDecoder,
    unpatchify,
)
from crossearth_jax.models.precision import Arithmetic

RNG = np.random.default_rng(0)
TAPS = [jnp.asarray(RNG.normal(size=(2, 3, 5, 6)), jnp.float32) for _ in range(4)]


def build(make):
    graph, shapes = nnx.split(nnx.eval_shape(make))
    return nnx.merge(graph, random_like(nnx.to_pure_dict(shapes)))


def test_unpatchify_lays_rows_then_columns_then_channels():
    image = RNG.normal(size=(2, 6, 8, 3)).astype(np.float32)
    patches = np.stack(
        [
            image[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].reshape(2, -1)
            for i in range(3)
            for j in range(4)
        ],
        axis=1,
    ).reshape(2, 3, 4, 12)
    assert np.array_equal(unpatchify(jnp.asarray(patches), 2), image)


def test_linear_decoder_joins_the_taps():
    model = build(
        lambda: LinearDecoder(6, 2, rngs=nnx.Rngs(0), arithmetic=Arithmetic.FLOAT32)
    )
    joined = np.concatenate(TAPS, -1)
    kernel, bias = (
        np.asarray(x[...]) for x in (model.linear.kernel, model.linear.bias)
    )
    assert kernel.shape == (24, 12)
    expected = unpatchify(jnp.asarray(joined @ kernel + bias), 2)
    np.testing.assert_allclose(jax.jit(model)(TAPS), expected, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def aspp():
    return build(
        lambda: AsppDecoder(6, 4, 2, rngs=nnx.Rngs(0), arithmetic=Arithmetic.FLOAT32)
    )


def test_aspp_gives_tap_k_to_dilation_k(aspp):
    """Tap k reaches exactly its dilation's neighbours."""
    assert DILATIONS == (1, 6, 12, 18)
    taps = [np.zeros((1, 40, 1, 6), np.float32)] * 4
    run = jax.jit(aspp)
    base = run(taps)
    assert base.shape == (1, 80, 2, 3)
    for k, rate in enumerate(DILATIONS):
        changed = list(taps)
        changed[k] = taps[k].copy()
        changed[k][0, 20] = 5.0
        moved = np.abs(run(changed) - base).max((0, 2, 3)).reshape(40, 2).max(1) > 0
        assert set(np.flatnonzero(moved)) <= {20 - rate, 20, 20 + rate}
        assert moved.sum() >= 2


def test_aspp_rectifies_before_the_linear_layer(aspp):
    graph, params = nnx.split(aspp)
    params = nnx.to_pure_dict(params)
    for conv in params["convs"].values():
        conv["bias"] = np.full(4, -100.0, np.float32)
    dead = nnx.merge(graph, params)
    bias = np.broadcast_to(params["linear"]["bias"], (2, 3, 5, 12))
    np.testing.assert_allclose(
        jax.jit(dead)(TAPS), unpatchify(jnp.asarray(bias), 2), rtol=1e-6, atol=1e-6
    )


def test_shared_aspp_serves_all_stage_maps():
    model = build(
        lambda: SharedAsppDecoder(
            6, 4, output_size=24, rngs=nnx.Rngs(0), arithmetic=Arithmetic.FLOAT32
        )
    )
    names = set(nnx.to_pure_dict(nnx.state(model)))
    assert names == {"reduce", "convs", "project", "refine", "final"}
    stages = [np.zeros((2, n, n, 6), np.float32) for n in (12, 6, 3, 1)]
    assert jax.eval_shape(model, stages).shape == (2, 24, 24, 3)


def test_decoders_want_four_taps(aspp):
    with pytest.raises(ValueError, match="zip"):
        jax.eval_shape(aspp, TAPS[:3])
