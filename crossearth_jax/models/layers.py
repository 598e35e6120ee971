"""Layers that several components share: attention, MLP, normalisation, sine positions.

Shapes: B batch, N tokens, C width, h heads, d = C / h.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

xavier = nnx.initializers.xavier_uniform()
FEW_WEIGHTS = 1 << 20  # of an image: 4 MiB, which a CPU's cache takes as a whole


def attend(
    query: Float[Array, "B Q h d"],
    key: Float[Array, "B S h d"],
    value: Float[Array, "B S h e"],
    mask: Bool[Array, "B 1 Q S"] | None = None,
) -> Float[Array, "B Q h e"]:
    """Scaled dot-product attention; True in `mask` lets a query see a key.

    Where the weights [h, B, Q, S] are many, none is kept for the backward pass, and a
    CPU takes one head after the other: [B, Q, S] then stays in its cache, which took
    half the time of all heads at once. Other platforms have the parallelism for those.
    """
    q, k, v = (x.transpose(2, 0, 1, 3) for x in (query, key, value))  # [h, B, N, d]
    weights = q.shape[0] * q.shape[2] * k.shape[2]  # of an image; B may be symbolic
    if mask is not None:
        attended = softmax_attention(q, k, v, mask[:, 0])
    elif weights <= FEW_WEIGHTS:
        attended = softmax_attention(q, k, v)
    else:
        by_platform = {"cpu": _by_head, "default": softmax_attention}
        attended = jax.checkpoint(partial(jax.lax.platform_dependent, **by_platform))(
            q, k, v
        )
    return attended.transpose(1, 2, 0, 3)


def _by_head(
    query: Float[Array, "h B Q d"],
    key: Float[Array, "h B S d"],
    value: Float[Array, "h B S e"],
) -> Float[Array, "h B Q e"]:
    one = jax.checkpoint(softmax_attention)
    return jax.lax.map(lambda head: one(*head), (query, key, value))


def softmax_attention(
    query: Float[Array, "*h B Q d"],
    key: Float[Array, "*h B S d"],
    value: Float[Array, "*h B S e"],
    mask: Bool[Array, "B Q S"] | None = None,
) -> Float[Array, "*h B Q e"]:
    """Softmax with the division after the product: a pass less over [B, Q, S]."""
    logits = jnp.matmul(
        query * query.shape[-1] ** -0.5,
        key.swapaxes(-1, -2),
        preferred_element_type=jnp.float32,
    )  # [*h, B, Q, S]
    if mask is not None:
        logits = jnp.where(mask, logits, -jnp.inf)
    largest = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    weights = jnp.exp(logits - largest)
    total = weights.sum(-1, keepdims=True)
    attended = jnp.matmul(
        weights.astype(value.dtype), value, preferred_element_type=jnp.float32
    )
    return (attended / total).astype(value.dtype)


@jax.custom_jvp
def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Exact GELU, x·Φ(x), that keeps one array for the backward pass, not three."""
    return nnx.gelu(x, approximate=False)


@gelu.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    wide = x.astype(jnp.float32)
    share = 0.5 * (1 + jax.lax.erf(wide * 0.5**0.5))  # Φ
    density = jnp.exp(-0.5 * wide * wide) / (2 * jnp.pi) ** 0.5
    return gelu(x), (share + wide * density).astype(x.dtype) * dx


def split_heads(x: Float[Array, "B N C"], heads: int) -> Float[Array, "B N h d"]:
    """Cuts the channels into heads."""
    return x.reshape(*x.shape[:2], heads, -1)


def layer_norm(
    width: int, *, rngs: nnx.Rngs, dtype: DTypeLike, epsilon: float = 1e-5
) -> nnx.LayerNorm:
    """LayerNorm with the two-pass variance, as PyTorch computes it."""
    return nnx.LayerNorm(
        width, epsilon=epsilon, use_fast_variance=False, dtype=dtype, rngs=rngs
    )


def group_norm(
    width: int, groups: int, *, rngs: nnx.Rngs, dtype: DTypeLike
) -> nnx.GroupNorm:
    """GroupNorm over (h, w, C / groups), eps 1e-5."""
    return nnx.GroupNorm(
        width,
        num_groups=groups,
        epsilon=1e-5,
        use_fast_variance=False,
        dtype=dtype,
        rngs=rngs,
    )


class MultiHeadAttention(nnx.Module):
    """Attention with separate query, key and value projections, all with bias."""

    def __init__(
        self, width: int, heads: int, *, rngs: nnx.Rngs, dtype: DTypeLike
    ) -> None:
        if width % heads:
            raise ValueError(f"got {heads} heads for width {width}: choose a divisor")
        self.heads = heads
        self.query, self.key, self.value, self.out = (
            nnx.Linear(width, width, kernel_init=xavier, dtype=dtype, rngs=rngs)
            for _ in range(4)
        )

    def __call__(
        self,
        query: Float[Array, "B Q C"],
        key: Float[Array, "B S C"],
        value: Float[Array, "B S C"],
        mask: Bool[Array, "B 1 Q S"] | None = None,
    ) -> Float[Array, "B Q C"]:
        """Projects, attends per head, projects back."""
        q = split_heads(self.query(query), self.heads)  # [B, Q, h, d]
        k = split_heads(self.key(key), self.heads)
        v = split_heads(self.value(value), self.heads)
        attended = attend(q, k, v, mask)
        return self.out(attended.reshape(query.shape))


class Mlp(nnx.Module):
    """Two linear layers around an activation."""

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        activation: Callable[[Array], Array],
        rngs: nnx.Rngs,
        dtype: DTypeLike,
        kernel_init: nnx.Initializer = xavier,
    ) -> None:
        self.activation = activation
        self.fc1 = nnx.Linear(
            width, hidden, kernel_init=kernel_init, dtype=dtype, rngs=rngs
        )
        self.fc2 = nnx.Linear(
            hidden, width, kernel_init=kernel_init, dtype=dtype, rngs=rngs
        )

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
