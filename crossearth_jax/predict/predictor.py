"""A trained run as a function from pixels to classes."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float32, Num, UInt8

from crossearth_jax import build, seal, sharding
from crossearth_jax.build_data import build_windows
from crossearth_jax.checkpoint import Checkpoints
from crossearth_jax.config import load as read_config
from crossearth_jax.data.classes import ClassSet, load_classes
from crossearth_jax.parameters import dotted
from crossearth_jax.predict import tta as augmentation
from crossearth_jax.predict.scene import Reading, scene_of
from crossearth_jax.predict.strip import (
    Batch,
    Blend,
    Block,
    Plan,
    blended,
    make_plan,
    read_windows,
)
from crossearth_jax.sliding import ScoreFn
from crossearth_jax.train import initial_state, make_score_fn
from crossearth_jax.train_step import TrainState

PRECISIONS = {"f32": "float32", "bf16": "bfloat16"}


@dataclasses.dataclass(frozen=True)
class Predictor:
    """Scores windows; made by `load`, or from any score function.

    Attributes:
      score_fn: normalised windows [b, h, w, 3] → class scores [b, h, w, K], not
        negative.
      classes: names and palette of the K classes.
      crop: window length, pixels.
      stride: step between windows.
      patch: window sides are multiples of it.
      batch: windows per call.
      about: where the weights come from, kept in every map.
    """

    score_fn: ScoreFn
    classes: ClassSet
    crop: int
    stride: int
    patch: int
    batch: int
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __call__(
        self, image: Num[np.ndarray, "H W 3"], blend: Blend = "flat"
    ) -> UInt8[np.ndarray, "H W"]:
        """Class ids of an RGB image on the 0-255 scale, of any size."""
        return np.concatenate([b.labels() for b in self._array_blocks(image, blend)])

    def scores(
        self, image: Num[np.ndarray, "H W 3"], blend: Blend = "flat"
    ) -> Float32[np.ndarray, "H W K"]:
        """Blended class scores of an RGB image on the 0-255 scale."""
        return np.concatenate([b.scores for b in self._array_blocks(image, blend)])

    def probabilities(
        self, image: Num[np.ndarray, "H W 3"], blend: Blend = "flat"
    ) -> Float32[np.ndarray, "H W K"]:
        """Shares of the classes in the scores of an image."""
        blocks = self._array_blocks(image, blend)
        return np.concatenate([block.probabilities() for block in blocks])

    def stream(
        self, dataset: Any, reading: Reading | None = None, blend: Blend = "flat"
    ) -> Iterator[Block]:
        """Finished rows of an open rasterio dataset, from top to bottom.

        Args:
          dataset: of any size; memory depends on its width times the crop.
          reading: bands, scaling, nodata and resampling.
          blend: "flat" or "cosine".
        """
        with scene_of(dataset, reading or Reading()) as scene:
            plan = self.plan(scene.grid.height, scene.grid.width, blend)
            windows = read_windows(scene.read_rows, plan, self.batch, scene.dtype)
            yield from self.blocks(windows, plan)

    def plan(self, height: int, width: int, blend: Blend) -> Plan:
        """The windows of a scene."""
        sizes = {"crop": self.crop, "stride": self.stride, "patch": self.patch}
        return make_plan(height, width, blend=blend, **sizes)

    def blocks(self, batches: Iterator[Batch], plan: Plan) -> Iterator[Block]:
        """Scores windows and blends them, see `strip.blended`."""
        return blended(self.score_fn, batches, plan, len(self.classes.names))

    def _array_blocks(
        self, image: Num[np.ndarray, "H W 3"], blend: Blend
    ) -> Iterator[Block]:
        def read_rows(
            start: int, stop: int
        ) -> tuple[Num[np.ndarray, "r W 3"], Bool[np.ndarray, "r W"]]:
            rows = image[start:stop]
            return rows, np.ones(rows.shape[:2], bool)

        plan = self.plan(*image.shape[:2], blend)
        windows = read_windows(read_rows, plan, self.batch, image.dtype)
        return self.blocks(windows, plan)


def load(
    checkpoint: str | Path,
    *,
    precision: str | None = None,
    batch: int | None = None,
    stride: int | None = None,
    tta: Sequence[str] = (),
) -> Predictor:
    """Loads a trained run onto the devices of this process.

    Args:
      checkpoint: the workdir of a run, or a checkpoint folder inside one.
      precision: "f32" or "bf16"; None takes what it was trained in.
      batch: windows per call, over all devices; None takes the run's eval.batch.
      stride: step between windows; None takes the run's.
      tta: of "flips" and "scales", see `tta.augmented`.

    Raises:
      ValueError: there is no such run, its files do not fit, or an argument does not.
    """
    run = load_run(checkpoint, precision)
    batch = run.config.eval.batch if batch is None else batch
    if batch < 1:
        raise ValueError(f"got batch {batch}, expected 1 or more windows")
    score_fn = make_score_fn(run.network, run.state)
    return Predictor(
        score_fn=augmentation.augmented(score_fn, tta, patch=run.patch),
        classes=run.classes,
        crop=run.crop,
        stride=stride or run.stride,
        patch=run.patch,
        batch=sharding.whole_batch(batch),
        about={**run.about(), "tta": list(tta)},
    )


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """A run as one of its checkpoints left it.

    Attributes:
      workdir: of the run.
      config: as it was trained, but for the precision if another was asked for.
      classes: names and palette.
      network: structure and frozen weights.
      state: with the trained parameters.
    """

    workdir: Path
    config: Any
    classes: ClassSet
    network: build.Network
    state: TrainState

    @property
    def crop(self) -> int:
        """Window length, pixels."""
        return self.config.data.crop

    @property
    def stride(self) -> int:
        """Step between windows."""
        return build_windows(self.config)["stride"]

    @property
    def patch(self) -> int:
        """Window sides are multiples of it."""
        return build_windows(self.config)["patch"]

    def about(self) -> dict[str, Any]:
        """Where the weights come from."""
        return {
            "checkpoint": str(self.workdir.resolve()),
            "name": self.config.name,
            "step": int(self.state.step),
            "weights": self._digest() + self.network.digest[:4],
            "precision": self.config.precision,
        }

    def _digest(self) -> str:
        """Twelve hexadecimal digits that tell trained weights apart."""
        return seal.digest_of_arrays(dotted(jax.device_get(self.state.params)))[:12]


def load_run(checkpoint: str | Path, precision: str | None = None) -> TrainedRun:
    """Reads a run; arguments as `load`, which see."""
    workdir = find_workdir(Path(checkpoint))
    config = read_config(workdir / "config.json")
    if precision is not None:
        if precision not in PRECISIONS:
            raise ValueError(f'got precision "{precision}", expected f32 or bf16')
        config.precision = PRECISIONS[precision]
    classes, step = load_classes(workdir / "classes.json"), _step(Path(checkpoint))
    network = build.build_network(config, len(classes.names))
    state = _restored(config, network, workdir, step)
    return TrainedRun(workdir, config, classes, network, state)


def find_workdir(checkpoint: Path) -> Path:
    """The run that a workdir, or a folder inside its `checkpoints`, belongs to.

    Raises:
      ValueError: it is neither.
    """
    for folder in (checkpoint, *checkpoint.absolute().parents[:2]):
        if (folder / "config.json").is_file() and (folder / "checkpoints").is_dir():
            return folder
    raise ValueError(
        f"got checkpoint {checkpoint}, expected the workdir of a trained run (with "
        "config.json and checkpoints/), or a folder in its checkpoints/"
    )


def _step(checkpoint: Path) -> int | None:
    """The step that a checkpoint folder holds; None for a workdir.

    Raises:
      ValueError: the checkpoint is damaged.
    """
    if not checkpoint.name.isdigit() or checkpoint.parent.name != "checkpoints":
        return None
    if found := seal.damage(checkpoint):
        raise ValueError(
            f"got checkpoint {checkpoint}, which is damaged ({found}): give the "
            "workdir to take its newest sound one"
        )
    return int(checkpoint.name)


def _restored(
    config: Any, network: build.Network, workdir: Path, step: int | None
) -> TrainState:
    """The state of a run after a step, the newest if None."""
    optimiser = build.build_optimiser(config, network, build.build_schedule(config))
    like = initial_state(network, optimiser, sharding.make_mesh())
    with closing(Checkpoints(workdir, frozen=network.digest)) as checkpoints:
        return checkpoints.restore(like, step)
