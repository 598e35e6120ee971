"""Backbone f_φ: the DINOv2 vision transformer (method.md section 1).

B batch, H×W image, p patch, h×w token grid, N = h·w tokens, C width, R registers.
"""

import dataclasses
from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from crossearth_jax.models.attention import attend, split_heads
from crossearth_jax.models.backbone import (
    Block,
    Refine,
    filled_up,
    gelu_mlp,
    patch_embedding,
    tapped,
    token_grid,
    vit_init,
    with_prefix,
)
from crossearth_jax.models.precision import Arithmetic
from crossearth_jax.pixels.resample import resize_bicubic, resize_bicubic_antialiased


@dataclasses.dataclass(frozen=True)
class ViTConfig:
    """Shape of a ViT; `VARIANTS` names the published ones.

    Attributes:
      width: C.
      depth: number of blocks.
      heads: attention heads.
      taps: 0-based blocks whose outputs are the four stage features.
      patch_size: p.
      grid: side of the stored square position grid, in tokens.
      mlp_ratio: hidden width of the MLP / C.
      swiglu: gated MLP of ViT-g instead of the GELU MLP.
      registers: R, extra tokens after the class token.
      layer_scale: initial value of LayerScale.
    """

    width: int = 1024
    depth: int = 24
    heads: int = 16
    taps: tuple[int, ...] = (7, 11, 15, 23)
    patch_size: int = 16
    grid: int = 32
    mlp_ratio: float = 4.0
    swiglu: bool = False
    registers: int = 0
    layer_scale: float = 1e-5


VARIANTS: dict[str, ViTConfig] = {
    "vit_small": ViTConfig(width=384, depth=12, heads=6, taps=(2, 5, 8, 11)),
    "vit_base": ViTConfig(width=768, depth=12, heads=12, taps=(2, 5, 8, 11)),
    "vit_large": ViTConfig(),
    "vit_giant": ViTConfig(
        width=1536, depth=40, heads=24, taps=(9, 19, 29, 39), swiglu=True
    ),
    # For demos and tests: trains from scratch on a CPU, which the LayerScale of large
    # pretrained models would slow down.
    "vit_tiny": ViTConfig(
        width=96, depth=4, heads=3, taps=(0, 1, 2, 3), layer_scale=0.1
    ),
}


class SwiGlu(nnx.Module):
    """Gated MLP of ViT-g: w3(silu(a) · b) with (a, b) = w12(x)."""

    def __init__(
        self, width: int, hidden: int, *, rngs: nnx.Rngs, arithmetic: Arithmetic
    ) -> None:
        hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
        make = {"kernel_init": vit_init, "rngs": rngs}
        self.w12 = arithmetic.linear(width, 2 * hidden, **make)
        self.w3 = arithmetic.linear(hidden, width, **make)

    def __call__(self, x: Float[Array, "B N C"]) -> Float[Array, "B N C"]:
        """Applies the gate."""
        gate, value = jnp.split(self.w12(x), 2, axis=-1)
        return self.w3(nnx.silu(gate) * value)


class SelfAttention(nnx.Module):
    """Self-attention with one fused qkv projection, as DINOv2 stores it."""

    def __init__(
        self, width: int, heads: int, *, rngs: nnx.Rngs, arithmetic: Arithmetic
    ) -> None:
        self.heads, self.arithmetic = heads, arithmetic
        make = {"kernel_init": vit_init, "rngs": rngs}
        self.qkv = arithmetic.linear(width, 3 * width, **make)
        self.proj = arithmetic.linear(width, width, **make)

    def __call__(
        self, x: Float[Array, "B N C"], keys: int | None = None
    ) -> Float[Array, "B N C"]:
        """Attends among the first tokens, None for all."""
        qkv = jnp.split(self.qkv(x), 3, axis=-1)
        q, k, v = (split_heads(part, self.heads) for part in qkv)
        attended = attend(q, k, v, keys=keys, arithmetic=self.arithmetic)
        return self.proj(attended.reshape(x.shape))


def resize_positions(
    grid: Float[Array, "n C"], height: int, width: int, *, registers: bool = False
) -> Float[Array, "N C"]:
    """Position grid at another token grid, as the authors resize it at run time.

    The bicubic scale factor is (h + 0.1) / n per axis and also sets the sampling
    grid; a square grid of the stored size is used as it is. DINOv2's models with
    registers are resized as they were trained: antialiased, and by the sizes alone.
    """
    side = round(grid.shape[0] ** 0.5)
    if side * side != grid.shape[0]:
        raise ValueError(f"got {grid.shape[0]} positions, expected a square grid")
    if (height, width) == (side, side):
        return grid
    scale = (height + 0.1) / side, (width + 0.1) / side
    maps = grid.astype(jnp.float32).reshape(1, side, side, -1)
    if registers:
        resized = resize_bicubic_antialiased(maps, (height, width))
    else:
        resized = resize_bicubic(maps, (height, width), scale)
    return resized.reshape(height * width, -1)


class DinoV2(nnx.Module):
    """ViT that returns the raw outputs of four blocks, class token dropped."""

    def __init__(
        self,
        config: ViTConfig,
        *,
        rngs: nnx.Rngs,
        arithmetic: Arithmetic = Arithmetic.FLOAT32,
    ) -> None:
        self.config, self.arithmetic = config, arithmetic
        width, patch = config.width, config.patch_size
        mlp = SwiGlu if config.swiglu else gelu_mlp
        key = rngs.params()
        self.patch_embed = patch_embedding(
            width, patch, arithmetic=arithmetic, rngs=rngs
        )
        self.cls_token = nnx.Param(jnp.zeros((width,)))
        self.pos_embed = nnx.Param(vit_init(key, (1 + config.grid**2, width)))
        self.register_tokens = (
            nnx.Param(vit_init(rngs.params(), (config.registers, width)))
            if config.registers
            else None
        )
        self.blocks = nnx.List(
            [
                Block(
                    width,
                    partial(SelfAttention, width, config.heads),
                    partial(mlp, width, int(width * config.mlp_ratio)),
                    epsilon=1e-6,
                    layer_scale=config.layer_scale,
                    arithmetic=arithmetic,
                    rngs=rngs,
                )
                for _ in range(config.depth)
            ]
        )

    def embed(self, image: Float[Array, "B H W 3"]) -> Float[Array, "B T C"]:
        """Tokens before the first block: class, registers, patches with positions."""
        h, w = token_grid(image, self.config.patch_size)
        position = self.pos_embed[...].astype(jnp.float32)
        patches = self.patch_embed(image)  # [B, h, w, C]
        patches = patches.reshape(image.shape[0], h * w, -1)
        registers = self.register_tokens is not None
        patches = patches + resize_positions(position[1:], h, w, registers=registers)
        prefix = [self.cls_token[...] + position[0]]
        if self.register_tokens is not None:
            prefix += list(self.register_tokens[...])
        return with_prefix(jnp.stack(prefix), patches)

    def __call__(
        self,
        image: Float[Array, "B H W 3"],
        refine: Refine | None = None,
        *,
        remat: bool = False,
    ) -> list[Float[Array, "B h w C"]]:
        """Features of the tapped blocks at stride p.

        Args:
          image: normalised image, H and W multiples of p.
          refine: called after each block; the Rein adapters.
          remat: see `tapped`.

        Returns:
          One map per tap.
        """
        embedded = self.embed(image)
        tokens, count = filled_up(embedded, self.arithmetic), embedded.shape[1]
        filled = tokens.shape[1] - count
        return tapped(
            self.blocks,
            lambda block, tokens: block(tokens, count if filled else None),
            tokens,
            taps=self.config.taps,
            grid=token_grid(image, self.config.patch_size),
            filled=filled,
            refine=refine,
            remat=remat,
        )
