"""Pixel decoder of Mask2Former: deformable encoder and one FPN step (method.md 4).

Stage maps come finest first (strides 4, 8, 16, 32); memories go out coarsest first.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from crossearth_jax.models.deform_attn import DeformableAttention
from crossearth_jax.models.in_turn import in_turn
from crossearth_jax.models.initial_values import (
    caffe2_xavier,
    pytorch_bias,
    xavier_normal,
    xavier_uniform,
)
from crossearth_jax.models.layers import (
    Mlp,
    group_norm,
    layer_norm,
    sine_position,
)
from crossearth_jax.models.precision import Arithmetic
from crossearth_jax.pixels.resample import resize_bilinear, sides

FLOAT32 = Arithmetic.FLOAT32


def relu_mlp(width: int, hidden: int, *, rngs: nnx.Rngs) -> Mlp:
    """The FFN of both transformers of Mask2Former, of the encoder and the decoder."""
    return Mlp(
        width,
        hidden,
        activation=nnx.relu,
        kernel_init=xavier_normal,
        bias_init=pytorch_bias,
        rngs=rngs,
    )


class EncoderLayer(nnx.Module):
    """Deformable self-attention and FFN, post-norm."""

    def __init__(
        self,
        width: int,
        heads: int,
        levels: int,
        points: int,
        ffn: int,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        self.self_attn = DeformableAttention(width, heads, levels, points, rngs=rngs)
        self.norm1 = layer_norm(width, rngs=rngs)
        self.ffn = relu_mlp(width, ffn, rngs=rngs)
        self.norm2 = layer_norm(width, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "B S D"],
        position: Float[Array, "S D"],
        reference: Float[Array, "S 2"],
        sizes: list[tuple[int, int]],
    ) -> Float[Array, "B S D"]:
        """Positions enter the sampling, not the values."""
        query = x + position
        x = self.norm1(x + self.self_attn(query, x, reference, sizes))
        return self.norm2(x + self.ffn(x))


class ConvNorm(nnx.Module):
    """Convolution and GroupNorm, optionally ReLU."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: int,
        groups: int,
        *,
        bias: bool,
        relu: bool,
        kernel_init: nnx.Initializer,
        rngs: nnx.Rngs,
    ) -> None:
        self.relu = relu
        self.conv = FLOAT32.conv(
            n_in,
            n_out,
            kernel,
            padding=kernel // 2,
            use_bias=bias,
            kernel_init=kernel_init,
            rngs=rngs,
        )
        self.norm = group_norm(n_out, groups, rngs=rngs)

    def __call__(
        self, x: Float[Array, "B h w I"], size: tuple[int, int] | None = None
    ) -> Float[Array, "B H W O"]:
        """Applies the convolution, a resize if a size is given, norm, activation."""
        x = self.conv(x)
        if size not in (None, x.shape[1:3]):
            x = resize_bilinear(x, size)
        x = self.norm(x)
        return nnx.relu(x) if self.relu else x


def reference_points(sizes: list[tuple[int, int]]) -> Float[Array, "S 2"]:
    """Centre of every token of every level in [0, 1], x first."""
    points = []
    for height, width in sizes:
        y, x = jnp.meshgrid(
            (jnp.arange(height) + 0.5) / height,
            (jnp.arange(width) + 0.5) / width,
            indexing="ij",
        )
        points.append(jnp.stack([x, y], -1).reshape(-1, 2))
    return jnp.concatenate(points)


class PixelDecoder(nnx.Module):
    """Turns four stage maps into mask features and three memories."""

    def __init__(
        self,
        in_width: int,
        width: int,
        *,
        layers: int,
        heads: int,
        points: int,
        ffn: int,
        groups: int,
        rngs: nnx.Rngs,
    ) -> None:
        """Creates the decoder.

        Args:
          in_width: C of the stage maps.
          width: D.
          layers: deformable encoder layers.
          heads: attention heads.
          points: sampling points per head and level.
          ffn: hidden width of the encoder's FFN.
          groups: GroupNorm groups.
          rngs: initialisation keys.
        """
        make = {"groups": groups, "rngs": rngs}
        plain = {"bias": False, "kernel_init": caffe2_xavier, **make}
        inputs = {"bias": True, "relu": False, "kernel_init": xavier_uniform, **make}
        self.input_convs = nnx.List(
            [ConvNorm(in_width, width, 1, **inputs) for _ in range(3)]
        )
        self.level_encoding = nnx.Param(
            nnx.initializers.normal(1.0)(rngs.params(), (3, width))
        )
        self.encoder = nnx.List(
            [
                EncoderLayer(width, heads, 3, points, ffn, rngs=rngs)
                for _ in range(layers)
            ]
        )
        self.lateral = ConvNorm(in_width, width, 1, relu=False, **plain)
        self.output = ConvNorm(width, width, 3, relu=True, **plain)
        self.mask_feature = FLOAT32.conv(
            width, width, 1, kernel_init=caffe2_xavier, rngs=rngs
        )

    def __call__(
        self,
        stages: list[Float[Array, "B _ _ C"]],
        sizes: list[tuple[int, int]] | None = None,
    ) -> tuple[Float[Array, "B H4 W4 D"], list[Float[Array, "B _ _ D"]]]:
        """Decodes.

        Args:
          stages: maps of stride 4, 8, 16, 32.
          sizes: of these maps, where some are given smaller. They are enlarged after
            their 1x1 convolution, which commutes with it: D channels instead of C.

        Returns:
          Mask features at stride 4 and memories of stride 32, 16, 8.
        """
        finest, *others = sizes or [sides(x) for x in stages]
        coarse_to_fine = others[::-1]
        maps = [
            conv(x, size)
            for conv, x, size in zip(
                self.input_convs, stages[:0:-1], coarse_to_fine, strict=True
            )
        ]
        batch, width = maps[0].shape[0], maps[0].shape[-1]
        position = [
            sine_position(*size, width) + level
            for size, level in zip(
                coarse_to_fine, self.level_encoding[...], strict=True
            )
        ]
        position = jnp.concatenate(position)  # [S, D]
        x = jnp.concatenate([m.reshape(batch, -1, width) for m in maps], axis=1)
        reference = reference_points(coarse_to_fine)

        def encode(layer: EncoderLayer, _: int | Array, x: Array) -> tuple[Array, None]:
            return layer(x, position, reference, coarse_to_fine), None  # [B, S, D]

        x, _ = in_turn(self.encoder, encode, x)
        memories, start = [], 0
        for height, columns in coarse_to_fine:
            part = x[:, start : start + height * columns]
            memories.append(part.reshape(batch, height, columns, width))
            start += height * columns
        fine = self.lateral(stages[0], finest)
        fine = fine + resize_bilinear(memories[-1], sides(fine))
        return self.mask_feature(self.output(fine)), memories
