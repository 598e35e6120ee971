"""The training step: what it freezes, what it compiles, what flows where."""

import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_run import abstract_model, device_batches, make_run, write_backbone

from crossearth_jax import train_step
from crossearth_jax.build_data import build_restyle
from crossearth_jax.data.pipeline import Batch
from crossearth_jax.earth_style.views import MaskedModelling, StyleInjection
from crossearth_jax.losses.segmentation import SegmentationLoss
from crossearth_jax.models.crossearth import CrossEarth
from crossearth_jax.models.dinov2 import DinoV2
from crossearth_jax.models.mask2former import Segmentation
from crossearth_jax.models.parameters import combine, dotted, partition, trainable_mask
from crossearth_jax.pixels.normalise import normalise
from crossearth_jax.run_settings import read_settings
from crossearth_jax.train_step import (
    Objective,
    compute_losses,
    draw_styled,
    make_gradients,
)

pytestmark = pytest.mark.usefixtures("quick_compile")


# ---- three real steps with a frozen backbone --------------------------------------


@pytest.fixture(scope="module")
def frozen_run(tiny_config, tmp_path_factory, quick_compile):
    """Three steps of the full method on given weights, all inputs on the device."""
    path = tmp_path_factory.mktemp("weights") / "vit.safetensors"
    config = tiny_config(**{"style.probability": 1.0})
    weights = write_backbone(config, path)
    config.backbone.weights, config.backbone.trainable = str(path), False
    run = make_run(config)
    batches = device_batches(config)
    inputs = [next(batches) for _ in range(3)]
    host = jax.device_get(inputs[0])
    # Copies: a view of its memory would keep the state from being donated.
    before = jax.tree.map(np.array, (run.state, run.frozen))
    states, metrics, sizes = [run.state], [], []
    with jax.transfer_guard("disallow"):
        for batch in inputs:
            state, values = run.step_fn(states[-1], run.frozen, batch, run.key)
            states.append(state)
            metrics.append(values)
            sizes.append(run.step_fn._cache_size())
    text = run.step_fn.lower(state, run.frozen, inputs[0], run.key).as_text()
    return SimpleNamespace(
        weights=weights,
        run=run,
        before=before,
        states=states,
        metrics=jax.device_get(metrics),
        sizes=sizes,
        text=text,
        host=host,
    )


@pytest.mark.slow
def test_frozen_backbone_is_bit_identical_after_training(frozen_run):
    after = dotted(jax.device_get(frozen_run.run.frozen["model"]))
    assert after.keys() == frozen_run.weights.keys()
    for path, given in frozen_run.weights.items():
        assert given.tobytes() == np.asarray(after[path]).tobytes(), path


@pytest.mark.slow
def test_every_trainable_array_moves(frozen_run):
    before = dotted(frozen_run.before[0].params)
    after = dotted(jax.device_get(frozen_run.states[-1].params))
    still = {k for k in before if np.array_equal(before[k], after[k])}
    assert not still
    assert not any(path.startswith("backbone") for path in before)
    assert before["prompt"].any() == np.False_
    assert after["prompt"].any()


@pytest.mark.slow
def test_frozen_style_arrays_stay(frozen_run):
    before, after = frozen_run.before[1], jax.device_get(frozen_run.run.frozen)
    for x, y in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert np.array_equal(x, y)


@pytest.mark.slow
def test_optimiser_holds_nothing_of_the_backbone(frozen_run):
    state = frozen_run.states[-1]
    held = dotted(state.opt_state)
    assert not [path for path in held if "backbone" in path.split(".")]
    # Two moments of the trainable part, and scalar counters; nothing else.
    trainable = sum(x.size for x in jax.tree.leaves(state.params))
    counters = [x for x in held.values() if x.ndim == 0 and x.dtype == jnp.int32]
    total = sum(x.size for x in held.values())
    assert total == 2 * trainable + len(counters)


def computed(text: str, shape: tuple[int, ...]) -> bool:
    """Whether an operation of a StableHLO program results in an array of a shape.

    `reverse` does not count: it turns a kernel around for the gradient of the input.
    """
    name = "tensor<" + "".join(f"{n}x" for n in shape) + r"f32>"
    found = re.findall(rf"%\S+ = .*(?:-> |: ){name}$", text, re.MULTILINE)
    return any("stablehlo.reverse" not in line for line in found)


@pytest.mark.slow
def test_no_backbone_weight_gradient_is_in_the_program(frozen_run):
    params = dotted(frozen_run.states[-1].params)
    assert computed(frozen_run.text, params["gse.convs.0.kernel"].shape)
    assert computed(frozen_run.text, params["mim_decoder.linear.kernel"].shape)
    for name in ("patch_embed.kernel", "blocks.0.attn.qkv.kernel"):
        shape = frozen_run.weights[f"backbone.{name}"].shape
        assert not computed(frozen_run.text, shape), name


@pytest.mark.slow
def test_one_compilation_serves_all_steps(frozen_run):
    assert frozen_run.sizes == [1, 1, 1]


@pytest.mark.slow
def test_state_is_donated_and_frozen_arrays_are_not(frozen_run):
    for used in frozen_run.states[:-1]:
        assert all(x.is_deleted() for x in jax.tree.leaves(used))
    assert not any(x.is_deleted() for x in jax.tree.leaves(frozen_run.run.frozen))


@pytest.mark.slow
def test_transfer_guard_notices_host_inputs(frozen_run):
    """Shows that the guard around the three steps could have failed."""
    run, state = frozen_run.run, frozen_run.states[-1]
    with (
        jax.transfer_guard("disallow"),
        pytest.raises(Exception, match="host-to-device"),
    ):
        run.step_fn.lower(state, run.frozen, frozen_run.host, run.key)
        jnp.asarray(frozen_run.host.image) + frozen_run.host.image


@pytest.mark.slow
def test_steps_count_and_report_every_loss(frozen_run):
    assert [int(s.step) for s in frozen_run.states[-1:]] == [3]
    for values in frozen_run.metrics:
        assert all(np.isfinite(v) for v in values.values())
        assert values.keys() == {
            "loss",
            "seg",
            "class",
            "mask",
            "dice",
            "mim",
            "delta",
            "styled",
            "gradient",
            "bad",
        }
        total = values["seg"] + values["mim"] + values["delta"]
        assert values["loss"] == pytest.approx(total, rel=1e-6)
        assert values["styled"] == 1
        assert values["delta"] > 0


# ---- what trains --------------------------------------------------------------------


def test_trainable_mask_is_all_but_the_backbone():
    params = {"backbone": {"a": 1.0}, "rein": {"backbone": 2.0}, "prompt": 3.0}
    assert trainable_mask(params) == {
        "backbone": {"a": False},
        "rein": {"backbone": True},
        "prompt": True,
    }
    assert all(jax.tree.leaves(trainable_mask(params, train_backbone=True)))


def test_partition_and_combine_are_inverse():
    params = {"a": {0: 1, 1: {"y": 2}}, "b": 3, "c": {"d": 4}}
    for seed in range(20):
        draws = np.random.default_rng(seed)
        mask = jax.tree.map(lambda _, d=draws: bool(d.integers(2)), params)
        chosen, rest = partition(params, mask)
        assert combine(chosen, rest) == params == combine(rest, chosen)
        leaves = jax.tree.leaves(params), jax.tree.leaves(mask)
        expected = [x for x, take in zip(*leaves, strict=True) if take]
        assert jax.tree.leaves(chosen) == expected


# ---- the flow of one step ---------------------------------------------------------


@pytest.mark.slow
def test_both_views_go_through_the_backbone_in_one_call(tiny_config, monkeypatch):
    """Also with style: X_S replaces X, it does not come on top (method.md 8)."""
    config = tiny_config(**{"style.probability": 1.0})
    calls, plain = [], DinoV2.__call__

    def counted(self, image, refine=None, **options):
        calls.append(image.shape)
        return plain(self, image, refine, **options)

    monkeypatch.setattr(DinoV2, "__call__", counted)
    model, restyle = abstract_model(config), build_restyle(read_settings(config).style)
    batch = Batch(jnp.zeros((3, 32, 32, 3), "u1"), jnp.zeros((3, 32, 32), "u1"))
    objective = read_settings(config).objective
    key = jax.random.key(0)
    graph, params = nnx.split(model)
    jax.eval_shape(
        lambda p: compute_losses(nnx.merge(graph, p), restyle, batch, key, objective),
        params,
    )
    assert calls == [(6, 32, 32, 3)]


class Mirror:
    """A stand-in model: features are the image, reconstruction is `gain` times it."""

    __class__ = CrossEarth  # for the checks of types

    def __init__(self, prompt, gain=1.0):
        self.prompt = prompt
        self.gain = gain
        self.seen = {}

    def taps(self, image, *, training=False):
        return [image] * 4

    def segment(self, taps, image):
        self.seen |= {"tap": taps[0], "image": image}
        shape = 1, image.shape[0], 2
        return Segmentation(jnp.zeros((*shape, 3)), jnp.zeros((*shape, 8, 8)))

    def reconstruct(self, taps):
        self.seen.setdefault("masked", taps[0])
        return self.gain * taps[0]


def invert(key, image):
    return 1 - image


@pytest.fixture
def flow(monkeypatch):
    """Runs compute_losses on the mirror; L_Seg is left out, it has its own tests."""

    def no_loss(classes, masks, label, points, loss, labels):
        return {name: jnp.zeros(len(classes)) for name in ("class", "mask", "dice")}

    monkeypatch.setattr(train_step, "segmentation_terms", no_loss)
    rng = np.random.default_rng(0)
    image = rng.integers(1, 255, (8, 16, 16, 3)).astype(np.uint8)
    batch = Batch(jnp.asarray(image), jnp.zeros((8, 16, 16), "u1"))

    def run(
        *,
        seed=0,
        prompt=0.0,
        gain=1.0,
        style=None,
        masked=None,
        weights=(1.0, 1.0, 1.0),
    ):
        segmentation = SegmentationLoss(num_points=4)
        objective = Objective(segmentation, style, masked, weights)

        @jax.jit
        def losses(prompt, key):
            model = Mirror(prompt, gain)
            metrics = compute_losses(model, invert, batch, key, objective)
            return metrics["loss"], (metrics, model.seen)

        prompt = jnp.full((16, 16, 3), prompt)
        gradient, (metrics, seen) = jax.grad(losses, has_aux=True)(
            prompt, jax.random.key(seed)
        )
        clean = np.asarray(normalise(image))
        inverted = np.asarray(normalise(255.0 - image))
        return SimpleNamespace(
            metrics=metrics,
            clean=clean,
            inverted=inverted,
            gradient=np.asarray(gradient),
            **{name: np.asarray(x) for name, x in seen.items()},
        )

    return run


def style(probability, **changes):
    return StyleInjection(probability, **({"ratio": 0.5, "block": 4} | changes))


def test_styled_image_replaces_the_clean_one(flow):
    got = flow(style=style(1.0), masked=MaskedModelling(block=4))
    assert np.array_equal(got.image, got.tap)  # Injector and taps see the same X_S
    restyled = np.isclose(got.image, got.inverted, atol=1e-5).all(-1)
    kept = (got.image == got.clean).all(-1)
    assert (restyled | kept).all()
    assert 0.3 < restyled.mean() < 0.7
    assert got.metrics["styled"] == 1


@pytest.mark.parametrize("settings", [None, style(0.0)])
def test_without_style_the_clean_image_is_segmented(flow, settings):
    got = flow(style=settings)
    assert np.array_equal(got.image, got.clean)
    assert np.array_equal(got.tap, got.clean)
    assert got.metrics.get("styled", 0) == 0


def test_equation5_styles_the_other_part(flow):
    shares = {}
    for polarity in ("altered", "equation5"):
        got = flow(style=style(1.0, ratio=0.1, polarity=polarity))
        shares[polarity] = (got.image != got.clean).any(-1).mean()
    assert shares["altered"] < 0.3
    assert shares["altered"] + shares["equation5"] == pytest.approx(1)


@pytest.mark.slow
def test_style_is_drawn_for_the_batch_or_for_each_image(flow):
    whole = [float(flow(style=style(0.5), seed=s).metrics["styled"]) for s in range(9)]
    assert set(whole) == {0.0, 1.0}
    got = flow(style=style(0.5, per_image=True, ratio=1.0))
    styled = (got.image != got.clean).any((1, 2, 3))
    assert 0 < styled.sum() < 8
    assert got.metrics["styled"] == styled.mean()


def test_mim_reconstructs_the_masked_image_towards_the_clean_one(flow):
    got = flow(masked=MaskedModelling(ratio=0.5, block=4), prompt=0.25)
    hidden = (got.masked == 0.25).all(-1)
    assert ((got.masked == got.clean).all(-1) | hidden).all()
    assert 0.3 < hidden.mean() < 0.7
    expected = np.square(got.masked - got.clean).mean()
    assert got.metrics["mim"] == pytest.approx(expected, rel=1e-5)
    assert "delta" not in got.metrics


def test_mim_adds_the_styled_image_and_delta_where_styled(flow):
    settings = {"masked": MaskedModelling(block=4, loss="l1")}
    plain = flow(style=style(0.0), **settings)
    assert plain.metrics["delta"] == 0
    error = np.abs(plain.masked - plain.clean).mean()
    assert plain.metrics["mim"] == pytest.approx(error, rel=1e-5)

    got = flow(style=style(0.5, per_image=True), **settings)
    styled = (got.image != got.clean).any((1, 2, 3))
    assert 0 < styled.sum() < 8
    delta = np.abs(got.image - got.masked).mean((1, 2, 3)) * styled
    assert got.metrics["delta"] == pytest.approx(delta.mean(), rel=1e-5)
    errors = np.abs(got.masked - got.clean).mean((1, 2, 3))
    errors += np.abs(got.image - got.clean).mean((1, 2, 3))
    assert got.metrics["mim"] == pytest.approx(errors.mean(), rel=1e-5)


def test_target_self_is_the_input_and_carries_no_gradient(flow):
    masked = MaskedModelling(ratio=1.0, block=4, target="self")
    got = flow(style=style(1.0), masked=masked)
    assert got.metrics["mim"] == 0  # the mirror gives X_M and X_S back
    # With gain 2 the error is (2v - v)²; its slope is 4v only if v, the target,
    # is held fixed, and 2v otherwise.
    got = flow(masked=masked, prompt=0.5, gain=2.0)
    assert got.metrics["mim"] == pytest.approx(0.25)
    assert got.gradient.sum() == pytest.approx(4 * 0.5, rel=1e-4)


def test_prompt_learns_where_it_replaces(flow):
    got = flow(masked=MaskedModelling(ratio=0.5, block=4))
    hidden = (got.masked == 0).all(-1).any(0)  # in any image
    assert 0 < hidden.mean()
    assert (got.gradient.any(-1) == hidden).all()


def test_product_prompt_hides_everything_at_the_start(flow):
    settings = {"masked": MaskedModelling(ratio=0.5, block=4, prompt="product")}
    got = flow(**settings)
    assert not got.masked.any()
    assert got.gradient.any()
    got = flow(**settings, prompt=1.0)  # X·M·v keeps the unaltered part
    kept = (got.masked == got.clean).all(-1)
    assert 0.3 < kept.mean() < 0.7
    assert not got.masked[~kept].any()


def test_weights_scale_the_sum(flow):
    settings = {"style": style(1.0), "masked": MaskedModelling(block=4)}
    got = flow(**settings, weights=(1.0, 3.0, 5.0)).metrics
    assert got["loss"] == pytest.approx(3 * got["mim"] + 5 * got["delta"])
    assert got["mim"] > 0 and got["delta"] > 0


# ---- a batch in parts ---------------------------------------------------------------


class Linear(nnx.Module):
    """Masks and classes that are linear in the pixels: a model of eight numbers."""

    def __init__(self):
        self.colour = nnx.Param(jnp.array([0.5, -1.0, 0.2]))
        self.bias = nnx.Param(jnp.linspace(-1, 1, 5))

    def taps(self, images, *, training=False):
        return [images]

    def segment(self, taps, image):
        grey = taps[0] @ self.colour[...]  # [B, H, W]
        masks = grey[:, None] + self.bias[...][:, None, None]  # [B, Q, H, W]
        slopes = jnp.linspace(-1, 1, 4)
        classes = masks.mean((2, 3))[..., None] * slopes  # [B, Q, K + 1]
        return SimpleNamespace(class_logits=classes[None], mask_logits=masks[None])


@pytest.mark.slow
@pytest.mark.parametrize("parts", [2, 4])
def test_gradients_in_parts_are_those_of_the_whole_batch(monkeypatch, parts):
    """Parts of unequal content, with the same points in every image."""
    draw = train_step.draw_points

    def same_points(key, loss, shape):
        one = draw(jax.random.key(0), loss, (shape[0], 1, shape[2]))
        return jax.tree.map(lambda x: x.repeat(shape[1], axis=1), one)

    monkeypatch.setattr(train_step, "draw_points", same_points)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (8, 8, 8, 3), np.uint8)
    label = rng.integers(0, 3, (8, 8, 8), np.uint8)
    label[:3], label[5] = 1, 255
    batch = Batch(jnp.asarray(image), jnp.asarray(label))
    graph, params = nnx.split(Linear())
    params = nnx.to_pure_dict(params)
    objective = Objective(SegmentationLoss(num_points=16), None, None)

    def compute(accumulate):
        gradients = make_gradients(graph, None, objective, accumulate=accumulate)
        frozen = {"model": {}, "restyle": {}}
        return jax.jit(gradients)(params, frozen, batch, jax.random.key(1))

    (whole, losses), (mean, mean_losses) = compute(1), compute(parts)
    for name in whole:
        assert np.abs(whole[name]).max() > 1e-3
        np.testing.assert_allclose(mean[name], whole[name], rtol=1e-4, atol=1e-6)
    for name in losses:
        np.testing.assert_allclose(mean_losses[name], losses[name], rtol=1e-5)


@pytest.mark.slow
def test_parts_of_a_batch_are_styled_together(monkeypatch):
    """One draw a batch, whatever the parts; with `per_image`, each image's own."""
    asked = []

    def losses(model, restyle, batch, key, objective, labels=None, drawn=None):
        styled = drawn if drawn is not None else draw_styled(key, objective.style, 4)
        asked.append(styled)
        return {"loss": 0 * model.colour[...].sum(), "styled": styled.mean()}

    monkeypatch.setattr(train_step, "compute_losses", losses)
    graph, params = nnx.split(Linear())
    batch = Batch(jnp.zeros((4, 8, 8, 3), jnp.uint8), jnp.zeros((4, 8, 8), jnp.uint8))

    def share(per_image, accumulate, seed):
        style = StyleInjection(probability=0.5, per_image=per_image)
        objective = Objective(SegmentationLoss(), style, None)
        gradients = make_gradients(graph, None, objective, accumulate=accumulate)
        frozen = {"model": {}, "restyle": {}}
        _, found = gradients(
            nnx.to_pure_dict(params), frozen, batch, jax.random.key(seed)
        )
        return float(found["styled"])

    for per_image, expected in ((False, {0.0, 1.0}), (True, {0.25, 0.5, 0.75})):
        whole, parts = (
            [share(per_image, accumulate, seed) for seed in range(12)]
            for accumulate in (1, 4)
        )
        assert whole == parts
        assert expected & set(parts)
        assert per_image or set(parts) == expected


def test_gradients_apart_sum_to_the_gradient():
    """Norms by loss and part of the model, each loss with its weight."""

    def loss(params):
        a, b = params["rein"]["a"], params["decoder"]["b"]
        terms = {"seg": (a * b).sum(), "mim": (a**2).sum()}
        return terms, {**terms, "loss": 2 * terms["seg"] + 3 * terms["mim"]}

    params = {"rein": {"a": jnp.array([3.0, 4.0])}, "decoder": {"b": jnp.ones(2)}}
    gradient, metrics = train_step._gradients_apart(loss, params, (2.0, 3.0, 1.0))
    expected = jax.grad(lambda p: loss(p)[1]["loss"])(params)
    jax.tree.map(np.testing.assert_allclose, gradient, expected)
    norms = {k: float(v) for k, v in metrics.items() if k.startswith("gradient/")}
    assert norms == pytest.approx(
        {
            "gradient/seg/rein": 2 * 2**0.5,
            "gradient/seg/decoder": 2 * 5,
            "gradient/mim/rein": 3 * 2 * 5,
            "gradient/mim/decoder": 0,
        }
    )
