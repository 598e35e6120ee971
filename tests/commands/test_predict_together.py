"""`--mosaic` and `--zones`: what is made of all maps of a command."""

import csv
from pathlib import Path

import numpy as np
import pytest
from rasters import UTM, predictor, squares, write

from crossearth_jax.commands import predict

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
geopandas = pytest.importorskip("geopandas", reason="needs the extra geo")
shapely = pytest.importorskip("shapely", reason="needs the extra geo")


def at(x, y, size=2.0):
    return rasterio.Affine(size, 0, x, 0, -size, y)


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setattr(predict, "load", lambda *_, **__: predictor(weights="1"))
    monkeypatch.chdir(tmp_path)
    write("a.tif", squares(64, 80), transform=at(500_000, 4_000_000))
    values = squares(90, 70, seed=1) + 1
    values[:, :40] = 0
    place = at(500_100, 4_000_040)  # 50 pixels right, 20 up
    write("b.tif", values, transform=place, nodata=0)
    return lambda *arguments: predict.main(["run", *arguments, "--out", "out"])


def test_a_mosaic_lies_over_all_maps_and_nodata_covers_nothing(run):
    options = "a.tif", "b.tif", "--mosaic", "vrt", "--confidence"
    assert run(*options) == 0
    for ending in ("", "_confidence"):
        expected = np.full((90, 120), 255, np.uint8)
        for name, top, left in (("a", 20, 0), ("b", 0, 50)):
            with rasterio.open(f"out/{name}{ending}.tif") as file:
                values = file.read(1)
            part = expected[top : top + len(values), left : left + values.shape[1]]
            part[values != 255] = values[values != 255]
        with rasterio.open(f"out/mosaic{ending}.vrt") as mosaic:
            np.testing.assert_array_equal(mosaic.read(1), expected)
            assert mosaic.transform == at(500_000, 4_000_040)
            assert mosaic.crs == UTM and mosaic.nodata == 255
    assert Path("out/mosaic.qml").read_text() != Path("out/a.qml").read_text()
    whole = expected, Path("out/mosaic.vrt").read_bytes()
    assert run(*options, "--block", "50", "--overwrite") == 0
    with rasterio.open("out/mosaic_confidence.vrt") as mosaic:
        np.testing.assert_array_equal(mosaic.read(1), whole[0])  # over blocks' mosaics
    write("b.tif", squares(90, 70, seed=2), transform=at(500_100, 4_000_040))
    assert run(*options, "--overwrite") == 0
    assert Path("out/mosaic.vrt").read_bytes() != whole[1]  # follows its maps


def test_shares_wait_for_the_last_map(run, capsys):
    options = "a.tif", "b.tif", "--mosaic", "vrt"
    assert run(*options, "--part", "1/2") == 0
    assert "1 of 2 maps are there; the last worker writes" in capsys.readouterr().out
    assert not Path("out/mosaic.vrt").exists()
    assert run(*options, "--part", "2/2") == 0
    assert "out/mosaic.vrt over 2 maps" in capsys.readouterr().out
    Path("bad.tif").write_text("no raster")
    assert run("bad.tif", *options) == 1  # alone: over those that can be made
    assert "over 2 maps, 120 x 90 pixels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"crs": "EPSG:32619"}, "b.tif: got another coordinate system than a.tif"),
        ({"transform": (500_001, 4_000_000)}, "b.tif: got other pixels than a.tif"),
        ({"transform": (500_000, 4_000_000, 2.01)}, "b.tif: got other pixels"),
        ({"crs": None}, "b.tif: got no coordinate system"),
        ({"transform": (500_000 + 2**33, 4_000_000)}, "expected at most 2147483647"),
    ],
)
def test_maps_of_several_grids_are_refused_before_any_work(
    run, capsys, profile, message
):
    if "transform" in profile:
        profile = profile | {"transform": at(*profile["transform"])}
    write("b.tif", squares(64, 64), **profile)
    assert run("a.tif", "b.tif", "--mosaic", "vrt") == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 2
    assert not Path("out").exists()


def zone_file(path):
    x, y = 500_000, 4_000_000
    shapes = [shapely.box(x, y - 128, x + 160, y), shapely.box(x - 9, y, x - 1, y + 9)]
    frame = geopandas.GeoDataFrame({"name": ["a", "out"]}, geometry=shapes, crs=UTM)
    frame.to_crs("EPSG:4326").to_file(path)


def test_zones_are_summed_over_maps_or_over_the_mosaic(run, capsys):
    pytest.importorskip("exactextract", reason="needs the extra zones")
    zone_file("z.gpkg")
    options = "a.tif", "b.tif", "--zones", "z.gpkg"

    def mapped():
        with Path("out/zones.csv").open(newline="") as file:
            return [float(row["mapped_m2"]) for row in csv.DictReader(file)]

    assert run(*options) == 0
    overlap = 4 * 30 * 44  # of b's data below its 40 empty rows, in a
    np.testing.assert_allclose(mapped(), [4 * 64 * 80 + overlap, 0], rtol=1e-4)
    assert geopandas.read_file("out/zones.gpkg").crs == "EPSG:4326"
    before = Path("out/zones.gpkg").stat().st_mtime_ns
    assert run(*options) == 0
    assert "already there, out/zones.csv" in capsys.readouterr().out
    assert Path("out/zones.gpkg").stat().st_mtime_ns == before
    assert run(*options, "--mosaic", "vrt") == 0  # each place once
    np.testing.assert_allclose(mapped(), [4 * 64 * 80, 0], rtol=1e-4)
    assert not list(Path("out").glob(".*"))
    ours = "a.tif", "--zones", "out/zones.gpkg", "--overwrite"
    assert run(*ours) == 1 and "which is also a result" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (("--mosaic", "vrt"), "mosaic.vrt"),
        (("--zones", "z.gpkg"), "zones.csv"),
        (("--zones", "z.gpkg"), "zones.gpkg"),
    ],
)
def test_files_of_others_stay(run, capsys, options, name):
    pytest.importorskip("exactextract", reason="needs the extra zones")
    zone_file("z.gpkg")
    Path("out").mkdir()
    Path("out", name).write_text("mine")
    assert run("a.tif", *options) == 1
    assert f"got out/{name}, written by another program" in capsys.readouterr().err
    assert [p.name for p in Path("out").iterdir()] == [name]
    assert run("a.tif", *options, "--overwrite") == 0
    assert Path("out", name).read_bytes() != b"mine"


def test_a_scene_of_that_name_is_told_apart(run, capsys):
    Path("a.tif").rename("mosaic.tif")
    assert run("mosaic.tif", "b.tif", "--mosaic", "vrt") == 1
    assert "mosaic.qml" in capsys.readouterr().err
    single = ["run", "b.tif", "--mosaic", "vrt", "--out", "c.tif"]
    assert predict.main(single) == 1
    assert "expected a folder of maps" in capsys.readouterr().err
