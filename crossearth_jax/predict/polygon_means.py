"""The mean of a raster inside each of many polygons, a strip of rows at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from crossearth_jax.predict import geo

STRIP = 1024  # rows read at a time


def polygon_means(
    raster: Path, shapes: Sequence[Any], *, nodata: int, unit: int
) -> Float64[np.ndarray, "n"]:
    """Means over the pixels whose middle lies inside.

    Args:
      raster: one band, on whose grid the polygons' edges lie.
      shapes: shapely polygons in its coordinates, which do not overlap.
      nodata: value that is left out.
      unit: value that means 1.

    Returns:
      A mean for each polygon, nan where it holds no pixel with data.
    """
    rasterio, shapely = geo.needed("rasterio"), geo.needed("shapely")
    features = geo.needed("rasterio.features")
    windows = geo.needed("rasterio.windows")
    total, count = np.zeros(len(shapes)), np.zeros(len(shapes))
    tree = shapely.STRtree(shapes)
    with rasterio.open(raster) as file:
        for start in range(0, file.height, STRIP):
            rows = min(STRIP, file.height - start)
            window = windows.Window(0, start, file.width, rows)
            transform = file.window_transform(window)
            box = shapely.box(*windows.bounds(window, file.transform))
            inside = np.sort(tree.query(box))
            if not len(inside):
                continue
            place = features.rasterize(
                ((shapes[i], i + 1) for i in inside.tolist()),
                out_shape=(rows, file.width),
                transform=transform,
                dtype=np.int32,
            )
            values = file.read(1, window=window)
            seen = (place > 0) & (values != nodata)
            owner = place[seen] - 1
            count += np.bincount(owner, minlength=len(shapes))
            total += np.bincount(owner, values[seen] / unit, minlength=len(shapes))
    return np.divide(total, count, out=np.full(len(shapes), np.nan), where=count > 0)
