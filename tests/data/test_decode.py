import numpy as np
import pytest
import tifffile
from PIL import Image

from crossearth_jax.data.decode import read_image


def image_of(tmp_path, write, name):
    write(tmp_path / name)
    return read_image(tmp_path / name)


RGB = np.random.default_rng(1).integers(0, 256, (6, 7, 3), np.uint8)
RGBA = np.dstack([RGB, np.arange(42, dtype=np.uint8).reshape(6, 7)])
GREY = np.repeat(RGB[:, :, :1], 3, axis=2)


def palette_png(path):
    image = Image.fromarray(RGB[:, :, 0] % 2)
    image.putpalette([9, 8, 7, 50, 60, 70])
    image.save(path)


@pytest.mark.parametrize(
    ("name", "write", "expected"),
    [
        ("a.png", Image.fromarray(RGB).save, RGB),
        ("a.png", Image.fromarray(RGBA).save, RGB),
        ("a.tif", Image.fromarray(RGBA).save, RGB),
        ("a.png", Image.fromarray(RGB[:, :, 0]).save, GREY),
        ("a.png", Image.fromarray(RGBA[:, :, ::3].copy(), "LA").save, GREY),
        (
            "a.png",
            palette_png,
            np.array([[9, 8, 7], [50, 60, 70]])[RGB[:, :, 0] % 2],
        ),
        (
            "a.tif",
            lambda path: tifffile.imwrite(
                path, RGB.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"
            ),
            RGB,
        ),
        (
            "a.tif",
            lambda path: tifffile.imwrite(
                path, RGBA, photometric="rgb", extrasamples=["unspecified"]
            ),
            RGB,
        ),
    ],
)
def test_image_modes(tmp_path, name, write, expected):
    image = image_of(tmp_path, write, name)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, expected)


def test_jpeg_named_tif(tmp_path):
    smooth = np.broadcast_to(np.arange(0, 70, 10)[None, :, None], (6, 7, 3))
    jpeg = Image.fromarray(smooth.astype(np.uint8))
    image = image_of(tmp_path, lambda p: jpeg.save(p, format="JPEG"), "a.tif")
    assert np.abs(image.astype(int) - smooth).max() < 12


DEEP = RGB.astype(np.uint16) * 257


def cog_like(path):
    """A page with an overview, which is no second page."""
    with tifffile.TiffWriter(path) as file:
        file.write(RGB, photometric="rgb", subfiletype=0)
        file.write(RGB[::2, ::2], photometric="rgb", subfiletype=1)


def deep_png(path):
    import cv2

    cv2.imwrite(str(path), DEEP)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.png", deep_png, "16 bits a channel.*scale"),
        ("a.tif", lambda p: tifffile.imwrite(p, DEEP), "16 bits a channel.*scale"),
        ("a.tif", lambda p: tifffile.imwrite(p, DEEP[:, :, 0]), "uint16.*scale"),
        (
            "a.tif",
            lambda p: tifffile.imwrite(p, RGB / np.float32(255), photometric="rgb"),
            "float32 pixels",
        ),
        (
            "a.tif",
            lambda p: tifffile.imwrite(
                p,
                np.dstack([RGBA, RGB]),
                photometric="minisblack",
                planarconfig="contig",
            ),
            "7 channels",
        ),
        (
            "a.tif",
            lambda p: tifffile.imwrite(
                p, np.stack([GREY[:, :, 0]] * 3), photometric="minisblack"
            ),
            "3 pages",
        ),
        ("a.jpg", lambda p: Image.new("CMYK", (7, 6)).save(p), "CMYK"),
        ("a.png", lambda p: p.touch(), r"empty file \(0 bytes\)"),
        ("a.png", lambda p: p.write_text("hello"), "cannot be decoded"),
        ("a.tif", lambda p: p.write_bytes(b"II*\0hello"), "cannot be decoded"),
    ],
)
def test_unusable_images_name_the_file(tmp_path, name, write, message):
    with pytest.raises(ValueError, match=message) as error:
        image_of(tmp_path, write, name)
    assert str(tmp_path / name) in str(error.value)


def test_overviews_are_no_pages(tmp_path):
    np.testing.assert_array_equal(image_of(tmp_path, cog_like, "a.tif"), RGB)
