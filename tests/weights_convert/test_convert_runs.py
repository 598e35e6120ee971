"""Converted weights into a run, and a run's checkpoint back to PyTorch."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from released import mmseg_state, save
from tiny import get_config

from crossearth_jax.build import build_network
from crossearth_jax.models.crossearth import ModelConfig
from crossearth_jax.models.dinov2 import ViTConfig
from crossearth_jax.models.parameters import dotted, read_weights, start_from
from crossearth_jax.run.checkpoint import Checkpoints, read_parameters
from crossearth_jax.train import evaluate_run
from crossearth_jax.train_step import TrainState
from weights_convert.crossearth import crossearth
from weights_convert.files.open import open_weights
from weights_convert.to_torch import to_torch

pytestmark = pytest.mark.slow

CLASSES = 5


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """Released weights of the tiny configuration, converted, and their state."""
    config, folder = get_config(), tmp_path_factory.mktemp("released")
    vit, head = config.backbone, config.decoder
    sizes = ModelConfig(
        backbone=ViTConfig(
            width=vit.width,
            depth=vit.depth,
            heads=vit.heads,
            taps=(0, 1, 2, 3),
            patch_size=vit.patch_size,
            grid=config.data.crop // vit.patch_size,
        ),
        num_classes=CLASSES,
        num_queries=config.rein.num_tokens,
        rein_rank=config.rein.rank,
        gse=False,
        mim=False,
        **head,
    )
    state = mmseg_state(sizes)
    crossearth(save(folder / "released.pth", state), folder / "ours.safetensors")
    return folder / "ours.safetensors", state


@pytest.fixture
def config(released):
    config = get_config()
    config.backbone.trainable = False
    config.train.init = str(released[0])
    return config


@pytest.fixture(scope="module")
def started(released):
    """The network at the start of a run, and what the log said."""
    config = get_config()
    config.backbone.trainable = False
    config.precision = "bfloat16"  # of the frozen part only
    config.train.init = str(released[0])
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger("absl").addHandler(handler)
    network = build_network(config, CLASSES)
    logging.getLogger("absl").removeHandler(handler)
    return network, lines


def trained(network, workdir, step=3):
    state = TrainState(network.trainable, {}, jnp.int32(step), jnp.int32(0))
    checkpoints = Checkpoints(workdir, keep=1)
    checkpoints.save(state)
    checkpoints.close()


def test_start_from_released_weights(released, started):
    (network, lines), (_, state) = started, released
    head = state["decode_head.cls_embed.weight"]
    kernel = network.trainable["decoder"]["class_head"]["kernel"]
    np.testing.assert_array_equal(kernel, head.T)
    frozen = network.frozen["backbone"]["cls_token"]
    token = jnp.asarray(state["backbone.cls_token"][0, 0], jnp.bfloat16)
    np.testing.assert_array_equal(frozen, token)
    kinds = {leaf.dtype for leaf in jax.tree.leaves(network.trainable)}
    assert kinds == {np.dtype(np.float32)}
    [line] = [line for line in lines if "initial values" in line]
    initial = line.split("initial values: ")[1].split(", ")
    parts = ("gse", "injectors", "mim_decoder", "prompt")
    expected = dotted({p: network.trainable[p] for p in parts})
    assert sorted(initial) == sorted(expected)


def test_weights_of_another_architecture(released, started):
    params = started[0].trainable
    weights, _ = read_weights(released[0])
    wider = weights | {"decoder.class_head.bias": np.zeros(CLASSES + 2, np.float32)}
    with pytest.raises(ValueError, match="weights for decoder belongs to another"):
        start_from(params, wider)
    less = {k: v for k, v in weights.items() if k != "rein.scale"}
    with pytest.raises(ValueError, match=r"rein\.scale: only in the model"):
        start_from(params, less)
    with pytest.raises(ValueError, match=r"weights for \['gsf'\]"):
        start_from(params, weights | {"gsf.convs.0.bias": np.zeros(1)})


def test_score_without_a_checkpoint(config, tmp_path):
    config.data.eval_scenes = 1
    report = evaluate_run(config, tmp_path / "run")
    assert report["about"]["step"] == 0
    assert report["domains"]


def test_a_run_to_pytorch(released, started, tmp_path):
    (path, state), (network, _) = released, started
    workdir = tmp_path / "run"
    trained(network, workdir)
    step, parameters = read_parameters(workdir)
    assert step == 3
    assert parameters.keys() == dotted(network.trainable).keys()
    with pytest.raises(ValueError, match=r"match no rule:\n  gse\.convs"):
        to_torch(workdir, tmp_path / "back.pth")
    unused = ["gse.*", "injectors.*"]
    to_torch(workdir, tmp_path / "back.pth", allow_unused=unused)
    found = open_weights(tmp_path / "back.pth")
    saved = {k for k in state if "reins" in k or k.startswith("decode_head")}
    assert found.tensors.keys() == saved  # as the official code, no frozen backbone
    to_torch(
        workdir,
        tmp_path / "whole.pth",
        backbone=path,
        allow_unused=unused,
    )
    whole = open_weights(tmp_path / "whole.pth")
    assert whole.tensors.keys() == state.keys()
    for key, tensor in whole.tensors.items():
        np.testing.assert_array_equal(tensor.read(), state[key], key)
    assert whole.metadata["meta"]["step"] == 3


def test_a_folder_without_checkpoints(tmp_path):
    with pytest.raises(ValueError, match="without checkpoints"):
        to_torch(tmp_path, tmp_path / "x.pth")
