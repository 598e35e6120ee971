"""Backbone f_φ: MTP's vision transformer with RVSA (Table 10 of the paper).

RVSA is rotated varied-size window attention: the queries of a window see keys and
values that are sampled, per head, from a window of its own place, size and angle, which
are predicted from the window's tokens. Every few blocks the attention is over the whole
image. There is no class token and no LayerScale. The final norm and the necks of MTP's
decoders are not part of it: MTP itself takes the raw outputs of the tapped blocks.

B batch, H×W image, p patch, h×w token grid, N = h·w, C width, heads n with d channels,
s side of a window, V windows of a padded grid, m terms of a bias.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float

from crossearth_jax.models.attention import attend, split_heads
from crossearth_jax.models.backbone import (
    Refine,
    gelu_mlp,
    patch_embedding,
    tapped,
    token_grid,
    vit_init,
)
from crossearth_jax.models.deform_attn import sample_levels
from crossearth_jax.models.layers import layer_norm
from crossearth_jax.models.precision import Arithmetic
from crossearth_jax.models.rvsa_windows import Windows, sampling_points
from crossearth_jax.pixels.resample import bicubic_matrix, resize_bicubic

FLOAT32 = Arithmetic.FLOAT32


@dataclasses.dataclass(frozen=True)
class RvsaConfig:
    """Shape of a ViT with RVSA; `VARIANTS` names the published ones.

    Attributes:
      width: C.
      depth: number of blocks.
      heads: attention heads.
      taps: 0-based blocks whose outputs are the four stage features.
      patch_size: p.
      grid: side of the stored square position grid, in tokens; also that of the
        relative positions of the blocks with full attention.
      mlp_ratio: hidden width of the MLP / C.
      window_size: s, in tokens.
      full_every: the last of so many blocks has full attention, the others RVSA.
    """

    width: int = 1024
    depth: int = 24
    heads: int = 16
    taps: tuple[int, ...] = (7, 11, 15, 23)
    patch_size: int = 16
    grid: int = 28
    mlp_ratio: float = 4.0
    window_size: int = 7
    full_every: int = 6


VARIANTS: dict[str, RvsaConfig] = {
    "rvsa_base": RvsaConfig(
        width=768, depth=12, heads=12, taps=(3, 5, 7, 11), full_every=3
    ),
    "rvsa_large": RvsaConfig(),
    # For demos and tests, as `vit_tiny`.
    "rvsa_tiny": RvsaConfig(
        width=96, depth=4, heads=3, taps=(0, 1, 2, 3), window_size=4, full_every=2
    ),
}


def by_distance(table: Float[Array, "span d"]) -> Float[Array, "n n d"]:
    """Entries of a table over distances 1-n … n-1, for every query and key place."""
    n = (table.shape[0] + 1) // 2
    return table[np.arange(n)[:, None] - np.arange(n) + n - 1]


def seen_along_axes(
    query: Float[Array, "B y x n d"],
    rows: Float[Array, "y_span d"],
    columns: Float[Array, "x_span d"],
    arithmetic: Arithmetic,
) -> tuple[Float[Array, "B y x n y"], Float[Array, "B y x n x"]]:
    """Score of a query for each row and each column of its map, by distance."""
    rows, columns = (by_distance(t).astype(query.dtype) for t in (rows, columns))
    return (
        arithmetic.einsum("byxnd,ykd->byxnk", query, rows),
        arithmetic.einsum("byxnd,xkd->byxnk", query, columns),
    )


def axis_places(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """One-hot row [N, h] and column [N, w] of every token of a map."""
    rows = np.repeat(np.eye(height, dtype=np.float32), width, axis=0)
    return rows, np.tile(np.eye(width, dtype=np.float32), (height, 1))


def attend_with_bias(
    query: Float[Array, "B Q n d"],
    key: Float[Array, "B S n d"],
    value: Float[Array, "B S n d"],
    bias: list[tuple[Float[Array, "B Q n _"], Float[np.ndarray, "S _"]]],
    arithmetic: Arithmetic = Arithmetic.FLOAT32,
) -> Float[Array, "B Q n d"]:
    """softmax(q·kᵀ/√d + Σ aᵢ·bᵢᵀ)·v, for factors aᵢ of the queries and bᵢ of the keys.

    A sum of products is one product of longer vectors, so the bias [Q, S] of a head is
    never there by itself and `attend` saves memory as it does without.
    """
    left = [query * query.shape[-1] ** -0.5, *(a for a, _ in bias)]
    shape = key.shape[:3]
    right = [key]
    for _, b in bias:
        places = jnp.asarray(b, key.dtype)[:, None]  # [S, 1, m]
        right.append(jnp.broadcast_to(places, (*shape, b.shape[1])))
    long = jnp.concatenate(left, -1)
    # `attend` divides by the root of the length.
    long = long * long.shape[-1] ** 0.5
    return attend(long, jnp.concatenate(right, -1), value, arithmetic=arithmetic)


class FullAttention(nnx.Module):
    """Self-attention with decomposed relative positions."""

    def __init__(
        self, config: RvsaConfig, *, rngs: nnx.Rngs, arithmetic: Arithmetic
    ) -> None:
        width, heads = config.width, config.heads
        make = {"kernel_init": vit_init, "rngs": rngs}
        self.arithmetic = arithmetic
        self.heads = heads
        self.qkv = arithmetic.linear(width, 3 * width, **make)
        self.proj = arithmetic.linear(width, width, **make)
        zeros = jnp.zeros((2 * config.grid - 1, width // heads))
        self.full_rel_pos_h, self.full_rel_pos_w = nnx.Param(zeros), nnx.Param(zeros)

    def __call__(
        self, x: Float[Array, "B N C"], grid: tuple[int, int]
    ) -> Float[Array, "B N C"]:
        """Attends among all tokens of an h×w grid."""
        rows = resize_table(self.full_rel_pos_h[...], grid[0])
        columns = resize_table(self.full_rel_pos_w[...], grid[1])
        q, k, v = (
            split_heads(part, self.heads) for part in jnp.split(self.qkv(x), 3, -1)
        )
        scaled = q * q.shape[-1] ** -0.5
        maps = scaled.reshape(-1, *grid, *q.shape[2:])
        seen = seen_along_axes(maps, rows, columns, self.arithmetic)
        factors = [a.reshape(*q.shape[:3], -1) for a in seen]
        places = axis_places(*grid)
        bias = [*zip(factors, places, strict=True)]
        attended = attend_with_bias(q, k, v, bias, self.arithmetic)
        return self.proj(attended.reshape(x.shape))


def resize_table(table: Float[Array, "span d"], side: int) -> Float[Array, "other d"]:
    """Relative positions for another side of the grid, bicubic along distance."""
    before, after = table.shape[0], 2 * side - 1
    if before == after:
        return table
    matrix = jnp.asarray(bicubic_matrix(before, after))
    return FLOAT32.matmul(matrix, table)


class WindowAttention(nnx.Module):
    """RVSA: each window attends to tokens sampled from a window of another shape."""

    def __init__(
        self, config: RvsaConfig, *, rngs: nnx.Rngs, arithmetic: Arithmetic
    ) -> None:
        width, heads, side = config.width, config.heads, config.window_size
        make = {"kernel_init": vit_init, "rngs": rngs}
        self.arithmetic = arithmetic
        self.heads, self.side = heads, side
        self.qkv = arithmetic.linear(width, 3 * width, **make)
        self.proj = arithmetic.linear(width, width, **make)

        def sampling(numbers: int) -> nnx.Linear:
            # Windows start as the plain ones; coordinates need single precision.
            zeros = nnx.initializers.zeros
            make = {"kernel_init": zeros, "rngs": rngs}
            return FLOAT32.linear(width, heads * numbers, **make)

        self.sampling_offsets, self.sampling_scales = sampling(2), sampling(2)
        self.sampling_angles = sampling(1)
        span, zeros = 2 * side - 1, jnp.zeros((2 * side - 1, width // heads))
        self.rel_pos_h, self.rel_pos_w = nnx.Param(zeros), nnx.Param(zeros)
        self.relative_position_bias = nnx.Param(
            vit_init(rngs.params(), (span**2, heads))
        )

    def __call__(
        self, x: Float[Array, "B N C"], grid: tuple[int, int]
    ) -> Float[Array, "B N C"]:
        """Attends within the windows of an h×w grid."""
        windows = Windows(grid, self.side)
        q, k, v = (
            split_heads(part, self.heads) for part in jnp.split(self.qkv(x), 3, -1)
        )
        points = self._points(windows, x)  # [B, V, ss, n, 2]
        _, count, inside, *_ = points.shape
        points = points.reshape(x.shape[0], count * inside, self.heads, 1, 1, 2)
        sampled = sample_levels(
            jnp.concatenate([k, v], -1), [grid], points, jnp.ones_like(points[..., 0])
        )
        merged = -1, inside, *q.shape[2:]  # windows as images of a batch
        k, v = (part.reshape(merged) for part in jnp.split(sampled, 2, -1))
        q = windows.cut(q).reshape(merged)
        attended = attend_with_bias(q, k, v, self._bias(q), self.arithmetic)
        attended = attended.reshape(x.shape[0], count, inside, -1)
        return self.proj(windows.join(attended))

    def _points(
        self, windows: Windows, x: Float[Array, "B N C"]
    ) -> Float[Array, "B V ss n 2"]:
        """Offset, scale and angle from the mean token of each window, padding too."""
        mean = windows.cut(x.astype(jnp.float32)).mean(2)
        mean = nnx.leaky_relu(mean)
        layers = self.sampling_offsets, self.sampling_scales, self.sampling_angles
        shape = *mean.shape[:2], self.heads, -1
        return sampling_points(
            windows, *(layer(mean).reshape(shape) for layer in layers)
        )

    def _bias(
        self, query: Float[Array, "b ss n d"]
    ) -> list[tuple[Float[Array, "b ss n _"], Float[np.ndarray, "ss _"]]]:
        """Of rows and columns, from the query, and of each pair of places."""
        s = self.side
        maps = query.reshape(-1, s, s, *query.shape[2:])
        tables = self.rel_pos_h[...], self.rel_pos_w[...]
        seen = seen_along_axes(maps, *tables, self.arithmetic)
        factors = [a.reshape(*query.shape[:3], s) for a in seen]
        pairs = self.relative_position_bias[...][pair_index(s)]  # [ss, ss, n]
        pairs = pairs.transpose(0, 2, 1).astype(query.dtype)
        factors.append(jnp.broadcast_to(pairs, (*query.shape[:3], s * s)))
        places = *axis_places(s, s), np.eye(s * s, dtype=np.float32)
        return [*zip(factors, places, strict=True)]


def pair_index(side: int) -> np.ndarray:
    """Row of the bias table for each query and key of a window: their distance."""
    y, x = np.divmod(np.arange(side * side), side)
    dy, dx = (a[:, None] - a + side - 1 for a in (y, x))
    return dy * (2 * side - 1) + dx


class RvsaBlock(nnx.Module):
    """Pre-norm transformer block, without LayerScale."""

    def __init__(
        self,
        config: RvsaConfig,
        attention: type[FullAttention] | type[WindowAttention],
        *,
        rngs: nnx.Rngs,
        arithmetic: Arithmetic,
    ) -> None:
        width, make = config.width, {"rngs": rngs, "arithmetic": arithmetic}
        norm = {"rngs": rngs, "dtype": arithmetic.dtype, "epsilon": 1e-6}
        self.norm1 = layer_norm(width, **norm)
        self.attn = attention(config, **make)
        self.norm2 = layer_norm(width, **norm)
        self.mlp = gelu_mlp(width, int(width * config.mlp_ratio), **make)

    def __call__(
        self, x: Float[Array, "B N C"], grid: tuple[int, int]
    ) -> Float[Array, "B N C"]:
        """Attention, then MLP, each added."""
        x = x + self.attn(self.norm1(x), grid)
        return x + self.mlp(self.norm2(x))


class RvsaViT(nnx.Module):
    """ViT that returns the raw outputs of four blocks."""

    def __init__(
        self,
        config: RvsaConfig,
        *,
        rngs: nnx.Rngs,
        arithmetic: Arithmetic = Arithmetic.FLOAT32,
    ) -> None:
        width, heads = config.width, config.heads
        if width % heads or config.window_size < 2 or config.full_every < 1:
            raise ValueError(
                f"got {heads} heads for width {width}, windows of "
                f"{config.window_size} and full attention every {config.full_every} "
                "blocks, expected a divisor of the width, at least 2 and at least 1: "
                "set backbone.heads"
            )
        self.config = config
        make = {"rngs": rngs, "arithmetic": arithmetic}
        self.patch_embed = patch_embedding(width, config.patch_size, **make)
        self.pos_embed = nnx.Param(vit_init(rngs.params(), (config.grid**2, width)))
        self.blocks = nnx.List(
            [
                RvsaBlock(
                    config, WindowAttention if i % every else FullAttention, **make
                )
                for every in [config.full_every]
                for i in range(1, config.depth + 1)
            ]
        )

    def embed(self, image: Float[Array, "B H W 3"]) -> Float[Array, "B N C"]:
        """Tokens before the first block: patches with positions."""
        grid, side = token_grid(image, self.config.patch_size), self.config.grid
        position = self.pos_embed[...].astype(jnp.float32)
        if grid != (side, side):
            maps = position.reshape(1, side, side, -1)
            position = resize_bicubic(maps, grid).reshape(grid[0] * grid[1], -1)
        patches = self.patch_embed(image)  # [B, h, w, C]
        patches = patches.reshape(image.shape[0], grid[0] * grid[1], -1)
        return patches + position

    def __call__(
        self,
        image: Float[Array, "B H W 3"],
        refine: Refine | None = None,
        *,
        remat: bool = False,
    ) -> list[Float[Array, "B h w C"]]:
        """Features of the tapped blocks at stride p, see `backbone.Backbone`."""
        grid = token_grid(image, self.config.patch_size)
        return tapped(
            self.blocks,
            lambda block, tokens: block(tokens, grid),
            self.embed(image),
            taps=self.config.taps,
            grid=grid,
            refine=refine,
            remat=remat,
        )
