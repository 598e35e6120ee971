"""Learning rate, parameter groups and sizes of the full ViT-L configuration."""

import json
import math
from functools import cache

import jax
import numpy as np
import pytest
from flax import nnx
from outside import FIXTURES, needs_fixtures

from crossearth_jax.models.crossearth import CrossEarth, ModelConfig
from crossearth_jax.models.parameters import dotted
from crossearth_jax.optim import decay_mask, learning_rate
from weights_convert.crossearth import mmseg_rules
from weights_convert.mapping import find_moves, plan_moves

pytestmark = needs_fixtures("schedule.json")
SCHEDULES = {
    "config_512": {"lr": 1e-4},
    "config_1024": {"lr": 6e-5, "warmup_steps": 10_000},
}


@cache
def schedule_file():
    return json.loads((FIXTURES / "schedule.json").read_text())


@cache
def full_model():
    """ViT-L at 512 with 5 classes, shapes only, and its trainable part."""
    config = ModelConfig(num_classes=5, gse=False, mim=False)
    model = nnx.eval_shape(lambda: CrossEarth(config, rngs=nnx.Rngs(0)))
    params = nnx.to_pure_dict(nnx.state(model))
    return model, {k: v for k, v in params.items() if k != "backbone"}


@pytest.mark.parametrize("name", SCHEDULES)
def test_learning_rate(name):
    curve = schedule_file()[name]["lr_at_iteration"]
    schedule = learning_rate(
        **SCHEDULES[name], power=0.9, decay_steps=40_000, warmup_factor=1e-6
    )
    steps = np.array([int(k) for k in curve])
    got = np.asarray(jax.jit(jax.vmap(schedule))(steps))
    np.testing.assert_allclose(got, [*curve.values()], rtol=2e-6, atol=1e-13)


@pytest.mark.slow
def test_parameter_groups():
    model, trainable = full_model()
    groups = schedule_file()["param_groups_512"]
    shapes = {group["name"]: tuple(group["shape"]) for group in groups}
    ours = {key: leaf.shape for key, leaf in dotted(trainable).items()}
    plan_moves(shapes, mmseg_rules(), ours)  # raises unless both sides match exactly
    decays = dotted(decay_mask(model, trainable))
    checked = set()
    for group in groups:
        [move] = find_moves(group["name"], mmseg_rules())
        for target in move.targets:
            assert decays[target] == (group["weight_decay"] > 0), target
            checked.add(target)
        assert group["weight_decay"] in (0, 0.05)
        assert group["lr"] == 1e-4
    assert checked == ours.keys()


@pytest.mark.slow
def test_parameter_counts():
    _, trainable = full_model()
    counts = schedule_file()["param_counts_512_5classes"]
    sizes = {key: math.prod(leaf.shape) for key, leaf in dotted(trainable).items()}
    assert sum(sizes.values()) == counts["model"]["trainable"]
    reins = sum(size for key, size in sizes.items() if key.startswith("rein."))
    assert reins == counts["backbone"]["trainable"]
