"""A run's bands, scale and distance hold for scenes unless somebody says otherwise."""

import argparse
from dataclasses import replace

import numpy as np
import pytest
from absl import logging
from rasters import predictor, squares, write

from crossearth_jax.commands import predict
from crossearth_jax.commands.predict_as_trained import as_trained
from crossearth_jax.data.raw_images import RawImages
from crossearth_jax.predict import as_trained as module
from crossearth_jax.predict.scene import Reading, open_scene

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
RAW = RawImages((3, 2, 1), ((0, 4000),), 2.0)
DEEP = squares(40, 50, bands=4, dtype=np.uint16, top=4000)


@pytest.fixture
def said(monkeypatch):
    """Warnings, which are given once for a text."""
    lines = []
    monkeypatch.setattr(logging, "warning", lambda text, *a: lines.append(text % a))
    module._warn.cache_clear()
    return lines


def read(path, reading):
    with open_scene(path, reading) as scene:
        return scene.read_rows(0, scene.grid.height)[0], scene


def test_what_the_user_leaves_open_is_as_in_training(tmp_path, said):
    path = write(tmp_path / "a.tif", DEEP, photometric="minisblack")
    pixels, scene = read(path, Reading(trained=RAW))
    assert scene.bands == (3, 2, 1)
    np.testing.assert_array_equal(scene.scaling, [[0] * 3, [4000] * 3])
    stated = Reading(bands=(3, 2, 1), scale=(0.0, 4000.0))
    np.testing.assert_array_equal(pixels, read(path, stated)[0])
    _, scene = read(path, Reading(bands=(4, 2, 1), trained=RAW))
    assert scene.bands == (4, 2, 1) and scene.scaling[1] == (4000,) * 3
    _, scene = read(path, Reading(scale=(0.0, 9.0), trained=RAW))
    assert scene.bands == (3, 2, 1) and scene.scaling[1] == (9,) * 3
    each = replace(RAW, scale=((0, 1), (0, 2), (0, 3)))
    assert read(path, Reading(trained=each))[1].scaling[1] == (1, 2, 3)
    assert not said


def test_a_grey_band_is_one(tmp_path):
    path = write(tmp_path / "a.tif", DEEP[:1])
    _, scene = read(path, Reading(trained=RawImages((1,), ((0, 4000),))))
    assert scene.bands == (1, 1, 1) and scene.scaling[1] == (4000,) * 3


def test_eight_bits_are_not_what_a_scale_of_more_is_for(tmp_path, said):
    values = squares(40, 50)
    path = write(tmp_path / "a.tif", values)
    for _ in range(2):
        pixels, scene = read(path, Reading(trained=RAW))
    np.testing.assert_array_equal(pixels, np.moveaxis(values, 0, 2))
    assert scene.bands == (1, 2, 3)
    (line,) = said
    assert "a.tif: got 8 bits a channel, so not read with bands 3,2,1, scaled" in line
    small = RawImages((3, 2, 1), ((20, 180),))
    assert read(path, Reading(trained=small))[1].scaling[1] == (180,) * 3


def test_bands_that_are_not_there_are_asked_for(tmp_path):
    path = write(tmp_path / "a.tif", DEEP[:2], photometric="minisblack")
    message = r"a\.tif: got 2 band\(s\), expected bands 3,2,1 as in training: .*--bands"
    with pytest.raises(ValueError, match=message):
        read(path, Reading(trained=RAW))
    assert read(path, Reading(bands=(1, 2, 2), trained=RAW))[1].bands == (1, 2, 2)


@pytest.mark.parametrize(
    ("trained", "reading", "rows"),
    [
        (2.1, {}, 40),  # as good as the same
        (4.0, {}, 20),
        (4.0, {"gsd": 2.0}, 40),
        (4.0, {"gsd": 1.0}, 80),
        (None, {}, 40),
    ],
)
def test_scenes_of_other_pixels_are_resampled(tmp_path, said, trained, reading, rows):
    path = write(tmp_path / "a.tif", DEEP, photometric="minisblack")  # 2 m
    raw = replace(RAW, gsd=trained)
    pixels, scene = read(path, Reading(trained=raw, **reading))
    assert scene.grid.height == rows and pixels.dtype == np.uint8
    warned = [line for line in said if "resampled to the 4 m of training" in line]
    assert len(said) == len(warned) == (rows == 20)


def test_a_scene_without_a_place_keeps_its_pixels(tmp_path):
    path = write(tmp_path / "a.tif", DEEP, crs=None, photometric="minisblack")
    assert read(path, Reading(trained=replace(RAW, gsd=0.1)))[1].grid.height == 40


@pytest.mark.parametrize(
    ("reading", "percentiles", "printed", "warned"),
    [
        ({}, None, "bands 3,2,1, scaled 0-4000 as in training", None),
        ({"bands": (3, 2, 1)}, None, "scaled 0-4000 as in training", None),
        (
            {"bands": (1, 2, 3)},
            None,
            "scaled 0-4000 as in training",
            "got --bands 1,2,3 for a run that was trained on bands 3,2,1",
        ),
        (
            {"scale": (0.0, 3000.0)},
            None,
            "bands 3,2,1 as in training",
            "got --scale 0,3000 for a run that was trained on images scaled 0-4000",
        ),
        (
            {},
            (1.0, 99.0),
            "bands 3,2,1 as in training",
            "got --percentiles 1,99 for a run that was trained on images scaled 0-4000",
        ),
        (
            {"gsd": 0.5},
            None,
            "bands 3,2,1, scaled 0-4000 as in training",
            "got --gsd 0.5 for a run that was trained at 2 m",
        ),
        ({"bands": (3, 2, 1), "scale": (0.0, 4000.0)}, None, None, None),
    ],
)
def test_the_command_says_what_it_takes_and_warns_of_what_differs(
    said, capsys, reading, percentiles, printed, warned
):
    options = argparse.Namespace(percentiles=percentiles)
    found = as_trained(Reading(**reading), RAW, options)
    out = capsys.readouterr().out.replace("\N{EN DASH}", "-")
    assert out == (f"{printed}\n" if printed else "")
    assert [x.replace("\N{EN DASH}", "-") for x in said] == ([warned] if warned else [])
    assert found.trained.scale == (() if percentiles else RAW.scale)


def test_ordinary_runs_say_nothing(capsys):
    reading = Reading(scale=(0.0, 9.0))
    assert as_trained(reading, None, argparse.Namespace(percentiles=None)) is reading
    assert capsys.readouterr().out == ""


def test_the_run_reaches_the_map(tmp_path, monkeypatch, capsys):
    trained = replace(predictor(), reading=Reading(trained=RAW))
    monkeypatch.setattr(predict, "load", lambda *_, **__: trained)
    path = write(tmp_path / "a.tif", DEEP, photometric="minisblack")
    stated = ("--bands", "3,2,1", "--scale", "0,4000")
    maps = []
    for name, options in (("as_trained", ()), ("stated", stated)):
        out = str(tmp_path / f"{name}.tif")
        assert predict.main(["run", str(path), "--out", out, *options]) == 0
        with rasterio.open(out) as made:
            maps.append(made.read(1))
    np.testing.assert_array_equal(*maps)
    assert capsys.readouterr().out.count("as in training") == 1
