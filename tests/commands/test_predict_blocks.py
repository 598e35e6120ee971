"""`--block`: parts of a scene by several workers, joined by the last."""

import json
from pathlib import Path

import numpy as np
import pytest
from rasters import predictor, squares, write

from crossearth_jax.commands import predict

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
geopandas = pytest.importorskip("geopandas", reason="needs the extra geo")
EVERYTHING = ("--confidence", "--probabilities", "--quicklook", "--vector", "gpkg")


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setattr(predict, "load", lambda *_, **__: predictor(weights="1"))
    monkeypatch.chdir(tmp_path)
    write("a.tif", squares(150, 201))
    return lambda out, *arguments: predict.main(["run", *arguments, "--out", out])


def test_blocks_of_two_workers_are_the_map(run, capsys):
    Path("in").mkdir()
    Path("a.tif").rename("in/a.tif")
    write("in/small.tif", squares(64, 64))
    Path("in/bad.tif").write_text("no raster")
    assert run("whole", "in/a.tif", *EVERYTHING) == 0
    blocks = ("in", "--block", "80", *EVERYTHING)
    run("out", *blocks, "--part", "1/2")
    assert not Path("out/a.vrt").exists()
    assert "the last worker joins them" in capsys.readouterr().out
    run("out", *blocks, "--part", "2/2")
    assert Path("out/small.tif").exists() and not Path("out/bad.tif").exists()
    for name in ("a", "a_confidence", "a_probabilities"):
        with (
            rasterio.open(f"whole/{name}.tif") as whole,
            rasterio.open(f"out/{name}.vrt") as joined,
        ):
            np.testing.assert_array_equal(joined.read(), whole.read())
            for fact in ("crs", "transform", "nodata", "descriptions", "scales"):
                assert getattr(joined, fact) == getattr(whole, fact)
    with rasterio.open("whole/a.tif") as whole, rasterio.open("out/a.vrt") as joined:
        assert joined.colormap(1) == whole.colormap(1)
        own, all_in_one = joined.tags(), whole.tags()
        for key in ("CROSSEARTH_FINGERPRINT", "CROSSEARTH_CLASSES"):
            assert own[key] == all_in_one[key]
        key = "CROSSEARTH_PIXELS"
        assert json.loads(own[key]) == json.loads(all_in_one[key])
    frames = [geopandas.read_file(f"{out}/a.gpkg") for out in ("whole", "out")]
    assert len(frames[0]) == len(frames[1])  # none is cut at a block's edge
    assert sorted(frames[0].area_m2) == sorted(frames[1].area_m2)
    assert Path("out/a_quicklook.png").exists()


def test_blocks_are_made_once_and_follow_the_overwrite_rule(run, capsys):
    assert run("out", "a.tif", "--block", "100") == 0
    before = {p: p.stat().st_mtime_ns for p in Path("out").rglob("*.[tv]*")}
    assert {p.name for p in before} >= {"a.vrt", "a_0_0.tif", "a_100_200.tif"}
    assert run("out", "a.tif", "--block", "100") == 0
    assert all(p.stat().st_mtime_ns == time for p, time in before.items())
    assert run("out", "a.tif", "--block", "100", "--blend", "cosine") == 1
    Path("other").mkdir()
    Path("other/a.vrt").write_text("mine")
    assert run("other", "a.tif", "--block", "100") == 1
    assert "a.vrt" in capsys.readouterr().err
    assert [p.name for p in Path("other").iterdir()] == ["a.vrt"]  # before any work
    assert Path("other/a.vrt").read_text() == "mine"
    assert run("other", "a.tif", "--block", "100", "--overwrite") == 0


def test_blocks_are_not_resampled(run, capsys):
    assert run("out", "a.tif", "--block", "100", "--gsd", "3") == 1
    assert "got --block 100 with --gsd 3" in capsys.readouterr().err
