import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from released import MODEL, hub_state, lazy, mmseg_state, save

from crossearth_jax.models.parameters import read_weights
from weights_convert.__main__ import main
from weights_convert.crossearth import crossearth, rein
from weights_convert.dinov2 import dinov2
from weights_convert.files.open import open_weights
from weights_convert.files.torch_write import write_torch
from weights_convert.to_torch import to_torch


@pytest.fixture
def full(tmp_path):
    """A checkpoint with its backbone, and its state."""
    state = mmseg_state()
    return save(tmp_path / "full.pth", state), state


def assert_same(path, state):
    found = open_weights(path).tensors
    assert found.keys() == state.keys()
    for key, tensor in found.items():
        np.testing.assert_array_equal(tensor.read(), state[key], key)


def test_round_trip_is_exact(full, tmp_path):
    source, state = full
    result = crossearth(source, tmp_path / "ours.safetensors")
    to_torch(tmp_path / "ours.safetensors", tmp_path / "back.pth")
    assert_same(tmp_path / "back.pth", state)
    to_torch(tmp_path / "ours.safetensors", tmp_path / "back.safetensors")
    assert_same(tmp_path / "back.safetensors", state)
    sizes = result.facts["architecture"]
    assert (sizes["num_classes"], sizes["crop"], sizes["rank"]) == (3, 32, 2)
    assert (sizes["encoder_layers"], sizes["decoder_layers"]) == (1, 2)
    assert sizes["backbone"]["depth"] == MODEL.backbone.depth


def test_pytorch_loads_what_is_written(full, tmp_path):
    torch = pytest.importorskip("torch")
    source, state = full
    crossearth(source, tmp_path / "ours.safetensors")
    to_torch(tmp_path / "ours.safetensors", tmp_path / "back.pth")
    loaded = torch.load(tmp_path / "back.pth", weights_only=True)
    assert loaded["meta"]["kind"] == "to-torch"
    for key, value in loaded["state_dict"].items():
        assert value.is_contiguous()
        np.testing.assert_array_equal(value.numpy(), state[key])


def test_frozen_backbone_from_another_file(tmp_path):
    dino = hub_state(MODEL.backbone)
    write_torch(tmp_path / "dino.pth", lazy(dino))
    dinov2(tmp_path / "dino.pth", tmp_path / "dino.safetensors", crop=32)
    state = mmseg_state(backbone=False)
    source = save(tmp_path / "head.pth", state)
    with pytest.raises(ValueError, match=r"without the frozen backbone.*--backbone"):
        rein(source, tmp_path / "ours.safetensors")
    rein(
        source,
        tmp_path / "ours.safetensors",
        backbone=tmp_path / "dino.safetensors",
    )
    to_torch(tmp_path / "ours.safetensors", tmp_path / "back.pth")
    frozen = {f"backbone.{key}": value for key, value in dino.items()}
    assert_same(tmp_path / "back.pth", state | frozen)
    notes = read_weights(tmp_path / "ours.safetensors")[1]
    assert [s["name"] for s in notes["sources"]] == ["head.pth", "dino.safetensors"]


def test_backbone_twice(full, tmp_path):
    source, _ = full
    crossearth(source, tmp_path / "ours.safetensors")
    with pytest.raises(ValueError, match="leave --backbone out"):
        crossearth(
            source, tmp_path / "x.safetensors", backbone=tmp_path / "ours.safetensors"
        )
    with pytest.raises(ValueError, match="no converted backbone"):
        head = save(tmp_path / "head.pth", mmseg_state(backbone=False))
        crossearth(head, tmp_path / "x.safetensors", backbone=source)


def test_unknown_keys_of_a_gse_are_reported(full, tmp_path):
    source, state = full
    extra = {"backbone.gse.convs.0.weight": np.zeros((4, 3, 3, 3), np.float32)}
    save(source, state | extra)
    with pytest.raises(ValueError, match=r"match no rule:\n  backbone\.gse\.convs\.0"):
        crossearth(source, tmp_path / "ours.safetensors")
    crossearth(source, tmp_path / "ours.safetensors", allow_unused=["backbone.gse.*"])


def test_a_missing_tensor_is_named(full, tmp_path):
    source, state = full
    del state["decode_head.transformer_decoder.layers.1.cross_attn.attn.in_proj_bias"]
    save(source, state)
    with pytest.raises(ValueError, match=r"layers\.1\.cross_attn\.attn\.in_proj_bias"):
        crossearth(source, tmp_path / "ours.safetensors")


def test_backbone_of_another_depth(full, tmp_path):
    source, state = full
    save(source, {k: v for k, v in state.items() if "blocks.3." not in k})
    with pytest.raises(ValueError, match="tokens for 4 blocks and a backbone of 3"):
        crossearth(source, tmp_path / "ours.safetensors")


def test_not_a_number(full, tmp_path):
    source, state = full
    state["decode_head.cls_embed.bias"][0] = np.nan
    save(source, state)
    with pytest.raises(ValueError, match=r"NaN or infinite.*cls_embed\.bias"):
        crossearth(source, tmp_path / "ours.safetensors")
    assert not list(tmp_path.glob("*.tmp"))


def test_command_line(full, tmp_path, capsys):
    source, _ = full
    target = str(tmp_path / "ours.safetensors")
    main(["crossearth", str(source), target])
    assert "wrote" in capsys.readouterr().out
    main(["inspect", str(source)])
    shown = capsys.readouterr().out
    assert "decoder.class_head.kernel" in shown
    assert "torch.backbone.mask_token" in shown
    main(["inspect", target])
    assert "decode_head.cls_embed.weight" in capsys.readouterr().out
    gone = ["rein", str(tmp_path / "gone.pth"), target]
    assert main(gone) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "gone.pth" in error
    with pytest.raises(ValueError, match=r"gone\.pth"):
        main([*gone, "--traceback"])


def test_an_error_is_no_traceback(tmp_path):
    command = [sys.executable, "-m", "weights_convert", "rein", "gone.pth", "x.pth"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr


def test_binary_heads_tell_their_foreground_and_can_be_swapped(tmp_path, capsys):
    state = mmseg_state(dataclasses.replace(MODEL, num_classes=2))
    meta = {"dataset_meta": {"classes": ["Road", "Background"]}}
    source = save(tmp_path / "road.pth", state, meta=meta)
    plain, swapped = tmp_path / "plain.safetensors", tmp_path / "swapped.safetensors"
    assert main(["crossearth", str(source), str(plain)]) == 0
    assert "foreground is id 0 (Road)" in (printed := capsys.readouterr().out)
    assert "--swap-classes makes background 0" in printed
    assert main(["crossearth", str(source), str(swapped), "--swap-classes"]) == 0
    assert "exchanged, so that background is 0" in capsys.readouterr().out
    before, after = (read_weights(path)[0] for path in (plain, swapped))
    for name, value in before.items():
        if name.startswith("decoder.class_head."):
            value = value[..., [1, 0, 2]]
        np.testing.assert_array_equal(after[name], value)
    unnamed = save(tmp_path / "unnamed.pth", state)
    crossearth(unnamed, plain)
    assert main(["crossearth", str(unnamed), str(plain)]) == 0
    assert "does not name" in capsys.readouterr().out


def test_only_binary_heads_are_swapped(full, tmp_path):
    with pytest.raises(ValueError, match="--swap-classes for a head of 3 classes"):
        crossearth(full[0], tmp_path / "x.safetensors", swap_classes=True)
