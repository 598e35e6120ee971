"""Tiles as the page and other viewers read them."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

rasterio = pytest.importorskip("rasterio")
pytest.importorskip("rio_tiler", reason="the extra `view` is missing")

from drawn import CLASSES, blocks, class_map, raster, shares_of  # noqa: E402

from crossearth_jax.view.gather import gather  # noqa: E402
from crossearth_jax.view.layers import (  # noqa: E402
    colour_table,
    indexed_png,
    share_colours,
)
from crossearth_jax.view.scenes import Wanted  # noqa: E402


def decoded(data):
    return Image.open(io.BytesIO(data))


def finest(layer):
    """All pixels of the finest tiles, by place."""
    found = {xy: layer.tile(layer.zoom, *xy) for xy in layer.tiles(layer.zoom)}
    return {xy: decoded(data) for xy, data in found.items() if data}


def test_indices_are_what_any_viewer_colours(tmp_path):
    ids = np.array([[0, 1], [4, 255]], np.uint8)
    picture = decoded(indexed_png(ids, colour_table(CLASSES.palette)))
    assert picture.mode == "P" and (np.asarray(picture) == ids).all()
    colours = np.asarray(picture.convert("RGBA"))
    assert tuple(colours[0, 1]) == (*CLASSES.palette[1], 255)
    assert colours[1, 1, 3] == 0


def test_rows_have_no_filter_since_the_page_undoes_none():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (512, 512)).astype(np.uint8)
    for ids in (noise, np.sort(noise), np.zeros_like(noise)):
        data, packed, at = indexed_png(ids, colour_table(CLASSES.palette)), b"", 8
        while at < len(data):
            length = int.from_bytes(data[at : at + 4])
            if data[at + 4 : at + 8] == b"IHDR":
                assert data[at + 16] == 8 and data[at + 17] == 3
            if data[at + 4 : at + 8] == b"IDAT":
                packed += data[at + 8 : at + 8 + length]
            at += length + 12
        rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(512, 513)
        assert not rows[:, 0].any() and (rows[:, 1:] == ids).all()


def test_shares_grow_lighter():
    colours = np.array(share_colours())
    lightness = colours @ (0.299, 0.587, 0.114)
    assert len(colours) == 251 and (np.diff(lightness) > -0.5).all()


def test_a_map_without_longitudes_comes_back_pixel_by_pixel(tmp_path):
    ids = blocks(300, 400)
    path = class_map(tmp_path, ids, crs=None, transform=None, shares=shares_of(ids))
    view = gather([path])
    for kind, truth in (("classes", ids), *shares_of(ids).items()):
        (picture,) = finest(view.groups[0].layers[kind]).values()
        found = np.asarray(picture)
        assert (found[:300, :400] == truth).all() and (found[300:] == 255).all()


def test_a_scene_is_scaled_as_the_map_says(tmp_path):
    ids = blocks(64, 64)
    about = {"bands": (3, 2, 1), "scaling": ((0, 0, 0), (1000, 1000, 2000))}
    path = class_map(tmp_path, ids, crs=None, transform=None, about=about)
    values = np.stack([np.full((64, 64), v, np.uint16) for v in (1000, 500, 250, 9)])
    scene = raster(tmp_path / "raw.tif", values, crs=None, transform=None, nodata=None)

    def middle(wanted=None):
        (picture,) = finest(gather([path], [scene], wanted).scene).values()
        assert picture.format == "WEBP"
        return np.asarray(picture.convert("RGBA"))[32, 32].astype(int)

    assert np.abs(middle() - (64, 128, 128, 255)).max() <= 3
    asked = Wanted(bands=(2, 2, 2), scale=(0, 2000))
    assert np.abs(middle(asked) - (64, 64, 64, 255)).max() <= 3


def test_where_nothing_is_known_a_tile_is_clear_or_none(tmp_path):
    ids = np.full((64, 64), 255, np.uint8)
    path = class_map(tmp_path, ids, crs=None, transform=None)
    values = np.full((3, 64, 64), np.nan, np.float32)
    values[:, :32] = 1
    scene = raster(tmp_path / "raw.tif", values, crs=None, transform=None, nodata=None)
    view = gather([path], [scene])
    assert not finest(view.groups[0].layers["classes"])
    (picture,) = finest(view.scene).values()
    alpha = np.asarray(picture.convert("RGBA"))[..., 3]
    assert (alpha[:32, :64] == 255).all() and not alpha[32:].any()


def test_a_file_that_broke_since_is_named(tmp_path):
    path = class_map(tmp_path, blocks(700, 700), crs=None, transform=None)
    layer = gather([path]).groups[0].layers["classes"]
    size = path.stat().st_size
    with path.open("r+b") as file:  # a COG has its tables in front
        file.truncate(size - 200)
    with pytest.raises(OSError, match=r"scene\.tif: cannot be read"):
        finest(layer)
