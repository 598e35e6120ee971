"""Which record stands where in the endless stream of training.

The order follows from (seed, position) alone, so a run resumes bitwise from its step,
and hosts that take turns see what one host would.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import grain
import numpy as np
from jaxtyping import Float, Int

from crossearth_jax.system.escape import quoted

BALANCES = ("images", "pixels", "sources")


class Order(Protocol):
    """An endless stream of the indices of records."""

    def stream(self, seed: int) -> "grain.MapDataset[int]":
        """The stream of a run; position p can be asked for without those before."""
        ...


@dataclass(frozen=True)
class EveryRecord:
    """Each of `count` records once in an epoch, reshuffled."""

    count: int

    def stream(self, seed: int) -> "grain.MapDataset[int]":
        """See `Order`."""
        if self.count == 0:
            raise ValueError("got a source without records, expected at least one")
        return grain.MapDataset.range(self.count).seed(seed).shuffle().repeat(None)


@dataclass(frozen=True)
class ByFolder:
    """Folders by their shares; each record of a folder once in an epoch of its own.

    Attributes:
      sizes: records of each folder, in their order.
      shares: how often each comes, of any sum; 0 for never.
    """

    sizes: tuple[int, ...]
    shares: tuple[float, ...]

    def stream(self, seed: int) -> "grain.MapDataset[int]":
        """See `Order`."""
        stops = np.cumsum(self.sizes)
        streams, weights = [], []
        for i, (size, share) in enumerate(zip(self.sizes, self.shares, strict=True)):
            if share > 0:
                own = np.random.SeedSequence([seed, i]).generate_state(1)[0]
                folder = grain.MapDataset.range(int(stops[i]) - size, int(stops[i]))
                streams.append(folder.seed(int(own)).shuffle().repeat(None))
                weights.append(float(share))
        return grain.MapDataset.mix(streams, weights).seed(seed)


@dataclass(frozen=True)
class ByClass:
    """Rare class sampling: a class by its share of pixels, then a record that holds it.

    DAFormer (Hoyer et al., CVPR 2022), section 3.2: with f_c the share of class c,
    P(c) = exp((1 - f_c) / T) / Σ_k exp((1 - f_k) / T). Classes that no record holds are
    never drawn.

    Attributes:
      pixels: of each class in each record.
      temperature: T; the smaller, the more often rare classes come.
      weights: of the records that hold a class, among each other.
    """

    pixels: Int[np.ndarray, "N K"]
    temperature: float
    weights: Float[np.ndarray, "N"]

    def probabilities(self) -> Float[np.ndarray, "K"]:
        """P(c)."""
        total = self.pixels.sum(0)
        exponent = (1 - total / total.sum()) / self.temperature
        chances = np.where(total > 0, np.exp(exponent - exponent.max()), 0.0)
        return chances / chances.sum()

    def stream(self, seed: int) -> "grain.MapDataset[int]":
        """See `Order`."""
        holders = [np.flatnonzero(column) for column in self.pixels.T]
        drawn = _Drawn(
            seed,
            np.cumsum(self.probabilities()),
            [(mine, np.cumsum(self.weights[mine])) for mine in holders],
        )
        return grain.MapDataset.source(drawn).seed(seed)


@dataclass(frozen=True)
class _Drawn:
    """The record at each position; a class, because workers must unpickle it.

    Attributes:
      seed: of the run.
      classes: sums of P(c) up to each class.
      holders: the records of each class, and sums of their weights.
    """

    seed: int
    classes: Float[np.ndarray, "K"]
    holders: Sequence[tuple[Int[np.ndarray, "n"], Float[np.ndarray, "n"]]]

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> int:
        bits = np.random.Philox(key=[self.seed, index])
        first, second = np.random.Generator(bits).random(2)
        records, sums = self.holders[_place(self.classes, first)]
        return int(records[_place(sums, second)])


def _place(sums: Float[np.ndarray, "n"], drawn: float) -> int:
    """Where a number in [0, 1) falls, of intervals that end at these sums."""
    return int(np.searchsorted(sums, drawn * sums[-1], side="right"))


def make_order(
    sizes: Sequence[int],
    pixels: Int[np.ndarray, "N K"] | None,
    *,
    balance: str = "images",
    rare_class_sampling: float | None = None,
) -> Order:
    """The order that `data.balance` and `data.rare_class_sampling` ask for.

    Args:
      sizes: records of each training folder; they come folder by folder.
      pixels: of each class in each record; None where nobody counted.
      balance: "images" takes each record alike, "sources" each folder, "pixels" each
        folder by its labelled pixels.
      rare_class_sampling: T of `ByClass`; None draws no class.

    Raises:
      ValueError: a setting is invalid, or needs pixels that nobody counted.
    """
    check_order(balance, temperature := rare_class_sampling)
    if balance == "pixels" or temperature is not None:
        key = "data.balance" if temperature is None else "data.rare_class_sampling"
        pixels = counted(key, pixels)
    if balance == "images" and temperature is None:
        return EveryRecord(sum(sizes))
    shares = [float(size) for size in sizes]
    if balance == "sources":
        shares = [1.0] * len(sizes)
    if balance == "pixels" and pixels is not None:
        starts = np.cumsum([0, *sizes[:-1]])
        shares = np.add.reduceat(pixels.sum(1), starts).astype(float).tolist()
    if temperature is None or pixels is None:
        return ByFolder(tuple(sizes), tuple(shares))
    each = [share / size for share, size in zip(shares, sizes, strict=True)]
    return ByClass(pixels, temperature, np.repeat(each, sizes))


def check_order(balance: str, temperature: float | None) -> None:
    """Raises `ValueError` for settings that mean nothing, see `make_order`."""
    if balance not in BALANCES:
        raise ValueError(
            f"got data.balance={quoted(balance)}, expected {', '.join(BALANCES)}"
        )
    if temperature is not None and not 0 < temperature < float("inf"):
        raise ValueError(
            f"got data.rare_class_sampling={temperature}, expected a temperature above "
            "0, such as 0.01"
        )


def counted(key: str, pixels: Int[np.ndarray, "N K"] | None) -> Int[np.ndarray, "N K"]:
    """The pixels of classes that a setting needs.

    Raises:
      ValueError: nobody counted them, or there are none.
    """
    if pixels is None:
        raise ValueError(
            f"got {key} without counts of pixels, expected labels that are read before "
            "the first step: set data.check_labels=True; drawn scenes have none"
        )
    if not pixels.any():
        raise ValueError(f"got {key} for labels without a pixel of any class")
    return pixels
