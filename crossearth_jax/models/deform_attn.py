"""Multi-scale deformable attention in plain JAX (Mask2Former's pixel decoder).

B batch, S tokens of all levels, Q queries, h heads, d channels per head, l levels,
P points. No compiled operator: four corners are gathered for every point.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Integer

from crossearth_jax.models.initial_values import xavier_uniform
from crossearth_jax.models.precision import Arithmetic
from crossearth_jax.pixels.resample import bilinear_corners

FLOAT32 = Arithmetic.FLOAT32


def sample_levels(
    value: Float[Array, "B S h d"],
    sizes: list[tuple[int, int]],
    locations: Float[Array, "B Q h l P 2"],
    weights: Float[Array, "B Q h l P"],
) -> Float[Array, "B Q h d"]:
    """Weighted sum of bilinear samples from every level; zero outside the maps.

    Args:
      value: tokens of all levels, concatenated in the order of `sizes`.
      sizes: (height, width) of each level.
      locations: sampling points in [0, 1], x first.
      weights: attention of each point.
    """
    indices, shares, start = [], [], 0
    for level, (height, width) in enumerate(sizes):
        index, share = bilinear_corners(locations[:, :, :, level], height, width)
        indices.append(index + start)  # [B, Q, h, P, 4]
        shares.append(share * weights[:, :, :, level, :, None])
        start += height * width
    index, share = (jnp.concatenate(parts, 3) for parts in (indices, shares))
    return _sum_of_corners(value, index, share)


@jax.custom_vjp
def _sum_of_corners(
    value: Float[Array, "B S h d"],
    index: Integer[Array, "B Q h lP 4"],
    share: Float[Array, "B Q h lP 4"],
) -> Float[Array, "B Q h d"]:
    """Corners of all points, weighted and added up, as suits the platform.

    It has its own derivative because JAX's of a choice keeps what every choice needs.
    """
    choices = {"cuda": _all_points, "default": _point_by_point}
    return jax.lax.platform_dependent(value, index, share, **choices)


def _sum_of_corners_backward(
    inputs: tuple[Array, Array, Array], gradient: Float[Array, "B Q h d"]
) -> tuple[Array, None, Array]:
    choices = {"cuda": _all_points_backward, "default": _point_by_point_backward}
    of_value, of_share = jax.lax.platform_dependent(gradient, *inputs, **choices)
    return of_value, None, of_share


_sum_of_corners.defvjp(
    lambda *inputs: (_sum_of_corners(*inputs), inputs), _sum_of_corners_backward
)


def _point_by_point(value: Array, index: Array, share: Array) -> Array:
    """One point after another, gathered again for the backward pass.

    On a CPU the corners of all l·P points together took twice the time, and nine times
    the memory; on a TPU, which rounds rows up to 128 channels, five times the memory.
    """
    batch, queries, heads = index.shape[:3]
    points = jax.tree.map(lambda x: x.transpose(3, 0, 2, 1, 4), (index, share))
    tokens = value.transpose(0, 2, 1, 3)  # [B, h, S, d]

    @jax.checkpoint
    def add_point(total: Array, point: tuple[Array, Array]) -> tuple[Array, None]:
        index, share = point  # [B, h, Q, 4]
        flat = index.reshape(batch, heads, -1, 1)
        corners = jnp.take_along_axis(tokens, flat, axis=2, mode="promise_in_bounds")
        corners = corners.reshape(*share.shape, -1)
        return total + FLOAT32.einsum("bhqk,bhqkd->bhqd", share, corners), None

    zeros = jnp.zeros((batch, heads, queries, value.shape[3]), jnp.float32)
    total = jax.lax.scan(add_point, zeros, points)[0]
    return total.transpose(0, 2, 1, 3)


def _point_by_point_backward(
    gradient: Array, value: Array, index: Array, share: Array
) -> tuple[Array, Array]:
    _, backward = jax.vjp(lambda v, s: _point_by_point(v, index, s), value, share)
    return backward(gradient)


def _all_points(value: Array, index: Array, share: Array) -> Array:
    """For a GPU: gathered and added up in one kernel, without a loop."""
    corners = jax.vmap(_gathered)(_rows(value), _places(value, index))
    return (share[..., None] * corners).sum((3, 4))  # of [B, Q, h, lP, 4, d]


def _all_points_backward(
    gradient: Array, value: Array, index: Array, share: Array
) -> tuple[Array, Array]:
    rows, places = _rows(value), _places(value, index)
    wide = gradient[:, :, :, None, None]  # [B, Q, h, 1, 1, d]
    of_share = (wide * jax.vmap(_gathered)(rows, places)).sum(-1)
    of_rows = jax.vmap(_scattered)(rows, places, wide * share[..., None])
    return of_rows.reshape(value.shape), of_share


# Image by image, so that a batch split over devices stays put: rows of all images
# together would be exchanged between them.
def _gathered(
    rows: Float[Array, "Sh d"], places: Integer[Array, "Q h lP 4"]
) -> Float[Array, "Q h lP 4 d"]:
    return rows[places]


def _scattered(
    rows: Float[Array, "Sh d"],
    places: Integer[Array, "Q h lP 4"],
    parts: Float[Array, "Q h lP 4 d"],
) -> Float[Array, "Sh d"]:
    return jnp.zeros_like(rows).at[places].add(parts)


def _rows(value: Float[Array, "B S h d"]) -> Float[Array, "B Sh d"]:
    batch, tokens, heads, width = value.shape  # B may be symbolic
    return value.reshape(batch, tokens * heads, width)


def _places(
    value: Float[Array, "B S h d"], index: Integer[Array, "B Q h lP 4"]
) -> Integer[Array, "B Q h lP 4"]:
    """Rows of `_rows` that hold the corners, each with its head's channels."""
    heads = value.shape[2]
    return index * heads + jnp.arange(heads)[:, None, None]


def _offset_bias(heads: int, levels: int, points: int) -> np.ndarray:
    """Initial offsets: each head looks along its own direction, point i at i + 1."""
    angle = np.arange(heads) * 2 * np.pi / heads
    direction = np.stack([np.cos(angle), np.sin(angle)], -1)
    direction = direction / np.abs(direction).max(-1, keepdims=True)
    steps = np.arange(1, points + 1)
    grid = direction[:, None, None] * steps[None, None, :, None]  # [h, 1, P, 2]
    return np.broadcast_to(grid, (heads, levels, points, 2)).reshape(-1)


class DeformableAttention(nnx.Module):
    """Each query samples a few learned points on every level."""

    def __init__(
        self,
        width: int,
        heads: int,
        levels: int,
        points: int,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        self.heads, self.levels, self.points = heads, levels, points
        zeros = nnx.initializers.zeros
        bias = _offset_bias(heads, levels, points)
        self.sampling_offsets = FLOAT32.linear(
            width,
            bias.size,
            kernel_init=zeros,
            bias_init=lambda _key, _shape, dtype: jnp.asarray(bias, dtype),
            rngs=rngs,
        )
        self.attention_weights = FLOAT32.linear(
            width,
            heads * levels * points,
            kernel_init=zeros,
            rngs=rngs,
        )
        self.value_proj, self.output_proj = (
            FLOAT32.linear(width, width, kernel_init=xavier_uniform, rngs=rngs)
            for _ in range(2)
        )

    def __call__(
        self,
        query: Float[Array, "B Q D"],
        value: Float[Array, "B S D"],
        reference: Float[Array, "Q 2"],
        sizes: list[tuple[int, int]],
    ) -> Float[Array, "B Q D"]:
        """Attends around each query's reference point.

        Args:
          query: features with positions added.
          value: features of all levels.
          reference: centre of each query in [0, 1], x first.
          sizes: (height, width) of each level.
        """
        batch, queries, _ = query.shape
        grid = (batch, queries, self.heads, self.levels, self.points)
        offsets = self.sampling_offsets(query).reshape(*grid, 2)
        extent = jnp.array([(w, h) for h, w in sizes], jnp.float32)  # [l, 2]
        locations = reference[:, None, None, None] + offsets / extent[:, None]
        weights = self.attention_weights(query).reshape(*grid[:3], -1)
        weights = jax.nn.softmax(weights).reshape(grid)
        value = self.value_proj(value).reshape(batch, value.shape[1], self.heads, -1)
        sampled = sample_levels(value, sizes, locations, weights)
        return self.output_proj(sampled.reshape(query.shape))
