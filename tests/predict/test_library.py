"""What callers of the library hand in: arrays of any kind, and paths as text."""

import numpy as np
import pytest
from rasters import predictor, squares, write

import crossearth_jax.predict as predict
from crossearth_jax.pixels.colour_vision import accessible
from crossearth_jax.predict.outputs import made_of

IMAGE = np.moveaxis(squares(70, 90), 0, 2)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (IMAGE / 255, r"from 0.* to 0.*multiply it by 255"),
        (IMAGE.astype(np.uint16) * 200, r"uint16 values from .*stretch it first"),
        (IMAGE.astype(np.int16) - 300, "int16 values from -.*stretch it"),
        (np.where(IMAGE > 100, np.nan, IMAGE), "not finite.*predict_file"),
        (np.where(IMAGE > 100, np.inf, IMAGE), "not finite"),
        (IMAGE > 100, "type bool.*convert it to uint8"),
        (IMAGE.astype(complex), "type complex128"),
        (np.moveaxis(IMAGE, 2, 0), r"\(3, 70, 90\).*np.moveaxis\(image, 0, -1\)"),
        (IMAGE[..., 0], r"\(70, 90\).*np.stack"),
        (IMAGE[..., :1], r"\(70, 90, 1\).*np.repeat"),
        (IMAGE[..., [0, 1, 2, 0]], r"\(70, 90, 4\).*leave out alpha"),
        (np.zeros((70, 90, 7)), "pick red, green and blue"),
        (IMAGE[None], r"\(1, 70, 90, 3\).*one by one"),
        (IMAGE[:0], "a picture with pixels"),
        ("a.tif", "pass one picture"),
    ],
)
def test_what_is_no_picture_is_one_line_with_the_fix(image, message):
    for call in (predictor(), predictor().scores, predictor().probabilities):
        with pytest.raises(ValueError, match=f"got .*{message}") as caught:
            call(image)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float16, np.uint16])
def test_any_type_on_the_right_scale_is_a_picture(dtype):
    np.testing.assert_array_equal(predictor()(IMAGE.astype(dtype)), predictor()(IMAGE))


def test_dark_pictures_and_lists_are_pictures():
    assert predictor()(np.zeros((70, 90, 3), np.float32)).shape == (70, 90)
    assert predictor()(IMAGE.tolist()).shape == (70, 90)


def test_paths_may_be_text(tmp_path, monkeypatch):
    """As docs/predict.md has it."""
    rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
    pytest.importorskip("geopandas", reason="needs the extra geo")
    monkeypatch.chdir(tmp_path)
    write("a.tif", squares(70, 90))
    wanted = predict.Wanted(vector="maps/a.gpkg")
    done = predict.predict_file(predictor(), "a.tif", "maps/a.tif", wanted)
    assert [str(path) for path in done.files] == [
        *("maps/a.tif", "maps/a.gpkg", "maps/a.qml", "maps/a.tif.aux.xml")
    ]
    with rasterio.open("maps/a.tif") as made:
        np.testing.assert_array_equal(made.read(1), predictor()(IMAGE))
    with pytest.raises(ValueError, match=r"maps/a\.png, expected a \.tif"):
        predict.predict_file(predictor(), "a.tif", "maps/a.png")


def test_other_colours_are_other_maps():
    own = predictor(weights="1")
    other = own.recoloured("accessible")
    assert other.classes.palette == accessible(own.classes.palette)
    assert other.classes.names == own.classes.names
    assert made_of(other) != made_of(own) == made_of(own.recoloured("run"))
    with pytest.raises(ValueError, match="expected one of run, accessible"):
        own.recoloured("pastel")
