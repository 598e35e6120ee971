"""A trained run as a function from pixels to classes."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Num, UInt8
from numpy.typing import ArrayLike, DTypeLike

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.pixels.colour_vision import shown_palette
from crossearth_jax.predict import tta as augmentation
from crossearth_jax.predict.judge import Judge
from crossearth_jax.predict.picture import checked_picture
from crossearth_jax.predict.scene import Reading, scene_of
from crossearth_jax.predict.strip import (
    Block,
    ReadRows,
    WindowBatch,
    blended,
    read_windows,
)
from crossearth_jax.run.released import load_model
from crossearth_jax.run.trained import TrainedRun
from crossearth_jax.scoring.score_fn import make_score_fn
from crossearth_jax.scoring.windows import Blend, Layout, ScoreFn, Windows


@dataclasses.dataclass(frozen=True)
class Predictor:
    """Scores windows; made by `load`, or from any score function.

    Attributes:
      score_fn: normalised windows [b, h, w, 3] → class scores [b, h, w, K], not
        negative.
      classes: names and palette of the K classes.
      windows: their sizes, and how many go into a call.
      about: where the weights come from, kept in every map.
      reading: how scenes are read unless another is given: as in training.
      judge: tells what a map may be trusted with; None cannot.
    """

    score_fn: ScoreFn
    classes: ClassSet
    windows: Windows
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reading: Reading = dataclasses.field(default_factory=Reading)
    judge: Judge | None = None

    def __call__(
        self, image: Num[np.ndarray, "H W 3"], blend: Blend = "flat"
    ) -> UInt8[np.ndarray, "H W"]:
        """Class ids of an RGB image on the 0-255 scale, of any size.

        Raises:
          ValueError: it is no such image; tells how to make one of it.
        """
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
          reading: bands, scaling, nodata and resampling; None is as in training.
          blend: "flat" or "cosine".
        """
        scene = scene_of(dataset, reading or self.reading)
        layout = self.windows.lay(scene.grid.height, scene.grid.width, blend)
        batches = self.read(scene.read_rows, layout, np.uint8)
        yield from self.blocks(batches, layout)

    def read(
        self, read_rows: ReadRows, layout: Layout, dtype: DTypeLike
    ) -> Iterator[WindowBatch]:
        """Cuts a scene into batches, see `strip.read_windows`."""
        return read_windows(read_rows, layout, self.windows.batch, dtype)

    def blocks(self, batches: Iterator[WindowBatch], layout: Layout) -> Iterator[Block]:
        """Scores windows and blends them, see `strip.blended`."""
        return blended(self.score_fn, batches, layout, len(self.classes.names))

    def _array_blocks(self, image: ArrayLike, blend: Blend) -> Iterator[Block]:
        picture = checked_picture(image)

        def read_rows(
            start: int, stop: int
        ) -> tuple[Num[np.ndarray, "r W 3"], Bool[np.ndarray, "r W"]]:
            rows = picture[start:stop]
            return rows, np.ones(rows.shape[:2], bool)

        layout = self.windows.lay(picture.shape[0], picture.shape[1], blend)
        return self.blocks(self.read(read_rows, layout, picture.dtype), layout)

    def recoloured(self, palette: str) -> "Predictor":
        """With other colours in its maps: one of `colour_vision.PALETTES`."""
        if palette == "run":
            return self
        colours = shown_palette(self.classes.palette, palette)
        return dataclasses.replace(
            self,
            classes=dataclasses.replace(self.classes, palette=colours),
            about={**self.about, "palette": palette},  # tells its maps from others
        )


def load(
    checkpoint: str | Path,
    *,
    step: str | None = None,
    precision: str | None = None,
    batch: int | None = None,
    stride: int | None = None,
    tta: Sequence[str] = (),
    backbone: str | None = None,
    classes: str | None = None,
    crop: int | None = None,
    palette: str = "run",
) -> Predictor:
    """Loads a trained run, or a released network, onto the devices of this process.

    Args:
      checkpoint: the workdir of a run, a checkpoint folder inside one, a converted
        file, an mmseg-style checkpoint, or a name; see `released.load_model`.
      step: of a workdir: "last", "best" or a number, as `load_run`.
      precision: as the configuration has it; None takes what it was trained in.
      batch: windows per call, over all devices; None takes the run's eval.batch.
      stride: step between windows; None takes the run's.
      tta: of "flips" and "scales", see `tta.augmented`.
      backbone: of a checkpoint that leaves its own out, by name or path.
      classes: class file or known set, of a converted file or a checkpoint.
      crop: pixels of a window, with `backbone`.
      palette: colours of the maps, one of `colour_vision.PALETTES`.

    Raises:
      ValueError: there is no such run, or its files or an argument are invalid.
    """
    more = {"backbone": backbone, "classes": classes, "crop": crop}
    run = load_model(checkpoint, precision, step=step, **more)
    made = predictor_of(run, batch=batch, stride=stride, tta=tta)
    return made.recoloured(palette)


def predictor_of(
    run: TrainedRun,
    *,
    batch: int | None = None,
    stride: int | None = None,
    tta: Sequence[str] = (),
) -> Predictor:
    """A run that is loaded already, see `load`."""
    windows = run.windows.changed(stride=stride, batch=batch).on_devices()
    score_fn = make_score_fn(run.network.graph, run.state.params, run.network.frozen)
    return Predictor(
        score_fn=augmentation.augmented(score_fn, tta, patch=windows.patch),
        classes=run.classes,
        windows=windows,
        about={**run.about(), "tta": list(tta)},
        reading=Reading(trained=run.raw_images),
    )
