import numpy as np
import pytest
from released import VIT, hub_state, lazy, random_arrays, save
from safetensors.numpy import save_file

from crossearth_jax.models.parameters import read_weights
from crossearth_jax.models.rvsa import RvsaConfig
from weights_convert.__main__ import guess_rules, parser, run
from weights_convert.architecture import backbone_shapes
from weights_convert.mapping import apply_rules, invert
from weights_convert.mtp import mtp, mtp_rules

SMALL = RvsaConfig(
    width=8, depth=3, heads=2, grid=3, patch_size=4, window_size=2, full_every=2
)
LIKE = {"blocks.0.attn.sampling_offsets.2.weight": ()}


@pytest.fixture(scope="module")
def encoder():
    """What MTP's encoder holds."""
    arrays = lazy(random_arrays(backbone_shapes(SMALL)))
    found = apply_rules(arrays, invert(mtp_rules(LIKE)), None)
    rest = {
        "norm.weight": (8,),
        "norm.bias": (8,),
        "fpn1.0.weight": (8, 8, 2, 2),
        "fpn1.1.ln.bias": (8,),
    }
    state = found | random_arrays(rest)
    for i in (0, 2):
        index = np.zeros((4, 4), np.int64)
        state[f"blocks.{i}.attn.relative_position_index"] = index
    return state


@pytest.mark.parametrize("prefix", ["", "encoder.", "backbone.", "module.encoder."])
def test_every_tensor_has_its_place(encoder, tmp_path, prefix):
    state = {prefix + key: array for key, array in encoder.items()}
    if prefix:
        state["decode_head.conv_seg.bias"] = np.zeros(7, np.float32)
    source = save(tmp_path / "mtp.pth", state, epoch=3)
    target = tmp_path / "ours.safetensors"
    run(parser().parse_args(["mtp", str(source), str(target)]))
    arrays, notes = read_weights(target)
    assert {k: a.shape for k, a in arrays.items()} == backbone_shapes(SMALL)
    for theirs, ours in {
        "blocks.1.attn.full_attn_rel_pos_w": "blocks.1.attn.full_rel_pos_w",
        "blocks.2.attn.rel_pos_h": "blocks.2.attn.rel_pos_h",
        "blocks.0.attn.sampling_angles.2.bias": "blocks.0.attn.sampling_angles.bias",
    }.items():
        np.testing.assert_array_equal(arrays[f"backbone.{ours}"], encoder[theirs])
    kernel = encoder["blocks.0.attn.sampling_scales.2.weight"][:, :, 0, 0].T
    ours = arrays["backbone.blocks.0.attn.sampling_scales.kernel"]
    np.testing.assert_array_equal(ours, kernel)
    assert notes["kind"] == "mtp"
    sizes = {"width": 8, "window_size": 2, "full_every": 2, "grid": 3}
    assert sizes.items() <= notes["architecture"].items()


def test_strict(encoder, tmp_path):
    state = {k: v for k, v in encoder.items() if k != "blocks.1.mlp.fc1.bias"}
    state["blocks.1.gamma_1"] = np.ones(8, np.float32)
    source = save(tmp_path / "mtp.pth", state)
    with pytest.raises(ValueError, match="gamma_1") as error:
        mtp(source, tmp_path / "ours.safetensors")
    assert "blocks.1.mlp.fc1.bias" in str(error.value)
    assert not (tmp_path / "ours.safetensors").exists()


def test_names_are_told_apart(encoder, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(encoder, path)
    assert {str(r) for r in guess_rules(path)} == {str(r) for r in mtp_rules(LIKE)}
    save_file(hub_state(VIT), path)
    with pytest.raises(ValueError, match="expected MTP's ViT with RVSA"):
        mtp(path, tmp_path / "ours.safetensors")
