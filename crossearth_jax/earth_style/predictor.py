"""Style predictor p_s: an image to its 100 style numbers (paper Eq. 1).

The trunk is InceptionV3 up to Mixed_6e, as in the style-augmentation release [144];
batch norm always uses its stored statistics.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32

from crossearth_jax.earth_style.frozen import Conv, Frozen, Linear

EMBEDDING = 100
FULL_WIDTH = 32  # channels of the released network's first convolution
MIN_SIDE = 43  # below this the strided stages run out of pixels

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
# The release divides blue by 0.255 and then multiplies by 0.225. Its weights were
# trained so: correcting one of the two would change every embedding.
_DIVISOR = np.array([0.229, 0.224, 0.255], np.float32)
_MULTIPLIER = np.array([0.229, 0.224, 0.225], np.float32)

Unit = tuple[int, tuple[int, int], int]  # output channels, kernel, stride


class ConvUnit(nnx.Module):
    """Convolution without bias, stored-statistics batch norm, ReLU."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: tuple[int, int] = (3, 3),
        *,
        stride: int = 1,
        padding: tuple[int, int] = (0, 0),
        rngs: nnx.Rngs,
    ) -> None:
        self.conv = Conv(
            c_in, c_out, kernel, stride=stride, padding=padding, bias=False, rngs=rngs
        )
        self.scale, self.bias = Frozen(jnp.ones(c_out)), Frozen(jnp.zeros(c_out))
        self.mean, self.var = Frozen(jnp.zeros(c_out)), Frozen(jnp.ones(c_out))

    def __call__(self, x: Float[Array, "B H W c"]) -> Float32[Array, "B h w C"]:
        """Returns the rectified map."""
        scale, bias, mean, var = (
            v[...].astype(jnp.float32)
            for v in (self.scale, self.bias, self.mean, self.var)
        )
        x = (self.conv(x) - mean) * (scale * jax.lax.rsqrt(var + 1e-3)) + bias
        return jax.nn.relu(x)


class Mixed(nnx.Module):
    """Inception block: parallel chains of units, concatenated.

    The last chain starts from a 3×3 pooling. A block with `reduce` halves the map:
    its pooling is a maximum of stride 2, otherwise a mean of stride 1.
    """

    def __init__(
        self,
        c_in: int,
        branches: Sequence[Sequence[Unit]],
        *,
        reduce: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        self.reduce = reduce
        self.branches = nnx.List([_chain(c_in, units, rngs) for units in branches])
        ends = [units[-1][0] if units else c_in for units in branches]
        self.c_out = sum(ends)

    def __call__(self, x: Float[Array, "B H W c"]) -> Float32[Array, "B h w C"]:
        """Runs the chains and concatenates their channels."""
        pooled = _max_pool(x) if self.reduce else _mean_pool(x)
        starts = [x] * (len(self.branches) - 1) + [pooled]
        outputs = []
        for y, chain in zip(starts, self.branches, strict=True):
            for unit in chain:
                y = unit(y)
            outputs.append(y)
        return jnp.concatenate(outputs, axis=-1)  # [B, h, w, C]


class StylePredictor(nnx.Module):
    """p_s (method §6): RGB in [0, 1] to a style embedding, always in float32.

    Args:
      width: channels of the first convolution. All others are in proportion; 32 is
        the released network, 2 the smallest that divides evenly.
      rngs: source of the random initial weights.

    Raises:
      ValueError: for a width that is not a positive even number.
    """

    def __init__(self, width: int = FULL_WIDTH, *, rngs: nnx.Rngs) -> None:
        if width < 2 or width % 2:
            raise ValueError(
                f"got width {width}, expected a positive even number: "
                f"use {FULL_WIDTH} for the released network"
            )

        def n(channels: int) -> int:
            return channels * width // FULL_WIDTH

        self.conv_1a = ConvUnit(3, n(32), stride=2, rngs=rngs)
        self.conv_2a = ConvUnit(n(32), n(32), rngs=rngs)
        self.conv_2b = ConvUnit(n(32), n(64), padding=(1, 1), rngs=rngs)
        self.conv_3b = ConvUnit(n(64), n(80), (1, 1), rngs=rngs)
        self.conv_4a = ConvUnit(n(80), n(192), rngs=rngs)
        self.mixed_5b = _mixed_5(n(192), n(32), width, rngs)
        self.mixed_5c = _mixed_5(n(256), n(64), width, rngs)
        self.mixed_5d = _mixed_5(n(288), n(64), width, rngs)
        self.mixed_6a = _mixed_6a(n(288), width, rngs)
        self.mixed_6b = _mixed_6(n(768), n(128), width, rngs)
        self.mixed_6c = _mixed_6(n(768), n(160), width, rngs)
        self.mixed_6d = _mixed_6(n(768), n(160), width, rngs)
        self.mixed_6e = _mixed_6(n(768), n(192), width, rngs)
        self.fc = Linear(n(768), EMBEDDING, rngs=rngs)

    def stem(self, x: Float[Array, "B H W 3"]) -> Float32[Array, "B h w c"]:
        """The plain convolutions before the first Inception block."""
        x = self.conv_1a(scale_input(x))  # [B, H/2, W/2, 32]
        x = _max_pool(self.conv_2b(self.conv_2a(x)))  # [B, H/4, W/4, 64]
        return _max_pool(self.conv_4a(self.conv_3b(x)))  # [B, H/8, W/8, 192]

    def trunk(self, x: Float[Array, "B h w c"]) -> Float32[Array, "B k l C"]:
        """The Inception blocks Mixed_5b to Mixed_6e."""
        x = self.mixed_5d(self.mixed_5c(self.mixed_5b(x)))  # [B, h, w, 288]
        x = self.mixed_6c(self.mixed_6b(self.mixed_6a(x)))  # [B, h/2, w/2, 768]
        return self.mixed_6e(self.mixed_6d(x))

    def __call__(self, x: Float[Array, "B H W 3"]) -> Float32[Array, "B 100"]:
        """Predicts style embeddings.

        Args:
          x: RGB in [0, 1], at least 43 pixels on each side.

        Raises:
          ValueError: for a smaller image.
        """
        if min(x.shape[1:3]) < MIN_SIDE:
            raise ValueError(
                f"got an image of {x.shape[1]}x{x.shape[2]}, expected at least "
                f"{MIN_SIDE} on each side: use a larger crop"
            )
        features = self.trunk(self.stem(x))
        return self.fc(features.mean(axis=(1, 2)))  # [B, 100]


def scale_input(x: Float[Array, "B H W 3"]) -> Float32[Array, "B H W 3"]:
    """Input scaling of the release, blue quirk included (method §6)."""
    x = (x.astype(jnp.float32) - _MEAN) / _DIVISOR
    return x * (_MULTIPLIER / 0.5) + (_MEAN - 0.5) / 0.5


def _chain(c_in: int, units: Sequence[Unit], rngs: nnx.Rngs) -> nnx.List:
    """One branch; a stride-1 unit keeps the map's size, a strided one is not padded."""
    chain = nnx.List([])
    for c_out, kernel, stride in units:
        padding = (kernel[0] // 2, kernel[1] // 2) if stride == 1 else (0, 0)
        unit = ConvUnit(c_in, c_out, kernel, stride=stride, padding=padding, rngs=rngs)
        chain.append(unit)
        c_in = c_out
    return chain


def _mixed_5(c_in: int, pool: int, width: int, rngs: nnx.Rngs) -> Mixed:
    n48, n64, n96 = (c * width // FULL_WIDTH for c in (48, 64, 96))
    one, three, five = (1, 1), (3, 3), (5, 5)
    branches = [
        [(n64, one, 1)],
        [(n48, one, 1), (n64, five, 1)],
        [(n64, one, 1), (n96, three, 1), (n96, three, 1)],
        [(pool, one, 1)],
    ]
    return Mixed(c_in, branches, rngs=rngs)


def _mixed_6a(c_in: int, width: int, rngs: nnx.Rngs) -> Mixed:
    n64, n96, n384 = (c * width // FULL_WIDTH for c in (64, 96, 384))
    branches = [
        [(n384, (3, 3), 2)],
        [(n64, (1, 1), 1), (n96, (3, 3), 1), (n96, (3, 3), 2)],
        [],
    ]
    return Mixed(c_in, branches, reduce=True, rngs=rngs)


def _mixed_6(c_in: int, c: int, width: int, rngs: nnx.Rngs) -> Mixed:
    n192 = 192 * width // FULL_WIDTH
    one, row, column = (1, 1), (1, 7), (7, 1)
    double = [(c, one, 1), (c, column, 1), (c, row, 1), (c, column, 1), (n192, row, 1)]
    branches = [
        [(n192, one, 1)],
        [(c, one, 1), (c, row, 1), (n192, column, 1)],
        double,
        [(n192, one, 1)],
    ]
    return Mixed(c_in, branches, rngs=rngs)


def _max_pool(x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    return nnx.max_pool(x, (3, 3), strides=(2, 2))


def _mean_pool(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """3×3 mean that counts the zero padding, as PyTorch's default does."""
    return nnx.avg_pool(x, (3, 3), strides=(1, 1), padding="SAME")
