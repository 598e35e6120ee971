"""Drawn class maps with what `crossearth predict` leaves beside them."""

import json

import numpy as np

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.predict.map_tags import PIXELS
from crossearth_jax.predict.vector import write_polygons
from crossearth_jax.predict.write import colour_table, tags_of

CLASSES = ClassSet(
    ("field", "building", "forest", "road", "water"),
    ((226, 196, 110), (215, 48, 39), (35, 132, 67), (120, 120, 120), (49, 110, 190)),
)
NEPAL = "EPSG:32645"
CORNER = 335_000, 3_060_000  # Banepa, in UTM 45 N


def raster(path, values, *, crs=NEPAL, transform="2 m", nodata=255, **more):
    """A COG of [bands, H, W]; `more` are tags, names, a colour table."""
    import rasterio
    from rasterio.shutil import copy

    if transform == "2 m":
        transform = rasterio.Affine(2, 0, CORNER[0], 0, -2, CORNER[1])
    plain = path.with_name(f"{path.stem}.plain")
    bands, height, width = values.shape
    profile = {
        "driver": "GTiff",
        "count": bands,
        "height": height,
        "width": width,
        "dtype": values.dtype,
        "nodata": nodata,
        "crs": crs,
    }
    if transform is not None:
        profile["transform"] = transform
    with rasterio.open(plain, "w", **profile) as file:
        file.write(values)
        file.update_tags(**more.get("tags", {}))
        if "names" in more:
            file.descriptions = more["names"]
        if "colours" in more:
            file.write_colormap(1, more["colours"])
    method = "mode" if bands == 1 else "average"
    with rasterio.open(plain) as file:
        copy(file, path, driver="COG", compress="deflate", overview_resampling=method)
    plain.unlink()
    return path


def class_map(
    folder,
    ids,
    *,
    stem="scene",
    classes=CLASSES,
    shares=(),
    polygons="",
    counted=True,
    about=None,
    **place,
):
    """A map as `predict` writes it, with the rasters of `shares` and polygons."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {n: int((ids == k).sum()) for k, n in enumerate(classes.names)}
    counts["nodata"] = int((ids == 255).sum())
    tags = tags_of({"source": f"{stem}.tif", **(about or {})}, classes)
    if counted:
        tags[PIXELS] = json.dumps(counts)
    path = raster(
        folder / f"{stem}.tif",
        ids[None],
        tags=tags,
        names=("class",),
        colours=colour_table(classes),
        **place,
    )
    for kind, values in dict(shares).items():
        other = folder / f"{stem}_{kind}.tif"
        raster(other, values[None], names=(kind,), **place)
    if polygons:
        target = folder / f"{stem}{polygons}"
        write_polygons(path, target, classes, specks=0, scratch=folder)
    return path


def blocks(height, width, step=64):
    """Squares of all five classes, and a corner without data."""
    rows, columns = np.arange(height) // step, np.arange(width) // step
    ids = ((rows[:, None] + 2 * columns) % 5).astype(np.uint8)
    ids[:step, :step] = 255
    return ids


def shares_of(ids):
    """Confidence that falls from west to east, and trust the other way."""
    ramp = np.linspace(250, 50, ids.shape[1]).round().astype(np.uint8)
    values = np.broadcast_to(ramp, ids.shape)
    return {
        "confidence": np.where(ids == 255, 255, values).astype(np.uint8),
        "trust": np.where(ids == 255, 255, values[:, ::-1]).astype(np.uint8),
    }
