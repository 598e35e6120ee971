"""Style transfer p_t: repaints an image in the style of an embedding (Ghiasi et al.).

Instance norm whose scale and shift are linear in the style embedding carries the
style; the convolutions carry the content. Used by paper Eq. 5.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Float32

from crossearth_jax.earth_style.frozen import Conv, Linear
from crossearth_jax.earth_style.predictor import EMBEDDING, FULL_WIDTH

RESIDUAL_BLOCKS = 5
MULTIPLE = 4  # two strided convolutions, two doublings


class ReflectConv(nnx.Module):
    """Square convolution with reflection padding, so that borders stay clean."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int, *, stride: int = 1, rngs: nnx.Rngs
    ) -> None:
        self.pad = kernel // 2
        self.conv = Conv(
            c_in, c_out, (kernel, kernel), stride=stride, bias=True, rngs=rngs
        )

    def __call__(self, x: Float[Array, "B H W c"]) -> Float32[Array, "B h w C"]:
        """Returns the convolved map, divided in size by the stride."""
        edge = (self.pad, self.pad)
        return self.conv(jnp.pad(x, ((0, 0), edge, edge, (0, 0)), mode="reflect"))


class StyleNorm(nnx.Module):
    """Instance norm with scale and shift linear in the style embedding."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs) -> None:
        self.gamma = Linear(EMBEDDING, channels, rngs=rngs)
        self.beta = Linear(EMBEDDING, channels, rngs=rngs)

    def __call__(
        self, x: Float[Array, "B H W C"], style: Float[Array, "B 100"]
    ) -> Float32[Array, "B H W C"]:
        """Gives x the channel statistics that the style asks for."""
        gamma = self.gamma(style)[:, None, None]  # [B, 1, 1, C]
        return instance_norm(x) * gamma + self.beta(style)[:, None, None]


class Down(nnx.Module):
    """Convolution, instance norm without style, ReLU."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int, *, stride: int, rngs: nnx.Rngs
    ) -> None:
        self.conv = ReflectConv(c_in, c_out, kernel, stride=stride, rngs=rngs)

    def __call__(self, x: Float[Array, "B H W c"]) -> Float32[Array, "B h w C"]:
        """Returns the rectified map, divided in size by the stride."""
        return jax.nn.relu(instance_norm(self.conv(x)))


class Residual(nnx.Module):
    """Two styled convolutions around a skip; no activation after the sum."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs) -> None:
        self.conv1 = ReflectConv(channels, channels, 3, rngs=rngs)
        self.norm1 = StyleNorm(channels, rngs=rngs)
        self.conv2 = ReflectConv(channels, channels, 3, rngs=rngs)
        self.norm2 = StyleNorm(channels, rngs=rngs)

    def __call__(
        self, x: Float[Array, "B H W C"], style: Float[Array, "B 100"]
    ) -> Float32[Array, "B H W C"]:
        """Adds the styled change to x."""
        y = jax.nn.relu(self.norm1(self.conv1(x), style))
        return x + self.norm2(self.conv2(y), style)


class Up(nnx.Module):
    """Nearest upsampling by `factor`, convolution, styled norm; no activation."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int, *, factor: int, rngs: nnx.Rngs
    ) -> None:
        self.factor = factor
        self.conv = ReflectConv(c_in, c_out, kernel, rngs=rngs)
        self.norm = StyleNorm(c_out, rngs=rngs)

    def __call__(
        self, x: Float[Array, "B h w c"], style: Float[Array, "B 100"]
    ) -> Float32[Array, "B H W C"]:
        """Returns the styled map at `factor` times the size."""
        x = jnp.repeat(jnp.repeat(x, self.factor, axis=1), self.factor, axis=2)
        return self.norm(self.conv(x), style)


class StyleTransfer(nnx.Module):
    """p_t (method §6): RGB in [0, 1] and an embedding to RGB in [0, 1], in float32.

    Args:
      width: channels at full resolution; 32 is the released network.
      rngs: source of the random initial weights.
    """

    def __init__(self, width: int = FULL_WIDTH, *, rngs: nnx.Rngs) -> None:
        w1, w2, w4 = width, 2 * width, 4 * width
        self.down = nnx.List(
            [
                Down(3, w1, 9, stride=1, rngs=rngs),
                Down(w1, w2, 3, stride=2, rngs=rngs),
                Down(w2, w4, 3, stride=2, rngs=rngs),
            ]
        )
        self.residual = nnx.List(
            [Residual(w4, rngs=rngs) for _ in range(RESIDUAL_BLOCKS)]
        )
        self.up = nnx.List(
            [
                Up(w4, w2, 3, factor=2, rngs=rngs),
                Up(w2, w1, 3, factor=2, rngs=rngs),
            ]
        )
        self.paint = Up(w1, 3, 9, factor=1, rngs=rngs)

    def __call__(
        self, x: Float[Array, "B H W 3"], embedding: Float[Array, "B 100"]
    ) -> Float32[Array, "B H W 3"]:
        """Repaints images.

        Args:
          x: RGB in [0, 1]; height and width multiples of 4.
          embedding: one style for each image.

        Raises:
          ValueError: for a size that is not a multiple of 4, whose output would be
            larger than the input.
        """
        height, width = x.shape[1:3]
        if height % MULTIPLE or width % MULTIPLE or min(height, width) < 2 * MULTIPLE:
            raise ValueError(
                f"got an image of {height}x{width}, expected multiples of {MULTIPLE} "
                f"from {2 * MULTIPLE}: crop or pad the image"
            )
        for block in self.down:
            x = block(x)  # [B, H/4, W/4, 4·width] after the last
        for block in self.residual:
            x = block(x, embedding)
        for block in self.up:
            x = jax.nn.relu(block(x, embedding))  # [B, H, W, width] after the last
        return jax.nn.sigmoid(self.paint(x, embedding))  # [B, H, W, 3]


def instance_norm(x: Float[Array, "B H W C"]) -> Float32[Array, "B H W C"]:
    """Zero mean and unit variance for each image and channel (epsilon 1e-5)."""
    x = x.astype(jnp.float32)
    mean = x.mean(axis=(1, 2), keepdims=True)
    var = jnp.square(x - mean).mean(axis=(1, 2), keepdims=True)
    return (x - mean) * jax.lax.rsqrt(var + 1e-5)
