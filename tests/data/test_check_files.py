import os
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from crossearth_jax.data import check_files
from crossearth_jax.data.check_files import check_headers
from crossearth_jax.data.folders import Pair
from crossearth_jax.data.raw_images import RawImages
from crossearth_jax.data.tags import Tags


@pytest.fixture
def pairs(tmp_path):
    """Six good pairs of three formats."""
    suffixes = [".png", ".jpg", ".tif"] * 2
    made = [
        Pair(tmp_path / f"{i}{suffix}", tmp_path / f"{i}_label.png", str(i))
        for i, suffix in enumerate(suffixes)
    ]
    for i, pair in enumerate(made):
        Image.new("RGB", (20 + i, 10)).save(pair.image)
        Image.new("L", (20 + i, 10)).save(pair.label)
    return made


def refused(pairs):
    with pytest.raises(ValueError) as error:
        check_headers(pairs)
    return str(error.value)


def test_good_files_pass_and_no_pixel_is_decoded(pairs, monkeypatch):
    opened, decoded = [], []
    opening = Image.open

    def note(path, **options):
        opened.append(path)
        return opening(path, **options)

    monkeypatch.setattr(Image, "open", note)
    monkeypatch.setattr(Image.Image, "load", lambda *_: decoded.append("Pillow"))
    monkeypatch.setattr(tifffile.TiffPage, "asarray", lambda *_: decoded.append("TIFF"))
    check_headers(pairs)
    assert sorted(opened) == sorted(path for p in pairs for path in (p.image, p.label))
    assert not decoded


def test_every_bad_file_is_named(pairs):
    pairs[0].image.write_bytes(b"")
    pairs[1].label.write_bytes(b"<html>not found</html>")
    pairs[2].image.write_bytes(pairs[2].image.read_bytes()[:6])
    Image.new("L", (10, 23)).save(pairs[3].label)
    pairs[4].label.unlink()
    message = refused(pairs)
    assert message.startswith("got 5 unusable files of 6 pairs")
    lines = message.splitlines()[1:]
    bad = pairs[0].image, pairs[1].label, pairs[2].image, pairs[3].label, pairs[4].label
    for line, path in zip(lines, bad, strict=True):
        assert line.startswith(f"  {path}: ")
    assert "it is empty, 0 bytes" in lines[0]
    assert "a label of 10 x 23 pixels for an image of 23 x 10" in lines[3]
    assert "No such file" in lines[4]


def test_one_bad_file_is_the_message(pairs):
    pairs[1].image.write_bytes(b"GIF89a")
    message = refused(pairs)
    assert message.startswith(f"{pairs[1].image}: cannot be opened (")
    assert message.endswith('or set data.on_corrupt="skip"')


def test_a_pipe_is_no_image_and_never_waited_for(pairs):
    pairs[5].image.unlink()
    os.mkfifo(pairs[5].image)
    begin = time.monotonic()
    assert "it is not a regular file" in refused(pairs)
    assert time.monotonic() - begin < 5


def test_tiffs_that_pillow_does_not_know(pairs):
    path = pairs[2].image
    grey = {"photometric": "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(path, np.zeros((10, 22, 3), np.float64), **grey)
    assert "got float64 values in 3 band(s), expected 8 bits" in refused(pairs)
    pairs = [replace(pair, raw=RawImages(scale=((0.0, 1.0),))) for pair in pairs]
    check_headers(pairs)
    tifffile.imwrite(path, np.zeros((10, 21, 3), np.float64), **grey)
    assert "an image of 21 x 10" in refused(pairs)


def test_a_long_list_is_cut(pairs):
    pairs[0].image.write_bytes(b"")
    message = refused([pairs[0]] * 14 + pairs[1:])
    assert message.startswith("got 14 unusable files of 19 pairs")
    assert len(message.splitlines()) == 12 and message.endswith("\n  and 4 more")


def test_skip_warns_and_goes_on(pairs, monkeypatch):
    said = []
    monkeypatch.setattr(
        check_files.logging, "warning", lambda text, *a: said.append(text % a)
    )
    check_headers(pairs, on_corrupt="skip")
    assert not said
    pairs[0].image.write_bytes(b"")
    check_headers(pairs, on_corrupt="skip")
    assert len(said) == 1 and str(pairs[0].image) in said[0]


def test_a_disk_that_hangs_is_named(pairs, monkeypatch):
    end = threading.Event()

    def hang(path, *_):
        if path == pairs[1].image:
            end.wait()
        return (20, 10), Tags()

    monkeypatch.setattr(check_files, "read_header", hang)
    with pytest.raises(ValueError, match=r"1.jpg and .*: got nothing within 0.3 s"):
        check_headers(pairs, timeout_s=0.3)
    end.set()
