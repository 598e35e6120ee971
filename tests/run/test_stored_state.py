"""On disk the optimiser's state has the arrays of the parameters, as it always had."""

from contextlib import closing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from crossearth_jax import optim
from crossearth_jax.models.parameters import dotted
from crossearth_jax.optim import adamw
from crossearth_jax.run import seal
from crossearth_jax.run.checkpoint import Checkpoints
from crossearth_jax.run.stored_state import restored, stored, stored_shapes
from crossearth_jax.train_step import TrainState

MASK = {"a": {0: True, 1: False}, "b": True}
ADAMW = {"eps": 1e-8, "weight_decay": 0.05}


@pytest.fixture(autouse=True, params=["on a CPU", "on a GPU"])
def platform(request, monkeypatch):
    monkeypatch.setattr(optim, "for_gpu", lambda: request.param == "on a GPU")
    return request.param


def parameters(seed):
    rng = np.random.default_rng(seed)
    shapes = {"a": {0: (2, 3), 1: (2,)}, "b": ()}
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.normal(size=shape), jnp.float32),
        shapes,
        is_leaf=lambda x: isinstance(x, tuple),
    )


def optimisers(clip):
    """Ours, and optax's on every array alone, whose state older checkpoints have."""
    schedule = optax.linear_schedule(1e-2, 0.0, 10)
    ours = adamw(schedule, MASK, betas=(0.9, 0.999), clip_norm=clip, **ADAMW)
    theirs = optax.adamw(schedule, 0.9, 0.999, mask=MASK, **ADAMW)
    if clip:
        theirs = optax.chain(optax.clip_by_global_norm(clip), theirs)
    return ours, theirs


def trained(optimiser, steps=3):
    params = parameters(0)
    state = optimiser.init(params)
    for k in range(steps):
        updates, state = optimiser.update(parameters(k + 1), state, params)
        params = optax.apply_updates(params, updates)
    return TrainState(params, state, jnp.int32(steps), jnp.int32(0))


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_step_is_optax_s_and_so_is_what_is_stored(clip, platform):
    ours, theirs = map(trained, optimisers(clip))
    expected, got = dotted(theirs), stored(ours)
    assert got.keys() == expected.keys() == stored_shapes(ours).keys()
    for path, x in expected.items():
        exact = 0 if platform == "on a CPU" else 2e-6
        np.testing.assert_allclose(got[path], x, rtol=exact, err_msg=path)
        assert stored_shapes(ours)[path].shape == x.shape


def test_a_state_comes_back_bitwise():
    state = trained(optimisers(0.0)[0])
    back = restored(stored(state), state)
    assert jax.tree.structure(back) == jax.tree.structure(state)
    for x, y in zip(jax.tree.leaves(back), jax.tree.leaves(state), strict=True):
        assert (x.dtype, x.tobytes()) == (y.dtype, y.tobytes())
        assert x.sharding == y.sharding


def test_a_run_of_an_older_version_goes_on(tmp_path):
    """Its checkpoint was written as Orbax writes optax's state itself."""
    ours, theirs = map(trained, optimisers(1.0))
    folder = tmp_path / "checkpoints"
    handler = ocp.StandardCheckpointHandler()
    with ocp.CheckpointManager(folder, item_handlers=handler) as manager:
        manager.save(3, args=ocp.args.StandardSave(dotted(theirs)))
    seal.write(folder / "3", {"step": 3, "frozen": None, "made": {}})
    with closing(Checkpoints(tmp_path)) as checkpoints:
        state = checkpoints.restore(ours)
    for path, x in dotted(theirs).items():
        assert np.array_equal(stored(state)[path], x), path
