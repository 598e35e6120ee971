"""A trained model as one StableHLO function, without this package.

Three files at most, written in this order, each under a temporary name first:
NAME.safetensors (weights, if they are not baked in), NAME.stablehlo (the function) and
NAME.json (its inputs and outputs, and size and SHA-256 of the others: `jax.export` does
not notice a changed byte).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export
from jaxtyping import Array, Float32, UInt8
from safetensors.flax import save

from crossearth_jax.models.parameters import combine, dotted, undotted
from crossearth_jax.models.portable import portable
from crossearth_jax.pixels.imagenet import IMAGENET_MEAN, IMAGENET_STD
from crossearth_jax.pixels.normalise import normalise
from crossearth_jax.run.trained import TrainedRun
from crossearth_jax.scoring.score_fn import class_scores
from crossearth_jax.system.whole_file import whole_file

PLATFORMS = ("cpu", "cuda", "tpu", "rocm")
TRAINING_ONLY = ("mim_decoder", "prompt")  # parts that scores do not read
WEIGHTS = ("file", "baked")

Weights = dict[str, jax.Array | np.ndarray]


def export(
    run: TrainedRun,
    out: Path,
    *,
    batch: int | None = None,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
    weights: str = "file",
) -> list[Path]:
    """Writes a trained model as a function of windows.

    The function takes uint8 RGB windows [b, crop, crop, 3], returns float32 class
    scores [b, crop, crop, K]. With weights in a file it takes them, a dict of arrays
    by name, as its first argument.

    Args:
      run: see `load_run`.
      out: NAME.stablehlo; NAME.json and NAME.safetensors are written beside it.
      batch: windows per call; None exports for any number.
      platforms: that it can run on.
      weights: in a "file", or "baked" into the function. Then the compiler folds
        constants, which changes scores by 1e-5 of their size, and 2 GB is the most.

    Returns:
      The files.

    Raises:
      ValueError: an argument is invalid.
    """
    _check(out, batch, platforms, weights)
    arrays = inference_weights(run)
    function, crop = partial(window_scores, run), run.windows.crop
    size = "b" if batch is None else batch
    shape = jax_export.symbolic_shape(f"{size}, {crop}, {crop}, 3")
    windows = jax.ShapeDtypeStruct(shape, np.uint8)
    if weights == "baked":
        # NumPy, so that they become constants of the function.
        function, arguments = partial(function, jax.device_get(arrays)), (windows,)
    else:
        like = {k: jax.ShapeDtypeStruct(x.shape, x.dtype) for k, x in arrays.items()}
        arguments = like, windows
    with portable():
        program = jax_export.export(jax.jit(function), platforms=platforms)
        exported = program(*arguments)

    description = _describe(run, exported, batch)
    written = []
    if weights == "file":
        path = out.with_suffix(".safetensors")
        with whole_file(path) as place:
            # Not by save_file: nobody else could read what it makes.
            place.write_bytes(save({k: jnp.asarray(x) for k, x in arrays.items()}))
        description["weights"] = {"file": path.name, **_facts(path)}
        written.append(path)
    with whole_file(out) as place:
        place.write_bytes(exported.serialize())
    description |= {"file": out.name, **_facts(out)}
    with whole_file(out.with_suffix(".json")) as place:
        place.write_text(json.dumps(description, indent=1) + "\n")
    return [*written, out, out.with_suffix(".json")]


def inference_weights(run: TrainedRun) -> Weights:
    """Every array that scores depend on, by dotted name."""
    params = combine(run.state.params, run.network.frozen)
    return dotted({k: v for k, v in params.items() if k not in TRAINING_ONLY})


def window_scores(
    run: TrainedRun,
    weights: Mapping[str, Any],
    windows: UInt8[Array, "b H W 3"] | Float32[Array, "b H W 3"],
) -> Float32[Array, "b H W K"]:
    """Class scores of windows on the 0-255 scale, by weights that are an argument.

    Args:
      run: whose network it is.
      weights: from `inference_weights`.
      windows: RGB.
    """
    params = combine(run.state.params, run.network.frozen)
    used = {k: v for k, v in params.items() if k not in TRAINING_ONLY}
    rest = {k: v for k, v in params.items() if k in TRAINING_ONLY}
    pixels = normalise(windows)
    scores = class_scores(run.network.graph, undotted(weights, used), rest, pixels)
    return scores.astype(jnp.float32)


def _check(
    out: Path, batch: int | None, platforms: Sequence[str], weights: str
) -> None:
    if out.suffix != ".stablehlo":
        raise ValueError(
            f"got --out {out}, expected a name like model.stablehlo, or model.onnx"
        )
    if batch is not None and batch < 1:
        raise ValueError(f"got --batch {batch}, expected 1 or more, or symbolic")
    if not platforms or set(platforms) - set(PLATFORMS):
        raise ValueError(
            f"got --platforms {','.join(platforms)}, expected some of "
            f"{', '.join(PLATFORMS)} with commas between them"
        )
    if weights not in WEIGHTS:
        raise ValueError(f"got weights {weights}, expected {' or '.join(WEIGHTS)}")


def _describe(
    run: TrainedRun, exported: jax_export.Exported, batch: int | None
) -> dict[str, Any]:
    """The sidecar, without the files' names."""
    return {
        "input": "uint8 RGB windows [batch, crop, crop, 3], 0-255; normalised inside",
        "output": "float32 class scores [batch, crop, crop, classes]; the class of a "
        "pixel is the arg-max, of overlapping windows the arg-max of their mean",
        "classes": list(run.classes.names),
        "palette": [list(colour) for colour in run.classes.palette],
        "crop": run.windows.crop,
        "stride": run.windows.stride,
        "batch": batch,
        "images": _images(run),
        "normalisation": {
            "mean": IMAGENET_MEAN.tolist(),
            "std": IMAGENET_STD.tolist(),
        },
        "platforms": list(exported.platforms),
        "weights": None,
        "jax": jax.__version__,
        "calling_convention": exported.calling_convention_version,
        "about": run.about(),
    }


def _images(run: TrainedRun) -> dict[str, Any] | None:
    """How raw images became the 0-255 of windows; None where they were so already."""
    raw = run.raw_images
    if raw is None:
        return None
    return {
        "bands": list(raw.bands) or None,
        "scale": [list(pair) for pair in raw.scale] or None,
        "gsd": raw.gsd,
    }


def _facts(path: Path) -> dict[str, str | int]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
