"""The folder for a web server."""

import json

import numpy as np
import pytest

pytest.importorskip("rasterio")
pytest.importorskip("rio_tiler", reason="the extra `view` is missing")
pmtiles = pytest.importorskip("pmtiles.reader", reason="pmtiles is missing")

from drawn import blocks, class_map, raster, shares_of  # noqa: E402

from crossearth_jax.cli import main  # noqa: E402
from crossearth_jax.view.archive import tile_count  # noqa: E402
from crossearth_jax.view.gather import gather  # noqa: E402

IDS = blocks(300, 1_100)


@pytest.fixture
def drawn_map(tmp_path):
    path = class_map(tmp_path / "maps", IDS, shares=shares_of(IDS), polygons=".gpkg")
    values = np.zeros((3, *IDS.shape), np.uint8)
    return path, raster(tmp_path / "scene.tif", values, nodata=None)


def stopped(*_):
    """Ctrl-C when the tiles are written."""
    raise KeyboardInterrupt


def archive(path):
    file = path.open("rb")
    return pmtiles.Reader(pmtiles.MmapSource(file))


def test_archives_hold_what_the_server_gives(tmp_path, drawn_map, capsys):
    path, scene = drawn_map
    out = tmp_path / "page"
    assert main(["view", str(path), "--scene", str(scene), "--export", str(out)]) == 0
    view = gather([path], [scene])
    printed = capsys.readouterr().out
    expected = sum(tile_count(one, one.zoom) for one in view.layers.values())
    assert printed.startswith(f"{expected} tiles at most: group0-classes")
    for name, layer in view.layers.items():
        reader = archive(out / f"{name}.pmtiles")
        header = reader.header()
        assert header["max_zoom"] == layer.zoom
        kind = "WEBP" if name == "scene" else "PNG"
        assert header["tile_type"].name == kind
        box = header["min_lon_e7"], header["max_lat_e7"]
        assert np.allclose(np.divide(box, 1e7), (85.327, 27.654), atol=1e-3)
        for z in range(layer.zoom + 1):
            for x, y in layer.tiles(z):
                assert reader.get(z, x, y) == layer.tile(z, x, y)
    about = json.loads((out / "about.json").read_text())
    assert about["groups"][0]["layers"]["trust"]["archive"] == "group0-trust.pmtiles"
    assert about["polygons"][0]["address"] == "polygons0.json"
    areas = json.loads((out / "areas.json").read_text())
    assert areas["groups"] == [[{str(k): 4.0 * (IDS == k).sum() for k in range(5)}]]
    assert (out / "maplibre-gl.LICENSE.txt").is_file()


def test_coarser_tiles_are_fewer(tmp_path, drawn_map, capsys):
    out = tmp_path / "page"
    assert (
        main(["view", str(drawn_map[0]), "--export", str(out), "--max-zoom", "12"]) == 0
    )
    assert "to zoom 12" in capsys.readouterr().out
    assert archive(out / "group0-classes.pmtiles").header()["max_zoom"] == 12
    about = json.loads((out / "about.json").read_text())
    assert about["groups"][0]["layers"]["classes"]["zoom"] == 12


def test_a_map_without_data_has_an_empty_archive(tmp_path):
    path = class_map(tmp_path / "maps", np.full((40, 40), 255, np.uint8))
    out = tmp_path / "page"
    assert main(["view", str(path), "--export", str(out)]) == 0
    reader = archive(out / "group0-classes.pmtiles")
    assert not reader.get(0, 0, 0)


@pytest.mark.parametrize(
    "wrong", ["size", "damage", "there", "a file", "tiles", "stop"]
)
def test_nothing_is_left_of_an_export_that_fails(
    tmp_path, drawn_map, wrong, capsys, monkeypatch
):
    path, out = drawn_map[0], tmp_path / "page"
    if wrong == "size":
        monkeypatch.setattr("crossearth_jax.view.export.MB", 100)
    if wrong == "tiles":
        monkeypatch.setattr("crossearth_jax.view.export.MOST_TILES", 3)
    if wrong == "stop":
        monkeypatch.setattr("crossearth_jax.view.export.geojson", stopped)
    if wrong == "damage":
        (beside,) = path.parent.glob("*_trust.tif")
        with beside.open("r+b") as file:
            file.truncate(beside.stat().st_size - 100)
    if wrong == "there":
        out.mkdir()
        (out / "mine.txt").write_text("kept")
    if wrong == "a file":
        out.write_text("kept")
    before = {p: p.stat().st_size for p in tmp_path.rglob("*")}
    status = main(["view", str(path), "--export", str(out), "--max-mb", "5"])
    assert status == (130 if wrong == "stop" else 1)
    line = {
        "tiles": "expected at most 3: --max-zoom 15, or fewer maps",
        "stop": "stopped",
        "size": "got more than 5 MB of tiles",
        "damage": "scene_trust.tif: cannot be read",
    }.get(wrong, "which is there already")
    assert line in capsys.readouterr().err
    assert {p: p.stat().st_size for p in tmp_path.rglob("*")} == before


def test_options_that_mean_nothing_are_refused(drawn_map, capsys):
    path = str(drawn_map[0])
    assert main(["view", path, "--max-zoom", "3"]) == 1
    assert main(["view", path, "--bands", "1"]) == 1
    for wrong in (["--port", "70000"], ["--port", "x"], ["--max-zoom", "30"]):
        with pytest.raises(SystemExit):
            main(["view", path, *wrong])
    assert main(["view", "none.tif"]) == 1
    assert capsys.readouterr().err.count("got ") == 6
