"""A trained run as a function from images to features."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

from crossearth_jax.features.taps import FeatureFn, image_features, make_feature_fn
from crossearth_jax.run.trained import TrainedRun
from crossearth_jax.system import sharding


@dataclasses.dataclass(frozen=True)
class Extractor:
    """Computes features of images; made by `make_extractor`, or from any function.

    Attributes:
      feature_fn: normalised windows → features [b, V, T, h, w, C].
      taps: the T taps, counted from 0.
      variants: the V variants; True is with Injector(GSE).
      token: pixels of a token's side.
      crop: window length, pixels.
      stride: step between windows.
      patch: window sides are multiples of it.
      batch: windows per call.
    """

    feature_fn: FeatureFn
    taps: tuple[int, ...]
    variants: tuple[bool, ...]
    token: int
    crop: int
    stride: int
    patch: int
    batch: int

    def __call__(
        self, image: UInt8[np.ndarray, "H W 3"]
    ) -> Float32[np.ndarray, "V T h w C"]:
        """Features of an RGB image on the 0-255 scale, of any size."""
        sizes = {
            name: getattr(self, name)
            for name in ("token", "crop", "stride", "patch", "batch")
        }
        return image_features(self.feature_fn, image, **sizes)


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
    batch = run.config.eval.batch if batch is None else batch
    if batch < 1:
        raise ValueError(f"got batch {batch}, expected 1 or more windows")
    return Extractor(
        make_feature_fn(run.network, run.state, taps=taps, variants=variants),
        tuple(taps),
        tuple(variants),
        token=run.network.model.config.backbone.patch_size,
        crop=run.crop,
        stride=run.stride,
        patch=run.patch,
        batch=sharding.whole_batch(batch),
    )
