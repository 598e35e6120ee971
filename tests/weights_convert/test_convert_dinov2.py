import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
from released import VIT, hub_state, lazy, save
from safetensors.numpy import save_file

from crossearth_jax.models.dinov2 import resize_positions
from crossearth_jax.models.parameters import read_weights
from weights_convert.dinov2 import dinov2, resize_grid
from weights_convert.files.open import open_weights
from weights_convert.files.torch_write import write_torch

PATCH_14 = dataclasses.replace(VIT, patch_size=14, grid=3)
SWIGLU = dataclasses.replace(VIT, swiglu=True)
REGISTERS = dataclasses.replace(VIT, registers=4)


def bare(path, state):
    write_torch(path, lazy(state))
    return path


def converted(source, tmp_path, **options):
    target = tmp_path / "out.safetensors"
    result = dinov2(source, target, **options)
    return result, read_weights(target)[0]


@pytest.mark.parametrize("config", [VIT, SWIGLU, REGISTERS])
def test_torch_hub(config, tmp_path):
    state = hub_state(config)
    source = bare(tmp_path / "dinov2_pretrain.pth", state)
    result, arrays = converted(source, tmp_path, crop=32)
    block = "blocks.3.mlp.w12.weight" if config.swiglu else "blocks.3.mlp.fc1.weight"
    ours = f"backbone.{block.replace('weight', 'kernel')}"
    np.testing.assert_array_equal(arrays[ours], state[block].T)
    np.testing.assert_array_equal(arrays["backbone.pos_embed"], state["pos_embed"][0])
    np.testing.assert_array_equal(
        arrays["torch.backbone.norm.bias"], state["norm.bias"]
    )
    assert len(arrays) == len(state)
    assert result.facts["architecture"]["registers"] == config.registers
    assert result.facts["architecture"]["swiglu"] == config.swiglu


def test_patch_and_crop(tmp_path):
    state = hub_state(PATCH_14)
    source = bare(tmp_path / "x.pth", state)
    result, arrays = converted(source, tmp_path, crop=64, patch=16)
    assert result.facts["format"] == "torch-hub"
    assert arrays["backbone.patch_embed.kernel"].shape == (16, 16, 3, 8)
    grid = resize_grid(state["pos_embed"][0], (4, 4))
    np.testing.assert_array_equal(arrays["backbone.pos_embed"], grid)
    np.testing.assert_array_equal(grid[0], state["pos_embed"][0, 0])


def test_positions_of_models_with_registers_are_antialiased(tmp_path):
    state = hub_state(dataclasses.replace(REGISTERS, patch_size=14, grid=3))
    source = bare(tmp_path / "x.pth", state)
    _, arrays = converted(source, tmp_path, crop=32, patch=16)
    positions = state["pos_embed"][0]
    wanted = resize_positions(jnp.asarray(positions[1:]), 2, 2, registers=True)
    np.testing.assert_allclose(arrays["backbone.pos_embed"][1:], wanted, atol=1e-6)
    plain = resize_grid(positions, (2, 2))
    assert np.abs(arrays["backbone.pos_embed"] - plain).max() > 1e-3


def test_the_authors_converted_file(tmp_path):
    source = bare(tmp_path / "dinov2_converted.pth", hub_state(VIT))
    result, _ = converted(source, tmp_path, crop=32)
    assert result.facts["format"].startswith("the authors'")


def test_timm_with_registers_and_gates(tmp_path):
    config = dataclasses.replace(SWIGLU, registers=2)
    hub = hub_state(config)
    source = bare(tmp_path / "hub.pth", hub)
    _, expected = converted(source, tmp_path, crop=32)
    positions = hub.pop("pos_embed")
    timm = {
        "pos_embed": positions[:, 1:],
        "cls_token": hub.pop("cls_token") + positions[:, :1],
        "reg_token": hub.pop("register_tokens"),
    }
    hub.pop("mask_token")
    for key, value in hub.items():
        timm[key.replace("mlp.w12", "mlp.fc1").replace("mlp.w3", "mlp.fc2")] = value
    save_file(
        {k: np.ascontiguousarray(v) for k, v in timm.items()},
        tmp_path / "model.safetensors",
    )
    result, arrays = converted(tmp_path / "model.safetensors", tmp_path, crop=32)
    assert result.facts["format"] == "timm"
    assert expected.keys() - arrays.keys() == {"torch.backbone.mask_token"}
    first = arrays["backbone.cls_token"] + arrays["backbone.pos_embed"][0]
    their_first = expected["backbone.cls_token"] + expected["backbone.pos_embed"][0]
    np.testing.assert_array_equal(first, their_first)
    for key in arrays.keys() - {"backbone.cls_token", "backbone.pos_embed"}:
        np.testing.assert_array_equal(arrays[key], expected[key], key)
    np.testing.assert_array_equal(
        arrays["backbone.pos_embed"][1:], expected["backbone.pos_embed"][1:]
    )


def test_half_precision_becomes_single(tmp_path):
    state = {k: v.astype(np.float16) for k, v in hub_state(VIT).items()}
    _, arrays = converted(bare(tmp_path / "x.pth", state), tmp_path, crop=32)
    assert {a.dtype for a in arrays.values()} == {np.dtype(np.float32)}
    key = "blocks.0.mlp.fc2.bias"
    np.testing.assert_array_equal(arrays[f"backbone.{key}"], state[key])


def test_provenance(tmp_path):
    source = save(tmp_path / "x.pth", hub_state(VIT))
    converted(source, tmp_path, crop=32)
    notes = read_weights(tmp_path / "out.safetensors")[1]
    sha = open_weights(source).sha256
    assert notes["sources"] == [{"name": "x.pth", "sha256": sha}]
    assert notes["options"] == {"crop": 32, "patch": 16, "allow_unused": []}
    assert notes["kind"] == "dinov2"
    assert json.dumps(notes)


def test_missing_and_surplus_tensors(tmp_path):
    state = hub_state(VIT)
    del state["blocks.2.attn.qkv.bias"]
    state["blocks.2.attn.qkw.bias"] = np.zeros(24, np.float32)
    source = bare(tmp_path / "x.pth", state)
    with pytest.raises(ValueError, match=r"did you mean blocks\.2\.attn\.qkv\.bias"):
        converted(source, tmp_path, crop=32)
    assert not (tmp_path / "out.safetensors").exists()


def test_unused_tensors_must_be_named(tmp_path):
    source = bare(tmp_path / "x.pth", hub_state(VIT) | {"extra.w": np.zeros(2)})
    with pytest.raises(ValueError, match=r"1 match no rule:\n  extra\.w"):
        converted(source, tmp_path, crop=32)
    converted(source, tmp_path, crop=32, allow_unused=["extra.*"])


def test_sizes_that_do_not_fit(tmp_path):
    source = bare(tmp_path / "x.pth", hub_state(VIT))
    with pytest.raises(ValueError, match="got crop 40 and patch 16"):
        converted(source, tmp_path, crop=40)
    other = bare(tmp_path / "y.pth", {"weight": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match="expected a DINOv2 of torch-hub"):
        converted(other, tmp_path, crop=32)


def test_targets_that_cannot_be_meant(tmp_path):
    source = bare(tmp_path / "x.pth", hub_state(VIT))
    with pytest.raises(ValueError, match=r"ends in \.safetensors"):
        dinov2(source, tmp_path / "x.npz", crop=32)
    with pytest.raises(ValueError, match="a folder that does not exist"):
        dinov2(source, tmp_path / "no" / "x.safetensors", crop=32)
    inside = tmp_path / "x.safetensors"
    source.rename(inside)
    with pytest.raises(ValueError, match="as source and target"):
        dinov2(inside, inside, crop=32)
