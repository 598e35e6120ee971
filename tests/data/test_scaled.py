"""Images of any bits and bands, read as the run states them and as `predict` does."""

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from crossearth_jax.data.check_files import check_headers
from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.datasets import FolderSource
from crossearth_jax.data.folders import Pair
from crossearth_jax.data.raw_images import ORDINARY, RawImages, raw_images
from crossearth_jax.data.scaled import read_scaled
from crossearth_jax.pixels.imagenet import IMAGENET_GREY
from crossearth_jax.pixels.scaling import scaled_bands

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 5000, (40, 50, 4)).astype(np.uint16)
RAW = RawImages((3, 2, 1), ((0, 4000),))
CHOSEN = scaled_bands(DEEP[..., 2::-1], [(0, 4000)] * 3)
TWO = ClassSet(("ground", "roof"), ((0, 0, 0), (255, 0, 0)))


def tiff(path, values, **options):
    grey = {"photometric": "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(path, values, **(grey | options))
    return path


@pytest.mark.parametrize("kind", ["<u2", ">u2", "<i2", "<i4", "<f4", "<f8"])
def test_numbers_of_any_type(tmp_path, kind):
    order = kind[0]
    path = tiff(tmp_path / "a.tif", DEEP.astype(kind), byteorder=order)
    image, hidden = read_scaled(path, RAW)
    np.testing.assert_array_equal(image, CHOSEN)
    assert hidden is None


def test_bands_in_planes_and_many_of_them(tmp_path):
    planes = np.moveaxis(np.concatenate([DEEP] * 3, 2), 2, 0)
    path = tiff(tmp_path / "a.tif", planes, planarconfig="separate")
    image, _ = read_scaled(path, RawImages((11, 10, 9), ((0, 4000),)))
    np.testing.assert_array_equal(image, CHOSEN)


def test_sixteen_bits_of_a_png_keep_their_low_byte(tmp_path):
    colours = DEEP[..., :3]
    assert cv2.imwrite(str(tmp_path / "a.png"), colours[..., ::-1])
    image, _ = read_scaled(tmp_path / "a.png", RawImages(scale=((0, 4000),)))
    np.testing.assert_array_equal(image, CHOSEN[..., ::-1])
    with_alpha = DEEP.copy()
    with_alpha[..., 3] = np.where(np.arange(50) < 9, 0, 65535)
    assert cv2.imwrite(str(tmp_path / "b.png"), with_alpha[..., [2, 1, 0, 3]])
    image, hidden = read_scaled(tmp_path / "b.png", RAW)
    np.testing.assert_array_equal(image[:, 9:], CHOSEN[:, 9:])
    np.testing.assert_array_equal(hidden, with_alpha[..., 3] == 0)
    assert (image[hidden] == IMAGENET_GREY).all()


def test_a_grey_band_comes_three_times(tmp_path):
    Image.fromarray(DEEP[..., 1]).save(tmp_path / "a.png")
    for raw in (RawImages(scale=((0, 4000),)), RawImages((1,), ((0, 4000),))):
        image, _ = read_scaled(tmp_path / "a.png", raw)
        np.testing.assert_array_equal(image, CHOSEN[..., [1, 1, 1]])


def test_a_pair_for_each_band(tmp_path):
    raw = RawImages((4, 2, 1), ((0, 4000), (100, 3000), (0, 2000)))
    image, _ = read_scaled(tiff(tmp_path / "a.tif", DEEP), raw)
    np.testing.assert_array_equal(image, scaled_bands(DEEP[..., [3, 1, 0]], raw.scale))


def test_where_there_is_no_data_the_colour_is_grey_and_the_label_ignored(tmp_path):
    values = DEEP.astype(np.float32)
    values[:3] = -9999
    values[5, 5, 0] = np.nan
    values[7, 7, 0] = -9999  # one band alone is data
    nodata = [(42113, "s", 6, "-9999", True)]
    path = tiff(tmp_path / "a.tif", values, extratags=nodata)
    Image.new("L", (50, 40), 1).save(tmp_path / "a_label.png")
    pair = Pair(path, tmp_path / "a_label.png", "a", RAW)
    record = FolderSource([pair], TWO, "ids")[0]
    hidden = np.zeros((40, 50), bool)
    hidden[:3], hidden[5, 5] = True, True
    np.testing.assert_array_equal(record.label == 255, hidden)
    assert (record.image[hidden] == IMAGENET_GREY).all()
    np.testing.assert_array_equal(record.image[8:], CHOSEN[8:])


def test_eight_bits_are_scaled_only_where_the_scale_is_for_them(tmp_path):
    colours = DEEP[..., :3].astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    image, _ = read_scaled(tmp_path / "a.png", RawImages((3, 2, 1), ((20, 180),)))
    expected = scaled_bands(colours[..., ::-1], [(20, 180)] * 3)
    np.testing.assert_array_equal(image, expected)
    # Beside 16-bit images, an 8-bit one was made ready: neither scaled nor turned.
    np.testing.assert_array_equal(read_scaled(tmp_path / "a.png", RAW)[0], colours)
    four = tiff(tmp_path / "b.tif", DEEP.astype(np.uint8))
    with pytest.raises(ValueError, match=r"4 bands of which none.*gdal_translate"):
        read_scaled(four, RAW)
    image, _ = read_scaled(four, RawImages((4, 2, 1)))
    np.testing.assert_array_equal(image, DEEP.astype(np.uint8)[..., [3, 1, 0]])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (ORDINARY, r"got uint16 values in 4 band\(s\), .*=0,4000; .*bands=3,2,1$"),
        (RawImages((3, 2, 1)), r"expected 8 bits, or data.scale: say which .*=0,4000$"),
        (RawImages(scale=((0, 9),)), r"got 4 bands of which none.*data.bands=3,2,1$"),
        (RawImages((5, 2, 1), ((0, 9),)), r"data.bands=5,2,1 for a file of 4 band"),
    ],
)
def test_what_is_not_stated_is_asked_for_once_before_the_first_step(
    tmp_path, raw, message
):
    pairs = []
    for i in range(3):
        path = tiff(tmp_path / f"{i}.tif", DEEP)
        Image.new("L", (50, 40)).save(tmp_path / f"{i}_label.png")
        pairs.append(Pair(path, tmp_path / f"{i}_label.png", str(i), raw))
    with pytest.raises(ValueError, match=message.rstrip("$")) as error:
        check_headers(pairs)
    assert str(error.value).endswith("(and so are 2 more)")
    assert "0.tif: " in str(error.value) and "\n" not in str(error.value)
    if raw.stated:
        with pytest.raises(ValueError, match=message):
            read_scaled(pairs[0].image, raw)


def test_files_that_cannot_be_read_are_named(tmp_path):
    path = tiff(tmp_path / "a.tif", DEEP)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(ValueError, match=r"a\.tif: cannot be decoded"):
        read_scaled(path, RAW)
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"b\.png: cannot be decoded"):
        read_scaled(tmp_path / "b.png", RAW)
    (tmp_path / "c.tif").write_bytes(b"")
    with pytest.raises(ValueError, match=r"c\.tif: got an empty file"):
        read_scaled(tmp_path / "c.tif", RAW)
    path = tiff(tmp_path / "d.tif", DEEP.astype(np.complex64))
    with pytest.raises(ValueError, match=r"d\.tif: got complex64 values, expected"):
        read_scaled(path, RAW)
    with tifffile.TiffWriter(tmp_path / "e.tif") as file:
        for band in np.moveaxis(DEEP, 2, 0):
            file.write(band.astype(np.float32), contiguous=False)
    with pytest.raises(ValueError, match=r"e\.tif: got a TIFF with 4 pages"):
        read_scaled(tmp_path / "e.tif", RawImages(scale=RAW.scale))
    with pytest.raises(ValueError, match=r"a\.tif: .*40 pixels.*data\.max_pixels"):
        read_scaled(tiff(tmp_path / "a.tif", DEEP), RAW, max_pixels=1999)


@pytest.mark.parametrize("compress", ["deflate", "lzw", "zstd", "none"])
@pytest.mark.parametrize("interleave", ["band", "pixel"])
def test_training_sees_the_pixels_that_predict_sees(tmp_path, compress, interleave):
    """Bitwise, with an alpha band and a value for no data."""
    pytest.importorskip("rasterio", reason="needs the extra geo")
    from rasters import write

    from crossearth_jax.predict.scene import Reading, open_scene

    values = np.moveaxis(DEEP, 2, 0).copy()
    values[3] = np.where(np.arange(50) < 9, 0, 65535)
    values[:3, :5] = 4321
    options = {"photometric": "minisblack", "alpha": "yes", "nodata": 4321}
    options |= {"interleave": interleave, "compress": compress, "predictor": 2}
    if compress == "none":
        del options["predictor"]
    path = write(tmp_path / "a.tif", values, **options)
    raw = RawImages((3, 1, 2), ((0, 4000), (10, 3000), (0, 2500)))
    image, hidden = read_scaled(path, raw)
    with open_scene(path, Reading(trained=raw)) as scene:
        pixels, valid = scene.read_rows(0, 40)
    np.testing.assert_array_equal(~hidden, valid)
    np.testing.assert_array_equal(image[valid], pixels[valid])
    assert pixels.dtype == np.uint8 and 0 < valid.mean() < 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (((1, 2), ()), r"got data.bands=\(1, 2\), expected the numbers of three"),
        (((0, 1, 2), ()), r"counted from 1"),
        (((1, 2, True), ()), r"counted from 1"),
        (((3, 2, 1), (5, 5)), r"got data.scale=.*LOW < HIGH"),
        (((3, 2, 1), (0, float("nan"))), r"got data.scale"),
        (((3, 2, 1), ((0, 1), (0, 2))), r"of 2 pairs for data.bands=\(3, 2, 1\)"),
        (((3, 2, 1), (0, 10**400)), r"got data.scale"),
        (((3, 2, 1), (0, 1, 2)), r"got data.scale=\(0, 1, 2\), expected LOW,HIGH"),
        (((3, 2, 1), "0,1"), r"expected several numbers"),
        (((3, 2, 1), (0, 1), 0), r"got data.gsd=0, expected metres above 0"),
        (((3, 2, 1), (0, 1), True), r"got data.gsd=True"),
    ],
)
def test_statements_that_mean_nothing(values, message):
    with pytest.raises(ValueError, match=message):
        raw_images(*values)


def test_statements_in_words():
    assert RAW.words() == "bands 3,2,1, scaled 0\N{EN DASH}4000"
    assert ORDINARY.words() == "" and not ORDINARY.stated
    assert raw_images([3, 2, 1], [[0, 4000]] * 3) == RAW
    each = raw_images((1,), None)
    assert each.words() == "band 1"
    words = raw_images((), ((0, 1), (0, 2.5), (0, 3))).words()
    assert words.replace("\N{EN DASH}", "-") == "scaled 0-1, 0-2.5, 0-3"
