"""Training, evaluation and prediction lower for CPU, GPU and TPU on any machine."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from small_run import NUM_CLASSES, make_run

from crossearth_jax.data.pipeline import Batch
from crossearth_jax.scoring.score_fn import class_scores

PLATFORMS = ("cpu", "cuda", "tpu")


@pytest.fixture(scope="module")
def run(tiny_config, quick_compile):
    # Every part of the step: styled and plain, both flows, both decoders.
    return make_run(tiny_config(**{"style.probability": 0.5}))


def shapes(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def lowered(function, *arguments) -> export.Exported:
    return export.export(jax.jit(function), platforms=PLATFORMS)(*arguments)


def custom_calls(exported: export.Exported) -> set[str]:
    """What the modules ask of something else than the compiler."""
    calls = re.findall(r"custom_call @([\w.]+)", exported.mlir_module())
    return set(calls) - {"Sharding", "shape_assertion"}


@pytest.mark.slow
def test_train_step_lowers_for_every_platform(run, tiny_config):
    size, crop = tiny_config().train.batch_size, tiny_config().data.crop
    batch = Batch(
        np.zeros((size, crop, crop, 3), np.uint8),
        np.zeros((size, crop, crop), np.uint8),
    )
    raw = jax.random.key_data(run.key)  # typed keys are no arguments of an export

    def step(state, frozen, batch, raw):
        key = jax.random.wrap_key_data(raw)
        # Compiler options, of a CPU, are for a function that is compiled by itself.
        return run.step_fn.__wrapped__(state, frozen, batch, key)

    exported = lowered(step, *shapes((run.state, run.frozen, batch, raw)))
    assert exported.platforms == PLATFORMS
    assert not custom_calls(exported)
    state, metrics = exported.out_tree.unflatten(exported.out_avals)
    assert shapes(state) == shapes(run.state)
    assert metrics.keys() >= {"loss", "seg", "mim", "delta", "gradient"}


@pytest.mark.slow
@pytest.mark.parametrize("batch", [4, "b"])
def test_scores_lower_for_every_platform(run, tiny_config, batch):
    """The function that evaluation and prediction run; "b" is any batch."""
    crop = tiny_config().data.crop
    size = export.symbolic_shape(f"{batch}, {crop}, {crop}, 3")
    exported = lowered(
        partial(class_scores, run.network.graph),
        *shapes((run.network.trainable, run.network.frozen)),
        jax.ShapeDtypeStruct(size, np.float32),
    )
    assert exported.platforms == PLATFORMS
    assert not custom_calls(exported)
    (out,) = exported.out_avals
    assert (str(out.shape[0]), *out.shape[1:]) == (str(batch), crop, crop, NUM_CLASSES)


def test_a_call_back_into_python_would_be_refused():
    def doubled(x):
        return jax.pure_callback(lambda y: 2 * y, x, x)

    with pytest.raises(NotImplementedError, match="host_callbacks"):
        export.export(jax.jit(doubled), platforms=("cpu",))(np.float32(1))


def test_custom_calls_would_be_seen():
    matrix = jax.ShapeDtypeStruct((3, 3), np.float32)
    exported = export.export(jax.jit(jnp.linalg.eigh), platforms=("cpu",))(matrix)
    assert custom_calls(exported)
