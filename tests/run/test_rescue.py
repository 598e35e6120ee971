"""An error in the loop loses no step; running out of memory is one line."""

import shutil
from contextlib import closing
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from crossearth_jax import train
from crossearth_jax.run.checkpoint import Checkpoints
from crossearth_jax.run.first_step import compiled_step
from crossearth_jax.run.lock import Gone
from crossearth_jax.run.rescue import save_before_leaving
from crossearth_jax.system import device_memory
from crossearth_jax.system.device_memory import out_of_memory_in_words
from crossearth_jax.train_step import TrainState

pytestmark = pytest.mark.slow

SMALL = {
    "train.steps": 5,
    "train.checkpoint_every": 100,
    "mim.enabled": False,
    "gse.enabled": False,
    "style.probability": 0.0,
    "data.eval_scenes": 1,
}


@pytest.fixture
def config(tiny_config, monkeypatch, quick_compile):
    monkeypatch.setattr(train, "score", lambda *arguments: {"domains": {}})
    return tiny_config(**SMALL)


def newest(workdir):
    with closing(Checkpoints(workdir, read_only=True)) as saved:
        return saved.latest()


def failing(monkeypatch, step, error):
    """Batches that end in an error before a step."""
    real = train.batches

    def batches(setup, start):
        stream = real(setup, start)
        ordinary = type(stream).__next__
        count = iter(range(start, 99))

        class Failing(type(stream)):
            def __next__(self):
                if next(count) == step:
                    raise error
                return ordinary(self)

        stream.__class__ = Failing
        return stream

    monkeypatch.setattr(train, "batches", batches)


def test_a_bad_file_in_the_loop_saves_and_leaves(config, tmp_path, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        failing(patch, 3, ValueError("label t07.png: got label value 9"))
        with pytest.raises(ValueError, match="t07"):
            train.train(config, tmp_path / "run")
    assert "step 3 is saved: the same command goes on there" in caplog.text
    assert newest(tmp_path / "run") == 3
    train.train(config, tmp_path / "run")
    train.train(config, tmp_path / "whole")
    logs = [tmp_path / name / "metrics.jsonl" for name in ("run", "whole")]
    assert logs[0].read_text() == logs[1].read_text()


@pytest.mark.parametrize(
    ("bad", "kept"), [(0, 0), (1, 1), (2, 1), (4, 1)], ids=lambda n: f"bad{n}"
)
def test_a_bad_step_that_ends_a_run_is_met_again(bad, kept):
    """The saved state is the one that the last bad step began with."""
    state = TrainState({"a": jnp.ones(2)}, (), jnp.int32(7), jnp.int32(bad))
    found = []
    saved = SimpleNamespace(save=lambda s: found.append(s) or True, wait=lambda: None)
    save_before_leaving(saved, state, ValueError(), start=0, patience=2)
    assert int(found[0].bad) == kept and int(found[0].step) == 7


@pytest.mark.parametrize("why", ["gone", "nothing new", "donated", "disk", "hosts"])
def test_what_cannot_be_saved_does_not_hide_the_error(why, monkeypatch, caplog):
    state = TrainState({"a": jnp.ones(2)}, (), jnp.int32(7), jnp.int32(0))
    error = Gone() if why == "gone" else ValueError()
    start = 7 if why == "nothing new" else 0
    if why == "donated":
        state.params["a"].delete()
    if why == "hosts":
        monkeypatch.setattr(jax, "process_count", lambda: 2)
    calls = []

    def save(state):
        calls.append(state)
        raise OSError("full")

    saved = SimpleNamespace(save=save, wait=lambda: None)
    save_before_leaving(saved, state, error, start=start, patience=1)
    assert bool(calls) == (why == "disk")
    assert ("could not be saved: full" in caplog.text) == (why == "disk")


def test_a_workdir_that_is_gone_ends_the_run_and_stays_gone(
    config, tmp_path, monkeypatch
):
    workdir, write = tmp_path / "run", train.RunLog.write

    def delete(self, step, *rest):
        write(self, step, *rest)
        if step == 2:
            shutil.rmtree(workdir)

    monkeypatch.setattr(train.RunLog, "write", delete)
    with pytest.raises(OSError, match="is gone: it was deleted, moved or replaced"):
        train.train(config, workdir)
    assert not workdir.exists()


# ---- memory --------------------------------------------------------------------------

XLA = """RESOURCE_EXHAUSTED: Out of memory while trying to allocate 12345 bytes.
BufferAssignment OOM Debugging.
  20 more lines
"""


@pytest.mark.parametrize("error", [jax.errors.JaxRuntimeError(XLA), MemoryError()])
def test_out_of_memory_is_one_line_with_what_helps(error):
    with pytest.raises(ValueError) as said, out_of_memory_in_words():
        raise error
    message = str(said.value)
    assert len(message.splitlines()) == 1
    for key in ("batch_size", "accumulate", "remat", "precision", "crop", "fsdp"):
        assert key in message
    if str(error):
        assert "trying to allocate 12345 bytes" in message


def test_other_errors_of_the_runtime_stay_as_they_are():
    with pytest.raises(RuntimeError, match="INTERNAL"), out_of_memory_in_words():
        raise RuntimeError("INTERNAL: a bug")


def test_a_step_is_announced_with_its_memory(capsys, monkeypatch, caplog):
    step = jax.jit(lambda x: (x @ x).sum())
    x = jnp.ones((500, 500))
    assert compiled_step(step, x)(x) == 500**3
    said = capsys.readouterr().out
    assert said.startswith(
        "compiling the step, about 20 s the first time\na step needs"
    )
    assert not caplog.text
    monkeypatch.setattr(device_memory, "available", lambda: 1_000_000)
    compiled_step(step, x)
    assert "this will not fit: set a smaller train.batch_size" in caplog.text
    needs = device_memory.needed(step.lower(x).compile())
    assert 1_000_000 <= needs < 10_000_000
    assert device_memory.most_in_use() > 10_000_000
