"""A trained model as one ONNX file: for ONNX Runtime, and for QGIS by its Deepness.

What goes in and comes out, and the metadata, are as the plugin Deepness 0.6.5 reads
them: pixels 0-1, channels first; shares of the classes that sum to 1.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, UInt8

import crossearth_jax
from crossearth_jax.data.synthetic.source import field_images
from crossearth_jax.models.portable import portable
from crossearth_jax.pixels.normalise import normalise
from crossearth_jax.run.export import Weights, inference_weights, window_scores
from crossearth_jax.run.provenance import git_commit
from crossearth_jax.run.trained import TrainedRun
from crossearth_jax.scoring.score_fn import class_scores
from crossearth_jax.system.extras import needed
from crossearth_jax.system.whole_file import whole_file
from crossearth_jax.to_onnx.convert import onnx_model

PRECISION = "float32"
# Rounding turns the attention of single tokens, whose mask is near one half, so a few
# pixels may differ by any share; many may not.
MOST_DIFFERENCE = 0.01  # of a share, on average
MOST_OTHER = 0.01  # of the pixels, whose class differs
WHITE = 255  # what is 1 in the file's input


@dataclass(frozen=True)
class Check:
    """How ONNX Runtime's shares of the classes compare with those of JAX.

    Attributes:
      difference: the largest of a share, of 1.
      mean: of all shares.
      other: pixels whose class differs.
      pixels: compared.
    """

    difference: float
    mean: float
    other: int
    pixels: int

    @property
    def fits(self) -> bool:
        """Whether the file is the model; not where a share is not a number."""
        few = self.other <= MOST_OTHER * self.pixels
        return self.mean <= MOST_DIFFERENCE and few

    def words(self) -> str:
        """Such as "max difference 2e-05, classes equal"."""
        classes = f"classes differ in {self.other:,} of {self.pixels:,} pixels"
        if not self.other:
            classes = "classes equal"
        return f"max difference {self.difference:.0e}, {classes}"


def export_onnx(
    run: TrainedRun,
    out: Path,
    *,
    batch: int = 1,
    licences: Mapping[str, str] | None = None,
) -> Check:
    """Writes a trained model as an ONNX file that ONNX Runtime agrees with.

    Its input is float32 [batch, 3, crop, crop], RGB 0-1; it normalises. Its output is
    float32 [batch, K, crop, crop], shares that sum to 1 over the classes.

    Args:
      run: see `load_model`; in float32.
      out: NAME.onnx.
      batch: windows per call.
      licences: of the weights, by their names.

    Returns:
      How the two compare on drawn scenes.

    Raises:
      ImportError: the extra `onnx` is not installed.
      ValueError: an argument is invalid, or ONNX Runtime computes something else; no
        file is written then.
    """
    check_onnx(out, batch)
    runtime = needed("onnxruntime", "the check of an ONNX file", "onnx")
    crop = run.windows.crop
    like = jax.ShapeDtypeStruct((batch, 3, crop, crop), np.float32)
    with portable():
        model = onnx_model(
            partial(_shares, run), inference_weights(run), like, name="crossearth"
        )
    for key, value in {**_for_deepness(run), **_origin(run, licences or {})}.items():
        # Deepness reads every value as JSON.
        model.metadata_props.add(key=key, value=json.dumps(value))
    model.producer_name = "crossearth_jax"
    model.producer_version = crossearth_jax.__version__
    with whole_file(out) as place:
        place.write_bytes(model.SerializeToString())
        del model  # a copy of all weights
        found = _compare(run, place, runtime, batch)
        if not found.fits:
            raise ValueError(
                f"got another result of ONNX Runtime than of JAX ({found.words()}), "
                f"expected a mean difference of {MOST_DIFFERENCE} and {MOST_OTHER:.0%} "
                "of the pixels at most: nothing was written; export as stablehlo"
            )
    return found


def check_onnx(out: Path, batch: int) -> None:
    """Raises for what cannot be exported, before anything is loaded.

    Raises:
      ImportError: the extra `onnx` is not installed.
      ValueError: an argument is invalid.
    """
    if out.suffix != ".onnx":
        raise ValueError(f"got --out {out}, expected a name like model.onnx")
    if batch < 1:
        raise ValueError(f"got --batch {batch}, expected 1 or more")
    if not os.access(out.parent, os.W_OK | os.X_OK) or out.is_dir():
        raise ValueError(
            f"got --out {out}, expected a file in a folder that is there and can be "
            "written to: make the folder, or choose another"
        )
    for library in ("onnx", "onnxruntime"):
        needed(library, "--format onnx", "onnx")


def _shares(
    run: TrainedRun, weights: Weights, image: Float32[Array, "b 3 H W"]
) -> Float32[Array, "b K H W"]:
    scores = window_scores(run, weights, image.transpose(0, 2, 3, 1) * WHITE)
    return _to_one(scores).transpose(0, 3, 1, 2)


def _to_one(scores: Float32[Array, "b H W K"]) -> Float32[Array, "b H W K"]:
    """Shares of the sum; all alike where no class has a score."""
    total = scores.sum(-1, keepdims=True)
    return jnp.where(total > 0, scores / total, 1 / scores.shape[-1])


def _compare(run: TrainedRun, place: Path, runtime: Any, batch: int) -> Check:
    """On drawn scenes, against the scores that the run itself gives."""
    windows = field_images(batch, run.windows.crop, seed=0)  # [b, H, W, 3]
    image = np.float32(windows.transpose(0, 3, 1, 2) / WHITE)
    session = runtime.InferenceSession(str(place), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"image": image})
    wanted = np.asarray(_own_shares(run, windows)).transpose(0, 3, 1, 2)
    other = np.count_nonzero(got.argmax(1) != wanted.argmax(1))
    apart = np.abs(got - wanted)
    return Check(float(apart.max()), float(apart.mean()), int(other), wanted[:, 0].size)


def _own_shares(
    run: TrainedRun, windows: UInt8[np.ndarray, "b H W 3"]
) -> Float32[Array, "b H W K"]:
    scores = jax.jit(partial(class_scores, run.network.graph))
    return _to_one(scores(run.state.params, run.network.frozen, normalise(windows)))


def _for_deepness(run: TrainedRun) -> dict[str, Any]:
    """What the plugin sets its form by; it calls the size `tile_size` in its code."""
    windows, raw = run.windows, run.raw_images
    overlap = round(100 * (windows.crop - windows.stride) / windows.crop)
    return {
        "model_type": "Segmentor",
        "class_names": {str(i): name for i, name in enumerate(run.classes.names)},
        "tile_size": windows.crop,
        "tiles_size": windows.crop,
        "tiles_overlap": overlap,  # percent
        # Below its threshold a share counts as 0, and class 0 takes the pixel.
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
        "standardization_mean": [0.0] * 3,
        "standardization_std": [1.0] * 3,
        **({"resolution": 100 * raw.gsd} if raw and raw.gsd else {}),  # cm
    }


def _origin(run: TrainedRun, licences: Mapping[str, str]) -> dict[str, Any]:
    """Where the file comes from; no path, since it is made to be handed on."""
    about = run.about()
    return {
        "crossearth_version": crossearth_jax.__version__,
        "crossearth_commit": git_commit(),
        "crossearth_run": about["name"],
        "crossearth_step": about["step"],
        "crossearth_weights": about["weights"],
        "crossearth_precision": about["precision"],
        "crossearth_licences": dict(licences),
        "crossearth_palette": [list(colour) for colour in run.classes.palette],
        "crossearth_input": "float32 RGB [batch, 3, crop, crop], 0-1",
        "crossearth_output": "float32 shares [batch, classes, crop, crop], sum 1",
    }
