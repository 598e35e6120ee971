"""`--ray`: a cluster of this machine, two workers, one of them killed at work."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from rasters import UTM, predictor, squares, write

from crossearth_jax.commands import predict
from crossearth_jax.commands.predict_ray import workers_of

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
ROOT = Path(__file__).parents[2]


def node(alive=True, **resources):
    return {"Alive": alive, "Resources": resources}


def test_a_worker_per_gpu_or_per_node():
    assert workers_of([node(CPU=64.0, GPU=8.0), node(CPU=64.0, GPU=4.0)]) == (12, 1)
    assert workers_of([node(CPU=2.0), node(CPU=2.0), node(memory=1.0)]) == (2, 0)
    assert workers_of([node(CPU=2.0), node(False, CPU=2.0, GPU=1.0)]) == (1, 0)
    assert workers_of([]) == (1, 0)  # which a cluster that grows makes room for


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--ray", "--part", "1/2"], {}, "got --ray with --part"),
        (["--ray", "--hosts", "2", "--host", "0"], {}, "got --ray with --hosts"),
        (["--ray", "--distributed"], {}, "got --ray with --distributed"),
        (["--ray"], {"SLURM_STEP_NUM_TASKS": "2"}, "start it without srun"),
        (["--ray-workers", "2"], {}, "got --ray-workers without --ray"),
    ],
)
def test_scenes_are_shared_in_one_way(
    monkeypatch, capsys, arguments, environment, message
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert predict.main(["run", "a.tif", "--out", "out", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch, tmp_path, capsys):
    pytest.importorskip("ray", reason="needs the extra ray")
    monkeypatch.chdir(tmp_path)
    write("a.tif", squares(40, 40))
    options = ["run", "a.tif", "--out", "out", "--ray", "127.0.0.1:9"]
    assert predict.main(options) == 1
    error = capsys.readouterr().err
    assert "got --ray 127.0.0.1:9, where no cluster answers" in error
    assert error.count("\n") == 2 and not Path("out").exists()


def test_a_scene_is_no_address(capsys):
    with pytest.raises(SystemExit):
        predict.main(["--ray", "run", "a.tif", "--out", "out"])
    assert "got run, expected HOST:PORT" in capsys.readouterr().err


def test_without_the_extra_the_command_says_what_to_install(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setitem(sys.modules, "ray", None)  # importing it fails
    scene = write(tmp_path / "a.tif", squares(40, 40))
    assert (
        predict.main(["run", str(scene), "--out", str(tmp_path / "out"), "--ray"]) == 1
    )
    error = capsys.readouterr().err
    assert "got no ray" in error and "pip install" in error


COMMAND = """
import sys
from rasters import slow_predictor
from crossearth_jax.commands import predict
predict.load = slow_predictor
sys.exit(predict.main(["run", *sys.argv[1:]]))
"""
RAY = ("--out", "ray", "--ray", "local", "--ray-workers", "2")


@pytest.mark.slow
def test_a_killed_worker_costs_one_block_and_all_maps_are_whole(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="needs the extra ray")
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for i in range(4):
        write(f"in/s{i}.tif", squares(90, 130, seed=i), crs=UTM if i else None)
    write("in/large.tif", squares(300, 350))
    Path("in/bad.tif").write_text("no raster")
    options = ("in", "--block", "160", "--confidence")
    monkeypatch.setattr(predict, "load", lambda *_, **__: predictor(weights="1"))
    predict.main(["run", *options, "--out", "one"])

    Path("pids").mkdir()
    places = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *options, *RAY],
        env=os.environ | {"PYTHONPATH": places, "RASTERS_PIDS": str(tmp_path / "pids")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    killed = threading.Event()

    def kill_one() -> None:
        """The first worker that is at work on a block."""
        while process.poll() is None and not killed.is_set():
            if list(Path("ray").glob("large_blocks/.large_*/rows/plain.tif")):
                os.kill(int(min(Path("pids").iterdir()).name), signal.SIGKILL)
                killed.set()
            time.sleep(0.01)

    thread = threading.Thread(target=kill_one)
    thread.start()
    output, error = process.communicate(timeout=180)
    thread.join()
    assert killed.is_set() and process.returncode == 1, error
    assert "left out: in/bad.tif: cannot be opened" in error
    assert error.count("; another makes it") == 1
    assert "in/s0.tif has no coordinate system" in error  # what a worker warned of
    made = {p.relative_to("one") for p in Path("one").rglob("*.[tv][ir]*")}
    assert made == {p.relative_to("ray") for p in Path("ray").rglob("*.[tv][ir]*")}
    assert {str(p) for p in made} >= {"s0.tif", "large.vrt", "large_confidence.vrt"}
    for name in made - {p for p in made if p.suffix == ".xml"}:
        with rasterio.open("one" / name) as one, rasterio.open("ray" / name) as other:
            np.testing.assert_array_equal(one.read(), other.read())
            assert one.tags() == other.tags()
    assert not [p for p in Path("ray").rglob(".*")]
    rows = json.loads(Path("ray/summary.json").read_text())["scenes"]
    states = [row["state"] for row in rows]
    assert states.count("made") == 10 and states.count("left out") == 1
    assert "died" in output and "lost" in output
