"""Checkpoints and weight files: exact round trips, strict checks, clear errors."""

import json
import re
import resource
import shutil
import time
from collections import Counter
from contextlib import closing, contextmanager

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from benchmarks.reliability import flips
from crossearth_jax.models.parameters import (
    dotted,
    fill,
    read_weights,
    undotted,
)
from crossearth_jax.run.checkpoint import Checkpoints, read_parameters
from crossearth_jax.train_step import TrainState


def state(step=0, *, seed=0, width=3, dtype=np.float32, extra=False):
    rng = np.random.default_rng(seed)
    params = {
        "a": {0: rng.normal(size=(2, width)), 1: rng.normal(size=2)},
        "b": rng.normal(size=5),
    }
    if extra:
        params["new"] = np.ones(1)
    params = jax.tree.map(lambda x: jnp.asarray(x, dtype), params)
    moments = (jax.tree.map(lambda x: x * 2, params), jnp.asarray(7, jnp.int32))
    return TrainState(params, moments, jnp.int32(step), jnp.int32(0))


def opened(folder, keep=2):
    return closing(Checkpoints(folder, keep=keep))


def test_reading_says_nothing_of_orbax(tmp_path, caplog):
    with opened(tmp_path) as saved:
        assert saved.save(state(3))
    caplog.clear()
    with closing(Checkpoints(tmp_path, read_only=True)) as saved:
        assert saved.latest() == 3
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


def test_dotted_paths_are_unique_and_undone():
    tree = state(3)
    flat = dotted(tree)
    assert {"params.a.0", "params.a.1", "params.b", "step"} <= flat.keys()
    assert len(flat) == len(jax.tree.leaves(tree))
    back = undotted(dict(reversed(flat.items())), tree)
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    assert all(jax.tree.leaves(jax.tree.map(lambda x, y: x is y, back, tree)))


def test_save_and_restore_keep_every_bit(tmp_path):
    saved = state(5, seed=1)
    with opened(tmp_path) as checkpoints:
        checkpoints.save(saved)
    with opened(tmp_path) as checkpoints:
        assert checkpoints.latest() == 5
        restored = checkpoints.restore(state())
    for path, x in dotted(saved).items():
        got = dotted(restored)[path]
        assert (got.dtype, got.tobytes()) == (x.dtype, x.tobytes()), path
    assert restored.params["a"][0].sharding == saved.params["a"][0].sharding


def test_newest_checkpoints_are_kept(tmp_path):
    with opened(tmp_path, keep=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(state(step, seed=step))
        checkpoints.save(state(3, seed=9))  # the same step again changes nothing
    with opened(tmp_path) as checkpoints:
        restored = checkpoints.restore(state())
    assert int(restored.step) == 3
    expected = state(3, seed=3).params["b"]
    assert np.array_equal(restored.params["b"], expected)
    steps = {p.name for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()}
    assert steps == {"2", "3"}


def test_looking_for_a_checkpoint_writes_nothing(tmp_path):
    with opened(tmp_path / "run") as checkpoints:
        assert checkpoints.latest() is None
        with pytest.raises(ValueError, match=r"got no checkpoint in .*run/checkpoints"):
            checkpoints.restore(state())
    assert not (tmp_path / "run").exists()


def test_a_broken_save_is_cleaned_up_and_ignored(tmp_path):
    with opened(tmp_path) as checkpoints:
        checkpoints.save(state(1))
    half = tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp"
    half.mkdir()
    (half / "data").write_text("half")
    with opened(tmp_path) as checkpoints:
        assert checkpoints.latest() == 1
        # Orbax cleans up in the background and waits for it in the next save only.
        checkpoints.save(state(3))
    assert not half.exists()
    with opened(tmp_path) as checkpoints:
        assert checkpoints.latest() == 3


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"width": 4}, r"params\.a\.0: \(\(2, 3\), 'float32'\) in the checkpoint"),
        ({"dtype": np.float16}, r"'float32'\) in the checkpoint, .*'float16'"),
        ({"extra": True}, r"params\.new: only in the model"),
    ],
)
def test_another_architecture_is_an_error_that_names_arrays(tmp_path, other, message):
    with opened(tmp_path) as checkpoints:
        checkpoints.save(state(1))
        with pytest.raises(ValueError, match=message) as error:
            checkpoints.restore(state(**other))
    assert "another architecture" in str(error.value)
    assert "--workdir" in str(error.value)
    assert len(str(error.value).splitlines()) < 12


# ---- saves that fail or do not end ---------------------------------------------------


def steps(folder):
    """Every step on disk, and whether it is sealed."""
    found = (p for p in (folder / "checkpoints").iterdir() if p.name.isdigit())
    return {int(p.name): (p / "seal.json").exists() for p in found}


def finish_unsealed(checkpoints):
    """Waits as a run does that is killed before it can seal."""
    checkpoints._manager.wait_until_finished()


def test_a_sealed_checkpoint_stays_until_the_next_is_sealed(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    for step in (1, 2, 3):
        checkpoints.save(state(step))
    finish_unsealed(checkpoints)
    assert steps(tmp_path) == {2: True, 3: False}
    with opened(tmp_path) as again:
        assert again.set_damaged_aside() == 2
        assert steps(tmp_path) == {2: True}
        assert again.save(state(3))
    assert steps(tmp_path) == {2: True, 3: True}


def test_the_only_checkpoint_without_a_seal_is_set_aside(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1))
    finish_unsealed(checkpoints)
    with opened(tmp_path) as again:
        assert again.set_damaged_aside() is None
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["damaged_1"]


@pytest.fixture
def no_space():
    """Files cannot grow beyond some hundred bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    @contextmanager
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


def wait_for_the_disk(checkpoints):
    while checkpoints._manager.is_saving_in_progress():
        time.sleep(0.01)


def test_a_failed_save_is_reported_and_the_next_one_works(tmp_path, no_space, caplog):
    with opened(tmp_path) as checkpoints:
        checkpoints.save(state(1))
        checkpoints.save(state(2))
        checkpoints.wait()
        with no_space():
            checkpoints.save(state(3))
            wait_for_the_disk(checkpoints)
            checkpoints.seal_when_complete()
        assert "the checkpoint of step 3 was not saved" in caplog.text
        assert "Traceback" not in caplog.text
        assert steps(tmp_path) == {1: True, 2: True}
        assert checkpoints.save(state(4))
    assert steps(tmp_path) == {2: True, 4: True}
    assert not list(tmp_path.rglob("*tmp*"))


def test_the_next_save_reports_a_failed_one_nobody_looked_at(
    tmp_path, no_space, caplog
):
    with opened(tmp_path) as checkpoints:
        with no_space():
            checkpoints.save(state(1))
            wait_for_the_disk(checkpoints)
        assert checkpoints.save(state(2))
        assert caplog.text.count("the checkpoint of step 1 was not saved") == 1
    assert steps(tmp_path) == {2: True}


def test_a_seal_that_cannot_be_written_is_a_failed_save(tmp_path, no_space):
    with opened(tmp_path) as checkpoints:
        checkpoints.save(state(1))
        checkpoints.wait()
        checkpoints.save(state(2))
        wait_for_the_disk(checkpoints)
        with no_space(), pytest.raises(OSError, match=r"step 2 was not saved"):
            checkpoints.wait()
    assert steps(tmp_path) == {1: True}


def test_the_last_save_failing_is_one_line(tmp_path, no_space):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1))
    checkpoints.wait()
    with no_space(), pytest.raises(OSError, match="step 2 was not saved") as error:
        checkpoints.save(state(2))
        checkpoints.close()
    assert len(str(error.value).splitlines()) == 1
    assert steps(tmp_path) == {1: True}


# ---- damaged files -------------------------------------------------------------------


@pytest.mark.slow
def test_damage_is_reported_or_harmless(tmp_path):
    flips.make_pair(tmp_path / "whole")
    counts = Counter(
        flips.outcome(tmp_path / "copy", file)
        for file, _ in flips.damaged_copies(tmp_path, samples=30, seed=1)
    )
    assert counts == {flips.REPORTED: 30}


def newest(workdir):
    return workdir / "checkpoints" / str(flips.NEWEST)


def remove_a_file(workdir):
    (newest(workdir) / "default" / "manifest.ocdbt").unlink()
    return r"default/manifest\.ocdbt is missing"


def add_a_file(workdir):
    (newest(workdir) / "default" / "copy of a file").write_text("")
    return "default/copy of a file does not belong to it"


def remove_everything(workdir):
    shutil.rmtree(newest(workdir))
    newest(workdir).mkdir()
    return "it was never finished"


def remove_the_seal(workdir):
    (newest(workdir) / "seal.json").unlink()
    return "it was never finished"


def take_the_seal_of_another(workdir):
    older = workdir / "checkpoints" / str(flips.OLDER)
    shutil.copy(older / "seal.json", newest(workdir))
    return "it holds step 3: the folder was renamed"


@pytest.mark.parametrize(
    "damage",
    [
        remove_a_file,
        add_a_file,
        remove_everything,
        remove_the_seal,
        take_the_seal_of_another,
    ],
)
def test_a_damaged_newest_checkpoint_is_named_and_passed_over(tmp_path, damage, caplog):
    flips.make_pair(tmp_path)
    said = damage(tmp_path)
    with opened(tmp_path) as checkpoints:
        assert checkpoints.set_damaged_aside() == flips.OLDER
        restored = checkpoints.restore(flips.small_state(0))
        assert flips.same(restored, flips.small_state(flips.OLDER))
        assert re.search(
            f"checkpoint of step {flips.NEWEST} skipped.*{said}", caplog.text
        )
        # Training goes on and reaches that step again.
        assert checkpoints.save(flips.small_state(flips.NEWEST))
    with opened(tmp_path) as checkpoints:
        restored = checkpoints.restore(flips.small_state(0))
    assert flips.same(restored, flips.small_state(flips.NEWEST))


def test_nothing_but_damage_is_an_error_and_deletes_nothing(tmp_path):
    flips.make_pair(tmp_path)
    for path in (tmp_path / "checkpoints").glob("*/default/_METADATA"):
        path.write_bytes(path.read_bytes()[:-1])
    files = sorted(tmp_path.rglob("*"))
    with opened(tmp_path) as checkpoints:
        with pytest.raises(ValueError, match="only damaged checkpoints") as error:
            checkpoints.set_damaged_aside()
        assert sorted(tmp_path.rglob("*")) == files
    assert "_METADATA is damaged" in str(error.value)
    assert "3" in str(error.value) and "6" in str(error.value)


def test_checkpoints_copied_without_their_seals_are_an_error(tmp_path):
    flips.make_pair(tmp_path)
    for path in tmp_path.rglob("seal.json"):
        path.unlink()
    with (
        opened(tmp_path) as checkpoints,
        pytest.raises(ValueError, match="only damaged checkpoints"),
    ):
        checkpoints.set_damaged_aside()


def test_other_frozen_weights_are_an_error(tmp_path):
    with closing(Checkpoints(tmp_path, frozen="ab" * 32)) as checkpoints:
        checkpoints.save(state(1))
    with (
        closing(Checkpoints(tmp_path, frozen="cd" * 32)) as checkpoints,
        pytest.raises(ValueError, match=r"SHA-256 cdcd.*trained with \(abab"),
    ):
        checkpoints.restore(state())


# ---- converted weights --------------------------------------------------------------


def test_weights_are_read_with_their_provenance(tmp_path):
    path = tmp_path / "vit.safetensors"
    arrays = {"backbone.x": np.arange(6, dtype=np.float32).reshape(2, 3)}
    save_file(arrays, path, {"source": json.dumps({"sha256": "ab"}), "note": "plain"})
    weights, provenance = read_weights(path)
    assert np.array_equal(weights["backbone.x"], arrays["backbone.x"])
    assert provenance == {"source": {"sha256": "ab"}, "note": "plain"}


@pytest.mark.parametrize("name", ["missing.safetensors", "vit.pth"])
def test_weights_that_are_no_safetensors_file_name_the_converter(tmp_path, name):
    (tmp_path / "vit.pth").write_bytes(b"PK")
    with pytest.raises(ValueError, match="crossearth convert dinov2") as error:
        read_weights(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_cut_weights_are_an_error(tmp_path):
    path = tmp_path / "vit.safetensors"
    save_file({"backbone.x": np.ones(1000, np.float32)}, path)
    whole = path.read_bytes()
    for size in (0, 5, 40, len(whole) - 4):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"damaged weights file .*vit\.saf"):
            read_weights(path)


PARAMS = {
    "backbone": {"a": np.zeros(2), "c": {0: np.zeros((2, 3))}},
    "rein": np.ones(1),
}
WEIGHTS = {"backbone.a": np.full(2, 5.0), "backbone.c.0": np.full((2, 3), 6.0)}


def test_fill_replaces_exactly_the_part_it_is_given():
    filled = fill(PARAMS, WEIGHTS | {"decoder.x": np.zeros(1)}, "backbone")
    assert jax.tree.structure(filled) == jax.tree.structure(PARAMS)
    assert filled["backbone"]["a"] is WEIGHTS["backbone.a"]
    assert filled["backbone"]["c"][0] is WEIGHTS["backbone.c.0"]
    assert filled["rein"] is PARAMS["rein"]
    assert not PARAMS["backbone"]["a"].any()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"backbone.a": np.zeros(2)}, r"backbone\.c\.0: only in the model"),
        (WEIGHTS | {"backbone.d": np.zeros(1)}, r"backbone\.d: only in the"),
        (WEIGHTS | {"backbone.a": np.zeros(3)}, r"backbone\.a: \(3,\) in the"),
        ({}, "2 arrays differ"),
    ],
)
def test_fill_is_strict(weights, message):
    with pytest.raises(ValueError, match=message):
        fill(PARAMS, weights, "backbone")


def test_parameters_are_read_without_knowing_the_architecture(tmp_path):
    with opened(tmp_path) as checkpoints:
        checkpoints.save(state(4, seed=2))
    step, params = read_parameters(tmp_path)
    wanted = dotted(state(seed=2).params)
    assert step == 4
    assert params.keys() == wanted.keys()
    assert all(np.array_equal(params[path], wanted[path]) for path in wanted)
