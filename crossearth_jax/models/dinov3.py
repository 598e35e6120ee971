"""Backbone f_φ: the DINOv3 vision transformer (method.md section 1, with its weights).

What differs from DINOv2: no stored positions, but queries and keys of the patches are
rotated by their place in the image; four register tokens; keys without bias. The patch
is 16 as it comes. As with DINOv2, the final norm is not applied to the taps.

B batch, H×W image, p patch, h×w token grid, N = h·w, C width, T = 1 + R + N tokens,
d width of a head.
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
    gelu_mlp,
    patch_embedding,
    tapped,
    token_grid,
    vit_init,
    with_prefix,
)
from crossearth_jax.models.precision import Arithmetic


@dataclasses.dataclass(frozen=True)
class DinoV3Config:
    """Shape of a DINOv3 ViT; `VARIANTS` names the published ones.

    Attributes:
      width: C.
      depth: number of blocks.
      heads: attention heads; C / heads is a multiple of four.
      taps: 0-based blocks whose outputs are the four stage features.
      patch_size: p.
      mlp_ratio: hidden width of the MLP / C.
      registers: R, extra tokens after the class token, at least one.
      layer_scale: initial value of LayerScale.
      theta: θ, see `rotary_angles`.
    """

    width: int = 1024
    depth: int = 24
    heads: int = 16
    taps: tuple[int, ...] = (7, 11, 15, 23)
    patch_size: int = 16
    mlp_ratio: float = 4.0
    registers: int = 4
    layer_scale: float = 1e-5
    theta: float = 100.0


VARIANTS: dict[str, DinoV3Config] = {
    "dinov3_small": DinoV3Config(width=384, depth=12, heads=6, taps=(2, 5, 8, 11)),
    "dinov3_base": DinoV3Config(width=768, depth=12, heads=12, taps=(2, 5, 8, 11)),
    "dinov3_large": DinoV3Config(),  # both LVD-1689M and SAT-493M
    # For demos and tests, as `vit_tiny`.
    "dinov3_tiny": DinoV3Config(
        width=96, depth=4, heads=3, taps=(0, 1, 2, 3), layer_scale=0.1
    ),
}


def rotary_angles(
    grid: tuple[int, int], head_width: int, theta: float
) -> Float[Array, "N half"]:
    """Angles by which the pairs of channels of a head are rotated, in radians.

    The centres of the patches lie in (-1, 1) along each axis, whatever the size and
    shape of the image. d/4 pairs turn with y, the d/4 after them with x, each a full
    turn in 1 to nearly θ half images.
    """
    quarter = head_width // 4
    wave = theta ** (jnp.arange(quarter) / quarter)
    y, x = ((2 * jnp.arange(n) + 1) / n - 1 for n in grid)  # centres
    places = jnp.stack(jnp.meshgrid(y, x, indexing="ij"), -1)  # [h, w, 2]
    angles = 2 * jnp.pi * places[..., None] / wave  # [h, w, 2, d/4]
    return angles.reshape(grid[0] * grid[1], -1)


def rotate(
    x: Float[Array, "B T h d"], angles: Float[Array, "N half"]
) -> Float[Array, "B T h d"]:
    """Rotates the pairs (i, i + d/2) of the patch tokens, the last N; in float32."""
    prefix = x.shape[1] - len(angles)
    patches = x[:, prefix:].astype(jnp.float32)
    cos, sin = (wave(angles)[:, None] for wave in (jnp.cos, jnp.sin))  # [N, 1, d/2]
    a, b = jnp.split(patches, 2, axis=-1)
    rotated = jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
    return jnp.concatenate([x[:, :prefix], rotated.astype(x.dtype)], axis=1)


class RotaryAttention(nnx.Module):
    """Self-attention whose queries and keys know their place; keys have no bias."""

    def __init__(
        self, width: int, heads: int, *, rngs: nnx.Rngs, arithmetic: Arithmetic
    ) -> None:
        self.heads, self.arithmetic = heads, arithmetic
        make = {"kernel_init": vit_init, "rngs": rngs}
        self.query = arithmetic.linear(width, width, **make)
        self.key = arithmetic.linear(width, width, use_bias=False, **make)
        self.value = arithmetic.linear(width, width, **make)
        self.out = arithmetic.linear(width, width, **make)

    def __call__(
        self, x: Float[Array, "B T C"], angles: Float[Array, "N half"]
    ) -> Float[Array, "B T C"]:
        """Attends among all tokens."""
        layers = self.query, self.key, self.value
        q, k, v = (split_heads(layer(x), self.heads) for layer in layers)
        attended = attend(
            rotate(q, angles), rotate(k, angles), v, arithmetic=self.arithmetic
        )
        return self.out(attended.reshape(x.shape))


class DinoV3(nnx.Module):
    """ViT that returns the raw outputs of four blocks, prefix tokens dropped."""

    def __init__(
        self,
        config: DinoV3Config,
        *,
        rngs: nnx.Rngs,
        arithmetic: Arithmetic = Arithmetic.FLOAT32,
    ) -> None:
        width, heads = config.width, config.heads
        if width % (4 * heads) or config.registers < 1:
            raise ValueError(
                f"got {heads} heads for width {width} and {config.registers} registers,"
                " expected a multiple of four channels a head and at least 1 register: "
                "set backbone.heads and backbone.registers"
            )
        self.config = config
        make = {"rngs": rngs, "arithmetic": arithmetic}
        self.patch_embed = patch_embedding(width, config.patch_size, **make)
        self.cls_token = nnx.Param(vit_init(rngs.params(), (width,)))
        self.register_tokens = nnx.Param(
            vit_init(rngs.params(), (config.registers, width))
        )
        self.blocks = nnx.List(
            [
                Block(
                    width,
                    partial(RotaryAttention, width, heads),
                    partial(gelu_mlp, width, int(width * config.mlp_ratio)),
                    epsilon=1e-5,
                    layer_scale=config.layer_scale,
                    **make,
                )
                for _ in range(config.depth)
            ]
        )

    def embed(self, image: Float[Array, "B H W 3"]) -> Float[Array, "B T C"]:
        """Tokens before the first block: class, registers, patches."""
        patches = self.patch_embed(image).astype(jnp.float32)  # [B, h, w, C]
        prefix = [self.cls_token[...][None], self.register_tokens[...]]
        patches = patches.reshape(image.shape[0], -1, self.config.width)
        return with_prefix(jnp.concatenate(prefix), patches)

    def __call__(
        self,
        image: Float[Array, "B H W 3"],
        refine: Refine | None = None,
        *,
        remat: bool = False,
    ) -> list[Float[Array, "B h w C"]]:
        """Features of the tapped blocks at stride p, see `backbone.Backbone`."""
        config = self.config
        grid = token_grid(image, config.patch_size)
        angles = rotary_angles(grid, config.width // config.heads, config.theta)
        return tapped(
            self.blocks,
            lambda block, tokens: block(tokens, angles),
            self.embed(image),
            taps=config.taps,
            grid=grid,
            refine=refine,
            remat=remat,
        )
