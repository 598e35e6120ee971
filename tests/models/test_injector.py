"""Injector (method.md section 3) against its equation."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from flax import nnx
from small_run import random_like

from crossearth_jax.models.crossearth import CrossEarth
from crossearth_jax.models.injector import Injector

RNG = np.random.default_rng(0)
FEATURE = RNG.normal(size=(2, 3, 4, 8)).astype(np.float32)
QUERIES = RNG.normal(size=(2, 3, 4, 8)).astype(np.float32)


def build(gamma=0.0, residual=True):
    make = {"gamma_init": gamma, "residual": residual}
    model = nnx.eval_shape(lambda: Injector(8, 2, **make, rngs=nnx.Rngs(0)))
    graph, shapes = nnx.split(model)
    params = random_like(nnx.to_pure_dict(shapes))
    if residual:
        params["gamma"] = np.full(8, gamma, np.float32)
    return nnx.merge(graph, params)


def inject(model, feature=FEATURE, queries=QUERIES):
    return np.asarray(jax.jit(lambda f, q: model(f, q))(feature, queries))


def test_gamma_starts_at_its_value():
    model = jax.jit(
        lambda: nnx.to_pure_dict(
            nnx.state(Injector(8, 2, gamma_init=0.5, residual=True, rngs=nnx.Rngs(0)))
        )
    )()
    assert np.array_equal(model["gamma"], np.full(8, 0.5))


def test_gamma_zero_is_exactly_the_feature():
    assert np.array_equal(inject(build(0.0)), FEATURE)


def test_residual_adds_gamma_times_the_attention():
    attended = inject(build(residual=False))
    assert attended.shape == FEATURE.shape
    np.testing.assert_allclose(
        inject(build(0.5)), FEATURE + 0.5 * attended, rtol=1e-4, atol=1e-4
    )


def test_without_residual_there_is_no_gain():
    assert build(residual=False).gamma is None
    assert "gamma" not in nnx.to_pure_dict(nnx.state(build(residual=False)))


def norm(layer, x):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * np.asarray(layer.scale[...]) + np.asarray(layer.bias[...])


def test_attention_asks_with_the_gse_and_reads_the_feature():
    model = build(residual=False)
    weights = nnx.to_pure_dict(nnx.state(model.attention))

    def heads(name, x):
        y = x @ weights[name]["kernel"] + weights[name]["bias"]
        return y.reshape(2, 12, 2, 4).transpose(0, 2, 1, 3)  # [B, h, N, d]

    asked = norm(model.query_norm, QUERIES).reshape(2, 12, 8)
    read = norm(model.feature_norm, FEATURE).reshape(2, 12, 8)
    q, k, v = heads("query", asked), heads("key", read), heads("value", read)
    logits = q @ k.swapaxes(-1, -2) / 2  # √d
    share = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    out = (share @ v).transpose(0, 2, 1, 3).reshape(2, 12, 8)
    expected = out @ weights["out"]["kernel"] + weights["out"]["bias"]
    np.testing.assert_allclose(
        inject(model).reshape(2, 12, 8), expected, rtol=1e-4, atol=1e-5
    )


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="got 3 heads for width 8"):
        Injector(8, 3, gamma_init=0.0, residual=True, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("order", "expected"), [("parallel", [11, 12, 13]), ("sequential", [11, 13, 16])]
)
def test_injectors_ask_side_by_side_or_one_after_another(order, expected):
    """Each "Injector" here adds its tap and what it asks with."""
    model = SimpleNamespace(
        injectors=[lambda tap, queries: tap + queries] * 3,
        config=SimpleNamespace(injector_order=order),
    )
    assert CrossEarth._injected(model, [1, 2, 3], 10) == expected
