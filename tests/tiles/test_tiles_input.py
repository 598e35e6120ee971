"""Wrong input of `crossearth tiles`: one line that says what to do, nothing written."""

import numpy as np
import pytest
from labelled import GRID, LEFT, TOP, UTM, geopandas, polygons, rect, scene, shapely
from rasters import write

from crossearth_jax.commands.tiles import main

POINT = shapely.Point(LEFT + 9, TOP - 9)
LINE = shapely.LineString([(LEFT, TOP), (LEFT + 50, TOP - 50)])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A scene and polygons of it, in the folder where the command runs."""
    monkeypatch.chdir(tmp_path)
    scene("a.tif")
    polygons("l.gpkg", [rect(5, 5, 90, 90)], kind=["roof"], name=["x"])
    return tmp_path


def ended(capsys, *line):
    """The one line of an error; exit status 1; nothing is left in --out."""
    options = ["--bands", "3,2,1", "--scale", "0,4000", "--size", "64"]
    status = main([*line, "--out", "t", *options])
    shown = capsys.readouterr().err.strip().splitlines()
    assert status == 1 and shown[1:] == ["(--traceback shows where)"]
    return shown[0]


BURN = ("--burn", "house")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (("a.tif", "--labels", "no.gpkg", *BURN), "there is no such file"),
        (("no.tif", "--labels", "l.gpkg", *BURN), "expected a raster"),
        (("l.gpkg", "--labels", "l.gpkg", *BURN), "cannot be opened"),
        (("a.tif", "--labels", "l.gpkg"), "'kind', 'name'"),
        (("a.tif", "--labels", "l.gpkg", "--attribute", "art"), "'kind', 'name'"),
        (("a.tif", "--labels", "l.gpkg", *BURN, "--where", "art = 3"), "'kind'"),
        (("a.tif", "--labels", "l.gpkg", *BURN, "--layer", "m"), "expected one of 'l'"),
        (("a.tif", "--labels", "l.gpkg", *BURN, "--order", "car"), "'building'"),
        (("a.tif", "--labels", "l.gpkg", *BURN, "--area", "no.gpkg"), "no such file"),
        (("a.tif", "--labels", "l.gpkg", *BURN, "--no-background"), "got 1 classes"),
        (("a.tif", "--labels", "l.gpkg", *BURN, "--background", "house"), "two names"),
        (("a.tif", "--labels", "l.gpkg", *BURN, "--stride", "65"), "1 to 64"),
        (("a.tif", "--labels", "l.gpkg", *BURN, "--gsd", "9"), "28 x 28 pixels at"),
        (("a.tif", "--labels", "l.gpkg", *BURN, "--val", "1"), "between 0 and 1"),
        (("a.tif", "--labels", "l.gpkg", *BURN, "--split", "scenes"), "one scene"),
        (("a.tif", "--labels", "l.gpkg", "a.tif", *BURN), "expected one kind"),
        (("a.tif", "--labels", "a.tif", *BURN), "got 4 bands"),
        (("a.tif", "--labels", "l.gpkg", *BURN, "--part", "3/2"), "one of 1"),
    ],
)
def test_options_that_do_not_fit(folder, capsys, line, says):
    line = tuple(word.replace("house", "building") for word in line)
    assert says in ended(capsys, *line).replace("building', expected", "")
    assert not (folder / "t").exists()


def labels_of(case):
    """Writes l.gpkg in its place."""
    shapes = {"points": [POINT], "lines": [LINE]}
    if case == "far":
        polygons("l.gpkg", [rect(9000, 9000, 9100, 9100)], "EPSG:4326")
    elif case == "without a coordinate system":
        frame = geopandas.GeoDataFrame(geometry=[rect(5, 5, 90, 90)])
        frame.to_file("l.gpkg")
    elif case == "without features":
        frame = geopandas.GeoDataFrame({"a": []}, geometry=[], crs=UTM)
        frame.to_file("l.gpkg")
    elif case == "two layers":
        polygons("l.gpkg", [rect(5, 5, 90, 90)])
        geopandas.read_file("l.gpkg").to_file("l.gpkg", layer="more")
    elif case == "no labels":
        with open("l.gpkg", "w") as file:
            file.write("nothing")
    else:
        polygons("l.gpkg", shapes[case])


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("points", "got 1 points, expected polygons"),
        ("lines", "--buffer METRES"),
        ("far", "EPSG:4326), expected them to overlap"),
        ("without a coordinate system", "ogr2ogr -a_srs"),
        ("without features", "got no feature"),
        ("two layers", "'l', 'more'"),
        ("no labels", "cannot be"),
    ],
)
def test_labels_that_cannot_be_used(folder, capsys, case, says):
    (folder / "l.gpkg").unlink()
    labels_of(case)
    assert says in ended(capsys, "a.tif", "--labels", "l.gpkg", *BURN)
    assert not (folder / "t").exists()


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        ({"crs": None}, "without coordinate system"),
        ({"width": 50}, "got 50 x 256 pixels, expected at least a tile of 64 x 64"),
    ],
)
def test_scenes_that_cannot_be_cut(folder, capsys, profile, says):
    scene("a.tif", **profile)
    assert says in ended(capsys, "a.tif", "--labels", "l.gpkg", *BURN)
    assert not (folder / "t").exists()


def test_scenes_that_do_not_fit_together(folder, capsys):
    write("b.tif", np.ones((3, 256, 256), np.float32), **GRID)
    line = ["a.tif", "b.tif", "--labels", "l.gpkg", *BURN, "--keep-bits"]
    assert "got float32 values, expected uint16 as in a.tif" in ended(capsys, *line)


def test_a_scale_beyond_8_bits_is_not_for_8_bits(folder, capsys):
    scene("a.tif", dtype=np.uint8)
    error = ended(capsys, "a.tif", "--labels", "l.gpkg", *BURN)
    assert "got 8 bits with --scale 0,4000" in error


def test_names_of_classes_from_strangers(folder, capsys):
    (folder / "l.gpkg").unlink()
    polygons("l.gpkg", [rect(5, 5, 90, 90)], kind=["\x1b[31mroof"])
    error = ended(capsys, "a.tif", "--labels", "l.gpkg", "--attribute", "kind")
    assert "printable" in error and "\x1b" not in error


def test_a_folder_of_others_is_left_alone(folder, capsys):
    (folder / "t").mkdir()
    (folder / "t" / "mine.txt").write_text("x")
    error = ended(capsys, "a.tif", "--labels", "l.gpkg", *BURN)
    assert "'mine.txt'" in error
    assert [p.name for p in (folder / "t").iterdir()] == ["mine.txt"]


def test_wrong_usage_ends_with_2(capsys):
    for line in (["a.tif"], ["a.tif", "--labels", "l", "--out", "t", "--bands", "1,2"]):
        with pytest.raises(SystemExit) as ended:
            main(line)
        assert ended.value.code == 2
    assert "expected 3 or 1 numbers" in capsys.readouterr().err
