"""What files say beside their values: orientation, alpha, nodata, bands, palettes."""

import numpy as np
import pytest
import tifffile
from absl import logging
from PIL import Image

from crossearth_jax.data.check_files import check_headers
from crossearth_jax.data.classes import ClassSet, LabelEncoding
from crossearth_jax.data.datasets import FolderSource
from crossearth_jax.data.decode import read_image, read_image_and_mask, read_label
from crossearth_jax.data.folders import Pair

NAMES = ("ground", "roof", "road")
CLASSES = ClassSet(NAMES, ((0, 0, 0), (200, 0, 0), (0, 0, 200)))
RGB = np.random.default_rng(0).integers(1, 256, (6, 8, 3), np.uint8)
IDS = np.zeros((6, 8), np.uint8)
IDS[2:4], IDS[4:] = 1, 2


@pytest.fixture
def pair(tmp_path):
    """A good pair; tests write over one of its files."""
    made = Pair(tmp_path / "a.tif", tmp_path / "a_label.tif", "a")
    tifffile.imwrite(made.image, RGB, photometric="rgb")
    tifffile.imwrite(made.label, IDS, photometric="minisblack")
    return made


def label(pair, encoding="ids", **settings):
    return FolderSource([pair], CLASSES, encoding, **settings)[0].label


# ---- orientation ---------------------------------------------------------------------


def turned(kind, path):
    image = Image.fromarray(RGB if kind == "image" else IDS)
    exif = Image.Exif()
    exif[274] = 6
    if path.suffix == ".tif":
        image.save(path, tiffinfo={274: 6})
    else:
        image.save(path, exif=exif)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("kind", ["image", "label"])
def test_a_turned_file_is_refused_at_the_start_and_when_read(tmp_path, suffix, kind):
    path = tmp_path / f"a{suffix}"
    turned(kind, path)
    read = read_image if kind == "image" else lambda p: read_label(p, indexed=True)
    with pytest.raises(ValueError, match=r"a\..*orientation tag .* 274\) 6.*auto-ori"):
        read(path)
    with pytest.raises(ValueError, match="orientation tag"):
        check_headers([Pair(path, path, "a")])


def test_an_upright_tag_changes_nothing(tmp_path):
    exif = Image.Exif()
    exif[274] = 1
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    assert (read_image(tmp_path / "a.png") == RGB).all()


# ---- bands ---------------------------------------------------------------------------


@pytest.mark.parametrize("bands", [2, 4])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_bands_without_a_meaning_are_asked_for(tmp_path, bands, planar):
    path = tmp_path / "a.tif"
    values = np.dstack([RGB, RGB[:, :, :1]])[:, :, :bands]
    stored = values if planar == "contig" else np.moveaxis(values, 2, 0)
    extra = ["unspecified"] * (bands - 1)
    settings = {"photometric": "minisblack", "planarconfig": planar}
    tifffile.imwrite(path, stored, extrasamples=extra, **settings)
    with pytest.raises(ValueError, match=f"got {bands} bands of which none is marked"):
        read_image(path)
    with pytest.raises(ValueError, match=f"got {bands} bands of which none is marked"):
        check_headers([Pair(path, path, "a")])


def test_a_band_behind_marked_colours_is_left_out(tmp_path):
    values = np.dstack([RGB, RGB[:, :, :1]])
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, photometric="rgb", extrasamples=["unspecified"])
    assert (read_image(path) == RGB).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_transparent_pixels_of_an_image_are_ignored(pair, tmp_path, suffix):
    alpha = np.full(RGB.shape[:2], 255, np.uint8)
    alpha[0], alpha[1] = 0, 7  # half transparent is still an image
    path = tmp_path / f"collar{suffix}"
    Image.fromarray(np.dstack([RGB, alpha])).save(path)
    seen = label(Pair(path, pair.label, "a"))
    assert (seen[0] == 255).all()
    assert (seen[1:] == IDS[1:]).all()


# ---- a label's own mark of no data ---------------------------------------------------


def tagged(path, values, nodata):
    tag = (42113, "s", 0, nodata, True)
    tifffile.imwrite(path, values, photometric="minisblack", extratags=[tag])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
def test_nodata_that_is_a_class_is_asked_for(pair, dtype):
    tagged(pair.label, IDS.astype(dtype), "0")
    with pytest.raises(ValueError, match=r"16 pixels .* value 0 of class 'ground'"):
        label(pair)
    assert (label(pair, label_nodata="class") == IDS).all()
    ignored = label(pair, label_nodata="ignore")
    assert (ignored[:2] == 255).all() and (ignored[2:] == IDS[2:]).all()
    with pytest.raises(ValueError, match=r'data\.label_nodata="no", expected ask or'):
        label(pair, label_nodata="no")


@pytest.mark.parametrize(("value", "text"), [(77, "77"), (255, "255"), (77, "77.0")])
def test_nodata_without_a_class_is_ignored(pair, value, text):
    values = IDS.copy()
    values[0] = value
    tagged(pair.label, values, text)
    seen = label(pair)
    assert (seen[0] == 255).all() and (seen[1:] == IDS[1:]).all()


def test_nan_that_is_nodata_is_ignored_and_otherwise_refused(pair):
    values = IDS.astype(np.float32)
    values[0] = np.nan
    tagged(pair.label, values, "nan")
    assert (label(pair)[0] == 255).all()
    tifffile.imwrite(pair.label, values)
    with pytest.raises(ValueError, match="float32 label values"):
        label(pair)


def test_a_transparent_part_of_a_colour_label_is_asked_for(pair, tmp_path):
    colours = np.array(CLASSES.palette, np.uint8)[IDS]
    alpha = np.full(IDS.shape, 255, np.uint8)
    alpha[:, 0] = 0
    path = tmp_path / "label.png"
    Image.fromarray(np.dstack([colours, alpha])).save(path)
    other = Pair(pair.image, path, "a")
    with pytest.raises(ValueError, match=r"6 pixels .* \[0, 0, 0\] of class 'ground'"):
        label(other, "colours")
    assert (label(other, "colours", label_nodata="class") == IDS).all()
    assert (label(other, "colours", label_nodata="ignore")[:, 0] == 255).all()


# ---- pixel types ---------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "dtype", [np.int64, np.int32, np.uint16, np.float16, np.float32, float]
)
def test_whole_numbers_of_any_type_are_labels(pair, dtype):
    tifffile.imwrite(pair.label, IDS.astype(dtype))
    assert (label(pair) == IDS).all()


def test_parts_of_numbers_are_not(pair):
    tifffile.imwrite(pair.label, IDS + np.float32(0.5))
    with pytest.raises(ValueError, match="float32 label values, expected integers"):
        label(pair)


def test_lerc_is_read_by_gdal(pair):
    rasterio = pytest.importorskip("rasterio")
    size = {"width": 8, "height": 6, "count": 1, "dtype": "uint8"}
    with rasterio.open(
        pair.label, "w", driver="GTiff", compress="LERC", **size
    ) as file:
        file.write(IDS, 1)
    assert (label(pair) == IDS).all()


def test_numbers_with_a_list_of_names_are_as_before(pair):
    encoding = LabelEncoding("ids", ignore=2, ids=((0, 0), (1, 1)))
    assert (label(pair, encoding)[4:] == 255).all()


def test_a_colour_that_is_marked_as_alpha_is_reported(tmp_path, caplog, monkeypatch):
    """GDAL's default for four bands; what only cuts out is not."""
    monkeypatch.setattr(logging, "_log_counter_per_token", {})  # once a process
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 40, 4), np.uint8)
    for name, alpha, warned in (("cut", 255 * (image[..., 3] > 99), 0), ("nir", 0, 1)):
        image[..., 3] = alpha if name == "cut" else rng.integers(0, 256, (40, 40))
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, image, photometric="rgb", extrasamples=["unassalpha"])
        caplog.clear()
        _, hidden = read_image_and_mask(path)
        assert hidden is not None and hidden.any()
        assert caplog.text.count("band 4 is marked as alpha") == warned
