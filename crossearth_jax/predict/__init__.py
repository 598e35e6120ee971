"""From scenes to maps: `load` a run, call it on arrays, stream rasters, write files."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossearth_jax.predict.files import predict_file
    from crossearth_jax.predict.outputs import Wanted
    from crossearth_jax.predict.predictor import Predictor, load
    from crossearth_jax.predict.scene import Reading

__all__ = ["Predictor", "Reading", "Wanted", "load", "predict_file"]

# Imported when they are asked for: reading scenes alone, as `crossearth tiles` does,
# needs no JAX.
_HOMES = {
    "Predictor": "predictor",
    "Reading": "scene",
    "Wanted": "outputs",
    "load": "predictor",
    "predict_file": "files",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    return getattr(home, name)
