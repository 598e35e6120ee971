"""The backbone's structure; numbers are compared with PyTorch in tests/parity."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_run import random_like

from crossearth_jax.models import attention, backbone, dinov2
from crossearth_jax.models.backbone import filled_up
from crossearth_jax.models.dinov2 import (
    VARIANTS,
    DinoV2,
    ViTConfig,
    resize_positions,
)
from crossearth_jax.models.precision import Arithmetic

SMALL = ViTConfig(
    width=16, depth=4, heads=2, taps=(0, 1, 2, 3), patch_size=4, grid=4, layer_scale=0.5
)


def build(config, **options):
    """A model of random parameters; abstract first, so nothing compiles."""
    model = nnx.eval_shape(lambda: DinoV2(config, rngs=nnx.Rngs(0), **options))
    graph, shapes = nnx.split(model)
    return nnx.merge(graph, random_like(nnx.to_pure_dict(shapes)))


@pytest.fixture(scope="module")
def model():
    return build(SMALL)


@pytest.fixture(scope="module")
def image():
    return jax.random.normal(jax.random.key(0), (2, 16, 16, 3))


def run(model, image, refine=None):
    return jax.jit(lambda x: model(x, refine))(image)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "millions"),
    [("vit_small", 22), ("vit_giant", 1136)],  # vit_large: tests/test_build.py
)
def test_variants_have_the_published_sizes(name, millions):
    """DINOv2's model card: 21 M and 1,100 M, to the million."""
    config = VARIANTS[name]
    model = nnx.eval_shape(lambda: DinoV2(config, rngs=nnx.Rngs(0)))
    count = sum(x.size for x in jax.tree.leaves(nnx.state(model)))
    assert count / 1e6 == pytest.approx(millions, rel=0.02)
    assert len(config.taps) == 4 and config.taps[-1] == config.depth - 1


@pytest.mark.slow
def test_taps_are_maps_at_stride_p(model, image):
    taps = run(model, image)
    assert [tap.shape for tap in taps] == [(2, 4, 4, 16)] * 4
    config = dataclasses.replace(SMALL, taps=(1, 3))
    fewer = build(config)
    for got, expected in zip(run(fewer, image), taps[1::2], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_refinement_sees_tokens_after_every_block_and_which_are_patches(model, image):
    seen = []

    def refine(layer, tokens, is_patch):
        seen.append((layer, tokens.shape))
        assert is_patch.shape == (1 + 16, 1)
        return tokens + is_patch if layer == 2 else tokens

    refined, plain = run(model, image, refine), run(model, image)
    assert seen == [(i, (2, 1 + 16, 16)) for i in range(4)]
    assert np.array_equal(refined[1], plain[1])
    np.testing.assert_allclose(refined[2], plain[2] + 1, rtol=1e-5)
    assert np.abs(refined[3] - plain[3]).max() > 0.1


@pytest.mark.slow
def test_remat_changes_no_value(image, quick_compile):
    model = build(SMALL)

    def gradients(remat):
        graph, params = nnx.split(model)

        def loss(params):
            return jnp.square(nnx.merge(graph, params)(image, remat=remat)[-1]).sum()

        return jax.jit(jax.grad(loss))(nnx.to_pure_dict(params))

    expected, got = gradients(remat=False), gradients(remat=True)
    for x, y in zip(jax.tree.leaves(expected), jax.tree.leaves(got), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("few", [attention.FEW_WEIGHTS, 0])
def test_tokens_that_fill_up_change_no_value(model, image, few, monkeypatch):
    """Nor a gradient, whichever formula attention takes; the adapters see them."""
    graph, params = nnx.split(model)

    def loss(params, image):
        def refine(_, tokens, is_patch):
            return tokens + 0.1 * is_patch

        taps = nnx.merge(graph, params)(image, refine)
        return sum(jnp.square(tap).sum() for tap in taps), taps

    gradients = jax.grad(loss, (0, 1), has_aux=True)
    expected = jax.jit(lambda *x: gradients(*x))(nnx.to_pure_dict(params), image)
    fill = partial(jnp.pad, pad_width=((0, 0), (0, 7), (0, 0)))
    monkeypatch.setattr(dinov2, "filled_up", lambda tokens, _: fill(tokens))
    monkeypatch.setattr(attention, "FEW_WEIGHTS", few)
    got = jax.jit(lambda *x: gradients(*x))(nnx.to_pure_dict(params), image)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5 * np.abs(y).max())


def test_tokens_are_filled_up_for_half_precision_on_a_gpu(monkeypatch):
    tokens = jnp.ones((2, 1025, 3))
    for_all = [filled_up(tokens, each).shape[1] for each in Arithmetic]
    assert set(for_all) == {1025}
    monkeypatch.setattr(backbone, "for_gpu", lambda: True)
    filled = filled_up(tokens, Arithmetic.BFLOAT16)
    assert filled.shape == (2, 1032, 3)
    assert filled[:, :1025].all() and not filled[:, 1025:].any()
    assert filled_up(tokens[:, 1:], Arithmetic.BFLOAT16).shape[1] == 1024
    assert filled_up(tokens, Arithmetic.TENSORFLOAT32).shape[1] == 1025


def test_image_must_be_whole_patches(model):
    with pytest.raises(ValueError, match=r"18x16 image, expected multiples .* 4: pad"):
        model(jnp.zeros((1, 18, 16, 3)))


def test_registers_are_extra_tokens_that_taps_drop(image):
    config = dataclasses.replace(SMALL, registers=3)
    model = build(config)
    assert jax.eval_shape(model.embed, image).shape == (2, 1 + 3 + 16, 16)
    assert [t.shape for t in jax.eval_shape(model, image)] == [(2, 4, 4, 16)] * 4


def test_positions_of_the_stored_size_are_used_as_they_are():
    grid = jnp.asarray(np.random.default_rng(0).normal(size=(16, 3)), jnp.float32)
    assert resize_positions(grid, 4, 4) is grid
    assert resize_positions(grid, 6, 2).shape == (12, 3)
    # A constant grid stays constant at every size.
    np.testing.assert_allclose(resize_positions(jnp.ones((16, 1)), 5, 7), 1, 1e-5)
    with pytest.raises(ValueError, match="15 positions, expected a square"):
        resize_positions(grid[:15], 4, 4)


def test_bfloat16_layers_on_float32_parameters_and_tokens(image):
    model = build(SMALL, arithmetic=Arithmetic.BFLOAT16)
    assert {x.dtype for x in jax.tree.leaves(nnx.state(model))} == {jnp.dtype("f4")}
    assert {t.dtype for t in jax.eval_shape(model, image)} == {jnp.dtype("f4")}
    tokens = jax.eval_shape(model.embed, image)
    inside = jax.eval_shape(lambda x: model.blocks[0].attn(x), tokens)
    assert (tokens.dtype, inside.dtype) == ("float32", "bfloat16")
