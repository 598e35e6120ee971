"""The PyTorch peer of `benchmarks.run` computes what ours does, gradients included."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from parity_fixtures import QUICK
from small_run import abstract_model, random_like

from benchmarks.our_side import benchmark_config, first_draws, random_batch
from crossearth_jax import build
from crossearth_jax.models.parameters import dotted, partition, trainable_mask
from crossearth_jax.optim import decay_mask
from crossearth_jax.pixels.normalise import normalise
from crossearth_jax.run_settings import read_settings
from crossearth_jax.train_step import make_gradients, step_key

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from benchmarks import peer_names  # noqa: E402
from benchmarks.peer_losses import Draws, draw, make_optimiser, step_losses  # noqa: E402
from benchmarks.peer_torch import CrossEarth  # noqa: E402

pytestmark = pytest.mark.slow

CLASSES = 3


def small():
    config = benchmark_config("vit_tiny", 64, batch=2, queries=6, precision="float32")
    config.backbone.update({"width": 32, "depth": 4, "heads": 2, "remat": False})
    config.backbone.taps = (0, 1, 2, 3)
    config.decoder.update({"width": 32, "encoder_layers": 1, "decoder_layers": 1})
    config.decoder.update({"encoder_ffn": 16, "decoder_ffn": 16})
    config.loss.num_points, config.mim.width, config.mim.block = 64, 16, 16
    return config


@pytest.fixture(scope="module")
def sides():
    """Ours: structure, parameters, batch, key. The peer with the same parameters."""
    config = small()
    model = abstract_model(config, CLASSES)
    params = random_like(nnx.to_pure_dict(nnx.state(model)))
    peer = CrossEarth(build.model_config(config, CLASSES))
    peer_names.load(peer, {k: np.asarray(v) for k, v in dotted(params).items()})
    batch = random_batch(config, CLASSES)
    batch.label[1] = 255  # an image without any class
    return config, model, params, batch, jax.random.key(3), peer


def relative(got, expected):
    scale = np.linalg.norm(np.asarray(expected))
    return np.linalg.norm(np.asarray(got) - np.asarray(expected)) / scale


def test_scores(sides):
    _, model, params, batch, _, peer = sides
    image = normalise(batch.image)
    graph = nnx.graphdef(model)

    @partial(jax.jit, compiler_options=QUICK)
    def scores(params, image):
        return nnx.merge(graph, params).scores(image)

    with torch.no_grad():
        theirs = peer.scores(torch.from_numpy(np.array(image)).permute(0, 3, 1, 2))
    ours = scores(params, image)
    assert relative(theirs.permute(0, 2, 3, 1).numpy(), ours) <= 1e-5


def test_losses_and_the_gradient_of_every_parameter(sides):
    config, model, params, batch, key, peer = sides
    mask = trainable_mask(params)
    trainable, frozen = partition(params, mask)
    objective = read_settings(config).objective
    gradients = make_gradients(nnx.graphdef(model), None, objective)
    ours, metrics = jax.jit(gradients, compiler_options=QUICK)(
        trainable, {"model": frozen, "restyle": {}}, batch, step_key(key, 0)
    )
    draws = first_draws(config, CLASSES, batch, key)
    draws = Draws(**{k: torch.from_numpy(np.array(v)) for k, v in draws.items()})
    losses = step_losses(
        peer,
        torch.from_numpy(batch.image),
        torch.from_numpy(batch.label).long(),
        draws,
        objective.segmentation,
    )
    losses["loss"].backward()
    for name, value in losses.items():
        assert value.item() == pytest.approx(float(metrics[name]), rel=1e-5), name
    theirs, ours = peer_names.gradients(peer), dotted(ours)
    assert theirs.keys() == ours.keys()
    whole = np.sqrt(sum(float(jnp.square(x).sum()) for x in ours.values()))
    for name, gradient in ours.items():
        # Some are zero but for rounding (a bias before a norm, of keys).
        distance = np.linalg.norm(theirs[name] - gradient)
        assert distance <= 1e-3 * np.linalg.norm(gradient) + 1e-6 * whole, name


def test_the_same_parameters_decay(sides):
    _, model, params, *_, peer = sides
    trainable, _ = partition(params, trainable_mask(params))
    exempt = peer_names.exempt_from_decay(peer)
    for name, parameter in peer.named_parameters():
        parameter.grad = torch.full_like(parameter, float(name not in exempt))
    theirs = peer_names.gradients(peer)
    for name, decays in dotted(decay_mask(model, trainable)).items():
        assert (theirs[name] == decays).all(), name


def test_its_own_steps(sides):
    """With its own random numbers the loss falls, and frozen weights stay."""
    config, *_, batch, _, peer = sides
    objective = read_settings(config).objective
    torch.manual_seed(0)
    exempt = peer_names.exempt_from_decay(peer)
    optimiser = make_optimiser(peer, lambda name: name not in exempt, lr=1e-2)
    before = {k: v.clone() for k, v in peer.backbone.state_dict().items()}
    image, label = (torch.from_numpy(x) for x in (batch.image, batch.label))
    values = []
    for _ in range(4):
        draws = draw((2, 2, CLASSES), 64, objective.segmentation, 0.7, 16)
        assert 0.3 < draws.altered.float().mean() < 1
        losses = step_losses(peer, image, label.long(), draws, objective.segmentation)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
        values.append(losses["loss"].item())
    assert values[-1] < values[0] - 0.5
    after = peer.backbone.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
