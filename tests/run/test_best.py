"""The best checkpoint by the source domain: kept, found, never taken for another."""

import json
from contextlib import closing

import jax.numpy as jnp
import pytest

from crossearth_jax.run import best, seal
from crossearth_jax.run.best import SourceScore, best_of, find_step, read_scores
from crossearth_jax.run.checkpoint import Checkpoints
from crossearth_jax.run.released import load_model
from crossearth_jax.train_step import TrainState


def state(step):
    params = {"a": jnp.full(3, float(step))}
    return TrainState(params, (), jnp.int32(step), jnp.int32(0))


def score(miou, on="val"):
    return SourceScore(miou, on)


def opened(folder, **more):
    checkpoints = Checkpoints(folder, **{"keep": 1, "keep_best": True, **more})
    checkpoints.set_damaged_aside()
    return closing(checkpoints)


def train(folder, scores, **more):
    """Saves a checkpoint for every step; those with a score are scored after it."""
    with opened(folder, **more) as checkpoints:
        for step, miou in scores.items():
            checkpoints.save(state(step))
            if miou is not None:
                checkpoints.note_score(step, score(miou))
        return checkpoints.best()


def steps(folder):
    return best.steps_in(folder / "checkpoints")


def test_the_best_stays_however_many_follow(tmp_path):
    scores = {1: 0.2, 2: 0.5, 3: None, 4: 0.5, 5: 0.4, 6: None, 7: None}
    assert train(tmp_path, scores) == 2  # the first of two equal ones
    assert steps(tmp_path) == [7, 6, 2]
    with opened(tmp_path, read_only=True) as checkpoints:
        found = checkpoints.find("best")
        assert (found, checkpoints.find("last"), checkpoints.find("7")) == (2, 7, 7)
        assert float(checkpoints.restore(state(0), found).params["a"][0]) == 2


def test_it_is_known_after_a_restart_and_beside_those_of_every_nth_step(tmp_path):
    train(tmp_path, {1: 0.6, 2: 0.5, 3: 0.1, 4: 0.2}, keep_every=2)
    assert train(tmp_path, {5: 0.4, 6: 0.5, 7: None, 8: None}, keep_every=2) == 1
    assert steps(tmp_path) == [8, 7, 6, 4, 2, 1]
    assert train(tmp_path, {9: 0.7, 10: None, 11: None, 12: None}, keep_every=2) == 9
    assert 1 not in steps(tmp_path) and 9 in steps(tmp_path)


def test_without_keep_best_the_newest_stay(tmp_path):
    train(tmp_path, {1: 0.6, 2: 0.5, 3: 0.1, 4: 0.2}, keep_best=False)
    assert steps(tmp_path) == [4, 3]


def test_a_better_one_counts_only_when_its_score_is_sealed(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError("No space left on device")

    train(tmp_path, {1: 0.5})
    with opened(tmp_path) as checkpoints:
        checkpoints.save(state(2))
        with monkeypatch.context() as patch:
            patch.setattr(seal, "whole_file", full)
            checkpoints.note_score(2, score(0.9))  # neither seal nor score
        for step in (3, 4, 5):
            checkpoints.save(state(step))
        assert checkpoints.best() == 1
    assert steps(tmp_path) == [5, 4, 1]


def test_scores_on_other_images_are_not_compared():
    scores = {1: score(0.9, "old"), 2: score(0.5), 3: score(0.6), 4: score(0.4)}
    assert best_of(scores) == 3
    assert best_of(scores | {5: score(0.1, "old")}) == 1
    assert best_of({}) is None


def test_a_score_leaves_the_seal_sound(tmp_path):
    train(tmp_path, {1: 0.25})
    folder = tmp_path / "checkpoints" / "1"
    assert seal.damage(folder) is None
    assert read_scores(folder.parent) == {1: score(0.25)}
    content = seal.read(folder)
    for odd in (None, 0.25, {"miou": 2.0, "on": "val"}, {"miou": "x", "on": "val"}):
        seal.add(folder, {"score": odd})
        assert read_scores(folder.parent) == {}
    seal.add(folder, content)
    sealed = folder / seal.NAME
    sealed.write_text(sealed.read_text().replace("0.25", "0.75"))
    assert read_scores(folder.parent) == {}
    assert "damaged" in seal.damage(folder)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("best", "no checkpoint in .* has a score .* one of 1, 2"),
        ("3", "got --step '3', expected last, best or one of 1, 2"),
        ("-1", "expected last, best or one of 1, 2"),
        ("²", "expected last, best or one of 1, 2"),
        ("9" * 5000, "expected last, best or one of 1, 2"),
        ("\x1b[31mx", r"got --step '\\x1b\[31mx'"),
    ],
)
def test_steps_that_are_not_there(tmp_path, wanted, message):
    train(tmp_path, {1: None, 2: None})
    with pytest.raises(ValueError, match=message):
        find_step(tmp_path / "checkpoints", wanted)


def test_files_of_weights_have_no_steps(tmp_path):
    (tmp_path / "weights.pth").touch()
    with pytest.raises(ValueError, match=r"--step 'best' with .*pth.* leave it out"):
        load_model(tmp_path / "weights.pth", step="best")


def test_a_damaged_best_is_an_error_and_no_other_step(tmp_path):
    train(tmp_path, {1: 0.5, 2: None})
    folder = tmp_path / "checkpoints"
    (folder / "1" / "_CHECKPOINT_METADATA").unlink()
    with pytest.raises(ValueError, match=r"step best, but checkpoint 1 .* is damaged"):
        find_step(folder, "best")
    with pytest.raises(ValueError, match="none, since there is no checkpoint"):
        find_step(tmp_path / "nowhere", "best")
    assert json.loads((folder / "2" / seal.NAME).read_text().partition("\n")[2])
