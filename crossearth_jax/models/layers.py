"""Layers that several components share: attention, MLP, normalisation, sine positions.

Shapes: B batch, N tokens, C width, h heads, d = C / h.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
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

    Where the weights [h, B, Q, S] are many, none is kept for the backward pass. A CPU
    takes one head after the other: [B, Q, S] then stays in its cache, which took half
    the time of all heads at once. A GPU takes cuDNN's flash attention, in the half
    precision that it asks for. Other platforms compute all heads at once.
    """
    weights = query.shape[2] * query.shape[1] * key.shape[1]  # B may be symbolic
    if mask is not None or weights <= FEW_WEIGHTS:
        return _all_heads(query, key, value, mask)
    by_platform = {"cpu": _by_head, "default": jax.checkpoint(_all_heads)}
    if flash_fits(query, value):
        by_platform["cuda"] = flash_attention
    return jax.lax.platform_dependent(query, key, value, **by_platform)


def flash_attention(
    query: Float[Array, "B Q h d"],
    key: Float[Array, "B S h d"],
    value: Float[Array, "B S h d"],
) -> Float[Array, "B Q h d"]:
    """By cuDNN, for which JAX wants even lengths: one more token that nobody sees."""

    def even(x: Array) -> Array:
        return jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, 0), (0, 0)))

    seen, keys = (jnp.full(len(x), x.shape[1], jnp.int32) for x in (query, key))
    attended = jax.nn.dot_product_attention(
        *(even(x) for x in (query, key, value)),
        query_seq_lengths=seen,
        key_value_seq_lengths=keys,
        implementation="cudnn",
    )
    return attended[:, : query.shape[1]]


_portable: ContextVar[bool] = ContextVar("portable", default=False)


@contextmanager
def portable_attention() -> Iterator[None]:
    """What is traced within does without cuDNN: for programs that go into a file."""
    token = _portable.set(True)
    try:
        yield
    finally:
        _portable.reset(token)


def flash_fits(query: Float[Array, "B Q h d"], value: Float[Array, "B S h e"]) -> bool:
    """Whether this process's GPU, if it has one, computes such heads with cuDNN."""
    width = query.shape[-1]
    return (
        not _portable.get()
        and query.dtype in (jnp.bfloat16, jnp.float16)
        and width == value.shape[-1]
        and width % 8 == 0
        and width <= 128
        and jax.default_backend() == "gpu"
        and float(jax.local_devices()[0].compute_capability) >= 8
    )


def _all_heads(
    query: Float[Array, "B Q h d"],
    key: Float[Array, "B S h d"],
    value: Float[Array, "B S h e"],
    mask: Bool[Array, "B 1 Q S"] | None = None,
) -> Float[Array, "B Q h e"]:
    q, k, v = (x.transpose(2, 0, 1, 3) for x in (query, key, value))  # [h, B, N, d]
    attended = softmax_attention(q, k, v, None if mask is None else mask[:, 0])
    return attended.transpose(1, 2, 0, 3)


@jax.custom_vjp
def _by_head(
    query: Float[Array, "B Q h d"],
    key: Float[Array, "B S h d"],
    value: Float[Array, "B S h e"],
) -> Float[Array, "B Q h e"]:
    """A loop in which every head's result takes the place of its queries; e <= d.

    Its derivative is such a loop too. JAX's own would keep copies of all arrays for it,
    heads first.
    """

    def one(head: Array, attended: Array) -> Array:
        return _put(attended, softmax_attention(*_take(head, query, key, value)), head)

    places = query[..., : value.shape[3]]
    return jax.lax.fori_loop(0, query.shape[2], one, places)


def _by_head_backward(
    inputs: tuple[Array, Array, Array], gradient: Float[Array, "B Q h e"]
) -> tuple[Array, Array, Array]:
    def one(head: Array, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        _, backward = jax.vjp(softmax_attention, *_take(head, *arrays))
        parts = backward(*_take(head, gradient))
        return tuple(_put(x, part, head) for x, part in zip(arrays, parts, strict=True))

    return jax.lax.fori_loop(0, gradient.shape[2], one, inputs)


_by_head.defvjp(lambda *inputs: (_by_head(*inputs), inputs), _by_head_backward)


def _take(head: Array, *arrays: Float[Array, "B N h d"]) -> list[Array]:
    return [jax.lax.dynamic_index_in_dim(x, head, 2, keepdims=False) for x in arrays]


def _put(x: Float[Array, "B N h d"], part: Array, head: Array) -> Array:
    return jax.lax.dynamic_update_index_in_dim(x, part, head, 2)


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


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalised(
    x: Float[Array, "*shape C"],
    scale: Float[Array, " C"],
    bias: Float[Array, " C"],
    epsilon: float,
) -> Float[Array, "*shape C"]:
    """LayerNorm in float32, with the two-pass variance as PyTorch computes it.

    Its own derivative keeps x and two numbers a token; JAX's keeps arrays of x's size.
    """
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
        scale, bias = (p[...].astype(jnp.float32) for p in (self.scale, self.bias))
        return normalised(x, scale, bias, self.epsilon).astype(self.dtype)


def layer_norm(
    width: int, *, rngs: nnx.Rngs, dtype: DTypeLike, epsilon: float = 1e-5
) -> LayerNorm:
    """LayerNorm with PyTorch's default epsilon."""
    return LayerNorm(width, epsilon=epsilon, dtype=dtype, rngs=rngs)


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
