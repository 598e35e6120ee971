"""What the compiled functions cost, counted at full size without running them.

The counts (`benchmarks.cost`) follow from the code and the version of JAX alone, so a
change of more than 5 % is a change of the code.
"""

import json
from pathlib import Path

import jax
import pytest

from benchmarks.cost import scores_cost, step_cost
from crossearth_jax.config import default

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
