"""What the compiled functions cost, counted at full size without running them.

The counts (`benchmarks.cost`) follow from the code and the version of JAX alone, so a
change of more than 5 % is a change of the code.
"""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from benchmarks.cost import scores_cost, step_cost
from crossearth_jax.config import default
from crossearth_jax.models.dinov2 import DinoV2, ViTConfig
from crossearth_jax.models.initial_keys import InitialKeys
from crossearth_jax.models.rein import Rein
from crossearth_jax.paper.settings import STEP_TFLOP
from crossearth_jax.system.compiling import lean_schedule

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parent / "golden" / "cost.json"
NUM_CLASSES = 5
TERA = 1e12


@pytest.fixture(scope="module")
def costs():
    return {
        "step": step_cost(default(), NUM_CLASSES),
        "scores": scores_cost(default(), NUM_CLASSES),
    }


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


def test_hours_are_estimated_from_these_counts(costs):
    counted = round(costs["step"]["flops"] / TERA, 1)
    assert counted == STEP_TFLOP[512]


def test_a_step_at_full_size_costs_what_the_method_needs(costs):
    """X and X_M through ViT-L and back to its input, the heads thrice: 3.7 TFLOP."""
    tokens, width, depth = 1025, 1024, 24
    attention = depth * 4 * tokens**2 * width
    expected = 3.7 * TERA + 2 * attention  # its weights are computed twice, not kept
    assert costs["step"]["flops"] == pytest.approx(expected, rel=0.15)
    assert costs["scores"]["flops"] == pytest.approx(0.9 * TERA, rel=0.15)


def test_frozen_weights_cost_no_weight_gradient():
    config = default()
    config.backbone.depth, config.backbone.taps = 4, (0, 1, 2, 3)
    config.decoder.decoder_layers, config.decoder.encoder_layers = 1, 1
    config.data.crop = 256
    frozen, trained = (
        step_cost(config, NUM_CLASSES, train_backbone=trains)["flops"]
        for trains in (False, True)
    )
    tokens, width = 257, 1024
    of_weights = 2 * config.backbone.depth * 2 * tokens * 12 * width**2  # X and X_M
    assert trained - frozen == pytest.approx(of_weights, rel=0.05)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="counted on a CPU")
def test_a_block_keeps_for_its_derivative_what_that_needs():
    """In [B, T, C] arrays: x before each half, q, k, v, four of the MLP, two of Rein.

    XLA may keep a little more or less; copies that came back would be three or more.
    """
    temporaries = {depth: blocks_memory(depth) for depth in (4, 8)}
    tokens, width = 24 * 24 + 1, 256
    kept = (temporaries[8] - temporaries[4]) / 4 / (tokens * width * 4)
    assert 9 < kept < 12.5, kept


def blocks_memory(depth: int) -> int:
    """Bytes of temporaries of the derivative of a frozen ViT by its Rein adapters."""
    config = ViTConfig(
        width=256, depth=depth, heads=4, taps=tuple(range(depth - 4, depth)), grid=24
    )

    def create() -> nnx.Dict:
        make = {"rngs": InitialKeys(0)}
        rein = Rein(
            depth=depth, width=256, query_width=32, num_tokens=10, rank=4,
            patch_size=16, scale=1e-3, **make,
        )  # fmt: skip
        return nnx.Dict(backbone=DinoV2(config, **make), rein=rein)

    graph, state = nnx.split(nnx.eval_shape(create))
    params = nnx.to_pure_dict(state)

    def loss(rein, backbone, image):
        model = nnx.merge(graph, {"rein": rein, "backbone": backbone})
        taps = model["backbone"](image, model["rein"])
        return sum((tap**2).mean() for tap in taps)

    image = jax.ShapeDtypeStruct((1, 384, 384, 3), np.float32)
    gradient = jax.jit(jax.grad(loss), compiler_options=lean_schedule())
    lowered = gradient.lower(params["rein"], params["backbone"], image)
    return lowered.compile().memory_analysis().temp_size_in_bytes
