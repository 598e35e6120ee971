"""The arithmetic of products and convolutions; the one place that decides it.

What names no precision is computed in TF32 by an A100 or H100 and in one pass of
bfloat16 by a TPU, whatever the type of its operands. So every product here names one,
in the program itself: no global flag is set, and none is obeyed.
"""

import enum
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.lax import DotAlgorithmPreset, Precision
from jax.typing import DTypeLike
from jaxtyping import Array

from crossearth_jax.models.half_product import half_product

Formula = Callable[..., Array]  # of operands, and a keyword `precision`


class Arithmetic(enum.Enum):
    """What `precision` may be; see `product`.

    Mask2Former, the queries that it gets, coordinates, norms, softmax and losses take
    `FLOAT32` whatever the rest takes.
    """

    FLOAT32 = "float32"
    TENSORFLOAT32 = "tensorfloat32"
    BFLOAT16 = "bfloat16"

    @property
    def dtype(self) -> DTypeLike:
        """Type of the operands."""
        return jnp.bfloat16 if self is Arithmetic.BFLOAT16 else jnp.float32

    def product(self, formula: Formula, *operands: Array) -> Array:
        """A product such as `jnp.matmul`, and its derivative.

        - "float32": true float32 on every device.
        - "tensorfloat32": operands rounded to 10 bits of mantissa on CUDA (Ampere and
          later), to two bfloat16 numbers on a TPU; float32 where there is neither.
        - "bfloat16": operands of that type, sums in float32; `matmul` and `linear` by
          `half_product`.

        Args:
          formula: takes the operands and `precision`.
          *operands: arrays of `dtype`.
        """
        if self is Arithmetic.TENSORFLOAT32:
            return _by_platform(formula, *operands)
        return formula(*operands, precision=EVERYWHERE[self])

    def matmul(self, x: Array, y: Array, out: DTypeLike | None = None) -> Array:
        """`jnp.matmul`; `out` is the type of the result where it is another one."""
        if self is Arithmetic.BFLOAT16:
            return half_product(x, y, out or x.dtype)
        return self.product(partial(jnp.matmul, preferred_element_type=out), x, y)

    def einsum(self, spec: str, x: Array, y: Array) -> Array:
        """`jnp.einsum` of two arrays."""
        return self.product(partial(jnp.einsum, spec), x, y)

    def linear(self, n_in: int, n_out: int, **options: Any) -> nnx.Linear:
        """A linear layer; `options` are those of `nnx.Linear`."""
        return nnx.Linear(
            n_in, n_out, dtype=self.dtype, dot_general=self._dot_general, **options
        )

    def conv(self, n_in: int, n_out: int, kernel: int, **options: Any) -> nnx.Conv:
        """A square convolution; `options` are those of `nnx.Conv`."""
        return nnx.Conv(
            n_in,
            n_out,
            (kernel, kernel),
            dtype=self.dtype,
            conv_general_dilated=self.convolution,
            **options,
        )

    def convolution(self, x: Array, kernel: Array, *args: Any, **options: Any) -> Array:
        """`jax.lax.conv_general_dilated`, for which no device has a name for TF32.

        So it is float32 but for "bfloat16".
        """
        return jax.lax.conv_general_dilated(
            x, kernel, *args, **(options | {"precision": Precision.HIGHEST})
        )

    def _dot_general(
        self, x: Array, y: Array, dimensions: Any, *, precision: None, **options: Any
    ) -> Array:
        """What `nnx.Linear` calls instead of `jax.lax.dot_general`."""
        if self is Arithmetic.BFLOAT16:
            return half_product(x, y, x.dtype)
        formula = partial(jax.lax.dot_general, dimension_numbers=dimensions, **options)
        return self.product(formula, x, y)


# The same name for every platform.
EVERYWHERE: dict[Arithmetic, Precision | DotAlgorithmPreset] = {
    Arithmetic.FLOAT32: Precision.HIGHEST,
    Arithmetic.BFLOAT16: DotAlgorithmPreset.BF16_BF16_F32,
}
# A CPU refuses the name TF32, and what a TPU makes of it is not documented.
_TENSORFLOAT32 = {
    "cuda": DotAlgorithmPreset.TF32_TF32_F32,
    "tpu": DotAlgorithmPreset.BF16_BF16_F32_X3,
    "default": Precision.HIGHEST,
}


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _by_platform(formula: Formula, *operands: Array) -> Array:
    """The formula by `_TENSORFLOAT32`.

    It has its own derivative because JAX's of a choice keeps what every choice needs.
    """
    return jax.lax.platform_dependent(
        *operands,
        **{
            platform: partial(formula, precision=precision)
            for platform, precision in _TENSORFLOAT32.items()
        },
    )


def _by_platform_backward(
    formula: Formula, operands: tuple[Array, ...], gradient: Array
) -> tuple[Array, ...]:
    def of(precision: Any) -> Callable[..., tuple[Array, ...]]:
        def backward(gradient: Array, *operands: Array) -> tuple[Array, ...]:
            _, vjp = jax.vjp(partial(formula, precision=precision), *operands)
            return vjp(gradient)

        return backward

    choices = {platform: of(name) for platform, name in _TENSORFLOAT32.items()}
    return jax.lax.platform_dependent(gradient, *operands, **choices)


_by_platform.defvjp(
    lambda formula, *operands: (_by_platform(formula, *operands), operands),
    _by_platform_backward,
)


def arithmetic_of(precision: str) -> Arithmetic:
    """The arithmetic that a configuration names.

    Raises:
      ValueError: there is none of that name.
    """
    try:
        return Arithmetic(precision)
    except ValueError:
        known = ", ".join(f'"{each.value}"' for each in Arithmetic)
        raise ValueError(
            f'got precision="{precision}", expected one of {known}'
        ) from None
