"""Every operation that is converted gives in ONNX Runtime what it gives in JAX."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from crossearth_jax.to_onnx import convert
from crossearth_jax.to_onnx.convert import onnx_model

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 4, 6)).astype(np.float32)
ROWS = RNG.normal(size=(2, 5, 6)).astype(np.float32)
KERNEL = RNG.normal(size=(3, 3, 2, 4)).astype(np.float32)
PLACES = RNG.integers(0, 4, (2, 7))


def run_onnx(function, weights, x):
    like = jax.ShapeDtypeStruct(x.shape, x.dtype)
    model = onnx_model(function, weights, like, name="test")
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return model, session.run(None, {"image": x})[0]


def loop(x, *, reverse=False):
    def step(total, row):
        return total * 0.5 + row, total.sum()

    total, sums = jax.lax.scan(step, jnp.zeros(6), x[0], reverse=reverse)
    return total + sums.sum() * jnp.arange(4.0)[:, None] + sums[:, None]


def by_platform(x):
    return jax.lax.platform_dependent(
        x, cpu=lambda x: x * 2 + 1, tpu=lambda x: x, default=lambda x: x + x + 1
    )


def dilated(x):
    return jax.lax.conv_general_dilated(
        x.reshape(2, 4, 3, 2),
        KERNEL,
        (2, 1),
        ((2, 1), (1, 2)),
        rhs_dilation=(2, 1),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@jax.custom_jvp
def custom(x):
    return jnp.where(x > 0, x, -x * 3)


custom.defjvps(lambda tangent, _, x: tangent * x)


SHAPES = {
    "transposed": lambda x: x.transpose(2, 0, 1)[::2, :, 1:3],
    "stacked": lambda x: jnp.stack([x[:, 0], x[:, 1], jnp.ones((2, 6))], 1),
    "joined": lambda x: jnp.concatenate([x, jnp.zeros((2, 1, 6)), x[:, :2]], 1),
    "split": lambda x: sum(jnp.split(x, 3, -1)),
    "unstacked": lambda x: sum(jnp.unstack(x, axis=1)),
    "padded": lambda x: jnp.pad(x, ((0, 1), (2, 0), (0, 0)), constant_values=3),
    "padded by nothing": lambda x: jnp.pad(x, 0) * 2,
    "repeated": lambda x: jnp.broadcast_to(x[:, :1], (2, 4, 6)).reshape(8, 6),
    "repeated and summed": lambda x: jnp.broadcast_to(x[:1], (3, 4, 6)).sum(0),
    "squeezed": lambda x: x[:, 1:2].squeeze(1)[..., None],
}
NUMBERS = {
    "powers": lambda x: x**2 + x**3 + jnp.abs(x) ** 0.7 + 1 / jnp.sqrt(jnp.abs(x) + 1),
    "waves": lambda x: jnp.sin(x) + jnp.cos(x) + jnp.tanh(x) + jnp.exp(-x),
    "gelu": partial(jax.nn.gelu, approximate=False),
    "logistic": lambda x: jax.nn.sigmoid(x) * jax.lax.erf(x) + jnp.log(jnp.abs(x) + 1),
    "steps": lambda x: jnp.floor(x) + jnp.ceil(x) + jnp.sign(x),
    "comparisons": lambda x: (
        (x > 0.5) * 1.0 + (x <= 0) * 2.0 + (x < -1) + (x >= 1) + (x != 0) + (x == 0)
    ),
    "choices": lambda x: jnp.where((x > 0) & ~(x > 1) | (x < -1), x, 2.0),
    "whole numbers": lambda x: (jnp.clip(x * 3, -2, 2).astype(jnp.int32) + 1) * 0.5,
    "extremes": lambda x: jnp.maximum(x.max(1), -x.min(1)) + x.sum((0, 2))[:2, None],
    "any and all": lambda x: (x > 0).any(1) * 1.0 + (x > -3).all(1),
    "softmax": jax.nn.softmax,
    "mean": lambda x: (x - x.mean(-1, keepdims=True)) * x.var(-1, keepdims=True),
}
PRODUCTS = {
    "matrix": lambda x: x @ ROWS[0].T,
    "batch": lambda x: jnp.einsum("bnc,bmc->bmn", x, ROWS),
    "several axes": lambda x: jnp.einsum("bnc,bmc->nm", x, ROWS),
    "known first": lambda x: jnp.einsum("bmc,bnc->bmn", ROWS, x),
    "all axes": lambda x: jnp.einsum("bnc,bnc->", x, x)[None],
    "outer": lambda x: jnp.einsum("c,d->cd", x[0, 0], x[1, 1]),
    "convolution": lambda x: jax.lax.conv_general_dilated(
        x.reshape(2, 4, 3, 2),
        KERNEL,
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    ),
    "dilated convolution": dilated,
    "look-up": lambda x: jnp.take_along_axis(
        x, PLACES[..., None], axis=1, mode="promise_in_bounds"
    ),
    "look-up of one's own": lambda x: jnp.take_along_axis(
        x,
        jnp.clip(jnp.floor(x[:, :, :1]), 0, 3).astype(jnp.int32),
        axis=1,
        mode="promise_in_bounds",
    ),
}
CALLS = {
    "loop": loop,
    "loop backwards": partial(loop, reverse=True),
    "platforms": by_platform,
    "jit": jax.jit(lambda x: x + 1),
    "checkpoint": jax.checkpoint(lambda x: jnp.sin(x)),
    "own derivative": custom,
    "counted": lambda x: jax.lax.fori_loop(0, 3, lambda i, y: y * 2 + i, x),
}


@pytest.mark.parametrize("name", SHAPES | NUMBERS | PRODUCTS | CALLS)
def test_one_operation(name):
    function = (SHAPES | NUMBERS | PRODUCTS | CALLS)[name]
    _, got = run_onnx(lambda _, x: function(x), {}, X)
    wanted = np.asarray(function(X), np.float32)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-6)


def test_what_is_known_is_computed_once_and_repeats_nothing():
    """A bias is one row in the file, however many rows it is added to."""
    weights = {"bias": ROWS[0, 0], "left": ROWS[0], "right": ROWS[1], "unused": X}

    def function(weights, x):
        table = jnp.sin(weights["left"] @ weights["right"].T)  # [5, 5]
        position = jnp.cos(jnp.arange(4.0)[:, None] / 7)
        bias = jnp.broadcast_to(weights["bias"], x.shape)
        return x * position + bias + table.sum()

    model, got = run_onnx(function, weights, X)
    np.testing.assert_allclose(got, function(weights, X), rtol=2e-5)
    assert [node.op_type for node in model.graph.node] == [
        "Mul",
        "Add",
        "Add",
        "Identity",
    ]
    sizes = {tuple(constant.dims) for constant in model.graph.initializer}
    assert sizes == {(1, 4, 1), (1, 1, 6), ()}


def test_a_constant_is_kept_once_however_often_it_is_read():
    def function(weights, x):
        return (x @ weights + 0.5) @ weights + 0.5

    model, got = run_onnx(function, ROWS[0, :, :5].T @ ROWS[0, :, :5], X[..., :5])
    assert got.shape == (2, 4, 5)
    assert [tuple(c.dims) for c in model.graph.initializer] == [(5, 5), ()]


def test_a_result_that_is_known_or_only_repeated_has_its_shape():
    _, got = run_onnx(lambda _, x: jnp.broadcast_to(x[:, :1], x.shape), {}, X)
    np.testing.assert_array_equal(got, np.broadcast_to(X[:, :1], X.shape))


def test_the_file_is_for_old_runtimes():
    model, _ = run_onnx(lambda _, x: x + 1, {}, X)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert model.ir_version == 8


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: jnp.sort(x), "the operation sort, expected"),
        (lambda x: jax.lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x), "branch"),
        (
            lambda x: jax.lax.while_loop(lambda y: y.sum() < 9, lambda y: y + 1, x),
            "a loop whose length",
        ),
        (lambda x: jax.lax.pad(x, 0.0, ((0, 0, 1),) * 3), "between elements"),
        (lambda x: jnp.take_along_axis(x, PLACES[..., None], axis=1), "checks places"),
    ],
)
def test_what_is_not_converted_is_one_line(function, message):
    like = jax.ShapeDtypeStruct(X.shape, X.dtype)
    with pytest.raises(ValueError, match=f"got .*{message}") as caught:
        onnx_model(lambda _, x: function(x), {}, like, name="test")
    assert "export as stablehlo" in str(caught.value)


def test_more_than_a_file_holds_is_refused(monkeypatch):
    monkeypatch.setattr(convert, "MOST_BYTES", 100)
    like = jax.ShapeDtypeStruct(X.shape, X.dtype)
    with pytest.raises(ValueError, match="GB of weights"):
        onnx_model(lambda w, x: x @ w, ROWS[0].T, like, name="test")
