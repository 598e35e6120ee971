"""Resampling exactly as PyTorch does it.

`jax.image.resize` has another cubic kernel (a = -0.5) and antialiases when it
shrinks, so bicubic is written out here. Coordinates follow
`torch.nn.functional.interpolate` and `grid_sample` with `align_corners=False`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def sides(x: Float[Array, "B H W C"]) -> tuple[int, int]:
    """(H, W) of maps."""
    return x.shape[1], x.shape[2]


def resize_bilinear(
    x: Float[Array, "B h w C"], size: tuple[int, int]
) -> Float[Array, "B H W C"]:
    """Resizes without antialias, like `interpolate(mode="bilinear")`."""
    shape = (x.shape[0], *size, x.shape[3])
    return jax.image.resize(x, shape, "bilinear", antialias=False)


def shrink_bilinear(
    x: Float[Array, "B h w C"], size: tuple[int, int]
) -> Float[Array, "B H W C"]:
    """`resize_bilinear`, without a product where x's sides are even multiples.

    A place is then amid four pixels: their mean. XLA finds no kernel of Triton's for a
    product that has a short side.
    """
    if any(n % (2 * m) for n, m in zip(sides(x), size, strict=True)):
        return resize_bilinear(x, size)
    for axis, n in enumerate(size, 1):
        factor = x.shape[axis] // n
        before, behind = (
            jax.lax.slice_in_dim(x, start, None, factor, axis)
            for start in (factor // 2 - 1, factor // 2)
        )
        x = (before + behind) / 2
    return x


def _cubic(t: np.ndarray) -> np.ndarray:
    """Keys' cubic kernel with PyTorch's coefficient a = -0.75."""
    a, t = -0.75, np.abs(t)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = a * (((t - 5) * t + 8) * t - 4)
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def bicubic_matrix(n_in: int, n_out: int, scale: float | None = None) -> np.ndarray:
    """Weights (n_out, n_in) of one axis of a bicubic resize.

    Args:
      n_in: samples before.
      n_out: samples after.
      scale: n_out / n_in as given by the caller (PyTorch's `scale_factor`, which
        then also sets the sampling grid); default the ratio of the sizes.
    """
    source = (np.arange(n_out) + 0.5) / (scale or n_out / n_in) - 0.5
    left = np.floor(source).astype(int)
    matrix = np.zeros((n_out, n_in))
    for tap in range(-1, 3):
        column = np.clip(left + tap, 0, n_in - 1)  # edge-clamped
        np.add.at(matrix, (np.arange(n_out), column), _cubic(source - left - tap))
    return matrix.astype(np.float32)


def resize_bicubic(
    x: Float[Array | np.ndarray, "B h w C"],
    size: tuple[int, int],
    scale: tuple[float, float] | None = None,
) -> Float[Array, "B H W C"]:
    """Resizes like `interpolate(mode="bicubic", antialias=False)`.

    Args:
      x: maps of any numeric content.
      size: height and width of the result.
      scale: optional explicit scale factors, see `bicubic_matrix`.
    """
    rows = bicubic_matrix(x.shape[1], size[0], scale and scale[0])
    columns = bicubic_matrix(x.shape[2], size[1], scale and scale[1])
    precision = jax.lax.Precision.HIGHEST
    x = jnp.einsum("Hh,bhwc->bHwc", rows, x, precision=precision)
    return jnp.einsum("Ww,bHwc->bHWc", columns, x, precision=precision)


def resize_bicubic_antialiased(
    x: Float[Array, "B h w C"], size: tuple[int, int]
) -> Float[Array, "B H W C"]:
    """Resizes like `interpolate(mode="bicubic", antialias=True)`, whose a is -0.5."""
    return jax.image.resize(x, (x.shape[0], *size, x.shape[3]), "bicubic")


def bilinear_corners(
    xy: Float[Array, "... 2"], height: int, width: int
) -> tuple[Array, Array]:
    """The four pixels around each point and their weights, zero outside the map.

    Args:
      xy: points in [0, 1], x first; pixel centres at (i + 0.5) / n.
      height: rows of the map.
      width: columns of the map.

    Returns:
      Flat pixel indices [..., 4] (always valid) and weights [..., 4].
    """
    x = xy[..., 0] * width - 0.5
    y = xy[..., 1] * height - 0.5
    x0, y0 = jnp.floor(x), jnp.floor(y)
    indices, weights = [], []
    for dy in (0, 1):
        for dx in (0, 1):
            column, row = x0 + dx, y0 + dy
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            weight = (1 - jnp.abs(x - column)) * (1 - jnp.abs(y - row))
            weights.append(jnp.where(inside, weight, 0))
            flat = jnp.clip(row, 0, height - 1) * width + jnp.clip(column, 0, width - 1)
            indices.append(flat.astype(jnp.int32))
    return jnp.stack(indices, -1), jnp.stack(weights, -1)


def sample_bilinear(
    maps: Float[Array, "h w C"], xy: Float[Array, "P 2"]
) -> Float[Array, "P C"]:
    """Values at points, like `grid_sample(align_corners=False)` with zero padding."""
    height, width, channels = maps.shape
    indices, weights = bilinear_corners(xy, height, width)  # [P, 4]
    pixels = maps.reshape(height * width, channels)
    # One corner after another: those of all points and queries are a large array.
    return jnp.asarray(
        sum(weights[:, k, None] * pixels[indices[:, k]] for k in range(4))
    )
