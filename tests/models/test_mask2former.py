"""Mask2Former decoder (method.md section 4); its numbers are in tests/parity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_run import random_like

from crossearth_jax.models import in_turn, mask2former
from crossearth_jax.models.mask2former import (
    Mask2Former,
    attention_mask,
    semantic_scores,
)

FULL = {
    "encoder_layers": 6,
    "decoder_layers": 9,
    "heads": 8,
    "points": 4,
    "encoder_ffn": 1024,
    "decoder_ffn": 2048,
    "groups": 32,
}
SMALL = {
    "encoder_layers": 1,
    "decoder_layers": 2,
    "heads": 2,
    "points": 2,
    "encoder_ffn": 8,
    "decoder_ffn": 8,
    "groups": 2,
}


@pytest.fixture(scope="module")
def small():
    model = nnx.eval_shape(lambda: Mask2Former(6, 8, 3, **SMALL, rngs=nnx.Rngs(0)))
    graph, shapes = nnx.split(model)
    params = random_like(nnx.to_pure_dict(shapes))
    # Wide enough that images differ visibly.
    return nnx.merge(graph, jax.tree.map(lambda x: 5 * x, params))


STAGES = [
    np.random.default_rng(n).normal(size=(2, n, 2 * n, 6)).astype(np.float32)
    for n in (16, 8, 4, 2)
]
QUERIES = np.random.default_rng(0).normal(size=(7, 8)).astype(np.float32)


@pytest.mark.slow
def test_head_has_the_authors_number_of_parameters():
    model = nnx.eval_shape(lambda: Mask2Former(1024, 256, 5, **FULL, rngs=nnx.Rngs(0)))
    assert sum(x.size for x in jax.tree.leaves(nnx.state(model))) == 20_576_198


def test_one_prediction_before_the_first_layer_and_after_each(small):
    output = jax.eval_shape(small, STAGES, QUERIES)
    assert output.class_logits.shape == (3, 2, 7, 4)
    assert output.mask_logits.shape == (3, 2, 7, 16, 32)
    assert output.class_logits.dtype == output.mask_logits.dtype == jnp.float32


def test_queries_change_every_image_and_images_do_not_mix(small, quick_compile):
    run = jax.jit(small)
    first = run(STAGES, QUERIES)
    other = [np.concatenate([x[:1], x[1:] * 2]) for x in STAGES]
    second = run(other, QUERIES)
    # All sums run within one image, but a batch may be summed in another order.
    np.testing.assert_allclose(
        first.mask_logits[:, 0], second.mask_logits[:, 0], rtol=1e-4, atol=1e-4
    )
    assert np.abs(first.mask_logits[:, 1] - second.mask_logits[:, 1]).max() > 1e-4
    third = run(STAGES, QUERIES[::-1])
    # Predictions follow their queries.
    np.testing.assert_allclose(
        first.class_logits[:, :, ::-1], third.class_logits, rtol=1e-3, atol=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_accelerators_predict_together_what_a_cpu_does_one_by_one(
    small, platform, quick_compile, monkeypatch
):
    """Derivatives too; and the last alone. A TPU has layers in loops as well."""
    graph, params = nnx.split(small)

    def loss(params, stages):
        output = nnx.merge(graph, params)(stages, QUERIES)
        return sum((x**2).mean() for x in output), output

    run = jax.grad(loss, (0, 1), has_aux=True)
    expected, output = jax.jit(run)(params, STAGES)
    monkeypatch.setattr(mask2former, "for_cpu", lambda: False)
    monkeypatch.setattr(in_turn, "for_tpu", lambda: platform == "tpu")
    got, together = jax.jit(lambda *x: run(*x))(params, STAGES)
    for a, b in zip(together, output, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-6 + 2e-3 * np.abs(b).max())
    last = jax.jit(lambda x: small(x, QUERIES, last_only=True))(STAGES)
    for a, b in zip(last, output, strict=True):
        assert len(a) == 1
        np.testing.assert_allclose(a[0], b[-1], rtol=2e-4, atol=2e-4)


def test_attention_mask_is_the_foreground_or_everything():
    logits = np.full((1, 3, 4, 4), -1.0, np.float32)
    logits[0, 0, :2] = 1.0  # the upper half
    logits[0, 2] = 1.0  # all
    mask = np.asarray(attention_mask(jnp.asarray(logits), (2, 2)))
    assert mask.shape == (1, 3, 4)
    assert mask[0, 0].tolist() == [True, True, False, False]
    assert mask[0, 1].all()  # all background looks everywhere
    assert mask[0, 2].all()


def test_attention_mask_resizes_logits_not_decisions():
    logits = np.array([[3.0, -1.0], [-1.0, -1.0]], np.float32).reshape(1, 1, 2, 2)
    logits = np.concatenate([logits, -logits], 1)
    mask = np.asarray(attention_mask(jnp.asarray(logits), (1, 1)))
    assert mask[0, 0, 0]  # the mean is exactly 0, that is not below one half
    assert mask[0, 1, 0]


def test_scores_are_class_times_mask_summed_over_queries():
    rng = np.random.default_rng(0)
    classes = rng.normal(size=(2, 5, 4)).astype(np.float32)
    masks = rng.normal(size=(2, 5, 3, 3)).astype(np.float32)
    share = np.exp(classes) / np.exp(classes).sum(-1, keepdims=True)
    shown = 1 / (1 + np.exp(-masks))
    expected = np.einsum("bqk,bqhw->bhwk", share[..., :3], shown)
    got = semantic_scores(jnp.asarray(classes), jnp.asarray(masks), (3, 3))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert semantic_scores(
        jnp.asarray(classes), jnp.asarray(masks), (12, 12)
    ).shape == (2, 12, 12, 3)


def test_masks_are_upsampled_before_the_sigmoid():
    masks = np.array([-100.0, 100.0], np.float32).reshape(1, 1, 1, 2)
    classes = np.array([[[50.0, 0.0]]], np.float32)
    row = np.asarray(semantic_scores(jnp.asarray(classes), jnp.asarray(masks), (1, 4)))[
        0, 0, :, 0
    ]
    np.testing.assert_allclose(row, [0, 0, 1, 1], atol=1e-6)  # not 0, ¼, ¾, 1
