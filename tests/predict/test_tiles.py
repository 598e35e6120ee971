"""A scene in parts is bitwise the scene in one piece."""

import numpy as np
import pytest
from rasters import predictor, squares, write

from crossearth_jax.predict import predict_file
from crossearth_jax.predict.outputs import Wanted, is_done
from crossearth_jax.predict.scene import Reading
from crossearth_jax.predict.tiles import Tile, cut, tiles_of
from crossearth_jax.scoring.windows import Windows

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")


def test_tiles_cover_a_scene_once():
    count = np.zeros((70, 95), int)
    for tile in tiles_of(70, 95, 30):
        rows = slice(tile.top, tile.top + tile.height)
        count[rows, tile.left : tile.left + tile.width] += 1
    assert (count == 1).all()


@pytest.mark.parametrize("blend", ["flat", "cosine"])
@pytest.mark.parametrize("side", [1000, 100, 37])
def test_weights_of_a_tile_are_those_of_the_whole(blend, side):
    windows = Windows(crop=64, stride=43, patch=32, batch=3)
    layout = windows.lay(211, 30, blend)
    for tile in tiles_of(211, 30, side):
        part = cut(tile, layout)
        assert set(np.add(part.layout.tops, part.top)) <= set(layout.tops)
        for axis, (first, size) in enumerate(
            ((tile.top, tile.height), (tile.left, tile.width))
        ):
            start = first - (part.top, part.left)[axis]
            got = part.layout.total[axis][start : start + size]
            whole = layout.total[axis][first : first + size]
            np.testing.assert_array_equal(got, whole)


@pytest.mark.parametrize(
    ("dtype", "gsd"),
    [(np.uint8, None), (np.uint16, None), (np.uint8, 1.3), (np.uint16, 4.7)],
)
def test_tiles_are_bitwise_the_map(tmp_path, dtype, gsd):
    values = squares(150, 201, dtype=dtype, top=250) + 1
    values[:, 40:110, 60:150] = 0  # windows without data are left out
    source = write(tmp_path / "a.tif", values.astype(dtype), nodata=0)
    options = {"probabilities": "float16", "confidence": True, "blend": "cosine"}
    options["reading"] = Reading(gsd=gsd)  # pixels have 2 m
    names = ("{}.tif", "{}_probabilities.tif", "{}_confidence.tif")
    predict_file(predictor(), source, tmp_path / "whole.tif", Wanted(**options))
    for tile in tiles_of(150, 201, 80):
        name = f"t{tile.top}_{tile.left}"
        wanted = Wanted(tile=tile, **options)
        done = predict_file(predictor(), source, tmp_path / f"{name}.tif", wanted)
        assert done.pixels == tile.height * tile.width
        assert is_done(predictor(), source, tmp_path / f"{name}.tif", wanted)
        for form in names:
            with (
                rasterio.open(tmp_path / form.format("whole")) as whole,
                rasterio.open(tmp_path / form.format(name)) as part,
            ):
                window = rasterio.windows.Window(
                    tile.left, tile.top, tile.width, tile.height
                )
                expected = whole.read(window=window)
                np.testing.assert_array_equal(part.read(), expected)
                assert part.transform == whole.window_transform(window)
    other = Wanted(tile=Tile(0, 0, 80, 81), **options)
    with pytest.raises(ValueError, match="--overwrite"):
        is_done(predictor(), source, tmp_path / "t0_0.tif", other)


def test_a_tile_has_no_polygons(tmp_path):
    source = write(tmp_path / "a.tif", squares(64, 64))
    wanted = Wanted(tile=Tile(0, 0, 32, 32), vector=tmp_path / "out.gpkg")
    with pytest.raises(ValueError, match=r"a\.tif: got a tile with polygons"):
        predict_file(predictor(), source, tmp_path / "out.tif", wanted)
