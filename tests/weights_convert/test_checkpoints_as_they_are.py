"""Checkpoints as people have them: wrapped, prefixed, chunked, sharded, averaged."""

import json

import ml_dtypes
import numpy as np
import pytest
from released import VIT, hub_state, lazy, mmseg_state, random_arrays, save
from safetensors.numpy import save_file

from crossearth_jax.models.dinov3 import DinoV3Config
from crossearth_jax.models.parameters import read_weights
from weights_convert.__main__ import main
from weights_convert.architecture import backbone_shapes
from weights_convert.crossearth import crossearth, lacks_backbone
from weights_convert.dinov2 import dinov2
from weights_convert.dinov3 import dinov3, native_rules
from weights_convert.files.torch_write import write_torch
from weights_convert.mapping import apply_rules, invert
from weights_convert.source import choose, joined_chunks, open_source, prefixes

STATE = hub_state(VIT)
OTHER = {key: array + 1 for key, array in STATE.items()}
TOKEN = "cls_token"
DINO = ("patch_embed.proj.weight",)
SMALL = DinoV3Config(width=8, depth=2, heads=1, taps=(0, 0, 1, 1), patch_size=4)


def prefixed(prefix, state=None):
    return {prefix + key: array for key, array in (state or STATE).items()}


def written(path, content):
    def tensors(value):
        if isinstance(value, dict):
            return {key: tensors(each) for key, each in value.items()}
        return lazy({"x": value})["x"] if isinstance(value, np.ndarray) else value

    write_torch(path, tensors(content))
    return path


def token_of(path, tmp_path, **options):
    """The class token that was converted, and what was said about the choice."""
    target = tmp_path / "out.safetensors"
    facts = dinov2(path, target, crop=32, **options).facts
    arrays, notes = read_weights(target)
    assert notes.get("weights") == facts.get("weights")
    return arrays[f"backbone.{TOKEN}"], facts.get("weights", "")


def chunked(state, size=2):
    """As DINOv2's training numbers its blocks: chunk, then block of all."""
    return {
        f"blocks.{int(key.split('.')[1]) // size}.{key[7:]}"
        if key.startswith("blocks.")
        else key: array
        for key, array in state.items()
    }


HEAD = {"dino_head.mlp.0.weight": np.zeros((2, 2), np.float32)}
LIGHTNING = {
    "epoch": 3,
    "hyper_parameters": {"lr": 0.1, "name": "x"},
    "state_dict": prefixed("model.backbone.") | prefixed("criterion.", HEAD),
}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (STATE, ""),
        (prefixed("module."), "those under module."),
        ({"model": prefixed("_orig_mod.")}, "those under model."),
        (prefixed("dinov2.") | {"classifier.bias": HEAD[next(iter(HEAD))]}, "dinov2."),
        (LIGHTNING, "state_dict.model.backbone.; left out: 1 of state_dict.criterion"),
        ({"teacher": prefixed("backbone.") | HEAD}, "1 of teacher.dino_head"),
        ({"model": chunked(STATE)}, "2 chunks of blocks joined"),
        (
            {
                "model": prefixed("student.backbone.", chunked(OTHER))
                | prefixed("teacher.backbone.", chunked(STATE))
            },
            "those under model.teacher.backbone.; --prefix takes another of "
            "model.student.backbone.",
        ),
        (
            {"student": prefixed("backbone.", OTHER), "teacher": prefixed("backbone.")},
            "those under teacher.backbone.",
        ),
        (
            {"state_dict": STATE, "state_dict_ema": OTHER},
            "those under state_dict.; --prefix or --ema takes another of "
            "state_dict_ema.",
        ),
        (
            {"state_dict": STATE, "ema_state_dict": prefixed("module.", OTHER)},
            "those under state_dict.; --prefix takes another of ema_state_dict.module.",
        ),
    ],
)
def test_wrappers_are_found_and_said(content, said, tmp_path):
    token, line = token_of(written(tmp_path / "x.pth", content), tmp_path)
    np.testing.assert_array_equal(token, STATE[TOKEN][0, 0])
    assert said in line
    assert bool(said) == bool(line)


def test_the_other_weights_can_be_asked_for(tmp_path):
    both = {"state_dict": STATE, "state_dict_ema": OTHER}
    source = written(tmp_path / "x.pth", both)
    for options in ({"ema": True}, {"prefix": "state_dict_ema"}):
        token, line = token_of(source, tmp_path, **options)
        np.testing.assert_array_equal(token, OTHER[TOKEN][0, 0])
        assert "those under state_dict_ema." in line
    with pytest.raises(ValueError, match=r"x\.pth: got --prefix 'student'.*state_dict"):
        token_of(source, tmp_path, prefix="student")
    alone = written(tmp_path / "y.pth", STATE)
    with pytest.raises(ValueError, match="leave --ema out"):
        token_of(alone, tmp_path, ema=True)


def test_two_that_fit_need_a_choice(tmp_path):
    two = prefixed("image.", STATE) | prefixed("depth.", OTHER)
    source = written(tmp_path / "x.pth", {"state_dict": two})
    with pytest.raises(ValueError, match=r"2 networks.*--prefix one of state_dict\.im"):
        token_of(source, tmp_path)
    token, _ = token_of(source, tmp_path, prefix="depth.")
    np.testing.assert_array_equal(token, OTHER[TOKEN][0, 0])
    with pytest.raises(ValueError, match="expected one of them"):
        choose(["a."], "a.", ema=True)


def test_names_of_anchors():
    names = dict.fromkeys(["patch_embed.proj.weight", "a.patch_embed.proj.weight"])
    assert prefixes(names, DINO) == ["", "a."]
    assert prefixes({"my_patch_embed.proj.weight": 0}, DINO) == []


def test_chunks_count_through_or_from_zero():
    through = {"blocks.0.0.w": 0, "blocks.0.1.w": 1, "blocks.1.2.w": 2}
    again = {"blocks.0.0.w": 0, "blocks.0.1.w": 1, "blocks.1.0.w": 2}
    wanted = {f"blocks.{i}.w": i for i in range(3)}
    assert joined_chunks(through) == joined_chunks(again) == (wanted, 2)
    gap = {"blocks.0.0.w": 0, "blocks.1.5.w": 1}
    assert joined_chunks(gap) == (gap, 0)
    assert joined_chunks(wanted) == (wanted, 0)


def test_a_whole_network_under_a_prefix(tmp_path):
    state = prefixed("module.", mmseg_state())
    source = save(tmp_path / "ddp.pth", state)
    assert not lacks_backbone(source)
    made = crossearth(source, tmp_path / "ours.safetensors")
    assert made.facts["weights"] == "those under state_dict.module."
    arrays = read_weights(tmp_path / "ours.safetensors")[0]
    head = state["module.decode_head.cls_embed.bias"]
    np.testing.assert_array_equal(arrays["decoder.class_head.bias"], head)


# ---- Hugging Face's folders ---------------------------------------------------------


def sharded(folder, state=STATE):
    names = [*state]
    parts = {"model-1-of-2.safetensors": names[::2], "model-2-of-2.safetensors": []}
    parts["model-2-of-2.safetensors"] = names[1::2]
    for part, keys in parts.items():
        save_file({k: np.ascontiguousarray(state[k]) for k in keys}, folder / part)
    places = {key: part for part, keys in parts.items() for key in keys}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return index, places


def test_folders_and_parts(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(ValueError, match="a folder without weights"):
        token_of(folder, tmp_path)
    index, places = sharded(folder)
    for source in (folder, index):
        token, _ = token_of(source, tmp_path)
        np.testing.assert_array_equal(token, STATE[TOKEN][0, 0])
    sources = read_weights(tmp_path / "out.safetensors")[1]["sources"]
    assert [each["name"] for each in sources] == [
        index.name,
        *sorted({*places.values()}),
    ]
    with pytest.raises(ValueError, match="as source and target"):
        dinov2(folder, folder / "model-1-of-2.safetensors", crop=32)
    written(folder / "pytorch_model.bin", OTHER)
    index.unlink()
    token, _ = token_of(folder, tmp_path)
    np.testing.assert_array_equal(token, OTHER[TOKEN][0, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda places: {**places, "x": "model-3-of-3.safetensors"},
            "got 2 of 3 parts",
        ),
        (lambda places: {**places, "x": "../up.safetensors"}, "the part '../up"),
        (lambda places: {**places, "x": "model.safetensors.index.json"}, "the part"),
        (lambda places: {**places, "x": "model-1-of-2.safetensors"}, "such as 'x'"),
        (lambda places: {**places, "x": 3}, "the part 3"),
        (lambda places: {}, "0 parts"),
        (lambda places: [1], "no readable"),
    ],
)
def test_indices_that_cannot_be_meant(change, message, tmp_path):
    index, places = sharded(tmp_path)
    index.write_text(json.dumps({"weight_map": change(places)}))
    with pytest.raises(ValueError, match=message):
        open_source(index, DINO)


# ---- Meta's DINOv3 ------------------------------------------------------------------


def native():
    """What facebookresearch/dinov3 saves, with the mask of its biases."""
    shapes = backbone_shapes(SMALL)
    carried = {f"torch.backbone.blocks.{i}.attn.key.bias": (8,) for i in range(2)}
    arrays = lazy(random_arrays(shapes | carried))
    state = apply_rules(arrays, invert(native_rules()), None)
    mask = np.repeat(np.float32([1, 0, 1]), 8)
    masks = {f"blocks.{i}.attn.qkv.bias_mask": mask for i in range(2)}
    rest = {"mask_token": (1, 8), "norm.weight": (8,), "norm.bias": (8,)}
    return state | masks | random_arrays({**rest, "rope_embed.periods": (2,)})


def test_native_dinov3(tmp_path):
    state, target = native(), tmp_path / "ours.safetensors"
    source = written(tmp_path / "dinov3_vits16_pretrain_lvd1689m-08c60483.pth", state)
    assert dinov3(source, target).facts["format"] == "DINOv3 of its authors"
    arrays = read_weights(target)[0]
    query, key, value = np.split(state["blocks.1.attn.qkv.weight"], 3)
    ours = "backbone.blocks.1.attn"
    for name, theirs in {"query": query, "key": key, "value": value}.items():
        np.testing.assert_array_equal(arrays[f"{ours}.{name}.kernel"], theirs.T)
    bias = state["blocks.1.attn.qkv.bias"]
    np.testing.assert_array_equal(arrays[f"{ours}.value.bias"], bias[16:])
    back = apply_rules(lazy(arrays), invert(native_rules()), None)
    assert state.keys() - back.keys() == {"rope_embed.periods"}
    for name, array in back.items():  # nothing is lost
        np.testing.assert_array_equal(array, state[name], name)


def test_native_dinov3_with_other_biases(tmp_path):
    state = native()
    del state["blocks.1.attn.qkv.bias_mask"]
    source = written(tmp_path / "dinov3_sat493m.pth", state)
    with pytest.raises(ValueError, match=r"blocks\.1\.attn\.qkv with another bias"):
        dinov3(source, tmp_path / "ours.safetensors")
    with pytest.raises(ValueError, match="use `crossearth convert dinov3`"):
        dinov2(source, tmp_path / "ours.safetensors", crop=32)


# ---- types --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(8, np.int64), r"int64 numbers in 'norm\.bias'"),
        (np.ones(8, bool), "bool numbers"),
        (np.ones(8, np.complex64), "complex64 numbers"),
        (np.full(8, 1e300), "8 float64 numbers in 'norm.bias' beyond float32"),
    ],
)
def test_numbers_that_are_no_weights(array, message, tmp_path):
    source = written(tmp_path / "x.pth", STATE | {"norm.bias": array})
    with pytest.raises(ValueError, match=message):
        token_of(source, tmp_path)
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("kind", [np.float64, np.float16, ml_dtypes.bfloat16])
def test_other_precisions_become_single(kind, tmp_path):
    state = {key: array.astype(kind) for key, array in STATE.items()}
    token, _ = token_of(written(tmp_path / "x.pth", state), tmp_path)
    assert token.dtype == np.float32
    np.testing.assert_array_equal(token, state[TOKEN][0, 0].astype(np.float32))


def test_the_command_says_which(tmp_path, capsys):
    both = {"state_dict": STATE, "state_dict_ema": OTHER}
    source = written(tmp_path / "x.pth", both)
    command = ["dinov2", str(source), str(tmp_path / "o.safetensors"), "--crop", "32"]
    assert main([*command, "--ema"]) == 0
    assert "weights: those under state_dict_ema." in capsys.readouterr().out
    assert main(["inspect", str(source)]) == 0
    shown = capsys.readouterr().out
    assert "backbone.cls_token" in shown
    assert "those under state_dict." in shown
