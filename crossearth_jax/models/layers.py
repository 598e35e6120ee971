"""Layers that several components share: MLP, GELU, normalisation, sine positions.

Shapes: B batch, N tokens, C width.
"""

from collections.abc import Callable
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from crossearth_jax.models.initial_values import (
    pytorch_bias,
    pytorch_kernel,
    zero_bias,
)
from crossearth_jax.models.portable import for_cpu
from crossearth_jax.models.precision import Arithmetic


@jax.custom_jvp
def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Exact GELU, x·Φ(x), that keeps one array for the backward pass, not three.

    A GPU has an instruction for erf, and none for erfc, by which others are exact to
    the last bit where x is far below 0.
    """
    if for_cpu():
        return nnx.gelu(x, approximate=False)
    wide = x.astype(jnp.float32)
    return (0.5 * wide * (1 + jax.lax.erf(wide * 0.5**0.5))).astype(x.dtype)


@gelu.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    wide = x.astype(jnp.float32)
    share = 0.5 * (1 + jax.lax.erf(wide * 0.5**0.5))  # Φ
    density = jnp.exp(-0.5 * wide * wide) / (2 * jnp.pi) ** 0.5
    return gelu(x), (share + wide * density).astype(x.dtype) * dx


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalised(
    x: Float[Array, "*shape C"],
    scale: Float[Array, " C"],
    bias: Float[Array, " C"],
    epsilon: float,
) -> Float[Array, "*shape C"]:
    """`_normalised`, with a derivative for a CPU.

    It keeps x and two numbers a token; JAX's has XLA keep arrays of x's size there. On
    a GPU XLA fuses that into fewer kernels than this.
    """
    return _normalised_forward(x, scale, bias, epsilon)[0]


def _normalised(x: Array, scale: Array, bias: Array, epsilon: float) -> Array:
    """LayerNorm in float32, with the two-pass variance as PyTorch computes it."""
    return _normalised_forward(x, scale, bias, epsilon)[0]


def _normalised_forward(
    x: Array, scale: Array, bias: Array, epsilon: float
) -> tuple[Array, tuple[Array, ...]]:
    mean = x.mean(-1, keepdims=True, dtype=jnp.float32)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    gain = jax.lax.rsqrt(variance + epsilon)
    return (x - mean) * gain * scale + bias, (x, mean, gain, scale)


def _normalised_backward(
    epsilon: float, kept: tuple[Array, ...], gradient: Array
) -> tuple[Array, Array, Array]:
    x, mean, gain, scale = kept
    scaled = gradient * scale
    # Products with x, not with x - mean: XLA would make that, and keep it, in the
    # forward pass, where all that it needs is known.
    level = scaled.mean(-1, keepdims=True)
    slope = gain * gain * ((scaled * x).mean(-1, keepdims=True) - level * mean)
    of_x = gain * (scaled - level - (x * slope - mean * slope))
    others = tuple(range(x.ndim - 1))
    of_scale = (gradient * gain * x - gradient * gain * mean).sum(others)
    return of_x.astype(x.dtype), of_scale, gradient.sum(others)


normalised.defvjp(_normalised_forward, _normalised_backward)


class LayerNorm(nnx.LayerNorm):
    """LayerNorm over the channels, by `normalised`."""

    def __call__(self, x: Float[Array, "*shape C"]) -> Float[Array, "*shape C"]:
        """Normalises, scales and shifts; the result has the compute type."""
        assert self.scale is not None and self.bias is not None  # as made below
        scale = jnp.asarray(self.scale[...], jnp.float32)
        bias = jnp.asarray(self.bias[...], jnp.float32)
        # `partial` hides the result's type from checkers.
        formula = normalised if for_cpu() else _normalised
        result = cast(Array, formula(x, scale, bias, self.epsilon))
        return result.astype(self.dtype)


def layer_norm(
    width: int,
    *,
    rngs: nnx.Rngs,
    dtype: DTypeLike = jnp.float32,
    epsilon: float = 1e-5,
) -> LayerNorm:
    """LayerNorm with PyTorch's default epsilon."""
    return LayerNorm(width, epsilon=epsilon, dtype=dtype, rngs=rngs)


def group_norm(width: int, groups: int, *, rngs: nnx.Rngs) -> nnx.GroupNorm:
    """GroupNorm over (h, w, C / groups), eps 1e-5."""
    return nnx.GroupNorm(
        width,
        num_groups=groups,
        epsilon=1e-5,
        use_fast_variance=False,
        rngs=rngs,
    )


def pytorch_linear(
    arithmetic: Arithmetic, n_in: int, n_out: int, *, rngs: nnx.Rngs
) -> nnx.Linear:
    """A linear layer with PyTorch's initial values."""
    return arithmetic.linear(
        n_in,
        n_out,
        kernel_init=pytorch_kernel,
        bias_init=pytorch_bias(n_in),
        rngs=rngs,
    )


class Mlp(nnx.Module):
    """Two linear layers around an activation."""

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        activation: Callable[[Array], Array],
        rngs: nnx.Rngs,
        arithmetic: Arithmetic = Arithmetic.FLOAT32,
        kernel_init: nnx.Initializer,
        bias_init: Callable[[int], nnx.Initializer] = zero_bias,
    ) -> None:
        """Creates the layers; `bias_init` takes their fan-in."""
        self.activation = activation

        def linear(n_in: int, n_out: int) -> nnx.Linear:
            return arithmetic.linear(
                n_in,
                n_out,
                kernel_init=kernel_init,
                bias_init=bias_init(n_in),
                rngs=rngs,
            )

        self.fc1, self.fc2 = linear(width, hidden), linear(hidden, width)

    def __call__(self, x: Float[Array, "... C"]) -> Float[Array, "... C"]:
        """Applies fc1, the activation, fc2."""
        return self.fc2(self.activation(self.fc1(x)))


def sine_position(
    height: int, width: int, channels: int, temperature: float = 1e4
) -> Float[Array, "N C"]:
    """Normalised 2-D sine positions, half of the channels for y, half for x.

    Channels alternate sine and cosine; coordinates 1..n are scaled to (0, 2π].
    """
    per_axis = channels // 2
    frequency = temperature ** (2 * (jnp.arange(per_axis) // 2) / per_axis)

    def axis(n: int) -> Array:
        position = jnp.arange(1, n + 1) / (n + 1e-6) * 2 * jnp.pi
        phase = position[:, None] / frequency
        waves = jnp.stack([jnp.sin(phase[:, 0::2]), jnp.cos(phase[:, 1::2])], -1)
        return waves.reshape(n, per_axis)

    y = jnp.broadcast_to(axis(height)[:, None], (height, width, per_axis))
    x = jnp.broadcast_to(axis(width)[None, :], (height, width, per_axis))
    return jnp.concatenate([y, x], -1).reshape(height * width, channels)
