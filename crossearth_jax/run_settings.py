"""A configuration as typed settings, which everything below the entry points takes.

The sizes of the network and its optimiser go straight from the configuration into
`build.py`; all other keys are read here.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ml_collections import ConfigDict

from crossearth_jax.data.pipeline import Augment
from crossearth_jax.earth_style.views import MaskedModelling, StyleInjection
from crossearth_jax.losses.segmentation import SegmentationLoss
from crossearth_jax.scoring.windows import Windows
from crossearth_jax.train_step import Objective

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


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
    label_suffix: str
    label_nodata: str
    on_corrupt: str
    check_headers: bool
    check_labels: bool
    max_pixels: int
    timeout_s: float
    crop: int
    scale_from: str
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
      precision: see `models.precision.Arithmetic`.
      backbone: variant, weights and whether it trains, in words.
      windows: of predictions.
      examples: rows of a picture of a scored domain.
      trust: whether what `crossearth trust` needs is kept.
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
    trust: bool
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
    keys: dict[str, Any] = config.to_dict()
    data, style, train = keys["data"], keys["style"], keys["train"]
    fit, seed = keys["eval"]["fit"], train["seed"]
    styled = style["probability"] > 0
    return RunSettings(
        name=keys["name"],
        precision=keys["precision"],
        backbone=_backbone(keys["backbone"]),
        windows=_windows(data, keys["backbone"], keys["eval"]),
        examples=keys["eval"]["examples"],
        trust=keys["eval"]["trust"],
        data=from_keys(DataSettings, data, fit=fit, seed=seed),
        augment=from_keys(Augment, data, ratios=tuple(data["scales"])),
        style=from_keys(StyleSettings, style) if styled else None,
        objective=_objective(keys),
        train=from_keys(
            TrainSettings,
            train,
            threads=data["threads"],
            workers=data["workers"],
            patience=_patience(train),
        ),
    )


def from_keys(kind: type[T], part: Mapping[str, Any], **others: Any) -> T:
    """A dataclass from the keys that are named as its fields, and from `others`."""
    names = [field.name for field in dataclasses.fields(kind)]
    keys = {name: part[name] for name in names if name in part}
    return kind(**{**keys, **others})


def check_crop(crop: int, patch: int) -> None:
    """Twice the patch: the coarsest stage map halves the grid of tokens.

    Raises:
      ValueError: the crop is not a multiple of it.
    """
    if crop % (2 * patch):
        raise ValueError(
            f"got data.crop={crop} with backbone.patch_size={patch}, "
            "expected a multiple of twice the patch size"
        )


def _windows(
    data: Mapping[str, Any], backbone: Mapping[str, Any], scoring: Mapping[str, Any]
) -> Windows:
    crop, patch = data["crop"], backbone["patch_size"]
    check_crop(crop, patch)
    stride = scoring["stride"] or round(crop * 2 / 3)
    return Windows(crop, stride, patch=2 * patch, batch=scoring["batch"])


def _backbone(backbone: Mapping[str, Any]) -> str:
    origin = backbone["weights"] or "random weights"
    state = "trained too" if backbone["trainable"] else "frozen"
    return f"{backbone['variant']}, {origin}, {state}"


def _objective(keys: Mapping[str, Any]) -> Objective:
    loss, style, mim = keys["loss"], keys["style"], keys["mim"]
    styled = style["probability"] > 0
    return Objective(
        segmentation=from_keys(SegmentationLoss, loss),
        style=from_keys(StyleInjection, style) if styled else None,
        masked=from_keys(MaskedModelling, mim) if mim["enabled"] else None,
        weights=(loss["seg"], loss["mim"], loss["delta"]),
        gradient_norms=keys["log"]["gradient_norms"],
    )


def _patience(train: Mapping[str, Any]) -> int:
    on_nan, patience = train["on_nan"], train["nan_patience"]
    if on_nan not in ("stop", "skip") or patience < 1:
        raise ValueError(
            f'got train.on_nan="{on_nan}" and train.nan_patience={patience}, '
            'expected "stop" or "skip" and at least 1'
        )
    return patience if on_nan == "skip" else 1
