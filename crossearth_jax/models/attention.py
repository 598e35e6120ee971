"""Attention, and how each platform computes it.

Shapes: B batch, Q queries, S keys, C width, h heads, d = C / h.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from crossearth_jax.models.initial_values import xavier_uniform
from crossearth_jax.models.portable import is_portable
from crossearth_jax.models.precision import Arithmetic
from crossearth_jax.system.compiling import target_device

FEW_WEIGHTS = 1 << 20  # of an image: 4 MiB, which a CPU's cache takes as a whole


class MultiHeadAttention(nnx.Module):
    """Attention with separate query, key and value projections, all with bias."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        rngs: nnx.Rngs,
        arithmetic: Arithmetic = Arithmetic.FLOAT32,
        inner_init: nnx.Initializer = xavier_uniform,
        out_init: nnx.Initializer = xavier_uniform,
    ) -> None:
        """Creates the projections.

        Args:
          width: C.
          heads: h.
          rngs: initialisation keys.
          arithmetic: of all products.
          inner_init: initial kernels of queries, keys and values.
          out_init: initial kernel of the projection back.
        """
        if width % heads:
            raise ValueError(f"got {heads} heads for width {width}: choose a divisor")
        self.heads, self.arithmetic = heads, arithmetic
        self.query, self.key, self.value, self.out = (
            arithmetic.linear(width, width, kernel_init=kernel_init, rngs=rngs)
            for kernel_init in (*[inner_init] * 3, out_init)
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
        attended = attend(q, k, v, mask, arithmetic=self.arithmetic)
        return self.out(attended.reshape(query.shape))


def split_heads(x: Float[Array, "B N C"], heads: int) -> Float[Array, "B N h d"]:
    """Cuts the channels into heads."""
    return x.reshape(*x.shape[:2], heads, -1)


def attend(
    query: Float[Array, "B Q h d"],
    key: Float[Array, "B S h d"],
    value: Float[Array, "B S h e"],
    mask: Bool[Array, "B 1 Q S"] | None = None,
    *,
    keys: int | None = None,
    arithmetic: Arithmetic = Arithmetic.FLOAT32,
) -> Float[Array, "B Q h e"]:
    """Scaled dot-product attention, e <= d.

    True in `mask` lets a query see a key. Or `keys`: the first so many are seen by all
    queries, and no other.

    Where the weights [h, B, Q, S] are many, none is kept for the backward pass. A CPU
    takes one head after the other: [B, Q, S] then stays in its cache, which took half
    the time of all heads at once. A GPU takes cuDNN's flash attention, in the half
    precision that it asks for. Other platforms compute all heads at once.
    """
    assert mask is None or keys is None  # one of the two would be lost
    weights = query.shape[2] * query.shape[1] * key.shape[1]  # B may be symbolic
    first = None if keys is None else jnp.arange(key.shape[1])[None, None, None] < keys
    if mask is not None or weights <= FEW_WEIGHTS:
        mask = first if mask is None else mask
        return all_heads(query, key, value, mask, arithmetic=arithmetic)
    together = jax.checkpoint(partial(all_heads, mask=first, arithmetic=arithmetic))
    by_head = partial(_by_head, arithmetic)
    by_platform = {"cpu": by_head if keys is None else together, "default": together}
    if flash_fits(query, value):
        by_platform["cuda"] = partial(flash_attention, keys=keys)
    return jax.lax.platform_dependent(query, key, value, **by_platform)


def flash_attention(
    query: Float[Array, "B Q h d"],
    key: Float[Array, "B S h d"],
    value: Float[Array, "B S h d"],
    keys: int | None = None,
) -> Float[Array, "B Q h d"]:
    """By cuDNN, for which JAX wants even lengths: one more token that nobody sees.

    Only the first `keys` are seen, None for all.
    """

    def even(x: Array) -> Array:
        return jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, 0), (0, 0)))

    def lengths(count: int) -> Array:
        return jnp.full(query.shape[0], count, jnp.int32)

    attended = jax.nn.dot_product_attention(
        *(even(x) for x in (query, key, value)),
        query_seq_lengths=lengths(query.shape[1]),
        key_value_seq_lengths=lengths(keys or key.shape[1]),
        implementation="cudnn",
    )
    return attended[:, : query.shape[1]]


def flash_fits(query: Float[Array, "B Q h d"], value: Float[Array, "B S h e"]) -> bool:
    """Whether the device that is traced for has cuDNN for such heads."""
    width, device = query.shape[-1], target_device()
    return (
        not is_portable()
        and query.dtype in (jnp.bfloat16, jnp.float16)
        and width == value.shape[-1]
        and width % 8 == 0
        and width <= 128
        and device.platform == "gpu"
        and float(device.compute_capability) >= 8
    )


def all_heads(
    query: Float[Array, "B Q h d"],
    key: Float[Array, "B S h d"],
    value: Float[Array, "B S h e"],
    mask: Bool[Array, "B 1 Q S"] | None = None,
    *,
    arithmetic: Arithmetic = Arithmetic.FLOAT32,
) -> Float[Array, "B Q h e"]:
    """The formula, all weights [h, B, Q, S] at once."""
    q, k, v = (x.transpose(2, 0, 1, 3) for x in (query, key, value))  # [h, B, N, d]
    seen = None if mask is None else mask[:, 0]
    attended = softmax_attention(q, k, v, seen, arithmetic=arithmetic)
    return attended.transpose(1, 2, 0, 3)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _by_head(
    arithmetic: Arithmetic,
    query: Float[Array, "B Q h d"],
    key: Float[Array, "B S h d"],
    value: Float[Array, "B S h e"],
) -> Float[Array, "B Q h e"]:
    """A loop in which every head's result takes the place of its queries; e <= d.

    Its derivative is such a loop too. JAX's own would keep copies of all arrays for it,
    heads first.
    """

    def one(head: Array, attended: Array) -> Array:
        parts = _take(head, query, key, value)
        return _put(attended, softmax_attention(*parts, arithmetic=arithmetic), head)

    places = query[..., : value.shape[3]]
    return jax.lax.fori_loop(0, query.shape[2], one, places)


def _by_head_backward(
    arithmetic: Arithmetic,
    inputs: tuple[Array, Array, Array],
    gradient: Float[Array, "B Q h e"],
) -> tuple[Array, Array, Array]:
    formula = partial(softmax_attention, arithmetic=arithmetic)

    def one(head: Array, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        _, backward = jax.vjp(formula, *_take(head, *arrays))
        parts = backward(*_take(head, gradient))
        return tuple(_put(x, part, head) for x, part in zip(arrays, parts, strict=True))

    return jax.lax.fori_loop(0, gradient.shape[2], one, inputs)


_by_head.defvjp(
    lambda arithmetic, *inputs: (_by_head(arithmetic, *inputs), inputs),
    _by_head_backward,
)


def _take(head: Array, *arrays: Float[Array, "B N h d"]) -> list[Array]:
    return [jax.lax.dynamic_index_in_dim(x, head, 2, keepdims=False) for x in arrays]


def _put(x: Float[Array, "B N h d"], part: Array, head: Array) -> Array:
    return jax.lax.dynamic_update_index_in_dim(x, part, head, 2)


def softmax_attention(
    query: Float[Array, "*h B Q d"],
    key: Float[Array, "*h B S d"],
    value: Float[Array, "*h B S e"],
    mask: Bool[Array, "B Q S"] | None = None,
    *,
    arithmetic: Arithmetic = Arithmetic.FLOAT32,
) -> Float[Array, "*h B Q e"]:
    """Softmax with the division after the product: one pass fewer over [B, Q, S]."""
    scaled = query * query.shape[-1] ** -0.5
    logits = arithmetic.matmul(scaled, key.mT, jnp.float32)  # [*h, B, Q, S]
    if mask is not None:
        logits = jnp.where(mask, logits, -jnp.inf)
    largest = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    weights = jnp.exp(logits - largest)
    total = weights.sum(-1, keepdims=True)
    attended = arithmetic.matmul(weights.astype(value.dtype), value, jnp.float32)
    return (attended / total).astype(value.dtype)
