"""`--block`: parts of a scene by several workers, joined by the last."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rasters import ground_points, polynomials, predictor, squares, write

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


def test_blocks_are_resampled_as_the_map_is(run):
    options = "a.tif", "--gsd", "3", "--confidence"
    assert run("whole", *options) == 0
    assert run("out", *options, "--block", "80") == 0
    for name in ("a", "a_confidence"):
        with (
            rasterio.open(f"whole/{name}.tif") as whole,
            rasterio.open(f"out/{name}.vrt") as joined,
        ):
            np.testing.assert_array_equal(joined.read(), whole.read())
            assert joined.transform == whole.transform


@pytest.mark.parametrize("with_rpcs", [False, True])
def test_blocks_carry_points_and_polynomials_of_the_scene(run, with_rpcs):
    points, rpcs = ground_points(), polynomials() if with_rpcs else None
    write("b.tif", squares(100, 150), crs=None, transform=rasterio.Affine.identity())
    with rasterio.open("b.tif", "r+") as file:
        if with_rpcs:
            file.rpcs = rpcs
        else:
            file.gcps = points, "EPSG:4326"
    assert run("whole", "b.tif") == 0
    assert run("out", "b.tif", "--block", "80") == 0
    files = "whole/b.tif", "out/b.vrt", "out/b_blocks/b_80_80.tif"
    with (
        rasterio.open(files[0]) as whole,
        rasterio.open(files[1]) as joined,
        rasterio.open(files[2]) as block,
    ):
        np.testing.assert_array_equal(joined.read(), whole.read())
        assert joined.transform.is_identity and block.transform.is_identity
        if with_rpcs:
            assert joined.rpcs == whole.rpcs
            assert block.rpcs.line_off == whole.rpcs.line_off - 80
            return
        for found, shift in ((joined, 0), (block, 80)):
            places = [(p.row + shift, p.col + shift, p.x, p.y) for p in found.gcps[0]]
            assert places == [(p.row, p.col, p.x, p.y) for p in points]
            assert found.gcps[1].to_epsg() == 4326


ROOT = Path(__file__).parents[2]
CHILD = """
import sys
import numpy as np
from benchmarks.worker import forget_peak, peak_of_process
from rasters import CLASSES, squares, write
from crossearth_jax.commands import predict
from crossearth_jax.predict.predictor import Predictor
from crossearth_jax.scoring.windows import Windows

def scores(windows):  # a window's do not depend on its batch
    roof = windows.mean(-1, keepdims=True).clip(-1, 1) / 2 + 0.5
    return np.concatenate([1 - roof, roof] * 4, -1)

classes = type(CLASSES)(tuple("abcdefgh"), ((1, 2, 3),) * 8)
predict.load = lambda *_, **__: Predictor(scores, classes, Windows(256, 208, 32, 3))
if sys.argv[2] == "whole":
    write("warm.tif", squares(300, 300))
warm = ["run", "warm.tif", "--block", "256", "--out", "warm-" + sys.argv[2]]
assert predict.main(warm) == 0
forget_peak()
before = peak_of_process()
assert predict.main(["run", "scene.tif", *sys.argv[1:]]) == 0
print((peak_of_process() - before) / 1e6)
"""


@pytest.mark.slow
def test_blocks_of_a_huge_scene_are_its_map_in_the_memory_of_a_block(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    values = np.tile(squares(600, 600), (1, 10, 10))
    write("scene.tif", values, tiled=True, compress="lzw")
    places = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    megabytes = []
    for options in (("--out", "whole"), ("--out", "parts", "--block", "1024")):
        child = subprocess.run(
            [sys.executable, "-c", CHILD, *options],
            env=os.environ | {"PYTHONPATH": places},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert child.returncode == 0, child.stderr
        megabytes.append(float(child.stdout.splitlines()[-1]))
    with (
        rasterio.open("whole/scene.tif") as whole,
        rasterio.open("parts/scene.vrt") as joined,
    ):
        np.testing.assert_array_equal(joined.read(1), whole.read(1))
    # Scores of a strip: 256 rows of 6,000 pixels and 8 classes, or of 1,500 at most.
    assert megabytes[1] < 0.7 * megabytes[0], megabytes
