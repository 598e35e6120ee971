"""What a map needs of `crossearth_jax.trust`, which judges it."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from jaxtyping import Float32

from crossearth_jax.predict.strip import Block

# Of a scene's pixels every fourth row and column is enough to judge it by.
STEP = 4


class Tally(Protocol):
    """Adds up what is seen of one scene."""

    def add(self, scores: Float32[np.ndarray, "n K"]) -> None:
        """Some valid pixels' class scores."""
        ...

    def result(self) -> Mapping[str, float]:
        """What is expected of the map; empty where nothing was added."""
        ...


class Judge(Protocol):
    """Knows what a run may expect of itself."""

    @property
    def mark(self) -> str:
        """Changes with what the judgement is made of."""
        ...

    def chance(
        self, scores: Float32[np.ndarray, "r W K"]
    ) -> Float32[np.ndarray, "r W"]:
        """Calibrated chance that the class with the highest score is right."""
        ...

    def tally(self) -> Tally:
        """For one scene."""
        ...


def sampled_scores(block: Block) -> Float32[np.ndarray, "n K"]:
    """Scores of a block's valid pixels on a grid of `STEP` rows and columns."""
    grid = np.s_[-block.top % STEP :: STEP, ::STEP]
    return block.scores[grid][block.valid[grid]]
