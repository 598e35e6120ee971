"""The windows of RVSA: how a token grid is cut, and where a window samples.

B batch, h×w token grid, N = h·w, C width, heads n, s side of a window, V windows of a
padded grid.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True)
class Windows:
    """How a token grid is cut into windows of s×s, zeros around it where needed.

    Attributes:
      grid: (h, w).
      side: s.
    """

    grid: tuple[int, int]
    side: int

    @property
    def count(self) -> tuple[int, int]:
        """Windows along y and x."""
        return -(-self.grid[0] // self.side), -(-self.grid[1] // self.side)

    @property
    def padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Zeros before and after, along y and x; the odd one comes after."""
        rows, columns = (
            c * self.side - n for c, n in zip(self.count, self.grid, strict=True)
        )
        return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)

    def cut(self, x: Float[Array, "B N *c"]) -> Float[Array, "B V ss *c"]:
        """Tokens of the grid to those of the windows."""
        rest = x.shape[2:]
        x = x.reshape(x.shape[0], *self.grid, *rest)
        x = jnp.pad(x, ((0, 0), *self.padding, *[(0, 0)] * len(rest)))
        return self.cut_padded(x)

    def cut_padded(self, x: Float[Array, "B H W *c"]) -> Float[Array, "B V ss *c"]:
        """The same for maps that have the padding."""
        (rows, columns), s = self.count, self.side
        x = x.reshape(x.shape[0], rows, s, columns, s, *x.shape[3:])
        return x.swapaxes(2, 3).reshape(x.shape[0], rows * columns, s * s, *x.shape[5:])

    def join(self, x: Float[Array, "B V ss C"]) -> Float[Array, "B N C"]:
        """The way back, without the padding."""
        (rows, columns), s = self.count, self.side
        x = x.reshape(x.shape[0], rows, columns, s, s, -1).swapaxes(2, 3)
        x = x.reshape(x.shape[0], rows * s, columns * s, -1)
        (top, _), (left, _) = self.padding
        x = x[:, top : top + self.grid[0], left : left + self.grid[1]]
        return x.reshape(x.shape[0], -1, x.shape[3])


def sampling_points(
    windows: Windows,
    offset: Float[Array, "B V n 2"],
    scale: Float[Array, "B V n 2"],
    angle: Float[Array, "B V n 1"],
) -> Float[Array, "B V ss n 2"]:
    """Where the keys and values of every window are sampled, per head.

    A window is scaled, turned about its centre, and moved, in coordinates in which the
    padded grid is [-1, 1] along both axes: on a grid that is not square a turn shears.

    Args:
      windows: of the grid.
      offset: of the centres, x first, times the windows along y and x (in that order,
        as MTP has it, and counting only whole windows of the grid without padding).
      scale: 0 keeps the size.
      angle: in radians.

    Returns:
      Points in [0, 1] of the grid without its padding, x first, as `sample_levels`
      takes them.
    """
    s, (rows, columns) = windows.side, windows.count
    (top, _), (left, _) = windows.padding
    # A token's step in [-1, 1]; x first from here on.
    unit = 2 / (np.array([columns * s, rows * s], np.float32) - 1)
    # A grid below one window, for which MTP divides by zero, counts as one.
    whole = np.maximum(np.array(windows.grid, np.float32) // s, 1)
    y, x = np.divmod(np.arange(s * s, dtype=np.float32), s)
    steps = (np.stack([x, y], -1) - (s - 1) / 2) * unit  # [ss, 2]
    x, y = jnp.moveaxis(steps[:, None] * (scale[:, :, None] + 1), -1, 0)
    sin, cos = jnp.sin(angle[:, :, None, :, 0]), jnp.cos(angle[:, :, None, :, 0])
    turned = jnp.stack([x * cos - y * sin, y * cos + x * sin], -1)
    moved = (turned + (offset / whole)[:, :, None]) / unit  # in tokens
    y, x = np.divmod(np.arange(rows * columns, dtype=np.float32), columns)
    centres = np.stack([x, y], -1) * s + (s - 1) / 2 - np.array([left, top])
    tokens = moved + centres.astype(np.float32)[:, None, None]
    return (tokens + 0.5) / np.array(windows.grid[::-1], np.float32)
