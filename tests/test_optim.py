"""Schedule and parameter groups (method.md section 8)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_run import abstract_model

from crossearth_jax.build import build_schedule, check_schedule
from crossearth_jax.models.parameters import dotted
from crossearth_jax.optim import adamw, decay_mask, learning_rate

BETAS = {"betas": (0.9, 0.999), "eps": 1e-8}


def test_polynomial_decay_of_the_paper():
    """lr·(1 − k/39999)^0.9 at iteration k."""
    rate = learning_rate(1e-4, power=0.9, decay_steps=40_000)
    for k in (0, 1, 10_000, 29_999, 39_000):
        expected = 1e-4 * (1 - k / 39_999) ** 0.9
        assert float(rate(k)) == pytest.approx(expected, rel=1e-4)
    assert float(rate(39_999)) == 0
    assert float(rate(50_000)) == 0


def test_warm_up_is_linear_and_meets_the_decay():
    rate = learning_rate(
        6e-5, power=0.9, decay_steps=40_000, warmup_steps=10_000, warmup_factor=1e-6
    )
    assert float(rate(0)) == pytest.approx(6e-11, rel=1e-3)
    steps = np.array([float(rate(k)) for k in (1000, 2000, 3000)])
    assert steps[2] - steps[1] == pytest.approx(steps[1] - steps[0], rel=1e-3)
    assert float(rate(9_999)) == pytest.approx(6e-5, rel=1e-4)
    assert float(rate(10_000)) == pytest.approx(6e-5, rel=1e-4)
    assert float(rate(10_001)) < 6e-5


@pytest.fixture(scope="module")
def mask(tiny_config):
    model = abstract_model(tiny_config())
    return dotted(decay_mask(model, nnx.to_pure_dict(nnx.state(model))))


def test_no_decay_for_norms_tokens_scales_and_level_embed(mask):
    exempt = {path for path, decays in mask.items() if not decays}
    expected = {
        "rein.tokens_a",
        "rein.tokens_b",
        "rein.scale",
        "decoder.level_embed",
        *(f"injectors.{i}.gamma" for i in range(4)),
        *(f"backbone.blocks.{i}.{ls}" for i in range(4) for ls in ("ls1", "ls2")),
    }
    assert expected <= exempt
    # Everything else in there belongs to a norm.
    assert all("norm" in path.split(".")[-2] for path in exempt - expected)
    norms = {path for path in mask if "norm" in path.split(".")[-2:][0]}
    assert len(norms) > 20
    assert norms <= exempt


def test_decay_for_biases_and_the_pixel_decoders_level_encoding(mask):
    biases = [p for p in mask if p.endswith(".bias") and "norm" not in p.split(".")[-2]]
    assert len(biases) > 20
    assert all(mask[path] for path in biases)
    assert mask["decoder.pixel_decoder.level_encoding"]
    assert mask["prompt"]
    assert mask["rein.merge.kernel"]


def test_decay_pulls_only_masked_parameters():
    params = {"kernel": jnp.ones(3), "gain": jnp.ones(3)}
    optimiser = adamw(
        lambda _: 0.1, {"kernel": True, "gain": False}, weight_decay=0.05, **BETAS
    )
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimiser.update(zero, optimiser.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.1 * 0.05, rtol=1e-6)
    assert not updates["gain"].any()


def test_first_step_is_adams_and_follows_the_schedule():
    params = {"x": jnp.zeros(2)}
    optimiser = adamw(
        learning_rate(1e-2, power=1.0, decay_steps=11),
        {"x": True},
        weight_decay=0.05,
        **BETAS,
    )
    state = optimiser.init(params)
    for k in range(3):  # a constant gradient moves by the rate, whatever its size
        updates, state = optimiser.update({"x": jnp.array([3.0, -0.2])}, state, params)
        rate = 1e-2 * (1 - k / 10)
        np.testing.assert_allclose(updates["x"], [-rate, rate], rtol=1e-4)


@pytest.mark.parametrize(("clip", "kept"), [(0.0, 5.0), (1.0, 1.0), (50.0, 5.0)])
def test_clipping_bounds_the_global_norm(clip, kept):
    """Seen in Adam's first moment, which is 0.1 of the gradient it was given."""
    params = {"x": jnp.zeros(2), "y": jnp.zeros(1)}
    mask = {"x": True, "y": True}
    optimiser = adamw(lambda _: 1.0, mask, weight_decay=0.0, clip_norm=clip, **BETAS)
    gradient = {"x": jnp.array([3.0, 0.0]), "y": jnp.array([4.0])}
    _, state = optimiser.update(gradient, optimiser.init(params), params)
    moments = [v for path, v in dotted(state).items() if "mu" in path.split(".")]
    norm = float(jnp.sqrt(sum((m**2).sum() for m in moments)))
    assert norm == pytest.approx(0.1 * kept, rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"train.steps": 5000, "optim.decay_steps": 2020},
            r"rate is 0 from step 2020 on; set --config\.optim\.decay_steps=5000 too",
        ),
        ({"optim.lr": 0.0}, r"optim\.lr=0\.0"),
        ({"optim.lr": float("nan")}, r"optim\.lr=nan"),
        ({"optim.warmup_steps": 99, "optim.decay_steps": 100}, r"warmup_steps=99 with"),
    ],
)
def test_a_schedule_that_trains_nothing_is_refused(tiny_config, settings, message):
    with pytest.raises(ValueError, match=message):
        check_schedule(tiny_config(**settings))


def test_the_last_step_may_have_no_rate_left(tiny_config):
    config = tiny_config(**{"train.steps": 100, "optim.decay_steps": 100})
    check_schedule(config)
    assert float(build_schedule(config)(99)) == 0
    config.train.steps += 1
    with pytest.raises(ValueError, match=r"train\.steps=101"):
        check_schedule(config)
