"""Areas in the legend: true to the ground, from tags where they tell all."""

import math

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio")
pytest.importorskip("rio_tiler", reason="the extra `view` is missing")

from drawn import CLASSES, blocks, class_map, raster  # noqa: E402

from crossearth_jax.view import areas  # noqa: E402
from crossearth_jax.view.areas import AreaCount, stated_areas  # noqa: E402
from crossearth_jax.view.maps import open_map  # noqa: E402

IDS = blocks(192, 256)
COUNTS = np.bincount(IDS.ravel(), minlength=256)
WORLD = 40_075_016.685578488


def counted(path):
    count = AreaCount([open_map(path)])
    count.count()
    assert count.share == 1.0
    return count.found[0]


def test_tags_are_taken_where_pixels_are_alike(tmp_path):
    path = class_map(tmp_path, IDS)
    found = stated_areas(open_map(path))
    assert found == {k: 4.0 * COUNTS[k] for k in range(5)}
    again = class_map(tmp_path, IDS, stem="b", counted=False)
    assert stated_areas(open_map(again)) is None
    assert counted(again) == found


@pytest.mark.parametrize("piece", [4_000_000, 5_000])
def test_degrees_and_web_mercator_are_measured_on_the_ellipsoid(
    tmp_path, monkeypatch, piece
):
    pyproj = pytest.importorskip("pyproj")
    monkeypatch.setattr(areas, "PIECE", piece)
    west, north, step = 20.0, 61.0, 0.001
    transform = rasterio.Affine(step, 0, west, 0, -step, north)
    path = class_map(tmp_path, IDS, crs="EPSG:4326", transform=transform)
    assert stated_areas(open_map(path)) is None  # rows are of different areas
    east, south = west + 256 * step, north - 192 * step
    geod = pyproj.Geod(ellps="WGS84")
    edge = np.linspace(west, east, 2_000)
    ring = (
        np.r_[edge, edge[::-1]],
        np.r_[np.full(2_000, south), np.full(2_000, north)],
    )
    hole = np.linspace(west, west + 64 * step, 500)
    cut = (
        np.r_[hole, hole[::-1]],
        np.r_[np.full(500, north - 64 * step), np.full(500, north)],
    )
    truth = abs(geod.polygon_area_perimeter(*ring)[0])
    truth -= abs(geod.polygon_area_perimeter(*cut)[0])
    assert math.isclose(sum(counted(path).values()), truth, rel_tol=1e-5)

    mercator = rasterio.Affine(10, 0, 2_000_000, 0, -10, 8_500_000)
    path = class_map(tmp_path, IDS, stem="m", crs="EPSG:3857", transform=mercator)
    latitude = math.atan(math.sinh(8_499_040 / (WORLD / 2 / math.pi)))
    expected = 100 * math.cos(latitude) ** 2 * (COUNTS[:5].sum())
    assert math.isclose(sum(counted(path).values()), expected, rel_tol=0.01)


def test_without_longitudes_pixels_are_counted(tmp_path):
    path = class_map(tmp_path, IDS, crs=None, transform=None, counted=False)
    assert counted(path) == {k: COUNTS[k] for k in range(5)}


def test_a_mosaic_counts_each_place_once(tmp_path):
    from crossearth_jax.predict.mosaic import common_grid, write_mosaic

    step = rasterio.Affine(2, 0, 335_256, 0, -2, 3_060_000)  # half over the first
    parts = [
        class_map(tmp_path, IDS),
        class_map(tmp_path, IDS, stem="b", transform=step),
    ]
    opened = [rasterio.open(path) for path in parts]
    grid, tiles = common_grid(opened)
    for file in opened:
        file.close()
    mosaic = tmp_path / "mosaic.vrt"
    placed = list(zip(parts, tiles, strict=True))
    write_mosaic(mosaic, mosaic, placed, grid=grid, classes=CLASSES, mark="x")
    with rasterio.open(mosaic) as file:
        truth = np.bincount(file.read(1).ravel(), minlength=256)
    assert counted(mosaic) == {k: 4.0 * truth[k] for k in range(5)}
    assert 4 * truth[:5].sum() < 2 * 4 * COUNTS[:5].sum()


def test_ids_that_a_small_view_missed_are_counted_too(tmp_path):
    ids = np.zeros((4_000, 4_000), np.uint8)
    ids[7, 7] = 9
    path = raster(tmp_path / "a.tif", ids[None])
    assert counted(path) == {0: 4.0 * (ids.size - 1), 9: 4.0}


def test_a_damaged_map_is_told_and_ends_the_count(tmp_path):
    path = class_map(tmp_path, blocks(1_200, 1_200), counted=False)
    count = AreaCount([open_map(path)])
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 300)
    with pytest.raises(OSError, match=r"scene\.tif: cannot be read"):
        count.count()
    count.start()
    for thread in areas.threading.enumerate():
        if thread.name == "areas":
            thread.join(20)
    assert "scene.tif" in count.problem and count.found == [None]
