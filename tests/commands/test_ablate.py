import json
import os
import signal
import sys
import threading
import time

import pytest

from crossearth_jax.commands import ablate
from crossearth_jax.paper.tables import load as paper
from crossearth_jax.report.ablation import AblationRow, ablation_sheet
from crossearth_jax.report.experiments import Experiment
from crossearth_jax.report.sheet import as_markdown
from crossearth_jax.run.stop import Stopped

DEMO = "configs/demo.py"
DOMAINS = "sub", "tem", "tms", "trf"


def finish(run, miou=0.5, step=None):
    """What a finished run leaves."""
    config = ablate.wanted(run)
    entry = {"role": "unseen", "mIoU": miou, "IoU": {"a": miou, "b": None}}
    entry |= {"images": 1, "skipped": []}
    domains = {name: entry for name in DOMAINS}
    step = config.train.steps if step is None else step
    report = {
        "classes": ["a", "b"],
        "domains": domains,
        "unseen_mean_mIoU": miou,
        "about": {"step": step},
    }
    run.workdir.mkdir(parents=True, exist_ok=True)
    (run.workdir / "config.json").write_text(config.to_json())
    (run.workdir / "report.json").write_text(json.dumps(report))


@pytest.mark.parametrize("table", [8, 9, 11, 12, 13])
def test_rows_are_the_papers_and_their_changes_are_taken(table, tmp_path):
    runs = ablate.plan("configs/casid.py:sub", table, 1, tmp_path)
    first, last = ablate.wanted(runs[0]), ablate.wanted(runs[-1])
    assert not first.gse.enabled and first.style.probability == 0
    assert last.gse.enabled and last.mim.enabled and last.style.probability > 0
    expected = {
        8: lambda c: c.style.probability == 0.1,
        9: lambda c: c.mim.decoder == "aspp",
        11: lambda c: (c.style.ratio, c.style.block) == (0.9, 256),
        12: lambda c: (c.mim.ratio, c.mim.block) == (0.9, 256),
        13: lambda c: c.mim.loss == "l1",
    }
    assert expected[table](last)
    names = {row.method for g in paper().groups if g.table == table for row in g.rows}
    assert not names or {run.row for run in runs} == names
    assert len(runs) == {8: 4, 9: 3, 11: 26, 12: 26, 13: 3}[table]
    assert len({run.workdir for run in runs}) == len(runs)


def test_finished_runs_are_left_alone_and_failed_ones_reported(tmp_path, capsys):
    runs = ablate.plan(DEMO, 9, 2, tmp_path, ["--config.train.steps=7"])
    finish(runs[0])
    finish(runs[1], step=3)  # scored before its end
    assert [ablate.is_finished(run) for run in runs[:3]] == [True, False, False]
    started = []

    def start(run, log):
        started.append(run)
        log.write_text("error: no memory\n")
        if run is runs[2]:
            return 1
        finish(run)
        return 0

    assert ablate.work(runs[1:], start) == [runs[2]]
    assert started == runs[1:]
    assert "error: no memory" in capsys.readouterr().out
    assert all(ablate.is_finished(run) for run in runs if run is not runs[2])


def test_a_workdir_of_another_configuration_is_refused(tmp_path):
    finish(ablate.plan(DEMO, 8, 1, tmp_path)[0])
    other = ablate.plan(DEMO, 8, 1, tmp_path, ["--config.optim.lr=0.5"])[0]
    with pytest.raises(ValueError, match=r"optim.lr=0.001, expected 0.5: .* --out"):
        ablate.is_finished(other)


def test_parts_are_all_runs_once(tmp_path):
    runs = ablate.plan(DEMO, 8, 3, tmp_path)
    parts = [ablate._part(f"{i}/5", runs) for i in range(1, 6)]
    assert sorted(runs.index(run) for part in parts for run in part) == [*range(12)]
    with pytest.raises(ValueError, match="1 <= I <= N"):
        ablate._part("0/2", runs)


@pytest.mark.parametrize(
    "flag, message",
    [("--config.mim.nope=1", "unknown configuration key"), ("--seeds=0", "1 or more")],
)
def test_what_does_not_fit_is_an_error_before_the_first_run(
    flag, message, tmp_path, capsys
):
    flags = ["--config", DEMO, "--table", "8", "--out", f"{tmp_path / 'a'}", flag]
    assert ablate.main(flags) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_the_command_makes_the_table_of_finished_runs(tmp_path, capsys):
    flags = ["--config", DEMO, "--table", "8", "--seeds", "2", "--out", f"{tmp_path}"]
    for run in ablate.plan(DEMO, 8, 2, tmp_path):
        finish(run, 0.5 + 0.01 * run.seed + 0.1 * (run.row == "w/ GSE+MIM+Style"))
    assert ablate.main(flags) == 0
    shown = capsys.readouterr().out
    assert "61.5 ± 0.7" in shown and "+10.0 ± 0.0" in shown
    assert "47.8" in shown and "cannot be compared" in shown  # the paper's
    written = (tmp_path / "table_8.md").read_text()
    assert "| ours | Rein | 51.5 ± 0.7 |" in written
    assert (tmp_path / "table_8.csv").read_text().startswith("table,")


def test_a_share_without_the_first_row_makes_no_table_yet(tmp_path, capsys):
    flags = ["--config", DEMO, "--table", "8", "--seeds", "1", "--out", f"{tmp_path}"]
    finish(ablate.plan(DEMO, 8, 1, tmp_path)[1])
    assert ablate.main([*flags, "--part", "2/4"]) == 0
    assert "no table yet: no run of Rein is finished" in capsys.readouterr().out
    assert not list(tmp_path.glob("table_8*"))


def sheet(*columns):
    """A sheet of rows given by their unseen means over the seeds."""
    rows = []
    for name, values in columns:
        runs = {
            seed: Experiment(
                None, {}, {"domains": {"a": {"mIoU": v}}, "unseen_mean_mIoU": v}
            )
            for seed, v in values.items()
        }
        rows.append(AblationRow(name, runs))
    return ablation_sheet(8, rows, cumulative=True, targets={}, comparable=False)


def test_differences_are_taken_seed_by_seed():
    base = ("Rein", {1: 0.2, 2: 0.6})
    made = sheet(base, ("more", {1: 0.3, 2: 0.7, 3: 0.9}), ("none", {}))
    difference = next(line for line in made.lines if line.setting.startswith("diff"))
    assert difference.scores[0].mean == pytest.approx(10)
    assert difference.scores[0].std == pytest.approx(0, abs=1e-9)
    assert difference.scores[0].n == 2
    assert "higher in 2 of 2 seeds; by chance" in made.notes[1]
    assert "not run" in as_markdown([made])
    unsettled = sheet(base, ("more", {1: 0.1, 2: 0.8}))
    assert "do not settle" in unsettled.notes[1]
    with pytest.raises(ValueError, match="no finished run"):
        sheet(("Rein", {}), base)


def test_a_signal_reaches_the_run_and_ends_the_ablation(tmp_path, monkeypatch):
    run = ablate.plan(DEMO, 8, 1, tmp_path)[0]
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit('saved'))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    monkeypatch.setattr(
        type(run), "command", property(lambda self: [sys.executable, "-c", code])
    )
    log = tmp_path / "log"

    def stop():
        while not (log.exists() and "ready" in log.read_text()):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Stopped):
        ablate._process(run, log)
    thread.join()
    assert "saved" in log.read_text()


def test_an_ablation_that_is_asked_to_stop_is_done(tmp_path, monkeypatch, capsys):
    def stopped(runs):
        raise Stopped

    monkeypatch.setattr(ablate, "work", stopped)
    flags = ["--config", "demo:quick", "--table", "8", "--out", f"{tmp_path}"]
    assert ablate.main(flags) == 0
    assert capsys.readouterr().out == (
        "stopped; the same command goes on from here:\n"
        f"  crossearth ablate {' '.join(flags)}\n"
    )


@pytest.mark.parametrize(
    ("config", "table", "changes", "steps"),
    [
        ("configs/casid.py:sub", 8, (), 20_000),
        ("configs/casid.py:sub", 9, (), 30_000),
        ("configs/casid.py:sub", 8, ("--config.train.steps=500",), 500),
        (DEMO, 8, (), None),  # not of the paper's length: as the file has it
    ],
)
def test_every_table_has_its_own_length(config, table, changes, steps, tmp_path):
    runs = ablate.plan(config, table, 1, tmp_path, changes)
    if steps is None:
        assert not any("train.steps" in flag for flag in runs[0].flags)
    else:
        assert {ablate.wanted(run).train.steps for run in runs} == {steps}
