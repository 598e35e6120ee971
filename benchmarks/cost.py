"""What the compiled functions cost, counted without running or compiling them.

The counts are XLA's, of the program as it is lowered for a GPU: there attention is one
product, not a loop whose turns XLA does not count. Blocks are not recomputed in what is
counted, for the same reason: a recomputed step costs one more pass of the backbone.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import PyTree
from ml_collections import ConfigDict

from crossearth_jax import build
from crossearth_jax.data.pipeline import Batch
from crossearth_jax.models.parameters import partition, trainable_mask
from crossearth_jax.run_settings import read_settings
from crossearth_jax.scoring.score_fn import class_scores
from crossearth_jax.train_step import make_gradients

Cost = dict[str, float]


def countable(config: ConfigDict) -> ConfigDict:
    """A copy without loops, and without the style branch of one step in ten."""
    config = config.copy_and_resolve_references()
    config.style.probability = 0.0
    config.backbone.remat = False
    return config


def step_cost(
    config: ConfigDict, classes: int, *, train_backbone: bool = False
) -> Cost:
    """Operations and bytes of the losses and gradients of a batch."""
    config = countable(config)
    graph, trainable, frozen = shapes_of(config, classes, train_backbone)
    gradients = make_gradients(graph, None, read_settings(config).objective)
    image = config.train.batch_size, config.data.crop, config.data.crop
    batch = Batch(
        jax.ShapeDtypeStruct((*image, 3), np.uint8),
        jax.ShapeDtypeStruct(image, np.uint8),
    )
    key = jax.eval_shape(lambda: jax.random.key(0))
    return cost(gradients, trainable, {"model": frozen, "restyle": {}}, batch, key)


def scores_cost(config: ConfigDict, classes: int) -> Cost:
    """Operations and bytes of the scores of one window."""
    graph, trainable, frozen = shapes_of(countable(config), classes)
    image = jax.ShapeDtypeStruct((1, config.data.crop, config.data.crop, 3), np.float32)
    return cost(partial(class_scores, graph), trainable, frozen, image)


def shapes_of(
    config: ConfigDict, classes: int, train_backbone: bool = False
) -> tuple[nnx.GraphDef, PyTree, PyTree]:
    """Structure, trainable and frozen arrays of a model that is never made."""
    sizes = build.model_config(config, classes)
    model = nnx.eval_shape(partial(build.new_model, config, sizes))
    params = nnx.to_pure_dict(nnx.state(model))
    mask = trainable_mask(params, train_backbone=train_backbone)
    return nnx.graphdef(model), *partition(params, mask)


def cost(function: Callable[..., Any], *arguments: Any) -> Cost:
    """Of any function of arrays or shapes."""
    lowered = jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",))
    found = lowered.cost_analysis()
    return {"flops": found["flops"], "bytes": found["bytes accessed"]}
