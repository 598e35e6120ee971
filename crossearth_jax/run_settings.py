"""A configuration as typed settings, which everything below the entry points takes.

The sizes of the network and its optimiser go straight from the configuration into
`build.py`; all other keys are read here.
"""

import dataclasses
from typing import TypeVar

from ml_collections import ConfigDict

from crossearth_jax.data.pipeline import Augment
from crossearth_jax.losses.segmentation import SegmentationLoss
from crossearth_jax.scoring.windows import Windows
from crossearth_jax.train_step import MaskedModelling, Objective, StyleInjection

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """What a run reads; `config.default` has the meaning of each key of `data`.

    Attributes:
      fit: `eval.fit`, of scored images.
      seed: `train.seed`, of drawn training scenes.
    """

    kind: str
    root: str | None
    train: str | None
    source: str | None
    unseen: str | None
    classes: str | None
    encoding: str | None
    on_corrupt: str
    check_headers: bool
    timeout_s: float
    climate: str
    train_scenes: int
    eval_scenes: int
    fit: int | None
    seed: int


@dataclasses.dataclass(frozen=True)
class StyleSettings:
    """What restyles X; `config.default` has the meaning of each key of `style`."""

    transfer: str
    weights: str | None
    statistics: str | None
    pool: str | None
    alpha: float


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """How a run trains; `config.default` has the meaning of each key of `train`.

    Attributes:
      threads: `data.threads`.
      workers: `data.workers`.
      patience: consecutive steps without a finite loss that end the run.
    """

    steps: int
    batch_size: int
    accumulate: int
    fsdp: int
    seed: int
    init: str | None
    log_every: int
    checkpoint_every: int
    keep: int
    keep_every: int
    threads: int
    workers: int
    patience: int


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """What a run does, but for the sizes of its network and its optimiser.

    Attributes:
      name: of the run.
      precision: "float32" or "bfloat16", what layers before the decoder compute in.
      backbone: variant, weights and whether it trains, in words.
      windows: of predictions.
      examples: rows of a picture of a scored domain.
      data: what is read.
      augment: training augmentation.
      style: what restyles; None trains without Earth-style injection.
      objective: the losses.
      train: the loop.
    """

    name: str
    precision: str
    backbone: str
    windows: Windows
    examples: int
    data: DataSettings
    augment: Augment
    style: StyleSettings | None
    objective: Objective
    train: TrainSettings


def read_settings(config: ConfigDict) -> RunSettings:
    """Reads a configuration; no file is opened yet.

    Raises:
      ValueError: values do not fit together.
    """
    data, train = config.data, config.train
    return RunSettings(
        name=config.name,
        precision=config.precision,
        backbone=_backbone(config),
        windows=_windows(config),
        examples=config.eval.examples,
        data=from_keys(DataSettings, data, fit=config.eval.fit, seed=train.seed),
        augment=from_keys(Augment, data, ratios=tuple(data.scales)),
        style=from_keys(StyleSettings, config.style)
        if config.style.probability > 0
        else None,
        objective=_objective(config),
        train=from_keys(
            TrainSettings,
            train,
            threads=data.threads,
            workers=data.workers,
            patience=_patience(config),
        ),
    )


def from_keys(kind: type[T], part: ConfigDict, **others: object) -> T:
    """A dataclass from the keys that are named as its fields, and from `others`."""
    names = [field.name for field in dataclasses.fields(kind)]  # pyright: ignore[reportArgumentType]
    keys = {name: part[name] for name in names if name in part}
    return kind(**{**keys, **others})


def check_crop(config: ConfigDict) -> None:
    """Twice the patch: the coarsest stage map halves the grid of tokens.

    Raises:
      ValueError: the crop is no multiple of it.
    """
    crop, patch = config.data.crop, config.backbone.patch_size
    if crop % (2 * patch):
        raise ValueError(
            f"got data.crop={crop} with backbone.patch_size={patch}, "
            "expected a multiple of twice the patch size"
        )


def _windows(config: ConfigDict) -> Windows:
    check_crop(config)
    crop = config.data.crop
    return Windows(
        crop=crop,
        stride=config.eval.stride or round(crop * 2 / 3),
        patch=2 * config.backbone.patch_size,
        batch=config.eval.batch,
    )


def _backbone(config: ConfigDict) -> str:
    backbone = config.backbone
    origin = backbone.weights or "random weights"
    state = "trained too" if backbone.trainable else "frozen"
    return f"{backbone.variant}, {origin}, {state}"


def _objective(config: ConfigDict) -> Objective:
    loss, style, mim = config.loss, config.style, config.mim
    return Objective(
        segmentation=from_keys(SegmentationLoss, loss),
        style=from_keys(StyleInjection, style) if style.probability > 0 else None,
        masked=from_keys(MaskedModelling, mim) if mim.enabled else None,
        weights=(loss.seg, loss.mim, loss.delta),
    )


def _patience(config: ConfigDict) -> int:
    train = config.train
    if train.on_nan not in ("stop", "skip") or train.nan_patience < 1:
        raise ValueError(
            f'got train.on_nan="{train.on_nan}" and train.nan_patience='
            f'{train.nan_patience}, expected "stop" or "skip" and at least 1'
        )
    return train.nan_patience if train.on_nan == "skip" else 1
