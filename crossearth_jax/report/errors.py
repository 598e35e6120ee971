"""What a model gets wrong, in words: confused classes, and images that cost most."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

LEAST_SHARE = 0.05  # of a class's pixels: less is not worth a sentence


@dataclass(frozen=True)
class Confusion:
    """One class taken for another in one domain.

    Attributes:
      domain: where.
      truth: the true class.
      found: what it was called.
      share: of the true class's pixels.
      pixels: how many.
    """

    domain: str
    truth: str
    found: str
    share: float
    pixels: int

    def __str__(self) -> str:
        """As a sentence."""
        return (
            f"In {self.domain}, {100 * self.share:.0f} % of {self.truth} was called "
            f"{self.found}."
        )


def confusions(
    domain: str, matrix: Int[np.ndarray, "K K"], classes: Sequence[str], most: int = 3
) -> list[Confusion]:
    """The costliest confusions of a domain, by pixels.

    Args:
      domain: its name.
      matrix: rows truth, columns prediction.
      classes: names, by id.
      most: how many at most.
    """
    true = matrix.sum(1)
    wrong = matrix - np.diag(np.diag(matrix))
    found = []
    for place in np.argsort(-wrong, axis=None, kind="stable"):
        i, j = divmod(int(place), len(classes))
        share = wrong[i, j] / true[i] if true[i] else 0.0
        if share >= LEAST_SHARE:
            one = Confusion(domain, classes[i], classes[j], share, int(wrong[i, j]))
            found.append(one)
        if len(found) == most or not wrong[i, j]:
            break
    return found
