"""The style networks on disk: one safetensors file, read strictly.

Keys are the networks' own paths with a prefix: `predictor.conv_1a.conv.kernel`,
`transfer.down.0.conv.conv.kernel`. The converter (`weights_convert.style`) writes it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors.numpy import save_file

from crossearth_jax.earth_style.predictor import StylePredictor
from crossearth_jax.earth_style.transfer import StyleTransfer
from crossearth_jax.system.safetensors_file import load_arrays
from crossearth_jax.system.whole_file import whole_file

Network = TypeVar("Network", StylePredictor, StyleTransfer)

MAX_WIDTH = 1024  # channels; the released networks begin with 32
# The tensor whose last axis is the network's width.
PREDICTOR_WIDTH_KEY = "predictor.conv_1a.conv.kernel"
TRANSFER_WIDTH_KEY = "transfer.down.0.conv.conv.kernel"


def state_arrays(module: nnx.Module, prefix: str) -> dict[str, np.ndarray]:
    """All arrays of a module under dotted keys that start with `prefix`."""
    return {
        key: np.asarray(variable[...])
        for key, variable in _flat(module, prefix).items()
    }


def state_shapes(predictor_width: int, transfer_width: int) -> dict[str, tuple]:
    """The key and shape of every tensor of a style file with these widths."""
    leaves = _flat(_abstract(StylePredictor, predictor_width), "predictor")
    leaves |= _flat(_abstract(StyleTransfer, transfer_width), "transfer")
    return {key: tuple(variable.shape) for key, variable in leaves.items()}


def save_style_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a style file in one step: a broken write leaves the old file."""
    contiguous = {k: np.ascontiguousarray(v, np.float32) for k, v in arrays.items()}
    with whole_file(path) as place:
        save_file(contiguous, place)


def load_style_networks(path: str | Path) -> tuple[StylePredictor, StyleTransfer]:
    """Reads p_s and p_t; their widths come from the tensors.

    Args:
      path: a safetensors file that `weights_convert` made.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if a tensor is missing, left over or of another shape.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"got no file at {path}, expected converted style weights: make them "
            "with `crossearth convert style`"
        )
    try:
        arrays = load_arrays(path)
    except ValueError as error:
        raise ValueError(
            f"got a damaged {path} ({error}): make it with `crossearth convert style`"
        ) from error
    for key in (PREDICTOR_WIDTH_KEY, TRANSFER_WIDTH_KEY):
        if key not in arrays:
            raise ValueError(
                f"got {path} without the tensor {key}, expected converted style "
                "weights: make them with `crossearth convert style`"
            )
    keys = PREDICTOR_WIDTH_KEY, TRANSFER_WIDTH_KEY
    widths = tuple((0, *arrays[key].shape)[-1] for key in keys)
    if not all(0 < width <= MAX_WIDTH for width in widths):
        raise ValueError(
            f"got {path} with style networks {widths} wide, expected 1 to {MAX_WIDTH}: "
            "make it with `crossearth convert style`"
        )
    check_shapes({k: v.shape for k, v in arrays.items()}, state_shapes(*widths))
    predictor = _fill(_abstract(StylePredictor, widths[0]), arrays, "predictor")
    return predictor, _fill(_abstract(StyleTransfer, widths[1]), arrays, "transfer")


def check_shapes(
    got: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Raises ValueError unless both name the same tensors with the same shapes."""
    missing, surplus = expected.keys() - got.keys(), got.keys() - expected.keys()
    wrong = [k for k in expected.keys() & got.keys() if got[k] != expected[k]]
    if missing or surplus or wrong:
        shapes = [f"{k}: got {got[k]}, expected {expected[k]}" for k in sorted(wrong)]
        raise ValueError(
            f"got {len(missing)} tensors missing {sorted(missing)[:5]}, {len(surplus)} "
            f"left over {sorted(surplus)[:5]}, {len(wrong)} of another shape "
            f"{shapes[:5]}, expected exactly the style networks: convert the release's "
            "own files again"
        )


def _abstract(kind: type[Network], width: int) -> Network:
    return nnx.eval_shape(lambda: kind(width, rngs=nnx.Rngs(0)))


def _flat(module: nnx.Module, prefix: str) -> dict[str, nnx.Variable]:
    leaves = nnx.to_flat_state(nnx.state(module))
    return {".".join(map(str, (prefix, *path))): leaf for path, leaf in leaves}


def _fill(module: Network, arrays: Mapping[str, np.ndarray], prefix: str) -> Network:
    graphdef, state = nnx.split(module)
    filled = [
        (path, leaf.replace(jnp.asarray(arrays[".".join(map(str, (prefix, *path)))])))
        for path, leaf in nnx.to_flat_state(state)
    ]
    return nnx.merge(graphdef, nnx.from_flat_state(filled))
