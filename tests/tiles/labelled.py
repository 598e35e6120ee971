"""Small drawn scenes with polygons, and tiles made of them."""

import json

import numpy as np
import pytest
from rasters import write

from crossearth_jax.tiles.settings import LabelSettings, TileSettings

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
geopandas = pytest.importorskip("geopandas", reason="needs the extra geo")
pytest.importorskip("pyogrio", reason="needs the extra geo")
shapely = pytest.importorskip("shapely", reason="needs the extra geo")

UTM, LEFT, TOP = "EPSG:32645", 336_000.0, 3_057_000.0  # pixels of one metre
GRID = {"crs": UTM, "transform": rasterio.Affine(1, 0, LEFT, 0, -1, TOP)}


def scene(path, height=256, width=256, bands=4, dtype=np.uint16, seed=0, **profile):
    """Noise of 0 to 4000."""
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 4001, (bands, height, width)).astype(dtype)
    return write(path, values, **GRID | profile)


def rect(left, top, right, bottom):
    """A rectangle by pixels of the scene, perhaps between two."""
    return shapely.box(LEFT + left, TOP - bottom, LEFT + right, TOP - top)


def polygons(path, shapes, crs=UTM, **columns):
    """A file of polygons, in a coordinate system of its own."""
    frame = geopandas.GeoDataFrame(columns, geometry=list(shapes), crs=UTM)
    frame.to_crs(crs).to_file(path)
    return path


def asked(size=64, split="none", keep_empty=1.0, scale=(0.0, 4000.0), **settings):
    """Settings with one class, all tiles, and what a test is about."""
    own = LabelSettings.__dataclass_fields__.keys()
    labels = {key: settings.pop(key) for key in own & settings.keys()}
    if "attribute" not in labels:
        labels.setdefault("burn", "building")
    return TileSettings(
        size=size,
        stride=settings.pop("stride", size),
        split=split,
        keep_empty=keep_empty,
        scale=scale,
        bands=settings.pop("bands", (3, 2, 1)),
        labels=LabelSettings(**labels),
        **settings,
    )


def tiles_in(out, kind="labels"):
    """{(split, top, left): pixels} of a folder."""
    found = {}
    for path in sorted(out.glob(f"*/{kind}/*.tif")):
        left, top = map(int, path.stem.split("_")[-4:-2])
        with rasterio.open(path) as file:
            found[path.parts[-3], top, left] = file.read()
    return found


def mosaic(out, height=256, width=256, kind="labels"):
    """Tiles laid together again; 99 where there is none."""
    tiles = tiles_in(out, kind)
    first = next(iter(tiles.values()))
    whole = np.full((len(first), height, width), 99, first.dtype)
    for (_, top, left), pixels in tiles.items():
        size = pixels.shape[1]
        whole[:, top : top + size, left : left + size] = pixels
    return whole if kind == "images" else whole[0]


def manifest(out):
    return json.loads((out / "manifest.json").read_text())
