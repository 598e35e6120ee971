"""Products of bfloat16 and their derivatives, as a CPU takes them and as others do."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from crossearth_jax.models import half_product as module
from crossearth_jax.models.half_product import half_product
from crossearth_jax.models.portable import portable
from crossearth_jax.models.precision import Arithmetic

SHAPES = {  # of x and y
    "layer": ((3, 5, 8), (8, 6)),
    "rows": ((4, 8), (8, 6)),
    "one number": ((1, 8), (8, 1)),
    "attention": ((2, 3, 5, 8), (2, 3, 8, 6)),
}


@pytest.fixture(autouse=True)
def with_instructions(monkeypatch):
    monkeypatch.setattr(module, "has_instructions", lambda: True)


def drawn(shape, seed):
    values = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(values, jnp.bfloat16)


def as_float32(*arrays):
    return [np.asarray(array, np.float32) for array in arrays]


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("out", [jnp.bfloat16, jnp.float32])
def test_results_and_gradients_are_those_of_float32(shapes, out):
    x, y = (drawn(shape, i) for i, shape in enumerate(SHAPES[shapes]))

    def both(formula, x, y, gradient):
        result, backward = jax.vjp(formula, x, y)
        return result, *backward(gradient)

    gradient = drawn((*x.shape[:-1], y.shape[-1]), 2)
    exact = partial(jnp.matmul, precision="highest")
    expected = jax.jit(partial(both, exact))(*map(jnp.float32, (x, y, gradient)))
    formula = partial(half_product, out=out)
    found = jax.jit(partial(both, formula))(x, y, gradient.astype(out))
    assert [array.dtype for array in found] == [out, jnp.bfloat16, jnp.bfloat16]
    for own, its in zip(found, expected, strict=True):
        rounded = 1e-6 if own.dtype == jnp.float32 else 2**-8
        np.testing.assert_allclose(*as_float32(own, its), rtol=rounded, atol=1e-5)


def products(lowered):
    """(types of the operands, type of the result) of each product of a program."""
    lines = [line for line in lowered.as_text().splitlines() if "dot_general" in line]
    types = [line.rsplit(" : ", 1)[1].split(" -> ") for line in lines]
    return [(operands.count("bf16"), result) for operands, result in types]


def test_a_cpu_takes_bfloat16_in_and_float32_out_forwards_and_backwards():
    def loss(kernel, x):
        layer = Arithmetic.BFLOAT16._dot_general
        product = layer(x, kernel, (((1,), (0,)), ((), ())), precision=None)
        return jnp.square(product.astype(jnp.float32)).sum()

    step = jax.jit(jax.grad(loss, (0, 1)))
    arrays = drawn((64, 32), 0), drawn((128, 64), 1)
    found = products(step.lower(*arrays))
    assert len(found) == 3
    assert all(count == 2 and result.endswith("f32>") for count, result in found)
    for name in ("cuda", "tpu"):
        lowered = step.trace(*arrays).lower(lowering_platforms=(name,))
        results = [result for _, result in products(lowered)]
        assert len(results) == 3 and all(r.endswith("bf16>") for r in results)


def test_programs_for_other_machines_and_older_processors_keep_the_plain_product(
    monkeypatch,
):
    def lowered():
        multiply = jax.jit(lambda x, y: half_product(x, y, x.dtype))
        return products(multiply.lower(drawn((4, 8), 0), drawn((8, 6), 1)))

    assert [result[-4:] for _, result in lowered()] == ["f32>"]
    with portable():
        assert [result[-5:] for _, result in lowered()] == ["bf16>"]
    monkeypatch.setattr(module, "has_instructions", lambda: False)
    assert [result[-5:] for _, result in lowered()] == ["bf16>"]
