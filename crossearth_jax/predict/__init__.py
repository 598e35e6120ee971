"""From scenes to maps: `load` a run, call it on arrays, stream rasters, write files."""

from crossearth_jax.predict.files import predict_file
from crossearth_jax.predict.outputs import Wanted
from crossearth_jax.predict.predictor import Predictor, load
from crossearth_jax.predict.scene import Reading

__all__ = ["Predictor", "Reading", "Wanted", "load", "predict_file"]
