"""What the compiled functions cost, counted at full size without running them.

The counts are XLA's, of the program as it is lowered for a GPU: there attention is one
product, not a loop whose turns XLA does not count. They follow from the code and the
version of JAX alone, so a change of more than 5 % is a change of the code.
"""

import json
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from crossearth_jax import build
from crossearth_jax.config import default
from crossearth_jax.data.pipeline import Batch
from crossearth_jax.models.crossearth import CrossEarth
from crossearth_jax.train import class_scores
from crossearth_jax.train_step import make_gradients, partition, trainable_mask

GOLDEN = Path(__file__).parent / "golden" / "cost.json"
NUM_CLASSES = 5
TERA = 1e12


def shapes_of(config, train_backbone=False):
    """Structure, trainable and frozen arrays of a model that is never made."""
    sizes = build._model_config(config, NUM_CLASSES, {})
    model = nnx.eval_shape(lambda: CrossEarth(sizes, rngs=nnx.Rngs(0)))
    params = nnx.to_pure_dict(nnx.state(model))
    mask = trainable_mask(params, train_backbone=train_backbone)
    return nnx.graphdef(model), *partition(params, mask)


def cost(function, *arguments):
    lowered = jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",))
    found = lowered.cost_analysis()
    return {"flops": found["flops"], "bytes": found["bytes accessed"]}


def step_cost(config, train_backbone=False):
    """Losses and gradients of one image, in a step without style."""
    graph, trainable, frozen = shapes_of(config, train_backbone)
    gradients = make_gradients(graph, None, build.build_objective(config))
    image = 1, config.data.crop, config.data.crop
    batch = Batch(
        jax.ShapeDtypeStruct((*image, 3), np.uint8),
        jax.ShapeDtypeStruct(image, np.uint8),
    )
    key = jax.eval_shape(lambda: jax.random.key(0))
    return cost(gradients, trainable, {"model": frozen, "restyle": {}}, batch, key)


def scores_cost(config):
    graph, trainable, frozen = shapes_of(config)
    image = jax.ShapeDtypeStruct((1, config.data.crop, config.data.crop, 3), np.float32)
    return cost(partial(class_scores, graph), trainable, frozen, image)


def full_size():
    config = default()
    config.style.probability = 0.0
    config.backbone.remat = False  # a loop too
    return config


@pytest.fixture(scope="module")
def costs():
    return {"step": step_cost(full_size()), "scores": scores_cost(full_size())}


def test_costs_have_not_changed_unnoticed(costs):
    known = json.loads(GOLDEN.read_text())
    if jax.__version__ not in known:
        pytest.skip(
            f"tests/golden/cost.json has no counts of jax {jax.__version__}: add "
            f"{json.dumps(costs)}"
        )
    for name, found in costs.items():
        for unit, count in found.items():
            assert count == pytest.approx(
                known[jax.__version__][name][unit], rel=0.05
            ), (
                f"{name} costs {count:.4g} {unit}: if that is meant, write it into "
                f"tests/golden/cost.json and the reason into the commit"
            )


def test_a_step_at_full_size_costs_what_the_method_needs(costs):
    """X and X_M through ViT-L and back to its input, the heads thrice: 3.7 TFLOP."""
    tokens, width, depth = 1025, 1024, 24
    attention = depth * 4 * tokens**2 * width
    expected = 3.7 * TERA + 2 * attention  # its weights are computed twice, not kept
    assert costs["step"]["flops"] == pytest.approx(expected, rel=0.15)
    assert costs["scores"]["flops"] == pytest.approx(0.9 * TERA, rel=0.15)


def test_frozen_weights_cost_no_weight_gradient():
    config = full_size()
    config.backbone.depth, config.backbone.taps = 4, (0, 1, 2, 3)
    config.decoder.decoder_layers, config.decoder.encoder_layers = 1, 1
    config.data.crop = 256
    frozen, trained = (step_cost(config, trains)["flops"] for trains in (False, True))
    tokens, width = 257, 1024
    of_weights = 2 * config.backbone.depth * 2 * tokens * 12 * width**2  # X and X_M
    assert trained - frozen == pytest.approx(of_weights, rel=0.05)
