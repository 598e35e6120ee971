"""Small rasters and a cheap predictor, shared by the tests of predict."""

import jax.numpy as jnp
import numpy as np

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.predict.predictor import Predictor
from crossearth_jax.scoring.windows import Windows

CLASSES = ClassSet(("ground", "roof & wall"), ((60, 60, 60), (255, 200, 0)))
UTM = "EPSG:32618"


def bright_is_roof(windows):
    """Class 1 where the normalised red is above 0; depends on the place too."""
    roof = 1 / (1 + jnp.exp(-4 * windows[..., :1]))
    tilt = 1 + 0.1 * jnp.linspace(0, 1, windows.shape[1])[:, None, None]
    return jnp.concatenate([1 - roof, roof], -1) * tilt


def predictor(score_fn=bright_is_roof, **about):
    windows = Windows(crop=64, stride=43, patch=32, batch=3)
    return Predictor(score_fn, CLASSES, windows, about)


def squares(height, width, bands=3, seed=0, dtype=np.uint8, top=255):
    """Dark ground with bright squares, and noise."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.1, 0.3, (bands, height, width))
    for _ in range(max(1, height * width // 1500)):
        y, x = rng.integers(0, height), rng.integers(0, width)
        values[:, y : y + 14, x : x + 17] = rng.uniform(0.8, 1.0)
    return (values * top).astype(dtype)


def write(path, values, **profile):
    """A GeoTIFF of [bands, H, W], in UTM with pixels of 2 m unless said otherwise."""
    import rasterio

    settings = {
        "driver": "GTiff",
        "crs": UTM,
        "transform": rasterio.Affine(2, 0, 500_000, 0, -2, 4_000_000),
    } | profile
    bands, height, width = values.shape
    with rasterio.open(
        path,
        "w",
        count=bands,
        height=height,
        width=width,
        dtype=values.dtype,
        **settings,
    ) as file:
        file.write(values)
    return path


def ground_points():
    """Ground control points of a scene without a transform."""
    from rasterio.control import GroundControlPoint

    corners = (0, 0), (0, 64), (64, 0), (64, 64)
    return [GroundControlPoint(row, col, 10 + col, 50 - row) for row, col in corners]


def polynomials():
    """RPCs as satellites have them, with figures of no meaning."""
    from rasterio.rpc import RPC

    parts = ("height", "lat", "line", "long", "samp")
    numbers = {f"{part}_{end}": 1.0 for part in parts for end in ("off", "scale")}
    names = ("line_num", "line_den", "samp_num", "samp_den")
    coefficients = {f"{name}_coeff": [1.0] + [0.0] * 19 for name in names}
    return RPC(**numbers, **coefficients)


def slow_predictor(*_, **__):
    """As workers of a cluster load it; tells who they are."""
    import os
    import time
    from pathlib import Path

    def scores(windows):
        time.sleep(0.02)
        return bright_is_roof(windows)

    Path(os.environ["RASTERS_PIDS"], str(os.getpid())).touch()
    return predictor(scores, weights="1")
