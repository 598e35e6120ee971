"""`predict --trust`: a raster, a column, tags and the summary."""

import dataclasses
import json

import numpy as np
import pytest
from rasters import write
from trust.painted import Painted, baseline, predictor

from crossearth_jax.commands.predict_summary import Row, write_summary
from crossearth_jax.predict.files import predict_file
from crossearth_jax.predict.outputs import Existing, Wanted, expected_of
from crossearth_jax.trust.judging import RunJudge

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
geopandas = pytest.importorskip("geopandas", reason="needs the extra geo")


@pytest.fixture(scope="module")
def judging(tmp_path_factory):
    place = tmp_path_factory.mktemp("trust") / "baseline.npz"
    place.write_bytes(b"one")
    return dataclasses.replace(predictor(), judge=RunJudge(baseline(), place))


def scene(folder, noise=False):
    rows = [Painted()[i].image for i in range(4)]
    image = np.concatenate([*rows, *rows])  # [512, 96, 3]
    image = np.concatenate([image, image], axis=1)
    if noise:
        half = image[:, 96:]
        half[:] = np.random.default_rng(0).normal(120, 25, half.shape).clip(1, 255)
    values = np.moveaxis(image, 2, 0).copy()
    values[:, :20] = 0
    return write(folder / "scene.tif", values, nodata=0)


def made(judging, folder, **wanted):
    target = folder / "maps" / "scene.tif"
    vector = target.with_suffix(".gpkg")
    options = Wanted(trust=True, vector=vector, **wanted)
    predict_file(judging, folder / "scene.tif", target, options)
    with rasterio.open(target.with_name("scene_trust.tif")) as file:
        return file.read(1), file.profile, geopandas.read_file(vector)


def test_chances_lie_on_the_scenes_grid_and_in_the_polygons(judging, tmp_path):
    path = scene(tmp_path)
    trust, profile, polygons = made(judging, tmp_path)
    with rasterio.open(path) as file:
        assert profile["transform"] == file.transform and profile["crs"] == file.crs
        assert trust.shape == file.shape
    assert profile["nodata"] == 255
    assert (trust[:20] == 255).all() and trust[20:].max() <= 250
    assert trust[20:].min() >= 125  # two classes: the chosen one has half or more
    with rasterio.open(tmp_path / "maps" / "scene.tif") as file:
        labels = file.read(1)
    assert polygons.trust.between(0.5, 1).all()
    area = polygons.area_m2
    for k in (0, 1):
        own = polygons.class_id == k
        mean = np.average(polygons.trust[own], weights=area[own])
        assert mean == pytest.approx(trust[labels == k].mean() / 250, abs=1e-3)
    expected = expected_of(tmp_path / "maps" / "scene.tif")
    assert 0 < expected["expected_low"] < expected["expected_accuracy"] < 1


def test_noise_is_trusted_less(judging, tmp_path):
    scene(tmp_path, noise=True)
    trust, _, _ = made(judging, tmp_path)
    assert trust[20:, :90].mean() > trust[20:, 100:].mean() + 5


def test_another_baseline_is_another_map(judging, tmp_path):
    scene(tmp_path)
    made(judging, tmp_path)
    place = tmp_path / "other.npz"
    place.write_bytes(b"two")
    other = dataclasses.replace(judging, judge=RunJudge(judging.judge.baseline, place))
    with pytest.raises(Existing, match="made with other weights or options"):
        made(other, tmp_path)


def test_the_summary_has_what_is_expected(tmp_path):
    found = {"expected_accuracy": 0.7, "expected_low": 0.6}
    rows = [Row("a", "a.tif", "made", expected=found), Row("b", "b.tif", "left out")]
    write_summary((tmp_path / "s.json", tmp_path / "s.csv"), rows)
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert lines[0].endswith("seconds,expected_accuracy,expected_low")
    assert lines[1].endswith("0.7,0.6") and lines[2].endswith(",,")
    content = json.loads((tmp_path / "s.json").read_text())
    assert content["scenes"][0]["expected"] == found
