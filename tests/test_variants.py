"""Every row of the paper's Tables 8, 9 and 13 and every option, by config alone."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_run import abstract_model, device_batches, make_run, random_like

from crossearth_jax.build_data import build_restyle
from crossearth_jax.earth_style.restyle import FourierRestyle, StatisticsRestyle
from crossearth_jax.models.parameters import dotted
from crossearth_jax.run_settings import read_settings

pytestmark = pytest.mark.usefixtures("quick_compile")

NO_STYLE = {"style.probability": 0.0}
REIN = {"gse.enabled": False, "mim.enabled": False, **NO_STYLE}
STYLED = {"style.probability": 1.0}
# Half the blocks, each tapped twice, compile in half the time; none of the options
# below cares how many there are.
SHALLOW = {"backbone.depth": 2, "backbone.taps": (0, 0, 1, 1)}
# One row per compilation: several options share it where they do not interfere.
# (name, overrides, parameters that must be there, that must not, metrics)
RUNS = [
    (
        "Rein baseline, remat",
        {**REIN, "backbone.remat": True},
        {"rein.tokens_a"},
        {"gse", "injectors", "mim_decoder", "prompt"},
        set(),
    ),
    (
        "+GSE, attention replaces the feature, full-rank tokens, no ignored points",
        {
            "mim.enabled": False,
            **NO_STYLE,
            "injector.residual": False,
            "rein.rank": 0,
            "loss.exclude_ignored": True,
        },
        {"rein.tokens", "gse.convs.4.kernel", "injectors.3.attention.out.kernel"},
        {"mim_decoder", "prompt", "injectors.0.gamma", "rein.tokens_a"},
        set(),
    ),
    (
        "+GSE+MIM on DINOv3, linear decoder, MSE, product prompt, clipping, warm-up, "
        "gradient norms",
        {
            **NO_STYLE,
            "log.gradient_norms": True,
            "backbone.variant": "dinov3_tiny",
            "mim.decoder": "linear",
            "mim.prompt": "product",
            "mim.loss": "mse",
            "optim.clip_norm": 1.0,
            "optim.warmup_steps": 5,
            "optim.warmup_factor": 0.5,
        },
        {"backbone.blocks.1.attn.key.kernel", "mim_decoder.linear.kernel"},
        {"mim_decoder.convs"},
        {"mim"},
    ),
    (
        "full, ASPP, L1, Equation 5, target self, Fourier style per image",
        {
            "mim.decoder": "aspp",
            "mim.loss": "l1",
            "mim.target": "self",
            "style.polarity": "equation5",
            "style.transfer": "fourier",
            "style.per_image": True,
            **STYLED,
        },
        {"gse.convs.0.kernel", "mim_decoder.convs.3.kernel", "prompt"},
        {"mim_decoder.refine"},
        {"mim", "delta", "styled"},
    ),
    (
        "full, one shared ASPP, bfloat16, registers, statistics style, Injectors one "
        "after another, hidden blocks alone",
        {
            "injector.order": "sequential",
            "mim.pixels": "hidden",
            "mim.decoder": "aspp_shared",
            "precision": "bfloat16",
            "backbone.registers": 2,
            **STYLED,
        },
        {"mim_decoder.refine.kernel", "prompt", "backbone.register_tokens"},
        set(),
        {"mim", "delta", "styled"},
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [r[1:] for r in RUNS], ids=[r[0] for r in RUNS])
def test_variant_takes_two_steps(tiny_config, overrides):
    changes, there, absent, metrics = overrides
    config = tiny_config(**SHALLOW, **changes)
    run = make_run(config)
    names = set(dotted(run.state.params))
    assert there <= names
    for name in absent:
        assert not [n for n in names if n == name or n.startswith(name + ".")]
    # Parameters stay float32 whatever the compute type.
    assert {x.dtype for x in jax.tree.leaves(run.state.params)} == {jnp.dtype("f4")}
    before = jax.device_get(run.state.params)
    state = run.state
    for batch in itertools.islice(device_batches(config), 2):
        state, values = run.step_fn(state, run.frozen, batch, run.key)
        values = jax.device_get(values)
        assert all(np.isfinite(v) for v in values.values()), values
        extra = {"loss", "seg", "class", "mask", "dice", "gradient", "bad"}
        norms = {name for name in values if name.startswith("gradient/")}
        assert values.keys() - extra - norms == metrics
        wanted = {"gradient/seg/rein", "gradient/mim/rein"}
        assert norms >= wanted if changes.get("log.gradient_norms") else not norms
    assert int(state.step) == 2
    moved = jax.tree.map(
        lambda a, b: not np.array_equal(a, b), before, jax.device_get(state.params)
    )
    still = {path for path, changed in dotted(moved).items() if not changed}
    assert not still
    for path, x in dotted(state.params).items():
        assert bool(jnp.isfinite(x).all()), path


def test_options_reach_the_objects(tiny_config):
    """A config key that nothing reads would pass the runs above."""
    objective = read_settings(
        tiny_config(
            **{
                "loss.exclude_ignored": True,
                "loss.seg": 2.0,
                "loss.mim": 3.0,
                "loss.delta": 4.0,
                "mim.target": "self",
                "mim.prompt": "product",
                "mim.loss": "l1",
                "mim.ratio": 0.3,
                "mim.block": 4,
                "style.probability": 0.25,
                "style.polarity": "equation5",
                "style.per_image": True,
                "style.ratio": 0.2,
                "style.block": 16,
            }
        )
    ).objective
    assert objective.segmentation.exclude_ignored
    assert objective.weights == (2.0, 3.0, 4.0)
    masked, style = objective.masked, objective.style
    assert (masked.target, masked.prompt, masked.loss) == ("self", "product", "l1")
    assert (masked.ratio, masked.block) == (0.3, 4)
    assert (style.probability, style.polarity) == (0.25, "equation5")
    assert (style.per_image, style.ratio, style.block) == (True, 0.2, 16)
    off = read_settings(tiny_config(**REIN))
    assert off.objective.style is None and off.objective.masked is None
    assert build_restyle(off.style) is None


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("fourier", FourierRestyle), ("statistics", StatisticsRestyle)],
)
def test_stand_in_is_the_one_asked_for_and_says_so(tiny_config, kind, expected):
    settings = read_settings(tiny_config(**{"style.transfer": kind}))
    restyle = build_restyle(settings.style)
    assert type(restyle) is expected
    assert "STAND-IN" in restyle.description


def test_ghiasi_without_weights_is_an_error_not_a_stand_in(tiny_config):
    with pytest.raises(ValueError, match="crossearth convert style"):
        build_restyle(read_settings(tiny_config(**{"style.transfer": "ghiasi"})).style)


@pytest.mark.slow
def test_gse_with_gamma_zero_predicts_exactly_as_the_rein_baseline(tiny_config):
    full, rein = (abstract_model(tiny_config(**c)) for c in ({}, REIN))
    params = random_like(nnx.to_pure_dict(nnx.state(full)))
    image = jax.random.normal(jax.random.key(1), (1, 32, 32, 3))

    def scores(model, gamma):
        params["injectors"] = {
            i: p | {"gamma": np.full(32, gamma, np.float32)}
            for i, p in params["injectors"].items()
        }
        wanted = nnx.to_pure_dict(nnx.state(model))
        chosen = {name: params[name] for name in wanted}
        graph = nnx.graphdef(model)
        return jax.jit(lambda p: nnx.merge(graph, p).scores(image))(chosen)

    baseline = scores(rein, 0.0)
    assert np.array_equal(scores(full, 0.0), baseline)
    assert not np.allclose(scores(full, 1.0), baseline)
