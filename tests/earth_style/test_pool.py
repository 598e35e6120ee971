import numpy as np
import pytest
from PIL import Image

from crossearth_jax.data.decode import read_image
from crossearth_jax.earth_style.pool import image_files, load_pool, square


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


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("cmyk.jpg", Image.new("CMYK", (8, 8)), "got CMYK colours, expected RGB"),
        ("deep.tif", Image.new("I;16", (8, 8)), "expected 8 bits a channel"),
    ],
)
def test_the_pool_refuses_what_training_refuses(tmp_path, name, image, message):
    image.save(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        load_pool(tmp_path, 1, 8)
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / name)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match=r"text.png: cannot be decoded"):
        load_pool(tmp_path, 1, 8)


def test_folder_errors(tmp_path, colours):
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_pool(tmp_path / "nowhere", 1, 8)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no image in"):
        load_pool(tmp_path / "empty", 1, 8)
    with pytest.raises(ValueError, match="count 0"):
        load_pool(colours, 0, 8)
