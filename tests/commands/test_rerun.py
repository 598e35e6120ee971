"""`crossearth rerun`: what is compared, and what stops it before it trains."""

import json

import pytest

from crossearth_jax import train
from crossearth_jax.build_data import build_data
from crossearth_jax.commands import rerun
from crossearth_jax.run import provenance
from crossearth_jax.run_settings import read_settings


@pytest.fixture
def finished(tiny_config, tmp_path):
    """The workdir of a run, written without training it."""
    config = tiny_config()
    workdir = tmp_path / "run"
    workdir.mkdir()
    train.write_config(config, workdir)
    settings = read_settings(config)
    origin = provenance.collect(settings.train.seed, build_data(settings.data))
    provenance.write(origin, workdir, 0)
    write_losses(workdir, [3.0, 2.0, 1.0])
    return workdir


def write_losses(workdir, losses):
    lines = [json.dumps({"step": i, "loss": x}) + "\n" for i, x in enumerate(losses, 1)]
    (workdir / "metrics.jsonl").write_text("".join(lines))


def train_to(losses, seen):
    def fake(config, workdir):
        seen.append(config)
        workdir.mkdir()
        write_losses(workdir, losses)

    return fake


def test_same_bits_are_said(finished, tmp_path, monkeypatch, tiny_config):
    seen = []
    monkeypatch.setattr(train, "train", train_to([3.0, 2.0, 1.0], seen))
    said = rerun.rerun(finished, tmp_path / "again")
    assert said == ["all 3 logged steps are the same, bit for bit"]
    assert seen[0].to_dict() == tiny_config().to_dict()


def test_first_difference_and_its_likely_cause(finished, tmp_path, monkeypatch):
    starts = provenance.read(finished)
    starts[-1]["must_agree"]["packages"]["numpy"] = "1.0"
    (finished / "provenance.json").write_text(json.dumps(starts))
    monkeypatch.setattr(train, "train", train_to([3.0, 2.5, 1.0], []))
    changed, compared = rerun.rerun(finished, tmp_path / "again")
    assert changed.startswith("numpy was 1.0, is ")
    assert "1 of 3 logged steps differ, the first is step 2" in compared
    assert compared.endswith("0.5")


def test_other_data_stop_it(finished, tmp_path, monkeypatch):
    starts = provenance.read(finished)
    starts[-1]["must_agree"]["data"] = "0"
    (finished / "provenance.json").write_text(json.dumps(starts))
    seen = []
    monkeypatch.setattr(train, "train", train_to([], seen))
    with pytest.raises(ValueError, match="got other data than"):
        rerun.rerun(finished, tmp_path / "again")
    assert not seen


def test_its_own_folder_is_refused(finished):
    with pytest.raises(ValueError, match="give another folder with --out"):
        rerun.rerun(finished, finished)


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(ValueError, match=r"got no readable .*config\.json"):
        rerun.rerun(tmp_path, tmp_path / "again")
