"""The benchmark's 29 settings as data.

One training run on a source serves all settings of that source: 14 runs, because
Potsdam trains with six and with five classes. The files in `configs/` take their
masks, crops and losses from here; the paper's figures, Table 14's masks and the scores,
are read from `paper/tables.json`.
"""

from dataclasses import dataclass
from pathlib import PurePath

from crossearth_jax.paper import tables

Mask = tuple[float, int]  # τ, the share of altered area, and B, the block in pixels


@dataclass(frozen=True)
class BenchmarkRun:
    """One training run.

    Attributes:
      config: what `--config` takes, e.g. "configs/casid.py:sub".
      source: the domain it trains on, a folder that `crossearth prepare` writes.
      targets: {the paper's name of a setting: the domain that it scores}.
      crop: pixels.
      mim_loss: "l1" for CASID, "mse" elsewhere (Section 5.1).
    """

    config: str
    source: str
    targets: dict[str, str]
    crop: int = 512
    mim_loss: str = "mse"

    @property
    def styled(self) -> Mask:
        """τ and B of X_S (Table 14, equal for all settings of a run)."""
        mask = tables.setting(next(iter(self.targets))).styled
        return mask.ratio, mask.block

    @property
    def masked(self) -> Mask:
        """τ and B of X_M."""
        mask = tables.setting(next(iter(self.targets))).masked
        return mask.ratio, mask.block

    @property
    def file(self) -> str:
        """Name of the file in configs/."""
        return PurePath(self.config.partition(":")[0]).name

    @property
    def argument(self) -> str:
        """The part of `config` after its colon; empty without one."""
        return self.config.partition(":")[2]

    @property
    def name(self) -> str:
        """`config.name` of the run, which names its folder in runs/."""
        stem = PurePath(self.file).stem
        return f"{stem}_{self.argument}" if self.argument else stem

    @property
    def unseen(self) -> tuple[str, ...]:
        """The domains that are scored and not trained on."""
        return tuple(t for t in self.targets.values() if t != self.source)


CLIMATES = ("sub", "tem", "tms", "trf")  # of CASID


def casid_targets(source: str) -> dict[str, str]:
    """Table 7's settings of a climate: at home ("Sub"), and in the others ("Sub2Tem").

    Each with the domain that it scores.
    """
    home = source.capitalize()
    others = [climate for climate in CLIMATES if climate != source]
    return {home: source} | {f"{home}2{x.capitalize()}": x for x in others}


def _casid(source: str) -> BenchmarkRun:
    config = f"configs/casid.py:{source}"
    return BenchmarkRun(config, source, casid_targets(source), crop=1024, mim_loss="l1")


RUNS = (
    BenchmarkRun(
        "configs/potsdam_vaihingen.py:p_irrg",
        "potsdam_irrg",
        {"P(i)2V": "vaihingen", "P(i)2P(r)": "potsdam_rgb"},
    ),
    BenchmarkRun(
        "configs/potsdam_vaihingen.py:p_rgb",
        "potsdam_rgb",
        {"P(r)2V": "vaihingen", "P(r)2P(i)": "potsdam_irrg"},
    ),
    BenchmarkRun(
        "configs/potsdam_vaihingen.py:vaihingen",
        "vaihingen",
        {"V2P(i)": "potsdam_irrg", "V2P(r)": "potsdam_rgb"},
    ),
    BenchmarkRun(
        "configs/loveda.py:urban", "loveda_urban", {"U2R": "loveda_rural"}, crop=1024
    ),
    BenchmarkRun(
        "configs/loveda.py:rural", "loveda_rural", {"R2U": "loveda_urban"}, crop=1024
    ),
    BenchmarkRun(
        "configs/deepglobe_massachusetts.py",
        "deepglobe",
        {"D2M": "massachusetts"},
        crop=1024,
    ),
    BenchmarkRun(
        "configs/potsdam_rescuenet.py:irrg", "potsdam5_irrg", {"P(i)2Res": "rescuenet"}
    ),
    BenchmarkRun(
        "configs/potsdam_rescuenet.py:rgb", "potsdam5_rgb", {"P(r)2Res": "rescuenet"}
    ),
    BenchmarkRun(
        "configs/whu_building.py:aerial", "whu_aerial", {"A2S": "whu_satellite"}
    ),
    BenchmarkRun(
        "configs/whu_building.py:satellite", "whu_satellite", {"S2A": "whu_aerial"}
    ),
    *map(_casid, CLIMATES),
)


def run_of(config_file: str, argument: str = "") -> BenchmarkRun:
    """The run of "casid.py" with the argument "sub", for example.

    Raises:
      ValueError: the file takes no such argument; the message lists those it takes.
    """
    runs = {run.argument: run for run in RUNS if run.file == config_file}
    if argument not in runs:
        raise ValueError(
            f"got {config_file}:{argument}, expected one of {', '.join(runs)}"
        )
    return runs[argument]


# TFLOP of a training step of one image and its X_M on ViT-L, by crop, as
# `benchmarks.cost` counts them; tests/test_cost.py keeps them true.
STEP_TFLOP = {512: 4.3, 1024: 27.8}


def estimated_hours(crop: int) -> float:
    """Hours of 30,000 steps of one image on an H100 in bfloat16: not measured.

    Assumed: 40% of the 800 TFLOP/s that an H100 reaches on dense products, which makes
    13.4 ms at 512². Compilation, reading and scoring come on top, and at 1024² blocks
    that are recomputed.
    """
    return 30_000 * STEP_TFLOP[crop] / (0.4 * 800) / 3600
