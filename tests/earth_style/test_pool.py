import numpy as np
import pytest
import tifffile
from PIL import Image

from crossearth_jax.earth_style.pool import (
    image_files,
    load_pool,
    read_rgb,
    square,
)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def colours(tmp_path):
    """Six one-colour images of two sizes in subfolders; the colour is the index."""
    for i in range(6):
        array = np.full((20 + i, 30, 3), i, np.uint8)
        save(tmp_path / f"place{i % 2}" / f"{i}.png", array)
    return tmp_path


def test_files_are_sorted_and_found_below(colours):
    (colours / "place0" / "note.txt").write_text("no image")
    names = [p.name for p in image_files(colours)]
    assert names == ["0.png", "2.png", "4.png", "1.png", "3.png", "5.png"]


def test_pool_is_spread_over_the_folder(colours):
    pool = load_pool(colours, 3, 16)
    assert pool.shape == (3, 16, 16, 3) and pool.dtype == np.uint8
    np.testing.assert_array_equal(pool[:, 0, 0, 0], [0, 4, 3])
    assert len(load_pool(colours, 100, 8)) == 6


def test_square_keeps_the_aspect_and_the_centre():
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 20:60] = 200  # the central square
    np.testing.assert_array_equal(square(image, 40), 200)


def test_kinds_of_files(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8)
    alpha = np.full((9, 7, 1), 17, np.uint8)
    save(tmp_path / "rgba.png", np.concatenate([rgb, alpha], -1))
    np.testing.assert_array_equal(read_rgb(tmp_path / "rgba.png"), rgb)
    save(tmp_path / "grey.png", rgb[..., 0])
    np.testing.assert_array_equal(
        read_rgb(tmp_path / "grey.png"), np.repeat(rgb[..., :1], 3, -1)
    )
    five_bands = np.concatenate([rgb, alpha, alpha], -1)
    tifffile.imwrite(tmp_path / "five.tif", five_bands, planarconfig="contig")
    np.testing.assert_array_equal(read_rgb(tmp_path / "five.tif"), rgb)
    Image.fromarray(rgb).save(tmp_path / "jpeg.tif", format="JPEG")
    assert read_rgb(tmp_path / "jpeg.tif").shape == rgb.shape


def test_unreadable_files(tmp_path):
    deep = tmp_path / "deep.tif"
    tifffile.imwrite(deep, np.zeros((8, 8), np.uint16))
    with pytest.raises(ValueError, match="8 bits"):
        read_rgb(deep)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match="not an image"):
        read_rgb(tmp_path / "text.png")
    save(
        tmp_path / "cut.png",
        np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8),
    )
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:2000])
    with pytest.raises(ValueError, match="unreadable"):
        read_rgb(tmp_path / "cut.png")


def test_folder_errors(tmp_path, colours):
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_pool(tmp_path / "nowhere", 1, 8)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no image in"):
        load_pool(tmp_path / "empty", 1, 8)
    with pytest.raises(ValueError, match="count 0"):
        load_pool(colours, 0, 8)
