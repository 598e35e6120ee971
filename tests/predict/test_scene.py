import math
import warnings

import numpy as np
import pytest
from rasters import predictor, squares, write

from crossearth_jax.predict.scene import Reading, open_scene, pixel_metres

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
shutil = pytest.importorskip("rasterio.shutil", reason="needs the extra geo")


def read(path, **reading):
    """Pixels on the 0-255 scale, the mask, and the scene's attributes."""
    with open_scene(path, Reading(**reading)) as scene:
        pixels, valid = scene.read_rows(0, scene.grid.height)
        return pixels, valid, scene


def test_eight_bits_stay_as_they_are(tmp_path):
    values = squares(40, 50)
    pixels, valid, scene = read(write(tmp_path / "a.tif", values))
    np.testing.assert_array_equal(pixels, np.moveaxis(values, 0, 2))
    assert pixels.dtype == np.uint8
    assert valid.all() and scene.bands == (1, 2, 3) and scene.scaling is None


def test_rows_are_those_of_the_whole(tmp_path):
    path = write(tmp_path / "a.tif", squares(40, 50, dtype=np.uint16, top=4000))
    with open_scene(path, Reading()) as scene:
        whole, _ = scene.read_rows(0, 40)
        parts = [scene.read_rows(a, b)[0] for a, b in ((0, 1), (1, 33), (33, 40))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_bands_are_chosen(tmp_path):
    values = squares(20, 20, bands=4)
    values[:] += np.arange(4, dtype=np.uint8)[:, None, None]
    path = write(tmp_path / "a.tif", values, photometric="minisblack")
    pixels, _, scene = read(path, bands=(4, 3, 2))
    assert scene.bands == (4, 3, 2)
    np.testing.assert_allclose(pixels, np.moveaxis(values[[3, 2, 1]], 0, 2), atol=1e-4)
    with pytest.raises(ValueError, match=r"got 4 bands.*--bands 3,2,1"):
        read(path)
    with pytest.raises(ValueError, match=r"three of 1 to 4"):
        read(path, bands=(5, 3, 2))


def test_one_band_is_repeated_and_alpha_is_the_mask(tmp_path):
    grey = squares(20, 30, bands=1)
    pixels, _, scene = read(write(tmp_path / "grey.tif", grey))
    assert scene.bands == (1, 1, 1)
    np.testing.assert_allclose(pixels, np.repeat(grey[0][..., None], 3, 2), atol=1e-4)

    colours = squares(20, 30, bands=4)
    colours[3] = np.where(np.arange(30) < 11, 0, 255)
    path = write(tmp_path / "rgba.tif", colours, photometric="rgb", alpha="yes")
    _, valid, scene = read(path)
    assert scene.bands == (1, 2, 3)
    np.testing.assert_array_equal(valid, colours[3] > 0)


def test_nodata_is_where_no_band_has_data(tmp_path):
    values = squares(20, 30) + 1
    values[:, :5] = 0
    values[0, 10] = 0  # one dark channel is data
    path = write(tmp_path / "a.tif", values, nodata=0)
    _, valid, _ = read(path)
    assert not valid[:5].any() and valid[5:].all()

    values = squares(20, 30, dtype=np.float32, top=1)
    values[:, :, 7] = np.nan
    values[:, 3] = -1
    _, valid, _ = read(write(tmp_path / "b.tif", values), nodata=-1.0)
    assert not valid[:, 7].any() and not valid[3].any() and valid.sum() == 19 * 29


def test_sixteen_bits_are_scaled_once_for_the_scene(tmp_path):
    values = squares(90, 80, dtype=np.uint16, top=9000)
    values[1] //= 3
    values[:, :30] = 0
    path = write(tmp_path / "a.tif", values, nodata=0)
    pixels, valid, scene = read(path)
    low, high = np.percentile(values[:, 30:].reshape(3, -1), (2, 98), axis=1)
    np.testing.assert_allclose(scene.scaling, (low, high))
    scaled = (values - low[:, None, None]) / (high - low)[:, None, None] * 255
    expected = np.rint(np.moveaxis(scaled.clip(0, 255), 0, 2))
    np.testing.assert_array_equal(pixels[valid], expected[valid])

    pixels, valid, scene = read(path, scale=(0.0, 5000.0))
    expected = np.rint(np.moveaxis((values / 5000 * 255).clip(0, 255), 0, 2))
    np.testing.assert_array_equal(pixels[valid], expected[valid])


def test_scaling_of_large_scenes_comes_from_a_sample_or_an_overview(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(3000, 500, (1, 1500, 1300)).astype(np.uint16)
    path = write(tmp_path / "a.tif", values)
    exact = np.percentile(values, (2, 98))
    for _ in range(2):
        _, _, scene = read(path)
        np.testing.assert_allclose([s[0] for s in scene.scaling], exact, rtol=0.02)
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2], rasterio.enums.Resampling.nearest)


def test_a_thumbnail_is_the_middle_of_each_part(tmp_path):
    values = squares(300, 200) + 1
    values[:, 150:] = 0
    path = write(tmp_path / "a.tif", values, nodata=0, compress="deflate")
    with open_scene(path, Reading()) as scene:
        image, valid = scene.thumbnail(60, 40)
    np.testing.assert_array_equal(image, np.moveaxis(values, 0, 2)[2::5, 2::5])
    assert valid[:30].all() and not valid[30:].any()
    with rasterio.open(path, "r+") as file:
        file.build_overviews([5], rasterio.enums.Resampling.nearest)
    with open_scene(path, Reading()) as scene:
        small, _ = scene.thumbnail(60, 40)
    assert small.shape == image.shape
    assert (small == image).mean() > 0.5


def test_a_constant_scene_is_no_division_by_zero(tmp_path):
    pixels, _, _ = read(write(tmp_path / "a.tif", np.full((3, 9, 9), 7, np.float32)))
    assert np.isfinite(pixels).all()


def test_palettes_are_colours(tmp_path):
    path = tmp_path / "a.tif"
    values = np.random.default_rng(0).integers(0, 3, (1, 9, 9)).astype(np.uint8)
    write(path, values)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (9, 8, 7), 1: (100, 0, 50), 2: (255, 255, 255)})
    pixels, _, _ = read(path)
    table = np.array([(9, 8, 7), (100, 0, 50), (255, 255, 255)])
    np.testing.assert_allclose(pixels, table[values[0]], atol=1e-4)


def test_gsd_keeps_the_extent(tmp_path):
    path = write(tmp_path / "a.tif", squares(40, 60))
    with open_scene(path, Reading(gsd=4.0)) as scene:
        assert (scene.grid.height, scene.grid.width) == (20, 30)
        ends = [x.transform * (x.width, x.height) for x in (scene.grid, scene.source)]
        np.testing.assert_allclose(*ends)
        pixels, valid = scene.read_rows(0, 20)
    assert valid.all() and np.isfinite(pixels).all()
    with pytest.raises(ValueError, match="without coordinate system"):
        read(write(tmp_path / "b.tif", squares(9, 9), crs=None), gsd=1.0)


def test_pixels_in_degrees_and_feet_have_metres(tmp_path):
    degrees = rasterio.Affine(1e-5, 0, 30, 0, -1e-5, 60)
    path = write(tmp_path / "a.tif", squares(9, 9), crs="EPSG:4326", transform=degrees)
    with rasterio.open(path) as file:
        across, down = pixel_metres(file)
    assert math.isclose(down, 1.112, rel_tol=1e-3)
    assert math.isclose(across, down / 2, rel_tol=1e-3)
    new_york = rasterio.Affine(2, 0, 1e6, 0, -2, 2e5)  # US feet
    path = write(tmp_path / "b.tif", squares(9, 9), crs="EPSG:2263", transform=new_york)
    with rasterio.open(path) as file:
        np.testing.assert_allclose(pixel_metres(file), 2 * 0.3048006)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "VRT"])
def test_other_formats(tmp_path, kind):
    source = write(tmp_path / "a.tif", squares(30, 40))
    path = tmp_path / f"b.{kind.lower()}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shutil.copy(source, path, driver=kind)
    pixels, valid, _ = read(path)
    assert pixels.shape == (30, 40, 3) and valid.all()


def test_a_stream_over_an_open_dataset(tmp_path):
    values = squares(100, 70)
    p = predictor()
    with rasterio.open(write(tmp_path / "a.tif", values)) as dataset:
        blocks = list(p.stream(dataset, blend="cosine"))
    assert [b.top for b in blocks] == sorted(b.top for b in blocks)
    labels = np.concatenate([b.labels() for b in blocks])
    np.testing.assert_array_equal(labels, p(np.moveaxis(values, 0, 2), "cosine"))


@pytest.mark.parametrize(
    "bad", [{"scale": (3.0, 3.0)}, {"percentiles": (98.0, 2.0)}, {"gsd": 0.0}]
)
def test_bad_options_are_refused(bad):
    with pytest.raises(ValueError, match="expected"):
        Reading(**bad)
