"""The layer that knows the classes, and which of its rows another network may take.

It is the one part of Mask2Former whose size is the number of classes: a linear layer
from queries [N, D] to scores [N, K + 1], of which the last is "no object".
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Shaped

KERNEL, BIAS = "decoder.class_head.kernel", "decoder.class_head.bias"  # [D, K+1], [K+1]

# For each class and "no object": where it was before; None is drawn afresh.
Rows = tuple[int | None, ...]


def count_of(weights: Mapping[str, Shaped[np.ndarray, "..."]]) -> int | None:
    """Number of classes of a network's weights; None where they have no head."""
    return len(weights[BIAS]) - 1 if BIAS in weights else None


def all_fresh(count: int) -> Rows:
    """Nothing is taken, "no object" neither."""
    return (None,) * (count + 1)


def by_name(before: Sequence[str], now: Sequence[str]) -> Rows:
    """Classes of equal names keep their rows, and so does "no object"."""
    place = {known(name): i for i, name in enumerate(before)}
    return (*(place.get(known(name)) for name in now), len(before))


def known(name: str) -> str:
    """A class's name as it is compared."""
    return name.strip().casefold()


def with_rows(
    weights: Mapping[str, np.ndarray], fresh: Mapping[str, np.ndarray], rows: Rows
) -> dict[str, np.ndarray]:
    """Weights with a head for other classes.

    Args:
      weights: of the whole network, by dotted path.
      fresh: the head's two arrays as drawn, of the wanted number of classes.
      rows: see `Rows`.
    """
    made = dict(weights)
    for name in (KERNEL, BIAS):
        head = np.array(fresh[name])
        for new, old in enumerate(rows):
            if old is not None:
                head[..., new] = weights[name][..., old]
        made[name] = head
    return made
