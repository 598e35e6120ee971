"""A trained run as a function from images to features."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

from crossearth_jax.features.taps import FeatureFn, image_features, make_feature_fn
from crossearth_jax.run.trained import TrainedRun
from crossearth_jax.scoring.windows import Windows


@dataclasses.dataclass(frozen=True)
class Extractor:
    """Computes features of images; made by `make_extractor`, or from any function.

    Attributes:
      feature_fn: normalised windows → features [b, V, T, h, w, C].
      taps: the T taps, counted from 0.
      variants: the V variants; True is with Injector(GSE).
      token: pixels of a token's side.
      windows: their sizes, and how many go into a call.
    """

    feature_fn: FeatureFn
    taps: tuple[int, ...]
    variants: tuple[bool, ...]
    token: int
    windows: Windows

    def __call__(
        self, image: UInt8[np.ndarray, "H W 3"]
    ) -> Float32[np.ndarray, "V T h w C"]:
        """Features of an RGB image on the 0-255 scale, of any size."""
        return image_features(self.feature_fn, image, self.windows, token=self.token)


def has_injector(run: TrainedRun) -> bool:
    """Whether a run has GSE and Injectors; the Rein baseline has neither."""
    return bool(run.network.model.config.gse)


def make_extractor(
    run: TrainedRun,
    *,
    taps: Sequence[int],
    variants: Sequence[bool],
    batch: int | None = None,
) -> Extractor:
    """Features of a trained run.

    Args:
      run: from `trained.load_run`.
      taps: which of the four, counted from 0.
      variants: False is the backbone with Rein, True adds Injector(GSE).
      batch: windows per call; None takes the run's eval.batch.

    Raises:
      ValueError: as `make_feature_fn`, or the batch is not positive.
    """
    windows = run.windows.changed(batch=batch).on_devices()
    return Extractor(
        make_feature_fn(run.network, run.state, taps=taps, variants=variants),
        tuple(taps),
        tuple(variants),
        token=run.network.model.config.backbone.patch_size,
        windows=windows,
    )
