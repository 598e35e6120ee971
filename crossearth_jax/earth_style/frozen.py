"""Layers of the frozen style networks: float32 throughout and never trained.

They compute in float32 at the highest matrix precision whatever the training runs
in, because method §6 asks that mixed precision must not change their output.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Float32


class Frozen(nnx.Variable):
    """An array that no optimiser may see: not an `nnx.Param`."""


class Conv(nnx.Module):
    """Convolution with zero padding; the bias is optional."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: tuple[int, int],
        *,
        stride: int = 1,
        padding: tuple[int, int] = (0, 0),
        bias: bool,
        rngs: nnx.Rngs,
    ) -> None:
        self.kernel = Frozen(_random((*kernel, c_in, c_out), rngs))
        self.bias = Frozen(jnp.zeros(c_out)) if bias else None
        self.stride = stride
        self.padding = padding

    def __call__(self, x: Float[Array, "B H W c"]) -> Float32[Array, "B h w C"]:
        """Convolves; the output is smaller where padding does not make up for it."""
        y = jax.lax.conv_general_dilated(
            x.astype(jnp.float32),
            self.kernel[...].astype(jnp.float32),
            window_strides=(self.stride, self.stride),
            padding=[(p, p) for p in self.padding],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=jax.lax.Precision.HIGHEST,
        )  # [B, h, w, C]
        return y if self.bias is None else y + self.bias[...].astype(jnp.float32)


class Linear(nnx.Module):
    """Affine map of the last axis."""

    def __init__(self, c_in: int, c_out: int, *, rngs: nnx.Rngs) -> None:
        self.kernel = Frozen(_random((c_in, c_out), rngs))
        self.bias = Frozen(jnp.zeros(c_out))

    def __call__(self, x: Float[Array, "B c"]) -> Float32[Array, "B C"]:
        """Returns x·kernel + bias in float32."""
        kernel = self.kernel[...].astype(jnp.float32)
        y = jnp.matmul(
            x.astype(jnp.float32), kernel, precision=jax.lax.Precision.HIGHEST
        )
        return y + self.bias[...].astype(jnp.float32)


def _random(shape: tuple[int, ...], rngs: nnx.Rngs) -> Float32[Array, "..."]:
    """Keeps the variance of rectified inputs; only tests run on random weights."""
    fan_in = math.prod(shape[:-1])
    return jax.random.normal(rngs.params(), shape) * math.sqrt(2 / fan_in)
