"""Images beyond data.max_pixels are refused by their header, in every reader."""

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from crossearth_jax.config import default
from crossearth_jax.data.check_files import check_headers
from crossearth_jax.data.decode import read_image, read_label
from crossearth_jax.data.folders import Pair
from crossearth_jax.data.infer import infer_classes
from crossearth_jax.data.pixel_limit import MAX_PIXELS
from crossearth_jax.data.prepare import raw
from crossearth_jax.earth_style.pool import load_pool

READERS = {
    "image": lambda path: read_image(path, max_pixels=99),
    "label": lambda path: read_label(path, indexed=True, max_pixels=99),
    "header": lambda path: check_headers([Pair(path, path, "a")], max_pixels=99),
    "infer": lambda path: infer_classes([path], max_pixels=99),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "float.tif"])
def test_ten_by_ten_is_too_large_for_99(tmp_path, reader, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "float.tif":
        tifffile.imwrite(path, np.zeros((10, 10, 5), np.float32), photometric="rgb")
    else:
        Image.fromarray(np.zeros((10, 10), np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"a\..*10 x 10 pixels.*data.max_pixels"):
        READERS[reader](path)


def test_the_key_has_the_limit_of_the_readers():
    assert default().data.max_pixels == MAX_PIXELS


def test_a_bomb_of_a_few_kilobytes(tmp_path):
    path = tmp_path / "a.png"
    Image.new("1", (20_000, 20_000)).save(path)
    assert path.stat().st_size < 100_000
    for read in (read_image, lambda path: load_pool(path.parent, 1, 64)):
        with pytest.raises(ValueError, match="20000 x 20000 pixels"):
            read(path)


def test_a_tiff_of_many_pages_is_not_walked_through(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for _ in range(200):
            file.write(np.zeros((1, 1), np.uint8))
    with pytest.raises(ValueError, match="64 pages, expected one"):
        read_label(path, indexed=True)


def test_a_tiff_without_a_height(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(np.zeros((24, 24), np.uint8)).save(path)
    data, entry = path.read_bytes(), struct.pack("<HH", 257, 4)
    path.write_bytes(data.replace(entry, struct.pack("<HH", 257, 132)))
    assert entry in data
    for read in (read_image, READERS["infer"]):
        with pytest.raises(ValueError, match=r"a\.tif: "):
            read(path)


def test_a_member_without_a_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "Train.zip", "w") as archive:
        archive.writestr("b.png", b"x")
        archive.writestr("a.png", b"x")
    data = (tmp_path / "Train.zip").read_bytes().replace(b"b.png", b"/////")
    (tmp_path / "Train.zip").write_bytes(data)
    assert [m.inside for m in raw.RawFiles(tmp_path).members] == ["a.png"]


def test_a_member_of_an_archive_is_not_unpacked(tmp_path):
    member = raw.Member(Path("Train.zip"), "Train/a.png", "a.png", raw.MAX_MEMBER + 1)
    with pytest.raises(ValueError, match=r"Train.zip \[a.png\]: got 160,000,001 bytes"):
        member.read()
