"""Losses that are not finite: skipped and counted, or the end with a dump."""

import json
import re
from itertools import pairwise
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file
from small_run import device_batches, make_run, write_backbone

from benchmarks.reliability.runs import final_state
from crossearth_jax import train
from crossearth_jax.commands import replay
from crossearth_jax.models.parameters import dotted
from crossearth_jax.run.guard import LAG, LossGuard

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compile")]
PLAIN = {  # compiles sooner
    "backbone.depth": 1,
    "backbone.taps": (0, 0, 0, 0),
    "gse.enabled": False,
    "mim.enabled": False,
    "style.probability": 0.0,
}
PATIENCE = 2


@pytest.fixture(scope="module")
def stepper(tiny_config, tmp_path_factory, quick_compile):
    """Runs the tiny step on one batch; some steps see a NaN in a frozen weight."""
    path = tmp_path_factory.mktemp("weights") / "vit.safetensors"
    limits = {"train.on_nan": "skip", "train.nan_patience": PATIENCE}
    config = tiny_config(**PLAIN, **limits)
    write_backbone(config, path)
    config.backbone.weights, config.backbone.trainable = str(path), False
    run = make_run(config)
    batch = next(device_batches(config))
    first = jax.device_get(run.state)
    leaves, structure = jax.tree.flatten(run.frozen)
    poisoned = jax.tree.unflatten(structure, [leaves[0] * jnp.nan, *leaves[1:]])

    def steps(pattern: str):
        """States (before and after each step) and metrics; "b" is a bad step."""
        state = jax.device_put(first, jax.tree.map(lambda x: x.sharding, run.state))
        states, metrics = [first], []
        for kind in pattern:
            frozen = poisoned if kind == "b" else run.frozen
            state, values = run.step_fn(state, frozen, batch, run.key)
            states.append(jax.tree.map(np.array, state))
            metrics.append(values)
        return states, metrics

    return SimpleNamespace(steps=steps, batch=jax.device_get(batch))


def moved(before, after):
    """Whether any parameter or moment changed."""
    a = jax.tree.leaves((before.params, before.opt_state))
    b = jax.tree.leaves((after.params, after.opt_state))
    return any(x.tobytes() != y.tobytes() for x, y in zip(a, b, strict=True))


def test_a_bad_step_changes_nothing_but_the_counts(stepper):
    states, metrics = stepper.steps("gbgb")
    assert [moved(*pair) for pair in pairwise(states)] == [True, False, True, False]
    assert [int(s.step) for s in states] == [0, 1, 2, 3, 4]
    assert [int(s.bad) for s in states] == [0, 0, 1, 0, 1]
    assert [bool(np.isfinite(m["loss"])) for m in metrics] == [True, False, True, False]


def test_after_too_many_nothing_changes_any_more(stepper):
    states, _ = stepper.steps("gbbg")
    assert int(states[2].step) == 2  # one bad step is skipped
    # The second one ends it: the step before it stays, even for a good batch.
    for state in states[3:]:
        assert int(state.step) == 2
        assert not moved(states[1], state)
    assert int(states[-1].bad) >= PATIENCE


def guard_over(stepper, pattern, workdir, patience=PATIENCE):
    """Pushes steps as the loop does."""
    (workdir / "config.json").write_text('{"name": "tiny"}')
    guard = LossGuard(
        workdir,
        lambda step: (f"image{step}.png",),
        patience=patience,
        class_weights=(1.0, 2.5),
    )
    states, metrics = stepper.steps(pattern)
    for step, values in enumerate(metrics):
        guard.push(step, values, stepper.batch, states[step + 1])
    guard.flush(states[-1])
    return guard


def test_single_bad_steps_are_said_and_counted(stepper, tmp_path, caplog):
    guard = guard_over(stepper, "gbgbg", tmp_path)
    assert guard.skipped == 2
    said = [r.getMessage() for r in caplog.records if "skipped" in r.getMessage()]
    assert [line.split(" is not")[0] for line in said] == ["step 1", "step 3"]
    assert "images: image3.png" in said[1]
    assert not (tmp_path / "nonfinite").exists()


def test_too_many_in_a_row_end_the_run_with_a_dump(stepper, tmp_path):
    with pytest.raises(ValueError, match="loss of step 2 is not finite, 2 in a row"):
        guard_over(stepper, "gbbggg", tmp_path)
    folder = tmp_path / "nonfinite" / "step_2"
    files = {path.name for path in folder.iterdir()}
    assert files == {
        "batch.0.safetensors",
        "about.0.json",
        "params.safetensors",
        "config.json",
    }
    before = dotted(stepper.steps("g")[0][-1].params)
    dumped = load_file(folder / "params.safetensors")
    assert dumped.keys() == before.keys()
    assert all(dumped[k].tobytes() == before[k].tobytes() for k in before)
    batch = load_file(folder / "batch.0.safetensors")
    assert np.array_equal(batch["image"], stepper.batch.image)
    assert np.array_equal(batch["label"], stepper.batch.label)
    about = json.loads((folder / "about.0.json").read_text())
    assert about["names"] == ["image2.png"]
    assert about["metrics"]["loss"] == "nan"
    assert about["class_weights"] == [1.0, 2.5]  # the labels may have given them


def test_the_last_steps_are_checked_too(stepper, tmp_path):
    assert LAG > 0
    with pytest.raises(ValueError, match="loss of step 1 is not finite"):
        guard_over(stepper, "gb", tmp_path, patience=1)


def test_a_run_that_diverges_ends_in_one_line(tiny_config, tmp_path, capsys):
    config = tiny_config(
        **PLAIN,
        **{
            "optim.lr": 1e30,
            "optim.warmup_steps": 0,
            "train.steps": 9,
            "train.checkpoint_every": 1,
            "data.eval_scenes": 1,
        },
    )
    with pytest.raises(ValueError, match="is not finite, 1 in a row") as error:
        train.train(config, tmp_path)
    assert len(str(error.value).splitlines()) == 1
    (folder,) = (tmp_path / "nonfinite").iterdir()
    assert str(folder) in str(error.value)
    step = int(folder.name.removeprefix("step_"))
    dumped = load_file(folder / "params.safetensors")
    assert all(np.isfinite(x).all() for x in dumped.values())
    # The checkpoint after the step before holds what the bad step began with.
    saved, arrays = final_state(tmp_path)
    assert saved == step
    assert all(dumped[k].tobytes() == arrays[f"params.{k}"].tobytes() for k in dumped)
    capsys.readouterr()
    assert replay.main([str(folder)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"step {step}, images: ")
    assert re.search(r"\nloss +nan\n", shown)
    assert re.search(
        r"[1-9]\d* of \d+ gradients hold values that are not finite", shown
    )
