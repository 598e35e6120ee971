"""Labels of tiles: pixel by pixel what the polygons and rasters say."""

import numpy as np
import pytest
from labelled import (
    GRID,
    LEFT,
    TOP,
    UTM,
    asked,
    geopandas,
    manifest,
    mosaic,
    polygons,
    rasterio,
    rect,
    scene,
    shapely,
)
from outside import REALDATA, needs_realdata
from PIL import Image
from rasters import write

from crossearth_jax.tiles.make import make_tiles


def made(tmp_path, labels, source=None, **settings):
    """The labels of all tiles laid together, and the lines printed."""
    source = source or scene(tmp_path / "a.tif")
    said = []
    files = labels if isinstance(labels, list) else [labels]
    out = tmp_path / "tiles"
    make_tiles([source], files, out, asked(**settings), workers=2, tell=said.append)
    return mosaic(out), said


def middles_in(left, top, right, bottom, side=256):
    """Which middles of pixels lie in a rectangle: the rule, without any library."""
    middle = np.arange(side) + 0.5
    rows = (middle > top) & (middle < bottom)
    columns = (middle > left) & (middle < right)
    return np.outer(rows, columns).astype(np.uint8)


# A tenth of a pixel before and behind middles of pixels: half a pixel would show.
OFF_GRID = (20.6, 41.4, 90.4, 130.6)


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:3857"])
def test_a_pixel_belongs_to_what_covers_its_middle(tmp_path, crs):
    labels = polygons(tmp_path / "l.gpkg", [rect(*OFF_GRID)], crs)
    found, said = made(tmp_path, labels)
    assert np.array_equal(found, middles_in(*OFF_GRID))
    line = next(line for line in said if line.startswith("a.tif"))
    shown = f"labels {crs} → {UTM}" if crs != UTM else f"labels {UTM}"
    assert line.endswith(shown)
    assert line.startswith("a.tif: 16 tiles, 9.5 % building")


def test_a_rotated_scene_has_its_labels_and_place(tmp_path):
    turned = rasterio.Affine(0.8, 0.6, LEFT, 0.6, -0.8, TOP)
    source = scene(tmp_path / "a.tif", transform=turned)
    turn = np.array([[0.8, 0.6], [0.6, -0.8]])
    shape = shapely.transform(
        shapely.box(*OFF_GRID), lambda points: points @ turn.T + (LEFT, TOP)
    )
    found, _ = made(tmp_path, polygons(tmp_path / "l.gpkg", [shape]), source)
    left, top, right, bottom = OFF_GRID
    assert np.array_equal(found, middles_in(left, top, right, bottom))
    with rasterio.open(tmp_path / "tiles/train/images/a_64_128_128_192.tif") as tile:
        corner = turn @ (64, 128) + (LEFT, TOP)
        wanted = (0.8, 0.6, corner[0], 0.6, -0.8, corner[1])
        assert tile.transform[:6] == pytest.approx(wanted)
        assert tile.crs == UTM


def test_shares_are_those_of_the_polygons(tmp_path):
    rng = np.random.default_rng(0)
    places = rng.uniform(30, 226, (60, 2))
    shapes = [
        shapely.affinity.rotate(rect(x - 9, y - 6, x + 9, y + 6), 7 * i)
        for i, (x, y) in enumerate(places)
    ]
    labels = polygons(tmp_path / "l.gpkg", shapes, "EPSG:4326")
    made(tmp_path, labels)
    pixels = manifest(tmp_path / "tiles")["pixels"]["train"]
    area = shapely.union_all(shapes).area
    assert pixels["building"] == pytest.approx(area, rel=0.01)
    assert pixels["background"] + pixels["building"] == 256**2


def test_order_and_features_without_a_class(tmp_path):
    shapes = [rect(0, 0, 64, 64), rect(32, 0, 96, 64), rect(130, 130, 180, 180)]
    kinds = ["roof", "road", None]
    labels = polygons(tmp_path / "l.gpkg", shapes, kind=kinds)
    found, said = made(tmp_path, labels, attribute="kind")
    assert manifest(tmp_path / "tiles")["classes"] == ["background", "road", "roof"]
    assert found[0, [10, 40, 80]].tolist() == [2, 1, 1]  # the later one covers
    assert found[150, 150] == 255 and found[100, 10] == 0
    assert "1 polygons without a class are ignored" in "".join(said)

    over = made(
        tmp_path / "o",
        labels,
        scene(tmp_path / "a.tif"),
        attribute="kind",
        order=("road", "roof"),
    )[0]
    assert over[0, [10, 40, 80]].tolist() == [2, 2, 1]


def test_numbers_are_classes_in_their_order(tmp_path):
    shapes = [rect(64 * i, 0, 64 * i + 64, 64) for i in range(4)]
    labels = polygons(tmp_path / "l.gpkg", shapes, code=[10, 9, None, 100])
    found, _ = made(tmp_path, labels, attribute="code", background=None)
    assert manifest(tmp_path / "tiles")["classes"] == ["9", "10", "100"]
    assert found[0, [10, 70, 140, 200]].tolist() == [1, 0, 99, 2]  # 99: no tile


def test_what_lies_outside_of_the_area_is_ignored(tmp_path):
    shapes = [rect(10, 10, 20, 20), rect(50, 10, 60, 20), rect(10, 50, 20, 60)]
    labels = polygons(tmp_path / "l.gpkg", shapes, "EPSG:4326")
    found, _ = made(tmp_path, labels, area="hull")
    assert found[15, [5, 15, 30, 55, 62]].tolist() == [255, 1, 0, 1, 255]
    assert (found[64:] == 99).all()  # nothing is labelled there, so there is no tile

    area = polygons(tmp_path / "area.geojson", [rect(0, 0, 128, 100)], "EPSG:4326")
    found, _ = made(tmp_path / "f", labels, scene(tmp_path / "a.tif"), area=str(area))
    assert (found[:100, :128] != 255).all() and (found[100:128, :128] == 255).all()
    assert (found[128:] == 99).all() and (found[:, 128:] == 99).all()


def test_no_data_is_ignored(tmp_path):
    values = np.full((3, 128, 128), 700, np.uint16)
    values[:, :, :40] = 0
    source = write(tmp_path / "a.tif", values, **GRID, nodata=0)
    labels = polygons(tmp_path / "l.gpkg", [rect(30, 0, 60, 60)])
    made(tmp_path, labels, source)
    found = mosaic(tmp_path / "tiles", 128, 128)
    assert (found[:, :40] == 255).all() and (found[:60, 40:60] == 1).all()
    image = mosaic(tmp_path / "tiles", 128, 128, "images")
    assert image[:, 0, 0].tolist() == [124, 116, 104]  # the network sees 0
    assert (image[:, :, 40:] == round(700 / 4000 * 255)).all()


def test_edges_are_ignored_across_tiles(tmp_path):
    labels = polygons(tmp_path / "l.gpkg", [rect(20, 20, 64, 40)])
    found, _ = made(tmp_path, labels, edge_ignore=2)
    assert found[30, 17:23].tolist() == [0, 255, 255, 255, 255, 1]
    assert found[30, 61:67].tolist() == [1, 255, 255, 255, 255, 0]  # in two tiles
    assert found[:, 0].max() == 0  # the scene's border is no edge


def test_lines_get_a_width_in_metres(tmp_path):
    line = shapely.LineString([(LEFT + 10, TOP - 100), (LEFT + 240, TOP - 100)])
    labels = polygons(tmp_path / "l.gpkg", [line], "EPSG:4326")
    found, _ = made(tmp_path, labels, buffer=4.0)
    assert found[90:110, 128].sum() == 8
    # The same ground in degrees, where a pixel is wider than it is high.
    degrees = rasterio.Affine(1e-5, 0, 85.0, 0, -1e-5, 60.0)
    source = scene(tmp_path / "d.tif", crs="EPSG:4326", transform=degrees)
    line = shapely.LineString([(85.0005, 59.998695), (85.002, 59.998695)])
    frame = geopandas.GeoDataFrame(geometry=[line], crs="EPSG:4326")
    frame.to_file(tmp_path / "d.gpkg")
    found, _ = made(tmp_path / "d", tmp_path / "d.gpkg", source, buffer=5.0)
    assert found[:, 128].sum() == pytest.approx(2 * 5 / 1.11, abs=1)


def test_invalid_geometries_are_repaired_or_refused(tmp_path):
    bow = shapely.Polygon([(10, 10), (50, 50), (50, 10), (10, 50)])
    moved = shapely.transform(bow, lambda p: p * (1, -1) + (LEFT, TOP))
    labels = polygons(tmp_path / "l.gpkg", [moved])
    found, said = made(tmp_path, labels)
    assert found[30, [15, 45]].tolist() == [1, 1] and found[12, 30] == 0
    assert "1 invalid geometries repaired" in "".join(said)
    with pytest.raises(ValueError, match=r"1 invalid geometries.*Self-intersection"):
        made(tmp_path / "s", labels, scene(tmp_path / "a.tif"), strict=True)


def test_polygons_of_many_points_are_the_same_when_they_are_clipped(tmp_path):
    circle = shapely.Point(LEFT + 128.3, TOP - 127.8).buffer(99.7, quad_segs=2000)
    found, _ = made(tmp_path, polygons(tmp_path / "l.gpkg", [circle]), all_touched=True)
    middle = np.arange(256) + 0.5
    far = np.hypot(middle[:, None] - 127.8, middle[None] - 128.3)
    assert (found[far < 99.7] == 1).all()
    assert (found[far > 99.7 + 0.71] == 0).all()


def test_geoparquet_is_read(tmp_path):
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    frame = geopandas.GeoDataFrame(
        {"kind": ["roof"]}, geometry=[rect(*OFF_GRID)], crs=UTM
    )
    frame.to_crs("EPSG:4326").to_parquet(tmp_path / "l.parquet")
    found, _ = made(tmp_path, tmp_path / "l.parquet", attribute="kind")
    assert np.array_equal(found, middles_in(*OFF_GRID))


def raster(path, values, step=1.0, shift=0.0, **profile):
    transform = rasterio.Affine(step, 0, LEFT + shift, 0, -step, TOP - shift)
    return write(path, values[None], **GRID | {"transform": transform} | profile)


def test_a_label_raster_on_another_grid(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.choice(np.array([0, 3, 7], np.uint8), (70, 70))
    labels = raster(tmp_path / "l.tif", values, step=3.0, shift=10.0)
    found, _ = made(tmp_path, labels, burn=None)
    assert manifest(tmp_path / "tiles")["classes"] == ["background", "3", "7"]
    middle = np.floor((np.arange(256) + 0.5 - 10) / 3).astype(int)
    inside = (middle >= 0) & (middle < 70)
    wanted = np.full((256, 256), 255)
    ids = np.searchsorted([0, 3, 7], values)
    wanted[np.ix_(inside, inside)] = ids[np.ix_(middle[inside], middle[inside])]
    assert np.array_equal(found, wanted)  # 255: not covered


def test_a_mask_of_0_and_255_and_no_data_of_a_raster(tmp_path):
    values = np.zeros((256, 256), np.uint8)
    values[50:90, 30:70] = 255
    mask = raster(tmp_path / "m.tif", values)
    found, _ = made(tmp_path, mask)
    assert np.array_equal(found, values // 255)
    with pytest.raises(ValueError, match="may be a mask"):
        made(tmp_path / "n", mask, scene(tmp_path / "a.tif"), burn=None)

    ids = np.ones((256, 256), np.float32)
    ids[:128] = 2
    ids[:, :64] = np.nan
    labels = raster(tmp_path / "f.tif", ids, nodata=float("nan"))
    found, _ = made(tmp_path / "f", labels, scene(tmp_path / "a.tif"), burn=None)
    assert (found[:128, 64:] == 1).all() and (found[128:, 64:] == 0).all()
    assert (found[:, :64] == 99).all()


@needs_realdata("geotiff")
def test_polygons_made_of_a_real_mask_give_that_mask_back(tmp_path):
    """The chip's own mask is empty, so outlines of another chip lie on it."""
    from rasterio import features

    chip = REALDATA / "geotiff" / "oam_kampala_chip.tif"
    masks = sorted((REALDATA / "building" / "kampala_ug" / "labels").iterdir())
    found = [np.asarray(Image.open(path)) for path in masks]
    mask = max(found, key=lambda m: (m.shape == (256, 256)) * ((m > 0) & (m < 2)).sum())
    with rasterio.open(chip) as file:
        transform, crs = file.transform, file.crs
    shapes = [
        shapely.geometry.shape(outline)
        for outline, value in features.shapes(mask, transform=transform)
        if value == 1
    ]
    frame = geopandas.GeoDataFrame(geometry=shapes, crs=crs)
    frame.to_crs("EPSG:32636").to_file(tmp_path / "l.gpkg")
    labels, _ = made(tmp_path, tmp_path / "l.gpkg", chip, bands=None, scale=None)
    assert mask.any() and np.array_equal(labels, mask == 1)
