"""Products of bfloat16 numbers, by the fastest way that a platform has.

On a CPU, XLA computes a product that gives bfloat16 in float32. One that gives float32
takes the processor's instructions for bfloat16 at twice float32's rate; so the result
is rounded afterwards, and so are those of the derivative, which is written out for it.
"""

import functools
import re
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint
from jax.lax import DotAlgorithmPreset, Precision
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from crossearth_jax.models.portable import is_portable

INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "bf16"}  # the last is ARM's


def half_product(
    x: Float[Array, "*B M K"], y: Float[Array, "*b K N"], out: DTypeLike
) -> Float[Array, "*B M N"]:
    """`jnp.matmul` of bfloat16 arrays with sums in float32.

    Args:
      x: of any number of axes.
      y: of as many, or of two.
      out: type of the result.
    """
    if is_portable() or not has_instructions():
        return _plain(out, x, y)
    return _by_platform(out, x, y)


@functools.cache
def has_instructions() -> bool:
    """Whether this processor multiplies bfloat16; False where Linux does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return flags is not None and not INSTRUCTIONS.isdisjoint(flags[1].split())


def _plain(out: DTypeLike, x: Array, y: Array) -> Array:
    algorithm = DotAlgorithmPreset.BF16_BF16_F32
    return jnp.matmul(x, y, precision=algorithm, preferred_element_type=out)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _by_platform(out: DTypeLike, x: Array, y: Array) -> Array:
    def on_cpu(x: Array, y: Array) -> Array:
        product = _float32(_flat(x, y), y).astype(out)
        return product.reshape(*x.shape[:-1], y.shape[-1])

    return jax.lax.platform_dependent(x, y, cpu=on_cpu, default=partial(_plain, out))


def _backward(
    out: DTypeLike, operands: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
    def on_cpu(gradient: Array, x: Array, y: Array) -> tuple[Array, Array]:
        rounded = _flat(gradient, y).astype(x.dtype)
        of_x = _float32(rounded, y.mT).astype(x.dtype)
        of_y = _float32(_flat(x, y).mT, rounded).astype(y.dtype)
        return of_x.reshape(x.shape), of_y

    def elsewhere(gradient: Array, x: Array, y: Array) -> tuple[Array, Array]:
        return jax.vjp(partial(_plain, out), x, y)[1](gradient)

    return jax.lax.platform_dependent(
        gradient, *operands, cpu=on_cpu, default=elsewhere
    )


_by_platform.defvjp(lambda out, x, y: (_by_platform(out, x, y), (x, y)), _backward)


def _flat(x: Array, y: Array) -> Array:
    """[M, K] of all rows where y is the kernel of a layer, which XLA knows best."""
    return x.reshape(-1, x.shape[-1]) if y.ndim == 2 else x


def _float32(x: Array, y: Array) -> Array:
    return jnp.matmul(
        *(_row_by_row(x), _row_by_row(y)),
        precision=Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )


def _row_by_row(x: Array) -> Array:
    """In memory as it is indexed: of a transposed array half the rate is left."""
    return with_layout_constraint(x, Layout(tuple(range(x.ndim))))
