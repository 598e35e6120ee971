import json

import numpy as np
import pytest
from released import VIT, hub_state, lazy, random_arrays
from safetensors.numpy import save_file

from crossearth_jax.models.dinov3 import DinoV3Config
from crossearth_jax.models.parameters import read_weights
from weights_convert.__main__ import guess_rules
from weights_convert.architecture import backbone_shapes
from weights_convert.dinov3 import PATCHES, dinov3, dinov3_rules
from weights_convert.mapping import apply_rules, invert

SMALL = DinoV3Config(width=8, depth=2, heads=1, taps=(0, 0, 1, 1), patch_size=4)
LIKE = {PATCHES: (), "layer.0.norm1.weight": ()}


@pytest.fixture
def state():
    """What Hugging Face's file holds."""
    arrays = lazy(random_arrays(backbone_shapes(SMALL)))
    found = apply_rules(arrays, invert(dinov3_rules(LIKE)), None)
    rest = {"embeddings.mask_token": (1, 1, 8), "norm.weight": (8,), "norm.bias": (8,)}
    return found | random_arrays(rest)


def converted(state, folder, **options):
    save_file(state, folder / "model.safetensors")
    target = folder / "ours.safetensors"
    result = dinov3(folder / "model.safetensors", target, **options)
    return result, *read_weights(target)


def test_every_tensor_has_its_place(state, tmp_path):
    result, arrays, notes = converted(state, tmp_path, trained_on="lvd1689m")
    assert len(arrays) == len(state)
    for theirs, ours in {
        "layer.1.attention.k_proj.weight": "backbone.blocks.1.attn.key.kernel",
        "layer.0.mlp.down_proj.weight": "backbone.blocks.0.mlp.fc2.kernel",
    }.items():
        np.testing.assert_array_equal(arrays[ours], state[theirs].T)
    kernel = state[PATCHES].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(arrays["backbone.patch_embed.kernel"], kernel)
    architecture = result.facts["architecture"]
    assert architecture == notes["architecture"]
    assert (architecture["width"], architecture["registers"]) == (8, 4)
    assert (notes["kind"], notes["options"]["trained_on"]) == ("dinov3", "lvd1689m")


def test_strict(state, tmp_path):
    state["layer.0.attention.k_proj.bias"] = np.zeros(8, np.float32)
    del state["layer.1.mlp.up_proj.bias"]
    with pytest.raises(ValueError, match=r"k_proj\.bias") as error:
        converted(state, tmp_path, trained_on="lvd1689m")
    assert "layer.1.mlp.up_proj.bias" in str(error.value)
    assert not (tmp_path / "ours.safetensors").exists()


def test_pixels_are_those_of_the_file_beside(state, tmp_path):
    with pytest.raises(ValueError, match="--trained-on lvd1689m or sat493m"):
        converted(state, tmp_path)
    beside = tmp_path / "preprocessor_config.json"
    sat = {"image_mean": [0.430, 0.411, 0.296], "image_std": [0.213, 0.156, 0.143]}
    beside.write_text(json.dumps(sat))
    _, found, notes = converted(state, tmp_path)
    _, told, _ = converted(state, tmp_path, trained_on="sat493m")
    for key in told:
        np.testing.assert_array_equal(found[key], told[key])
    assert "0.411" in notes["pixels"]
    beside.write_text(json.dumps(sat | {"image_std": [0.213, 0.0, 0.143]}))
    with pytest.raises(ValueError, match="deviations above 0"):
        converted(state, tmp_path)


def test_names_are_told_apart(state, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(state, path)
    assert {str(r) for r in guess_rules(path)} == {str(r) for r in dinov3_rules(LIKE)}
    save_file(hub_state(VIT), path)
    with pytest.raises(ValueError, match="expected a DINOv3 ViT of Hugging Face"):
        dinov3(path, tmp_path / "ours.safetensors", trained_on="lvd1689m")
