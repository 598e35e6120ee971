"""Long lists of scenes: shares of a cluster, list files, summary and progress."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from rasters import predictor, squares, write

from crossearth_jax.commands import predict
from crossearth_jax.commands.options import find_scenes
from crossearth_jax.commands.part import in_array, part_of, share_of
from crossearth_jax.commands.predict_progress import Board

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setattr(predict, "load", lambda *_, **__: predictor(weights="1"))
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for i in range(5):
        write(f"in/s{i}.tif", squares(64, 64, seed=i))
    return lambda *arguments: predict.main(["run", *arguments, "--out", "out"])


SLURM = {"SLURM_ARRAY_TASK_ID": "14", "SLURM_ARRAY_TASK_MIN": "10"}
SLURM |= {"SLURM_ARRAY_TASK_STEP": "2", "SLURM_ARRAY_TASK_COUNT": "4"}


@pytest.mark.parametrize(
    ("text", "env", "expected"),
    [
        (None, SLURM, (1, 1)),
        ("2/10", SLURM, (2, 10)),
        ("auto", SLURM, (3, 4)),
        ("/4", SLURM, (3, 4)),
        ("/20", SLURM, (14, 20)),  # tasks 10 to 16 of an array from 1 to 20, again
        ("auto", {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "5"}, (3, 5)),
        ("/3", {"JOB_COMPLETION_INDEX": "0"}, (1, 3)),
        ("auto", {"JOB_COMPLETION_INDEX": "2", "JOB_COMPLETIONS": "3"}, (3, 3)),
    ],
)
def test_parts_are_named_or_told_by_the_cluster(text, env, expected):
    assert part_of(text, env) == expected
    assert in_array(env) and not in_array({})


@pytest.mark.parametrize(
    ("text", "env"),
    [
        *(("0/3", {}), ("4/3", {}), ("x", {}), ("1/2/3", {}), ("-1/3", {})),
        *(("/3", {}), ("auto", {}), ("auto", {"JOB_COMPLETION_INDEX": "2"})),
        ("auto", SLURM | {"SLURM_ARRAY_TASK_COUNT": "2"}),
        ("/7", SLURM | {"SLURM_ARRAY_TASK_ID": "0"}),  # 0 to 3 of 7: which is which?
    ],
)
def test_wrong_parts_are_one_line(text, env):
    with pytest.raises(ValueError, match=f"got --part {text}"):
        part_of(text, env)


def test_a_number_that_is_none_is_one_line():
    with pytest.raises(ValueError, match="got JOB_COMPLETION_INDEX=x, expected a num"):
        part_of("/3", {"JOB_COMPLETION_INDEX": "x"})


def test_every_scene_is_in_one_part():
    parts = [share_of(range(10), (i, 4)) for i in (1, 2, 3, 4)]
    assert sorted(i for part in parts for i in part) == list(range(10))


def test_two_parts_make_all_maps_and_their_own_summaries(run, capsys, monkeypatch):
    assert run("in", "--part", "1/2") == 0
    assert {p.stem for p in Path("out").glob("*.tif")} == {"s0", "s2", "s4"}
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    assert run("in", "--part", "/2") == 0
    assert len(list(Path("out").glob("*.tif"))) == 5
    names = {p.name for p in Path("out").glob("summary*")}
    kinds = ("json", "csv")
    assert names == {f"summary-{i}-of-2.{kind}" for i in (1, 2) for kind in kinds}
    capsys.readouterr()
    assert run("in") == 0  # nobody asked for a part, but it looks like one
    assert "pass --part auto" in capsys.readouterr().err


def test_hosts_without_a_coordinator_are_refused(run, capsys):
    assert run("in", "--hosts", "2", "--host", "0") == 1
    assert "expected all three or none" in capsys.readouterr().err
    assert not Path("out").exists()


def test_inputs_come_from_a_list_file(run, capsys):
    Path("scenes.txt").write_text("# summer\nin/s3.tif\n\n  in/s[01].tif\n")
    found = [p.name for p in find_scenes(["@scenes.txt", "in/s3.tif"])]
    assert found == ["s3.tif", "s0.tif", "s1.tif"]
    assert run("@nowhere.txt") == 1
    assert "got @nowhere.txt, expected a file" in capsys.readouterr().err


def test_the_summary_tells_what_became_of_each_scene(run):
    Path("in/s1.tif").write_text("no raster")
    write("in/s2.tif", squares(64, 64), nodata=0)
    assert run("in") == 1
    content = json.loads(Path("out/summary.json").read_text())
    rows = {Path(row["scene"]).stem: row for row in content["scenes"]}
    states = {name: row["state"] for name, row in rows.items()}
    assert states == {f"s{i}": "left out" if i == 1 else "made" for i in range(5)}
    assert rows["s1"]["reason"].startswith("in/s1.tif: cannot be opened")
    with rasterio.open("out/s2.tif") as made:
        ids, counts = np.unique(made.read(1), return_counts=True)
    names = {0: "ground", 1: "roof & wall", 255: "nodata"}
    expected = dict.fromkeys(names.values(), 0)
    expected |= {names[i]: n for i, n in zip(ids, counts, strict=True)}
    assert rows["s2"]["pixels"] == expected and rows["s2"]["seconds"] > 0
    with Path("out/summary.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["state"] for row in table] == list(states.values())
    assert int(table[2]["pixels of ground"]) == expected["ground"]

    write("in/s1.tif", squares(64, 64))
    assert run("in/s1.tif", "in/s2.tif") == 0  # other scenes keep their rows
    content = json.loads(Path("out/summary.json").read_text())
    states = [row["state"] for row in content["scenes"]]
    assert states == ["made", "made", "there", "made", "made"]
    assert content["scenes"][2]["pixels"] == expected


@pytest.mark.parametrize("name", ["summary.json", "summary.csv"])
@pytest.mark.parametrize("text", ["mine", "[1]"])
def test_no_foreign_summary_is_overwritten(run, capsys, name, text):
    Path("out").mkdir()
    Path("out", name).write_text(text)
    assert run("in") == 1
    assert name in capsys.readouterr().err
    assert [p.name for p in Path("out").iterdir()] == [name]
    assert run("in", "--overwrite") == 0
    assert Path("out", name).read_text() != text


def test_without_a_terminal_progress_is_lines(capsys):
    now = [0.0]
    board = Board(4, lambda: now[0])
    with board.scene("a.tif") as progress:
        now[0] = 30
        progress(10, 100)
        assert not capsys.readouterr().err
        now[0] = 100
        progress(50, 100)
    assert capsys.readouterr().err == "a.tif: 50 %; 0 of 4 scenes, 11:40 left\n"
    board.finish(50_000_000)
    now[0] = 3600
    assert board.pace() == "1 of 4 scenes, 0.01 MP/s, 3:00:00 left"
    assert run_bar(board) == "1 of 4 scenes, 0.01 MP/s, 3:00:00 left"


def run_bar(board):
    with board.scene("b.tif"):
        return board.pace()


def test_a_terminal_has_a_bar(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    board = Board(2)
    with board.scene("[b]a.tif") as progress:
        progress(1, 2)
        assert board.bar is not None
        assert board.bar.tasks[0].description == "[b]a.tif"
        assert board.bar.tasks[0].total == 2
    board.finish(10)
    assert "[b]a.tif" in capsys.readouterr().err
