"""Loggers: chosen by name, never in the way of training, each with its real library."""

import json
import sys
import threading
import time
from importlib import import_module

import pytest
from PIL import Image

from crossearth_jax.run.loggers import background
from crossearth_jax.run.loggers.background import Background, Guarded
from crossearth_jax.run.loggers.fan_out import KNOWN, FanOut, final_scores
from crossearth_jax.run.loggers.mlflow import _name
from crossearth_jax.run.loggers.protocol import RunFacts, kept_id, own_id
from crossearth_jax.run.stop import Stopped

EXTRAS = ("wandb", "mlflow", "trackio")
SCORES = {"sub/mIoU": 0.5, "sub/IoU/low vegetation": 0.25}


def facts(workdir, start=0, **config):
    for name in ("config", "provenance", "classes"):
        (workdir / f"{name}.json").write_text("{}")
    return RunFacts(
        name="tiny",
        workdir=workdir,
        start=start,
        config={"train.seed": 42, "data.scales": (0.5, 1.0), **config},
        origin={"git": "abc", "must_agree": {"packages": {"jax": "1"}}},
        files=tuple(workdir / f"{n}.json" for n in ("config", "provenance", "classes")),
    )


# ---- chosen by name ------------------------------------------------------------------


@pytest.mark.parametrize("names", [("tensorbord",), ("wandb", "wandb"), tuple("wandb")])
def test_unknown_names_are_refused_with_those_that_are(names):
    with pytest.raises(ValueError, match="expected some of tensorboard, wandb, mlflow"):
        FanOut(names)


@pytest.mark.parametrize("name", EXTRAS)
def test_a_missing_library_names_its_extra(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"for train\.loggers={name}: .*\[{name}\]"):
        FanOut(("tensorboard", name))


def test_only_the_first_host_needs_the_libraries(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr("jax.process_index", lambda: 1)
    with FanOut(("wandb",)) as loggers:
        loggers.scalars(1, {"loss": 1.0})
        assert not loggers.wanted()


# ---- never in the way ----------------------------------------------------------------


class Recorder:
    """Keeps its calls; fails or hangs where it is told to."""

    def __init__(self, fails=(), hangs=None):
        self.calls, self.fails, self.hangs = [], fails, hangs

    def __getattr__(self, method):
        def call(*arguments):
            if self.hangs:
                self.hangs.wait(20)
            self.calls.append((method, *arguments))
            if method in self.fails:
                raise OSError(f"\x1b[31mno network\nfor {method}")

        return call


def warnings(caplog):
    return [r.getMessage() for r in caplog.records if "train.loggers" in r.getMessage()]


@pytest.mark.parametrize("kind", [Guarded, Background])
def test_a_logger_that_fails_warns_once_and_is_asked_again(kind, tmp_path, caplog):
    logger = Recorder(fails=("scalars",))
    guarded = kind("web", logger)
    guarded.start(facts(tmp_path))
    for step in (1, 2, 3):
        guarded.call("scalars", step, SCORES)
    guarded.end("finished")
    assert [method for method, *_ in logger.calls] == ["start", *["scalars"] * 3, "end"]
    (said,) = warnings(caplog)
    assert "web failed (OSError:" in said and "\n" not in said


@pytest.mark.parametrize("kind", [Guarded, Background])
def test_a_logger_that_cannot_start_is_off(kind, tmp_path, caplog):
    logger = Recorder(fails=("start",))
    guarded = kind("web", logger)
    guarded.start(facts(tmp_path))
    guarded.call("scalars", 1, SCORES)
    guarded.end("finished")
    assert [method for method, *_ in logger.calls] == ["start"]
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("kind", [Guarded, Background])
def test_a_run_that_fails_before_it_starts_has_nothing_to_end(kind, caplog):
    logger = Recorder()
    guarded = kind("web", logger)
    guarded.call("scalars", 1, SCORES)
    guarded.end("failed")
    assert not logger.calls and not warnings(caplog)


def test_a_server_that_does_not_answer_costs_no_step(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(background, "WAITING", 5)
    monkeypatch.setitem(background.PATIENCE_S, "finished", 0.05)
    answer = threading.Event()
    logger = Background("web", Recorder(hangs=answer))
    logger.start(facts(tmp_path))
    for step in range(20):
        logger.call("scalars", step, SCORES)
    logger.end("finished")
    answer.set()
    (said,) = warnings(caplog)
    assert "5 calls behind" in said


@pytest.mark.parametrize(
    ("error", "how"),
    [(None, "finished"), (Stopped(), "stopped"), (ValueError(), "failed")],
)
def test_loggers_learn_how_the_run_ended(error, how, monkeypatch, tmp_path):
    logger = Recorder()
    monkeypatch.setitem(KNOWN, "tensorboard", lambda: logger)
    try:
        with FanOut(("tensorboard",)) as loggers:
            loggers.start(facts(tmp_path))
            if error:
                raise error
    except (Stopped, ValueError):
        pass
    assert logger.calls[1:] == [("end", how)]


def test_the_report_goes_along(tmp_path, monkeypatch):
    logger = Recorder()
    monkeypatch.setitem(KNOWN, "tensorboard", lambda: logger)
    domain = {"mIoU": 0.5, "IoU": {"road": None, "water": 0.25}}
    report = {"domains": {"sub": domain}, "unseen_mean_mIoU": None}
    (tmp_path / "pictures").mkdir()
    files = [tmp_path / "report.json", tmp_path / "pictures" / "sub.png"]
    for path in files:
        path.touch()
    loggers = FanOut(("tensorboard",))
    loggers.start(facts(tmp_path))
    loggers.report(9, report, tmp_path)
    scores = {"final/sub/mIoU": 0.5, "final/sub/IoU/water": 0.25}
    assert logger.calls[1:] == [("scalars", 9, scores), ("files", files)]
    assert final_scores({"domains": {}}) == {}


# ---- one run for one workdir ---------------------------------------------------------


def test_ids_are_kept_and_damaged_ones_replaced(tmp_path):
    run = facts(tmp_path)
    assert kept_id(run, "wandb") is None
    first = own_id(run, "wandb")
    assert own_id(run, "wandb") == first != own_id(run, "trackio")
    for damaged in ("", "../x", "a b", "\x1b[2J", "é"):
        (tmp_path / "loggers" / "wandb.txt").write_text(damaged)
        assert kept_id(run, "wandb") is None


def test_names_that_mlflow_would_refuse():
    assert _name("sub/IoU/low vegetation") == "sub/IoU/low vegetation"
    assert _name("sub/IoU/../(x)") == "sub/IoU/_/_x_"
    assert len(_name("x" * 300)) == 250


# ---- the real libraries, without a network -------------------------------------------


def log_twice(name, workdir):
    """A run that is killed after step 2 and resumed from step 1."""
    picture = Image.new("RGB", (8, 6), (200, 10, 10))
    for start, steps in ((0, (1, 2)), (1, (2, 3))):
        loggers = FanOut((name,))
        with loggers:
            loggers.start(facts(workdir, start, **{"train.steps": 3 + start}))
            for step in steps:
                loggers.scalars(step, {"loss": float(step), **SCORES})
            loggers.pictures(3, {"sub/1": picture})
            (workdir / "report.json").write_text('{"scored": true}')
            loggers.report(3, {"domains": {}}, workdir)
        time.sleep(1.1 * (name == "wandb"))  # its folders are named by the second
    return kept_id(facts(workdir), name)


@pytest.fixture
def library(request, tmp_path, monkeypatch, capfd, caplog):
    """A library and the id of a run that was logged with it, all in tmp_path."""
    name = request.param
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    for key in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "TRACKIO_DIR"):
        monkeypatch.setenv(key, str(tmp_path / key.lower()))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked"))
    pytest.importorskip(name)  # Trackio reads its folder when it is imported
    workdir = tmp_path / "run"
    workdir.mkdir()
    run_id = log_twice(name, workdir)
    assert not warnings(caplog)
    assert name in capfd.readouterr().out
    return import_module(name), run_id, workdir


@pytest.mark.slow
@pytest.mark.parametrize("library", ["mlflow"], indirect=True)
def test_mlflow_has_one_run_with_all_of_it(library):
    mlflow, run_id, _ = library
    client = mlflow.MlflowClient()
    (experiment,) = [
        e for e in client.search_experiments() if e.name == "crossearth_jax"
    ]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == run_id
    assert (run.info.status, run.info.run_name) == ("FINISHED", "tiny")
    assert run.data.params["train.seed"] == "42"
    assert run.data.params["train.steps"] == "3"
    assert run.data.tags["start 1/must_agree/packages/jax"] == "1"
    losses = client.get_metric_history(run_id, "loss")
    assert {(m.step, m.value) for m in losses} == {(1, 1.0), (2, 2.0), (3, 3.0)}
    assert run.data.metrics["sub/IoU/low vegetation"] == 0.25
    kept = {f.path for f in client.list_artifacts(run_id)}
    assert {"config.json", "provenance.json", "report", "images"} <= kept
    assert client.list_artifacts(run_id, "report")[0].path == "report/report.json"


@pytest.mark.slow
@pytest.mark.parametrize("library", ["trackio"], indirect=True)
def test_trackio_has_one_run_with_all_of_it(library):
    trackio, run_id, _ = library
    (run,) = trackio.Api().runs("crossearth_jax")
    assert run.name == f"tiny-{run_id}"
    assert run.config["train.seed"] == 42
    assert run.config["provenance"]["git"] == "abc"
    storage = import_module("trackio.sqlite_storage").SQLiteStorage
    logs = storage.get_logs("crossearth_jax", run.name, run_id=run.id)
    losses = {(one["step"], one["loss"]) for one in logs if "loss" in one}
    assert losses == {(1, 1.0), (2, 2.0), (3, 3.0)}
    assert any("sub/1" in one for one in logs)


@pytest.mark.slow
@pytest.mark.parametrize("library", ["wandb"], indirect=True)
def test_wandb_keeps_both_starts_under_one_id(library):
    _, run_id, workdir = library
    folders = sorted((workdir / "wandb").glob("offline-run-*"))
    assert len(folders) == 2
    for folder in folders:
        (record,) = folder.glob("*.wandb")
        assert record.name == f"run-{run_id}.wandb"
        written = record.read_bytes()
        for held in (b"train.seed", b"provenance", b"sub/mIoU", b"inputs-", b"report-"):
            assert held in written, held
    assert json.loads((workdir / "report.json").read_text())["scored"]
