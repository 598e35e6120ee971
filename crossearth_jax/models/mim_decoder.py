"""MIM decoder f_A: backbone features back to pixels (method.md section 7, Eq. 8, 9)."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from crossearth_jax.models.precision import Arithmetic
from crossearth_jax.pixels.resample import resize_bilinear

DILATIONS = (1, 6, 12, 18)


def unpatchify(x: Float[Array, "B h w p2c"], patch: int) -> Float[Array, "B H W 3"]:
    """Lays out p·p·3 values per token as pixels."""
    batch, h, w, _ = x.shape
    x = x.reshape(batch, h, w, patch, patch, 3).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, h * patch, w * patch, 3)


def _conv(
    n_in: int,
    n_out: int,
    kernel: int,
    dilation: int,
    rngs: nnx.Rngs,
    arithmetic: Arithmetic,
) -> nnx.Conv:
    return arithmetic.conv(
        n_in,
        n_out,
        kernel,
        kernel_dilation=dilation,
        padding=dilation * (kernel // 2),
        rngs=rngs,
    )


class AsppDecoder(nnx.Module):
    """Paper's decoder: tap k through a 3×3 conv of dilation 1, 6, 12, 18."""

    def __init__(
        self,
        width: int,
        hidden: int,
        patch: int,
        *,
        rngs: nnx.Rngs,
        arithmetic: Arithmetic,
    ) -> None:
        self.patch = patch
        self.convs = nnx.List(
            [_conv(width, hidden, 3, rate, rngs, arithmetic) for rate in DILATIONS]
        )
        self.linear = arithmetic.linear(
            len(DILATIONS) * hidden, patch * patch * 3, rngs=rngs
        )

    def __call__(self, taps: list[Float[Array, "B h w C"]]) -> Float[Array, "B H W 3"]:
        """Reconstructs the normalised image from the four taps."""
        maps = [nnx.relu(conv(x)) for conv, x in zip(self.convs, taps, strict=True)]
        return unpatchify(self.linear(jnp.concatenate(maps, -1)), self.patch)


class LinearDecoder(nnx.Module):
    """Table 9's baseline: the concatenated taps through one linear layer."""

    def __init__(
        self, width: int, patch: int, *, rngs: nnx.Rngs, arithmetic: Arithmetic
    ) -> None:
        self.patch = patch
        self.linear = arithmetic.linear(
            len(DILATIONS) * width, patch * patch * 3, rngs=rngs
        )

    def __call__(self, taps: list[Float[Array, "B h w C"]]) -> Float[Array, "B H W 3"]:
        """Reconstructs the normalised image from the four taps."""
        return unpatchify(self.linear(jnp.concatenate(taps, -1)), self.patch)


class SharedAsppDecoder(nnx.Module):
    """Decoder of the authors' deleted training state: one ASPP for all stage maps.

    `output_size` is the side of the reconstruction before it is resized to the
    image; the authors fixed it to 512.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        output_size: int,
        rngs: nnx.Rngs,
        arithmetic: Arithmetic,
    ) -> None:
        self.output_size = output_size
        self.reduce = _conv(width, hidden, 1, 1, rngs, arithmetic)
        self.convs = nnx.List(
            [_conv(hidden, hidden, 3, rate, rngs, arithmetic) for rate in DILATIONS]
        )
        self.project = _conv(len(DILATIONS) * hidden, hidden, 1, 1, rngs, arithmetic)
        self.refine = _conv(4 * hidden, hidden, 1, 1, rngs, arithmetic)
        self.final = _conv(hidden, 3, 1, 1, rngs, arithmetic)

    def __call__(
        self, stages: list[Float[Array, "B _ _ C"]]
    ) -> Float[Array, "B H W 3"]:
        """Reconstructs the normalised image from the four stage maps."""
        side = (self.output_size, self.output_size)
        maps = [resize_bilinear(self._aspp(x), side) for x in stages]
        x = nnx.relu(self.refine(jnp.concatenate(maps, -1)))
        return self.final(x)

    def _aspp(self, x: Float[Array, "B h w C"]) -> Float[Array, "B h w hidden"]:
        x = self.reduce(x)
        x = jnp.concatenate([conv(x) for conv in self.convs], -1)
        return nnx.relu(self.project(x))
