"""Accelerators that are compiled for: what they can do, as data with its source.

targets.json has for each the rates that products are modelled with, in TFLOP/s ("half":
bfloat16 and float16 with sums in float32, "tf32", and "float32", which is true
float32), the makers' "peak", the memory's bandwidth in GB/s and its size in GB. The
modelled rates are what large products reach: 81 % of the peak of matrix units, 90 % of
that of vector units. A TPU takes six passes of bfloat16 for true float32, and one where
a GPU takes TF32. gpus/ has the descriptions that XLA compiles from.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
LAUNCH = 2e-6  # seconds; least of a kernel


@dataclass(frozen=True)
class Target:
    """An accelerator.

    Attributes:
      key: its short name.
      name: its whole name.
      platform: "cuda" or "tpu", as JAX lowers for it.
      tflops: attained by products, by precision.
      peak: of the maker.
      bandwidth: of its memory, GB/s.
      memory: GB.
      source: of these figures.
      topologies: of a TPU, by the number of chips.
    """

    key: str
    name: str
    platform: str
    tflops: dict[str, float]
    peak: dict[str, float]
    bandwidth: float
    memory: float
    source: str
    topologies: dict[str, str] | None = None

    def seconds(self, moved: float, flops: dict[str, float], least: float) -> float:
        """A kernel's: the longest of moving bytes, of its products and of `least`.

        Args:
          moved: bytes.
          flops: of its products, by precision.
          least: what its launch takes.
        """
        products = sum(n / (1e12 * self.tflops[kind]) for kind, n in flops.items())
        return max(moved / (1e9 * self.bandwidth), products, least)

    @property
    def description(self) -> str:
        """What XLA compiles from, of a GPU."""
        return (HERE / "gpus" / f"{self.key}.txtpb").read_text()


@cache
def targets() -> dict[str, Target]:
    """All by their short names."""
    stored = json.loads((HERE / "targets.json").read_text())
    return {key: Target(key, **found) for key, found in stored.items()}
