"""A tensor of a weight file that is known by shape and read only when asked for."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Shaped

MAX_AXES = 16  # of a tensor; 6 are the most that networks have


def are_counts(numbers: Iterable[object]) -> bool:
    """Whether all are whole numbers that sizes of a file can be."""
    return all(type(n) is int and 0 <= n < 2**48 for n in numbers)


def fits_memory(shape: Sequence[int]) -> bool:
    """Whether NumPy can hold the shape: it multiplies sizes where one is 0, too."""
    return 0 not in shape or math.prod(n for n in shape if n) < 2**31


@dataclass(frozen=True)
class LazyTensor:
    """Shape and type of a stored tensor, and the way to its numbers.

    Attributes:
      shape: sizes as stored, in the file's axis order.
      dtype: NumPy type; bfloat16 and the 8-bit floats come from `ml_dtypes`.
      load: reads the numbers; called again at every `read`, nothing is cached.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    load: Callable[[], np.ndarray] = field(repr=False, compare=False)

    @classmethod
    def of(cls, array: Shaped[np.ndarray, "..."]) -> "LazyTensor":
        """Wraps an array that is in memory already."""
        return cls(array.shape, array.dtype, lambda: array)

    @property
    def nbytes(self) -> int:
        """Bytes that `read` returns."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self) -> Shaped[np.ndarray, "..."]:
        """Returns the numbers, of exactly the announced shape and type."""
        try:
            array = self.load()
        except MemoryError:
            raise ValueError(
                f"got a tensor of {self.nbytes:,} bytes, more than there is memory for"
            ) from None
        if (array.shape, array.dtype) != (self.shape, self.dtype):
            raise ValueError(
                f"got {array.dtype} {array.shape} from the file, expected "
                f"{self.dtype} {self.shape}: the file changed while it was read"
            )
        return array
