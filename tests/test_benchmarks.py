"""The arithmetic of `benchmarks.run`, and that its tables are those of its figures."""

import importlib
import json
import pkgutil
from collections import Counter

import numpy as np
import pytest

import benchmarks
from benchmarks import accelerator, document, precision, reliability, run
from benchmarks.growth import exchanged_bytes
from benchmarks.our_side import benchmark_config
from benchmarks.reliability import hostile
from benchmarks.reliability.hostile_attacks import Taken
from benchmarks.worker import Job, Turn, one_turn
from crossearth_jax.models import mask2former

MODULES = [
    module.name
    for package in (benchmarks, accelerator, reliability)
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    # The peer's need torch, and tests of their own import them.
    if not module.name.endswith("__main__") and ".peer_" not in module.name
]


@pytest.mark.parametrize("name", MODULES)
def test_every_benchmark_finds_what_it_imports(name):
    assert importlib.import_module(name).__doc__


def job(precision="float32"):
    return Job(benchmark_config("vit_tiny", 64, precision=precision), 3, None, 1)


def test_a_ratio_is_the_peers_cost_over_ours():
    found = run.compared([1.0, 4.0, 2.0], [3.0, 3.0], "s", distance=0.1)
    assert found["ours"] == 2 and found["peer"] == 3 and found["ratio"] == 1.5
    assert found["spread"] == {"ours": [1.0, 4.0], "peer": [3.0, 3.0]}
    assert found["distance"] == 0.1
    alone = run.compared([2.0], [], "s")
    assert alone["peer"] is None and alone["ratio"] is None


def test_the_first_turn_is_no_measurement():
    turns = {"ours": [Turn(9, 5, None), Turn(2, 1, None), Turn(4, 3, None)]}
    assert run.seconds(turns, per=2) == {"ours": [1.0, 2.0], "peer": []}
    assert run.peaks(turns) == {"ours": [3], "peer": []}


def test_sides_that_differ_are_not_compared():
    ours = np.ones(4)
    assert run.check("inference", ours, ours + 1e-5, job()) == pytest.approx(
        1e-5, rel=1e-5
    )
    assert run.check("step", {"loss": 2.0}, {"loss": 2.0002}, job()) < 1e-3
    with pytest.raises(ValueError, match=r"differ by 0\.5 relative .* at most 0\.001"):
        run.check("step", {"loss": 1.5, "mim": 1.0}, {"loss": 1.0, "mim": 1.0}, job())
    with pytest.raises(ValueError, match="does not compute the same"):
        run.check("inference", ours, np.full(4, np.nan), job())
    assert run.check("inference", ours, 1.01 * ours, job("bfloat16")) < 0.01


def test_a_turn_has_its_time_peak_and_result():
    size = 64_000_000
    turn = one_turn(lambda: {"sum": float(np.ones(size // 8).sum())}, lambda: None)
    assert turn.values == {"sum": size / 8}
    assert 0 < turn.seconds < 60 and turn.gigabytes > size / 1e9
    assert one_turn(lambda: None, lambda: 2_000_000_000).gigabytes == 2


def test_bytes_of_collectives():
    text = """
  %add = f32[8,4]{1,0} add(%a, %b)
  %all-reduce.1 = f32[8,4]{1,0} all-reduce(%add), replica_groups={{0,1}}
  %all-reduce.2 = (f32[10]{0}, /*index=5*/bf16[3]{0}) all-reduce(%x, %y), to_apply=%sum
  ROOT %gather = s32[] all-gather-start(%z), dimensions={0}
"""
    assert exchanged_bytes(text) == 4 * 32 + 40 + 6 + 4


def figures():
    suite = {"step": run.compared([2.0, 2.0], [5.0, 7.0], "s")}
    for case in suite.values():
        case.update(hardware="a machine", command="a command")
    return {"train": suite}


def test_tables_come_from_the_figures():
    page = (
        "# Title\n<!-- benchmarks.run: train -->\nstale\n<!-- benchmarks.run: end -->\n"
        "kept\n<!-- benchmarks.run: targets -->\n<!-- benchmarks.run: end -->\n"
    )
    text = document.filled(page, figures(), {})
    assert "| step | 2 | 6 (5 to 7) | s | 3.00 x |" in text
    assert "stale" not in text and "kept" in text and "a machine" in text
    assert "| training step | ≥ 1.5 x | 3.00 x, met |" in text
    assert "| cold start | under 90 s | not measured |" in text
    assert document.filled(text, figures(), {}) == text
    assert "0.90 x, missed" in document.filled(page, slower(), {})


def slower():
    found = figures()
    found["train"]["step"]["ratio"] = 0.9
    return found


def test_the_page_shows_the_stored_figures():
    text = document.PAGE.read_text()
    assert document.filled(text, document.stored("cpu"), document.stored("gpu")) == text
    shown = [match[2] for match in document.PLACE.finditer(text)]
    assert set(run.SUITES) <= {*shown} and "targets" in shown


def test_suites_are_kept_beside_each_other(tmp_path):
    path = tmp_path / "figures.json"
    run.merge(path, "model", {"a": {"ours": 1}})
    run.merge(path, "train", {"b": {"ours": 2}})
    run.merge(path, "model", {"c": {"ours": 3}})
    assert json.loads(path.read_text()) == {
        "model": {"c": {"ours": 3}},
        "train": {"b": {"ours": 2}},
    }


def test_options(capsys):
    options = run.parse(["--suite", "train", "model", "--peer", "none"])
    assert options.suite == ["train", "model"] and options.peer == "none"
    assert "--suite train" in run.command("train", options)
    with pytest.raises(SystemExit):
        run.parse(["--suite", "speed"])
    assert "invalid choice: 'speed'" in capsys.readouterr().err


def test_precision_compares_queries_and_pixels():
    wide = [np.ones((2, 2, 3)), np.ones((2, 2, 4, 4)), np.eye(4)[None]]
    half = [x.copy() for x in wide]
    half[0][1, 1] *= 1.5  # one query of four
    half[2][0, 3] = half[2][0, 0]
    cells = precision.compared(wide, half, wide)
    assert cells[:3] == ["25.00 %", "0.00 %", "70.71 %"]
    assert cells[3:6] == ["0.00 %"] * 3
    assert cells[6:] == ["1 of 4", "75.00 %"]


def test_precision_lets_queries_look_where_it_is_told():
    inside, outside = np.full((1, 1, 2, 2), 1.0), np.full((1, 1, 2, 2), -1.0)
    inside[0, 0, 1, 1] = -1.0
    with precision.recorded_views(None) as views:
        seen = mask2former.attention_mask(inside, (2, 2))
        assert mask2former.attention_mask(outside, (2, 2)).all()
    assert seen.tolist() == [[[True, True, True, False]]] and len(views) == 2
    with precision.recorded_views(views):
        told = mask2former.attention_mask(outside, (2, 2))
    np.testing.assert_array_equal(told, seen)
    assert mask2former.attention_mask(outside, (2, 2)).all()


def test_tables_of_hostile_files():
    taken = [
        Taken("bomb", 5_000, 0.123, 4.4, "too large"),
        Taken("a | b", 5, 999.0, 2.0, "slow"),
    ]
    assert hostile.attack_table(taken).as_csv().splitlines()[1:] == [
        'bomb,"5,000",0.12,4,yes',
        "a | b,5,999.00,2,no: slow",
    ]
    table = hostile.mutation_table(
        Counter(zip=5, npz=3), Counter(zip=4, npz=3), Counter(zip=1)
    )
    assert table.rows == [
        ("zip", "5", "4", "4"),
        ("npz", "3", "3", "3"),
        ("all", "8", "7", "7"),
    ]
