"""Any coordinate system, or none: a value is drawn where it lies."""

import math

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio")
pytest.importorskip("rio_tiler", reason="the extra `view` is missing")

from drawn import class_map, raster  # noqa: E402
from rasterio import Affine  # noqa: E402
from rasters import ground_points  # noqa: E402

from crossearth_jax.view.maps import open_map  # noqa: E402
from crossearth_jax.view.placing import (  # noqa: E402
    PIXEL_ZOOM,
    WORLD,
    bounds_of,
    place_on_earth,
    to_mercator,
)
from crossearth_jax.view.reading import (  # noqa: E402
    Raster,
    read_tile,
    tile_box,
    tiles_over,
)


def value_at(rasters, zoom, longitude, latitude):
    """The value of a tile's pixel at a place; None where there is none."""
    x, y = to_mercator(longitude, latitude)
    place = (x + WORLD) / (2 * WORLD) % 1 * 2**zoom, (WORLD - y) / (2 * WORLD) * 2**zoom
    column, row = (int(part) for part in place)
    found = read_tile(rasters, tile_box(zoom, column, row))
    if found is None:
        return None
    values, valid = found
    at = tuple(int((part % 1) * 512) for part in reversed(place))
    return int(values[0][at]) if valid[at] else None


# Ids 1 to 4 around a centre: north-west, north-east, south-west, south-east.
QUARTERS = np.kron([[1, 2], [3, 4]], np.ones((50, 50))).astype(np.uint8)
SYSTEMS = {
    "UTM": ("EPSG:32645", (335_000, 3_060_000), 10),
    "degrees": ("EPSG:4326", (85.3, 27.6), 1e-4),
    "Web Mercator": ("EPSG:3857", (9_495_000, 3_200_000), 10),
    "feet": ("EPSG:2263", (985_000, 200_000), 30),
    "polar": ("EPSG:3413", (100_000, -2_000_000), 10),
    "across 180 in UTM": ("EPSG:32660", (829_800, 1_000_000), 100),
    "across 180 in degrees": ("EPSG:4326", (180.0, 10.0), 0.001),
    "beyond 180 in degrees": ("EPSG:4326", (270.0, 10.0), 0.001),
    "Pacific": ("EPSG:3832", (3_339_584.7, 1_000_000), 10),
}


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("stands", ["upright", "upside down", "rotated"])
def test_every_quarter_is_drawn_where_it_lies(tmp_path, system, stands):
    crs, centre, step = SYSTEMS[system]
    turn = {"upright": (1, 0, 0, -1), "upside down": (1, 0, 0, 1)}.get(stands)
    a, b, d, e = (step * part for part in turn or (0.8, 0.6, 0.6, -0.8))
    middle = 50 * (a + b), 50 * (d + e)
    transform = Affine(a, b, centre[0] - middle[0], d, e, centre[1] - middle[1])
    path = class_map(tmp_path, QUARTERS, crs=crs, transform=transform)
    one = open_map(path)
    for value, column, row in ((1, 25, 25), (2, 75, 25), (3, 25, 75), (4, 75, 75)):
        x, y = a * column + b * row + transform.c, d * column + e * row + transform.f
        (longitude,), (latitude,) = rasterio.warp.transform(crs, "OGC:CRS84", [x], [y])
        turned = (longitude + 180) % 360 - 180
        assert value_at(one.rasters, one.place.zoom, turned, latitude) == value
    west, south, east, north = bounds_of(one.place.box)
    assert -180 <= west < east < west + 3 and south < latitude < north
    assert one.place.crosses == ("across" in system or system == "Pacific")


def test_a_tile_is_about_as_fine_as_the_raster(tmp_path):
    path = class_map(tmp_path, QUARTERS)  # 2 m, at 27.6 degrees
    side = 2 * WORLD / 512 / 2 ** open_map(path).place.zoom
    metres = side * math.cos(math.radians(27.6))
    assert 1 <= metres <= 2.1


@pytest.mark.parametrize(
    "crs", ["EPSG:4326", "from 0 to 360", "EPSG:3857", "EPSG:8857"]
)
def test_a_map_of_the_world(tmp_path, crs):
    if crs == "EPSG:8857":  # Equal Earth, whose corners are nowhere
        west, north, step = -17_243_959, 8_392_927, (344_879.2, 167_858.6)
    elif crs == "EPSG:3857":
        west, north, step = -WORLD, WORLD, (WORLD / 50, WORLD / 50)
    else:
        west, north, step = (0 if "0" == crs[5] else -180), 90, (3.6, 1.8)
    place = {"transform": Affine(step[0], 0, west, 0, -step[1], north)}
    ids = np.roll(QUARTERS, 50, 1) if crs == "from 0 to 360" else QUARTERS
    place["crs"] = "EPSG:4326" if crs == "from 0 to 360" else crs
    one = open_map(class_map(tmp_path, ids, **place))
    for value, x, y in ((1, -60, 30), (2, 60, 30), (3, -60, -30), (4, 60, -30)):
        for zoom in (0, 3):
            assert value_at(one.rasters, zoom, x, y) == value


def test_an_overview_is_read_across_the_antimeridian(tmp_path):
    ids = np.ones((2_048, 2_048), np.uint8)
    transform = Affine(10, 0, 819_000, 0, -10, 1_010_000)
    path = class_map(tmp_path, ids, crs="EPSG:32660", transform=transform)
    with rasterio.open(path) as file:
        assert file.overviews(1)
    one = open_map(path)
    assert value_at(one.rasters, one.place.zoom - 3, 179.99, 9.05) == 1


@pytest.mark.parametrize("kind", ["nothing", "control points", "a local system"])
def test_without_longitudes_pixels_are_drawn_one_by_one(tmp_path, kind):
    local = 'LOCAL_CS["site",UNIT["metre",1]]' if kind == "a local system" else None
    path = class_map(tmp_path, QUARTERS, crs=local, transform=None)
    if kind == "control points":
        with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
            file.gcps = ground_points(), rasterio.CRS.from_epsg(4326)
    one = open_map(path, left=200)
    assert not one.place.on_earth and one.place.zoom == PIXEL_ZOOM
    tile = read_tile(one.rasters, tile_box(PIXEL_ZOOM, 2**16, 2**16))
    values, valid = tile
    assert (values[0][:100, 200:300] == QUARTERS).all() and valid.sum() == 10_000


def test_beyond_web_mercator_is_one_line(tmp_path):
    transform = Affine(0.01, 0, 10, 0, -0.01, 89)
    path = raster(
        tmp_path / "pole.tif", QUARTERS[None], crs="EPSG:4326", transform=transform
    )
    with rasterio.open(path) as file, pytest.raises(ValueError, match=r"beyond 85°"):
        place_on_earth(file, path)


def test_tiles_that_boxes_touch():
    half = WORLD / 2
    assert tiles_over([(-WORLD, -WORLD, WORLD, WORLD)], 1) == {
        *((0, 0), (0, 1), (1, 0), (1, 1))
    }
    assert tiles_over([(0, 0, half, half)], 2) == {(2, 1)}
    across = [(WORLD - 1, 1, WORLD, 2), (-WORLD, 1, 1 - WORLD, 2)]
    assert tiles_over(across, 3) == {(7, 3), (0, 3)}


def test_maps_of_other_types_lie_in_one_layer(tmp_path):
    ones = np.full((1, 50, 50), 1, np.int8)
    small = raster(tmp_path / "a.tif", ones, nodata=-1)
    large = np.full((1, 50, 50), -1, np.int16)
    large[0, :, :25] = 200
    place = {"transform": Affine(2, 0, 335_100, 0, -2, 3_060_000), "nodata": -1}
    maps = [open_map(small), open_map(raster(tmp_path / "b.tif", large, **place))]
    rasters = [raster_ for one in maps for raster_ in one.rasters]
    for one, value in zip(maps, (1, 200), strict=True):
        west, south, east, north = bounds_of(one.place.box)
        x, y = west + (east - west) / 4, (south + north) / 2
        assert value_at(rasters, maps[0].place.zoom, x, y) == value


def test_later_rasters_lie_over_earlier_ones(tmp_path):
    low, high = np.full((50, 50), 1, np.uint8), np.full((50, 50), 2, np.uint8)
    high[:, :25] = 255
    paths = [class_map(tmp_path, ids, stem=s) for s, ids in (("a", low), ("b", high))]
    maps = [open_map(path) for path in paths]
    rasters = [Raster(m.path.name, m.place) for m in maps]
    zoom, box = maps[0].place.zoom, bounds_of(maps[0].place.box)
    west, east = box[0] + (box[2] - box[0]) / 4, box[2] - (box[2] - box[0]) / 4
    middle = (box[1] + box[3]) / 2
    assert value_at(rasters, zoom, west, middle) == 1
    assert value_at(rasters, zoom, east, middle) == 2
