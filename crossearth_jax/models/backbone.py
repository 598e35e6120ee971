"""What CrossEarth asks of a backbone f_φ, and the loop over blocks that all share.

A family is a frozen dataclass of sizes (`BackboneConfig`) and a module (`Backbone`),
made as `Family(config, rngs=…, arithmetic=…)`; `families.py` names them all. The
adapters are not part of it: they are Rein's, called as `refine` after every block.

Tokens are float32 between the layers, whatever type these compute in: roundings of the
sum of all blocks' outputs would add up.

B batch, H×W image, p patch, h×w token grid, N = h·w, C width, R tokens before the
patches (class, registers), T = R + N.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from crossearth_jax.models.in_turn import in_turn
from crossearth_jax.models.layers import Mlp, gelu, layer_norm
from crossearth_jax.models.portable import for_gpu
from crossearth_jax.models.precision import Arithmetic

vit_init = nnx.initializers.truncated_normal(0.02)

# (block, tokens [B, T, C], which are patches [T, 1] or None for all) → the tokens with
# the patches refined: the Rein adapters. No copies of the patches alone are made.
Refine = Callable[[int | Array, Array, np.ndarray | None], Array]


@runtime_checkable
class BackboneConfig(Protocol):
    """The sizes that the rest of the model reads; a family adds its own.

    Read-only, as the fields of a frozen dataclass are.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def width(self) -> int:
        """C."""
        ...

    @property
    def depth(self) -> int:
        """L, number of blocks."""
        ...

    @property
    def heads(self) -> int:
        """Attention heads; the Injectors have as many."""
        ...

    @property
    def taps(self) -> tuple[int, ...]:
        """0-based blocks whose outputs are the four stage features."""
        ...

    @property
    def patch_size(self) -> int:
        """Pixels along a side of a patch, p."""
        ...


class Backbone(Protocol):
    """A network from a normalised image to one map [B, h, w, C] per tap."""

    def __call__(
        self,
        image: Float[Array, "B H W 3"],
        refine: Refine | None = None,
        *,
        remat: bool = False,
    ) -> list[Float[Array, "B h w C"]]:
        """Raw outputs of the tapped blocks, refined, at stride p; see `tapped`."""
        ...


def token_grid(image: Float[Array, "B H W 3"], patch: int) -> tuple[int, int]:
    """(h, w) of an image.

    Raises:
      ValueError: its sides are not multiples of the patch.
    """
    height, width = image.shape[1:3]
    if height % patch or width % patch:
        raise ValueError(
            f"got a {height}x{width} image, expected multiples of the patch size "
            f"{patch}: pad the image"
        )
    return height // patch, width // patch


def patch_embedding(
    width: int, patch: int, *, rngs: nnx.Rngs, arithmetic: Arithmetic
) -> nnx.Conv:
    """The convolution that makes a token of every patch."""
    return arithmetic.conv(
        3,
        width,
        patch,
        strides=patch,
        padding="VALID",
        kernel_init=nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
        rngs=rngs,
    )


def with_prefix(
    prefix: Float[Array, "R C"], patches: Float[Array, "B N C"]
) -> Float[Array, "B T C"]:
    """Class and register tokens before the patch tokens of every image."""
    prefix = prefix.astype(patches.dtype)
    prefix = jnp.broadcast_to(prefix, (patches.shape[0], *prefix.shape))
    return jnp.concatenate([prefix, patches], axis=1)


def filled_up(
    tokens: Float[Array, "B T C"], arithmetic: Arithmetic
) -> Float[Array, "B U C"]:
    """Tokens with zeros behind them, to U >= T that suits the platform's products.

    In half precision a GPU multiplies sides that are multiples of eight. XLA would fill
    up every operand of every product by itself, and cut every result.
    """
    half = arithmetic is Arithmetic.BFLOAT16
    missing = -tokens.shape[1] % 8 if for_gpu() and half else 0
    return jnp.pad(tokens, ((0, 0), (0, missing), (0, 0)))


def gelu_mlp(width: int, hidden: int, *, rngs: nnx.Rngs, arithmetic: Arithmetic) -> Mlp:
    """The MLP of a ViT, with the exact GELU."""
    return Mlp(
        width,
        hidden,
        activation=gelu,
        kernel_init=vit_init,
        arithmetic=arithmetic,
        rngs=rngs,
    )


class Block(nnx.Module):
    """Pre-norm transformer block with LayerScale, as in DINOv2 and DINOv3."""

    def __init__(
        self,
        width: int,
        attention: Callable[..., nnx.Module],
        mlp: Callable[..., nnx.Module],
        *,
        epsilon: float,
        layer_scale: float,
        rngs: nnx.Rngs,
        arithmetic: Arithmetic,
    ) -> None:
        """Creates the layers.

        Args:
          width: C.
          attention: makes the attention from `rngs` and `arithmetic`.
          mlp: makes the MLP from the same.
          epsilon: of both LayerNorms.
          layer_scale: initial value of both LayerScales.
          rngs: initialisation keys.
          arithmetic: of the products.
        """
        make = {"rngs": rngs, "arithmetic": arithmetic}
        norm = {"rngs": rngs, "dtype": arithmetic.dtype, "epsilon": epsilon}
        self.norm1 = layer_norm(width, **norm)
        self.attn = attention(**make)
        self.ls1 = nnx.Param(jnp.full((width,), layer_scale))
        self.norm2 = layer_norm(width, **norm)
        self.mlp = mlp(**make)
        self.ls2 = nnx.Param(jnp.full((width,), layer_scale))

    def __call__(
        self, x: Float[Array, "B T C"], *positions: Array
    ) -> Float[Array, "B T C"]:
        """Attention, then MLP, each scaled per channel and added.

        Args:
          x: tokens.
          *positions: further inputs of the attention.
        """
        x = x + self.ls1.astype(x.dtype) * self.attn(self.norm1(x), *positions)
        return x + self.ls2.astype(x.dtype) * self.mlp(self.norm2(x))


def tapped(
    blocks: Sequence[nnx.Module],
    apply: Callable[[nnx.Module, Array], Array],
    tokens: Float[Array, "B T C"],
    *,
    taps: Sequence[int],
    grid: tuple[int, int],
    filled: int = 0,
    refine: Refine | None = None,
    remat: bool = False,
) -> list[Float[Array, "B h w C"]]:
    """Runs the blocks and returns the patch tokens after some of them as maps.

    Args:
      blocks: in order; not all need have one structure.
      apply: one block on all tokens.
      tokens: before the first block; the last N are the patches, but for those filled.
      taps: 0-based blocks.
      grid: (h, w).
      filled: tokens that `filled_up` has added.
      refine: called after each block.
      remat: compute each block again in the backward pass instead of keeping what is
        inside it.
    """
    patches, end = grid[0] * grid[1], tokens.shape[1] - filled
    place = np.arange(tokens.shape[1])[:, None]
    is_patch = (place >= end - patches) & (place < end)
    if is_patch.all():
        is_patch = None

    def layer(block: nnx.Module, i: int | Array, tokens: Array) -> tuple[Array, Array]:
        tokens = apply(block, tokens)
        if refine is not None:
            tokens = refine(i, tokens, is_patch)
        return tokens, tokens

    tokens, outputs = in_turn(blocks, layer, tokens, recomputed=remat)
    shape = tokens.shape[0], *grid, -1
    return [outputs[i][:, end - patches : end].reshape(shape) for i in taps]
