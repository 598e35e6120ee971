"""The run's own step and scores, traced on shapes and compiled for absent devices."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from functools import partial
from typing import Any
from unittest import mock

import jax
import numpy as np
from flax import nnx
from jax.experimental import topologies
from jax.sharding import Mesh
from ml_collections import ConfigDict

from benchmarks.accelerator.plugins import check_plugin
from benchmarks.accelerator.targets import Target
from benchmarks.our_side import NO_DATA
from crossearth_jax import build
from crossearth_jax.build_data import build_restyle
from crossearth_jax.models import precision
from crossearth_jax.models.parameters import partition, trainable_mask
from crossearth_jax.run import first_step
from crossearth_jax.run.first_step import placed
from crossearth_jax.run.setup import TrainingSetup, jitted_step
from crossearth_jax.run_settings import read_settings
from crossearth_jax.scoring.score_fn import jitted_scores
from crossearth_jax.system import sharding
from crossearth_jax.system.compiling import traced_for
from crossearth_jax.train_step import TrainState

# Nothing can be tried out without the device, and Triton's products fail for some small
# shapes where they are not: all go to cuBLAS.
OPTIONS = {"cuda": {"xla_gpu_enable_triton_gemm": False}, "tpu": {}}


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A program for an absent device.

    Attributes:
      program: as JAX has it.
      seconds: that compiling took, without tracing and lowering.
      processor: seconds of all cores that it took.
    """

    program: Any
    seconds: float
    processor: float


def compiled(
    config: ConfigDict, classes: int, what: str, target: Target, devices: int
) -> Compiled:
    """The step or the scores of a configuration, for so many devices.

    Raises:
      ImportError: the compiler for the target is not installed.
      ValueError: the devices do not fit the target or the batch.
    """
    check_plugin(target.platform)
    mesh = mesh_of(target, devices, config.train.fsdp)
    trace = {"step": traced_step, "scores": traced_scores}[what]
    with traced_for(mesh.devices.flat[0]), whole_stacks():
        lowered = trace(config, classes, mesh).lower(
            lowering_platforms=(target.platform,)
        )
    start, before = time.perf_counter(), time.process_time()
    program = lowered.compile(compiler_options=OPTIONS[target.platform])
    return Compiled(program, time.perf_counter() - start, time.process_time() - before)


def mesh_of(target: Target, devices: int, fsdp: int = 1) -> Mesh:
    """The run's mesh over absent devices.

    Raises:
      ValueError: a TPU has no such number of chips.
    """
    if target.platform == "cuda":
        topology = topologies.get_topology_desc(
            target.key,
            platform="cuda",
            target_config=target.description,
            topology=f"1x1x{devices}",
        )
        return sharding.make_mesh(fsdp, list(topology.devices))
    known = target.topologies or {}
    if str(devices) not in known:
        raise ValueError(
            f"got {devices} devices of {target.key}, expected {', '.join(known)}"
        )
    layout = known[str(devices)]
    whole_host = {"chips_per_host_bounds": (1,) * 3} if devices == 1 else {}
    topology = topologies.get_topology_desc(
        f"{target.key}:{layout}", platform="tpu", **whole_host
    )
    return sharding.make_mesh(fsdp, list(topology.devices))


@contextlib.contextmanager
def three_passes(target: Target) -> Iterator[None]:
    """Products that are true float32 take three of TF32, or on a TPU of bfloat16."""
    presets = {
        "cuda": jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3,
        "tpu": jax.lax.DotAlgorithmPreset.BF16_BF16_F32_X3,
    }
    instead = {precision.Arithmetic.FLOAT32: presets[target.platform]}
    with mock.patch.dict(precision.EVERYWHERE, instead):
        yield


@contextlib.contextmanager
def whole_stacks() -> Iterator[None]:
    """Instructions within keep all callers: JAX's ten do not reach us from optax."""
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, -1)
    try:
        yield
    finally:
        jax.config.update(name, before)


def traced_step(config: ConfigDict, classes: int, mesh: Mesh) -> Any:
    """The training step as `train` calls it."""
    settings, network = read_settings(config), abstract_network(config, classes)
    schedule = build.build_schedule(config)
    optimiser = build.build_optimiser(config, network, schedule)
    count = jax.ShapeDtypeStruct((), np.int32)
    opt_state = jax.eval_shape(optimiser.init, network.trainable)
    state = TrainState(network.trainable, opt_state, step=count, bad=count)
    restyle = build_restyle(settings.style)
    setup = TrainingSetup(
        settings, mesh, NO_DATA, restyle, network, schedule, optimiser, state
    )
    step, frozen = jitted_step(setup)
    images, crop = config.train.batch_size, config.data.crop
    return first_step.traced_step(step, state, frozen, images, crop, mesh)


def traced_scores(config: ConfigDict, classes: int, mesh: Mesh) -> Any:
    """Scores of windows as evaluation and prediction call them."""
    network, crop = abstract_network(config, classes), config.data.crop
    windows = jax.ShapeDtypeStruct((config.train.batch_size, crop, crop, 3), np.float32)
    everywhere = sharding.replicated(mesh)
    return jitted_scores(network.graph, mesh).trace(
        placed(network.trainable, everywhere),
        placed(network.frozen, everywhere),
        placed(windows, sharding.batch_split(mesh)),
    )


def abstract_network(config: ConfigDict, classes: int) -> build.Network:
    """`build.build_network`'s, with shapes for arrays."""
    sizes = build.model_config(config, classes)
    model = nnx.eval_shape(partial(build.new_model, config, sizes))
    params = nnx.to_pure_dict(nnx.state(model))
    mask = trainable_mask(params, train_backbone=config.backbone.trainable)
    trainable, frozen = partition(params, mask)
    kind = precision.arithmetic_of(config.precision).dtype
    frozen = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, kind), frozen)
    return build.Network(nnx.graphdef(model), trainable, frozen, model, "")
