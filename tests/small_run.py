"""A training run of a tiny configuration, taken apart for tests."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import PyTree
from ml_collections import ConfigDict
from safetensors.numpy import save_file

from crossearth_jax import build, train
from crossearth_jax.build_data import build_data
from crossearth_jax.data.pipeline import Batch, train_batches
from crossearth_jax.models.crossearth import CrossEarth
from crossearth_jax.models.parameters import dotted
from crossearth_jax.run import setup
from crossearth_jax.run_settings import read_settings
from crossearth_jax.system import sharding
from crossearth_jax.train_step import TrainState

NUM_CLASSES = 5


@dataclasses.dataclass
class SmallRun:
    """What `train` builds before its loop, placed on devices as there."""

    network: build.Network
    optimiser: optax.GradientTransformation
    step_fn: Callable
    state: TrainState
    frozen: dict
    key: jax.Array


def make_run(config: ConfigDict) -> SmallRun:
    run = train.set_up(config)
    step_fn, frozen = setup.make_step(run)
    key = sharding.replicate(jax.random.key(0), run.mesh)
    return SmallRun(run.network, run.optimiser, step_fn, run.state, frozen, key)


def device_batches(config: ConfigDict) -> Iterator[Batch]:
    mesh, size = sharding.make_mesh(), config.train.batch_size
    settings = read_settings(config)
    source = build_data(settings.data).train
    for batch in train_batches(source, settings.augment, batch_size=size, seed=0):
        yield sharding.shard_batch(batch, size, mesh)


def abstract_model(config: ConfigDict, num_classes: int = NUM_CLASSES) -> CrossEarth:
    """The model's structure; takes no memory."""
    sizes = build.model_config(config, num_classes)
    return nnx.eval_shape(lambda: CrossEarth(sizes, rngs=nnx.Rngs(0)))


def random_like(tree: PyTree, seed: int = 0) -> PyTree:
    """Small random float32 arrays of the shapes of a tree."""
    rng = np.random.default_rng(seed)

    def draw(x: jax.ShapeDtypeStruct) -> jax.Array:
        return jnp.asarray(rng.normal(0, 0.1, x.shape), jnp.float32)

    return jax.tree.map(draw, tree)


def write_backbone(config: ConfigDict, path: Path) -> dict[str, np.ndarray]:
    """Random weights of the backbone as the converter stores them."""
    params = nnx.to_pure_dict(nnx.state(abstract_model(config)))
    weights = dotted({"backbone": random_like(params["backbone"])})
    weights = {k: np.ascontiguousarray(v) for k, v in weights.items()}
    save_file(weights, path)
    return weights
