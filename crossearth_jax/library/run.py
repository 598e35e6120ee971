"""A trained run, or a released network, as an object."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Num, UInt8
from numpy.typing import ArrayLike

from crossearth_jax.features.extractor import Extractor, has_injector, make_extractor
from crossearth_jax.predict.picture import checked_picture, picture_as_trained
from crossearth_jax.predict.predictor import Predictor, predictor_of
from crossearth_jax.run.released import load_model
from crossearth_jax.run.trained import TrainedRun

TAPS = (1, 2, 3, 4)


class Run:
    """What `load` returns. It compiles at its first use for an image's size.

    An image is an array [H, W, 3] of red, green and blue, of any size: uint8, or other
    numbers on the scale 0-255. For a run that states bands or a scale (`data.bands`,
    `data.scale`) it is the array of all bands [H, W, B] in the file's own numbers, and
    is read as `crossearth predict` reads a file. It is not resampled.
    """

    def __init__(self, trained: TrainedRun, batch: int | None = None) -> None:
        """From `load`."""
        self._trained, self._batch = trained, batch
        self._predictor: Predictor = predictor_of(trained, batch=batch)
        self._extractors: dict[tuple[int, bool], Extractor] = {}

    def __repr__(self) -> str:
        about = self.about
        return (
            f"Run({about['name']!r}, step {about['step']}, {len(self.classes)} classes)"
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes, in the order of their ids."""
        return tuple(self._trained.classes.names)

    @property
    def palette(self) -> UInt8[np.ndarray, "K 3"]:
        """Their colours, RGB: `run.palette[run.predict(image)]` is a picture."""
        return np.asarray(self._trained.classes.palette, np.uint8)

    @property
    def about(self) -> dict[str, Any]:
        """Where the weights come from: checkpoint, name, step, digest, precision."""
        return self._trained.about()

    def predict(self, image: ArrayLike) -> UInt8[np.ndarray, "H W"]:
        """Class ids of an image, as `crossearth predict` writes them.

        Args:
          image: see `Run`.

        Raises:
          ValueError: it is no such image; tells how to make one of it.
        """
        return self._predictor(self._picture(image))

    def probabilities(self, image: ArrayLike) -> Float32[np.ndarray, "H W K"]:
        """Shares of the classes, 0-1, which sum to 1 over the classes.

        They are not calibrated; `crossearth predict --trust` estimates errors.

        Args:
          image: see `Run`.

        Raises:
          ValueError: it is no such image; tells how to make one of it.
        """
        return self._predictor.probabilities(self._picture(image))

    def features(
        self, image: ArrayLike, tap: int = 4, *, injector: bool | None = None
    ) -> Float32[np.ndarray, "h w C"]:
        """What the network sees: features of C channels for every patch of p pixels.

        h = ⌈H / p⌉ and w = ⌈W / p⌉; windows overlap and are averaged.

        Args:
          image: see `Run`.
          tap: 1 to 4, from the first tapped block of the backbone to the last.
          injector: with Injector(GSE), as the decoder sees them, or without; None is
            with, where the network has it.

        Raises:
          ValueError: it is no such image, there is no such tap, or no injector.
        """
        if tap not in TAPS or isinstance(tap, bool):
            raise ValueError(f"got tap {tap!r}, expected 1, 2, 3 or 4")
        has = has_injector(self._trained)
        if injector and not has:
            raise ValueError(
                "got injector=True for a run without GSE and Injector, expected one "
                "that has them: leave it out"
            )
        chosen = int(tap) - 1, has if injector is None else bool(injector)
        if chosen not in self._extractors:
            self._extractors[chosen] = make_extractor(
                self._trained,
                taps=chosen[:1],
                variants=chosen[1:],
                batch=self._batch,
            )
        return self._extractors[chosen](self._picture(image))[0, 0]

    def _picture(self, image: ArrayLike) -> Num[np.ndarray, "H W 3"]:
        raw = self._trained.raw_images
        return checked_picture(image) if raw is None else picture_as_trained(image, raw)


def load(
    model: str | Path,
    *,
    step: str | int | None = None,
    precision: str | None = None,
    batch: int | None = None,
    classes: str | Path | None = None,
    backbone: str | Path | None = None,
    crop: int | None = None,
) -> Run:
    """Loads whatever predicts, onto the devices of this process.

    Args:
      model: the workdir of a run or a checkpoint folder in it; a converted file; an
        mmseg-style checkpoint; or a name that `crossearth models` lists, which is
        downloaded at its first use.
      step: of a workdir: "best", "last" (the default) or a number.
      precision: "float32", "tensorfloat32" or "bfloat16"; None is as it was trained.
      batch: windows per call, over all devices; None takes the run's.
      classes: class file or known set, of a file that does not name its classes.
      backbone: of a checkpoint that leaves its own out, by name or path.
      crop: pixels of a window, of a checkpoint of which nothing tells it.

    Raises:
      ValueError: nothing that predicts is there, or an argument does not fit it.
    """
    trained = load_model(
        model,
        precision,
        step=None if step is None else str(step),
        backbone=None if backbone is None else str(backbone),
        classes=None if classes is None else str(classes),
        crop=crop,
    )
    return Run(trained, batch)
