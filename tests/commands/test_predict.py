"""The command with a cheap score function in place of a trained run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rasters import predictor, squares, write

from crossearth_jax.commands import predict, predict_maps
from crossearth_jax.commands.options import find_scenes
from crossearth_jax.commands.predict import main
from crossearth_jax.commands.predict_jobs import Job, plan_jobs
from crossearth_jax.data.folders import IMAGE_SUFFIXES

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs the command and gives its exit status."""
    monkeypatch.setattr(predict, "load", lambda *_, **__: predictor(weights="1"))

    def call(*arguments):
        return main(["run", *map(str, arguments), "--out", str(tmp_path / "out")])

    return call


def test_a_folder_is_mapped_and_only_once(run, tmp_path, capsys):
    folder = tmp_path / "scenes"
    folder.mkdir()
    for i in range(3):
        write(folder / f"s{i}.tif", squares(70, 90, seed=i))
    (folder / "notes.txt").write_text("no raster")
    assert run(folder, "--vector", "gpkg", "--timing") == 0
    made = {p.name for p in (tmp_path / "out").iterdir()}
    assert {"s0.tif", "s1.gpkg", "s2.tif.aux.xml"} <= made and len(made) == 14
    assert {"s0.qml", "summary.json", "summary.csv"} <= made
    assert "MP/s" in capsys.readouterr().out

    (tmp_path / "out/s1.tif").unlink()  # as if the run had been killed
    before = (tmp_path / "out/s0.tif").stat().st_mtime_ns
    assert run(folder, "--vector", "gpkg") == 0
    assert capsys.readouterr().out.count("already there") == 2
    assert (tmp_path / "out/s1.tif").exists()
    assert (tmp_path / "out/s0.tif").stat().st_mtime_ns == before

    assert run(folder, "--blend", "cosine") == 1
    assert "--overwrite" in capsys.readouterr().err
    assert run(folder, "--blend", "cosine", "--overwrite") == 0


def test_a_bad_scene_is_left_out_and_named(run, tmp_path, capsys):
    good = write(tmp_path / "good.tif", squares(70, 90))
    (tmp_path / "bad.tif").write_text("no raster")
    four = write(tmp_path / "four.tif", squares(70, 90, 4), photometric="minisblack")
    assert run(tmp_path / "bad.tif", four, good) == 1
    error = capsys.readouterr().err
    assert "bad.tif: cannot be opened" in error and "--bands 3,2,1" in error
    assert "2 of 3 scenes left out" in error
    assert [p.name for p in (tmp_path / "out").glob("*.tif")] == ["good.tif"]


def test_options_reach_the_map(run, tmp_path):
    path = write(tmp_path / "a.tif", squares(70, 90, 4, dtype=np.uint16, top=4000))
    status = run(
        *(path, "--bands", "4,3,2", "--scale", "0,4000", "--blend", "cosine"),
        *("--probabilities", "--confidence", "--quicklook", "--nodata", "0"),
    )
    assert status == 0
    with rasterio.open(tmp_path / "out/a.tif") as made:
        options = json.loads(made.tags()["CROSSEARTH_OPTIONS"])
    assert options["bands"] == [4, 3, 2] and options["scale"] == [0, 4000]
    assert options["nodata"] == 0 and options["blend"] == "cosine"
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert {"a_probabilities.tif", "a_confidence.tif", "a_quicklook.png"} <= names


def test_without_the_extra_the_command_says_what_to_install(run, monkeypatch, capsys):
    for module in ("rasterio", "geopandas"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)  # importing it fails
            assert run(__file__, "--vector", "gpkg") == 1
        error = capsys.readouterr().err
        assert f"got no {module}" in error and "pip install" in error


@pytest.mark.slow
def test_the_package_needs_no_geospatial_library_to_be_imported():
    code = (
        "import sys; import crossearth_jax.commands.predict;"
        "names = ('rasterio', 'geopandas', 'pyogrio', 'rio_cogeo', 'shapely');"
        "print([n for n in names if n in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, text=True, cwd=ROOT) == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere/*.tif"], "expected a raster"),
        (["a.tif", "a_confidence.tif", "--confidence"], "a result of a.tif"),
        (["a.tif", "--bands", "1,2,9"], "a.tif: got --bands 1,2,9"),
        (["a.tif", "sub/a.tif"], "sub/a.tif; pass --keep-folders"),
        (["a.tif", "b.tif", "--vector", "x.gpkg"], "beside each map"),
        (["a.tif", "--vector", "x.shp"], "gpkg or .geojson"),
        (["a.tif", "--percentiles", "9,2"], "between 0 and 100"),
        (["a.tif", "--out", "a.tif"], "the input itself"),
        (["a.tif", "b.tif", "--out", "c.tif"], "expected a folder"),
    ],
)
def test_bad_arguments_are_one_line(monkeypatch, tmp_path, capsys, arguments, message):
    monkeypatch.setattr(predict, "load", lambda *_, **__: predictor())
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    for name in ("a.tif", "b.tif", "a_confidence.tif", "sub/a.tif"):
        write(name, squares(40, 40))
    assert main(["run", "--out", "out", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 2


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--stride", "0"), "--stride: got 0, expected 1 or more"),
        (("--batch", "x"), "--batch: got x, expected 1 or more"),
        (("--bands", "1,2"), "--bands: got 1,2, expected 3 numbers such as 4,3,2"),
        (("--scale", "a,b"), "--scale: got a,b, expected 2 numbers such as 0,3000"),
        (("--sieve", "-1"), "--sieve: got -1, expected 0 or more pixels"),
    ],
)
def test_bad_values_of_options_are_one_line(run, capsys, option, message):
    with pytest.raises(SystemExit) as stopped:
        run("a.tif", *option)
    assert stopped.value.code == 2
    assert f"error: argument {message}" in capsys.readouterr().err


def test_whatever_goes_wrong_in_a_scene_the_next_one_is_mapped(
    run, monkeypatch, tmp_path, capsys
):
    """Also what no one foresaw, and GDAL's and NumPy's own errors."""
    good = write(tmp_path / "good.tif", squares(64, 64))
    names = ("type", "value", "memory", "gdal", "empty")
    odd = [write(tmp_path / f"{name}.tif", squares(64, 64)) for name in names]
    from rasterio._err import CPLE_NotSupportedError

    errors = {
        "type": TypeError("data type 'complex_int16' not understood"),
        "value": ValueError("two\nlines"),
        "memory": MemoryError(),
        "gdal": CPLE_NotSupportedError(3, 6, "no operation found"),
        "empty": IndexError(),
    }
    made = predict_maps.predict_file

    def sometimes(predictor, source, *rest, **more):
        if source.stem in errors:
            raise errors[source.stem]
        return made(predictor, source, *rest, **more)

    monkeypatch.setattr(predict_maps, "predict_file", sometimes)
    assert run(*odd, good) == 1
    lines = capsys.readouterr().err.splitlines()
    for name, path, line in zip(names, odd, lines, strict=False):
        assert line.startswith(f"left out: {path}: "), name
    assert lines[len(odd)] == "5 of 6 scenes left out"
    assert (tmp_path / "out/good.tif").exists()
    assert run(odd[0]) == 1
    assert f"error: {odd[0]}: TypeError: data type" in capsys.readouterr().err


def test_folders_are_kept_where_names_repeat(run, tmp_path):
    for name in ("a/x.tif", "b/x.tif", "b/y.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, squares(64, 64))
    write(tmp_path / "b/y.png", squares(64, 64), driver="PNG")
    assert run(tmp_path / "a", tmp_path / "b") == 1
    assert run(tmp_path / "a", tmp_path / "b", "--keep-folders") == 0
    out = tmp_path / "out"
    made = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.tif"))
    assert made == ["a/x.tif", "b/x.tif", "b/y.png.tif", "b/y.tif.tif"]


def test_patterns_in_folders_with_brackets(tmp_path):
    folder = tmp_path / "run[1]"
    folder.mkdir()
    (folder / "a.tif").touch()
    (folder / "b[2].tif").touch()
    assert [p.name for p in find_scenes([f"{folder}/*.tif"])] == ["a.tif", "b[2].tif"]
    assert find_scenes([f"{folder}/b[2].tif"]) == [folder / "b[2].tif"]


def test_scenes_are_found_in_order_and_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.tif", "a.JP2", "c.txt", "d.png"):
        Path(name).touch()
    assert [p.name for p in find_scenes([".", "b.tif"])] == ["a.JP2", "b.tif", "d.png"]
    assert [p.name for p in find_scenes(["*.tif"])] == ["b.tif"]
    # Training's reader knows no JPEG 2000, so `crossearth features` offers none.
    read = [p.name for p in find_scenes(["."], IMAGE_SUFFIXES)]
    assert read == ["b.tif", "d.png"]
    Path("only").mkdir()
    Path("only/a.vrt").touch()
    with pytest.raises(ValueError, match=r"got only, .*\.png, \.jpg.* or a pattern"):
        find_scenes(["only"], IMAGE_SUFFIXES)
    jobs = plan_jobs([Path("x/b.tif")], "maps", "geojson")
    assert jobs == [Job(Path("x/b.tif"), Path("maps/b.tif"), Path("maps/b.geojson"))]


def test_processes_share_the_scenes(run, monkeypatch, tmp_path):
    for i in range(5):
        write(tmp_path / f"s{i}.tif", squares(40, 40))
    monkeypatch.setattr("jax.process_count", lambda: 2)
    made = []
    for index in (0, 1):
        monkeypatch.setattr("jax.process_index", lambda index=index: index)
        assert run(tmp_path / "s*.tif") == 0
        made.append({p.stem for p in (tmp_path / "out").glob("*.tif")})
    assert made == [{"s0", "s2", "s4"}, {"s0", "s1", "s2", "s3", "s4"}]


# ---- ends that no one wants --------------------------------------------------------

ROOT = Path(__file__).parents[2]
SLOW = """
import resource, signal, sys, time
from rasters import bright_is_roof, predictor
from crossearth_jax.commands import predict

def slow(windows):
    time.sleep(float(sys.argv[1]))
    return bright_is_roof(windows)

if limit := int(sys.argv[2]):  # no file may have more bytes
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
# Background jobs of shells ignore SIGINT, and hand that on to the tests and to here.
signal.signal(signal.SIGINT, signal.default_int_handler)
predict.load = lambda *_, **__: predictor(slow)
print("ready", flush=True)
sys.exit(predict.main(["run", *sys.argv[3:]]))
"""


def start(seconds, limit, *arguments):
    places = [str(ROOT), str(ROOT / "tests")]
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, str(seconds), str(limit), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(found, seconds=60):
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_leaves_whole_maps_and_the_next_one_makes_the_rest(
    tmp_path, monkeypatch, how
):
    scenes, out = tmp_path / "scenes", tmp_path / "out"
    scenes.mkdir()
    write(scenes / "a.tif", squares(64, 64))
    write(scenes / "b.tif", squares(640, 640))
    process = start(0.1, 0, scenes, "--out", out)
    wait_for(lambda: list(out.glob(".b.tif*/rows/plain.tif")))
    process.send_signal(how)
    _, error = process.communicate(timeout=60)
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    assert [p.name for p in out.glob("*.tif")] == ["a.tif"]
    if how == signal.SIGINT:
        assert "the same command makes the rest" in error
        assert not list(out.glob(".b.tif*"))
    monkeypatch.setattr(predict, "load", lambda *_, **__: predictor())
    assert main(["run", str(scenes), "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == [
        *("a.qml", "a.tif", "a.tif.aux.xml", "b.qml", "b.tif", "b.tif.aux.xml"),
        *("summary.csv", "summary.json"),
    ]


@pytest.mark.slow
def test_a_file_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (3, 600, 600)).astype(np.uint8)
    scene = write(tmp_path / "a.tif", noise)
    process = start(0, 2_000, scene, "--out", tmp_path / "out", "--confidence")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: " in error and "cannot be written" in error
    assert not list((tmp_path / "out").iterdir())
