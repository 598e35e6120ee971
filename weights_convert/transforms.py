"""How one array changes between PyTorch's layout and ours, exactly and both ways.

A transform only moves numbers, so `backward(forward(x))` is `x` bit for bit.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped


@runtime_checkable
class Transform(Protocol):
    """A layout change. Implementations are frozen dataclasses."""

    def forward(self, x: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """From the rule's source layout to its target layout."""
        ...

    def backward(self, x: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """From the rule's target layout back to its source layout."""
        ...


@dataclass(frozen=True)
class Keep:
    """The same layout on both sides."""

    def forward(self, x: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Returns x."""
        return x

    def backward(self, x: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Returns x."""
        return x


@dataclass(frozen=True)
class Permute:
    """Another order of the axes: target axis k is source axis `axes[k]`."""

    axes: tuple[int, ...]

    def forward(self, x: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Reorders the axes."""
        return x.transpose(self.axes)

    def backward(self, x: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Restores the order of the axes."""
        return x.transpose(np.argsort(self.axes))


@dataclass(frozen=True)
class Squeeze:
    """Without some axes of size one, counted in the source, none negative."""

    axes: tuple[int, ...]

    def forward(self, x: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Removes the axes."""
        return np.squeeze(x, self.axes)

    def backward(self, x: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Puts the axes back."""
        return np.expand_dims(x, self.axes)


@dataclass(frozen=True)
class ZeroRow:
    """A row of zeros before the others; the way back takes it off again."""

    def forward(self, x: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Puts the row before the first axis."""
        return np.concatenate([np.zeros_like(x[:1]), x])

    def backward(self, x: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Takes the row away."""
        return x[1:]


@dataclass(frozen=True)
class Chain:
    """Several transforms, the first one nearest to the source."""

    steps: tuple[Transform, ...]

    def forward(self, x: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Applies the steps in order."""
        for step in self.steps:
            x = step.forward(x)
        return x

    def backward(self, x: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """Undoes the steps from the last to the first."""
        for step in reversed(self.steps):
            x = step.backward(x)
        return x


KEEP = Keep()
LINEAR = Permute((1, 0))  # (out, in) to (in, out)
CONV = Permute((2, 3, 1, 0))  # OIHW to HWIO
POINTWISE = Chain((Squeeze((2, 3)), LINEAR))  # 1×1 convolution to linear layer
