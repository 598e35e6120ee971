"""A configuration as typed settings, which everything below the entry points takes.

The sizes of the network and its optimiser go straight from the configuration into
`build.py`; all other keys are read here.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ml_collections import ConfigDict

from crossearth_jax.data.order import check_order
from crossearth_jax.data.pipeline import Augment
from crossearth_jax.data.raw_images import RawImages, raw_images
from crossearth_jax.earth_style.views import MaskedModelling, StyleInjection
from crossearth_jax.losses.segmentation import SegmentationLoss
from crossearth_jax.scoring.windows import Windows
from crossearth_jax.system.escape import quoted
from crossearth_jax.train_step import Objective

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

INVERSE_FREQUENCY = "inverse_frequency"  # `loss.class_weights` by the labels

T = TypeVar("T", bound="DataclassInstance")


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """What a run reads; `config.default` has the meaning of each key of `data`.

    Attributes:
      raw: `data.bands`, `data.scale` and `data.gsd`.
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
    raw: RawImages
    balance: str
    rare_class_sampling: float | None
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
    loggers: tuple[str, ...]
    threads: int
    workers: int
    patience: int


@dataclasses.dataclass(frozen=True)
class StartSettings:
    """What a training starts from.

    Attributes:
      given: `train.init`, a workdir, a file or a name; None for initial values.
      classes: `train.init_classes`.
      weights: `backbone.weights`.
      trains_backbone: `backbone.trainable`.
      crop: pixels of a training crop.
      patch: pixels of a patch.
      remat: `backbone.remat`, True, False or "auto".
    """

    given: str | None
    classes: str
    weights: str | None
    trains_backbone: bool
    crop: int
    patch: int
    remat: bool | str


def start_settings(config: ConfigDict) -> StartSettings:
    """What `run.initial` reads of a configuration."""
    backbone, train = config.backbone, config.train
    return StartSettings(
        given=train.init,
        classes=train.init_classes,
        weights=backbone.weights,
        trains_backbone=backbone.trainable,
        crop=config.data.crop,
        patch=backbone.patch_size,
        remat=backbone.remat,
    )


@dataclasses.dataclass(frozen=True)
class MidwaySettings:
    """How a run is scored while it trains.

    Attributes:
      every: steps between scores, 0 for none.
      domains: "source" or "all".
      keep_best: `train.keep_best`.
    """

    every: int
    domains: str
    keep_best: bool


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
      class_weights: `loss.class_weights`, which may depend on the data.
      train: the loop.
      midway: scores while it trains.
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
    class_weights: tuple[float, ...] | str | None
    train: TrainSettings
    midway: MidwaySettings


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
        data=_data(data, fit, seed),
        augment=from_keys(Augment, data, ratios=tuple(data["scales"])),
        style=from_keys(StyleSettings, style) if styled else None,
        objective=_objective(keys),
        class_weights=_class_weights(keys["loss"]["class_weights"]),
        train=from_keys(
            TrainSettings,
            train,
            threads=data["threads"],
            workers=data["workers"],
            loggers=_words(train["loggers"]),
            patience=_patience(train),
        ),
        midway=_midway(keys["eval"], train["keep_best"]),
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
    if min(crop, patch) < 1 or crop % (2 * patch):
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
        # Of the data, see `build_data.weighted`.
        segmentation=from_keys(SegmentationLoss, loss, class_weights=None),
        style=from_keys(StyleInjection, style) if styled else None,
        masked=from_keys(MaskedModelling, mim) if mim["enabled"] else None,
        weights=(loss["seg"], loss["mim"], loss["delta"]),
        gradient_norms=keys["log"]["gradient_norms"],
    )


def _data(data: Mapping[str, Any], fit: int | None, seed: int) -> DataSettings:
    check_order(data["balance"], data["rare_class_sampling"])
    raw = raw_images(data["bands"], data["scale"], data["gsd"])
    return from_keys(DataSettings, data, raw=raw, fit=fit, seed=seed)


def _class_weights(given: Any) -> tuple[float, ...] | str | None:
    """Numbers above 0, the one word that stands for them, or neither."""
    if given is None or given == INVERSE_FREQUENCY:
        return given
    values = given if isinstance(given, tuple) else (given,)
    if not all(isinstance(v, int | float) and 0 < v < float("inf") for v in values):
        raise ValueError(
            f"got loss.class_weights={quoted(given)}, expected a number above 0 for "
            f'each class, such as 1,4.5, or "{INVERSE_FREQUENCY}"'
        )
    return tuple(map(float, values))


def _words(given: Sequence[Any]) -> tuple[str, ...]:
    """A command line gives "a,b" as one word, a file ("a", "b")."""
    words = [word.strip() for text in given for word in str(text).split(",")]
    return tuple(word for word in words if word)


def _midway(scoring: Mapping[str, Any], keep_best: bool) -> MidwaySettings:
    every, domains = scoring["every"], scoring["domains"]
    if every < 0 or domains not in ("source", "all"):
        raise ValueError(
            f'got eval.every={every} and eval.domains="{domains}", expected 0 or more '
            'steps and "source" or "all"'
        )
    if keep_best and not every:
        raise ValueError(
            "got train.keep_best=True with eval.every=0, expected scores to choose by: "
            "set --config.eval.every=N too"
        )
    return MidwaySettings(every, domains, keep_best)


def _patience(train: Mapping[str, Any]) -> int:
    on_nan, patience = train["on_nan"], train["nan_patience"]
    if on_nan not in ("stop", "skip") or patience < 1:
        raise ValueError(
            f'got train.on_nan="{on_nan}" and train.nan_patience={patience}, '
            'expected "stop" or "skip" and at least 1'
        )
    return patience if on_nan == "skip" else 1
