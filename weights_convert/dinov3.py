"""`dinov3`: DINOv3 ViT-S/B/L, Hugging Face's or the authors', to the backbone f_φ.

Patch and positions stay as they are: the patch is 16 already, and the positions are
rotary, so one file serves every crop. The final norm and the mask token, for which our
backbone has no place, are carried along under `torch.…`.

The weights of SAT-493M expect pixels with another mean and deviation than everything
else here. That is an affine change per channel before a linear layer, so it is put into
that layer: the model takes images of one normalisation whatever its weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from crossearth_jax.models.dinov3 import DinoV3Config
from crossearth_jax.pixels.imagenet import IMAGENET_MEAN, IMAGENET_STD
from crossearth_jax.system.read_json import read_json
from weights_convert.architecture import (
    backbone_shapes,
    count,
    describe_backbone,
    preview_shapes,
    shape_of,
)
from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.files.open import WeightFile
from weights_convert.mapping import (
    Rule,
    Shape,
    apply_rules,
    drop,
    rule,
)
from weights_convert.output import Converted, single_precision, write
from weights_convert.source import open_source
from weights_convert.torch_layers import conv, linear, norm
from weights_convert.transforms import LINEAR, Squeeze

KERNEL, BIAS = "backbone.patch_embed.kernel", "backbone.patch_embed.bias"
PATCHES = "embeddings.patch_embeddings.weight"
ANCHORS = (PATCHES, "storage_tokens")  # Hugging Face's, the authors'


@dataclass(frozen=True)
class Pixels:
    """Mean and standard deviation of the channels, RGB in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


PRETRAINING = {
    "lvd1689m": Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "sat493m": Pixels((0.430, 0.411, 0.296), (0.213, 0.156, 0.143)),
}


def dinov3_rules(shapes: Mapping[str, Shape]) -> list[Rule]:
    """The authors' names; or `transformers`', on disk and (`model.`) in memory.

    Raises:
      ValueError: no such DINOv3.
    """
    if is_native(shapes):
        return native_rules()
    blocks = [f"{root}layer." for root in ("", "model.")]
    found = [b for b in blocks if any(key.startswith(b) for key in shapes)]
    if PATCHES not in shapes or not found:
        raise ValueError(
            f"got the tensors {list(shapes)[:5]} …, expected a DINOv3 ViT of Hugging "
            "Face or its authors: see `crossearth convert inspect FILE`"
        )
    e, layer, ours = "embeddings.", f"{found[0]}{{i}}", "backbone.blocks.{i}"
    attention, attn = f"{layer}.attention", f"{ours}.attn"
    return [
        rule(f"{e}cls_token", "backbone.cls_token", Squeeze((0, 1))),
        rule(f"{e}register_tokens", "backbone.register_tokens", Squeeze((0,))),
        *conv(f"{e}patch_embeddings", "backbone.patch_embed", bias=True),
        *norm(f"{layer}.norm{{n:1|2}}", f"{ours}.norm{{n}}"),
        *linear(f"{attention}.q_proj", f"{attn}.query"),
        rule(f"{attention}.k_proj.weight", f"{attn}.key.kernel", LINEAR),
        *linear(f"{attention}.v_proj", f"{attn}.value"),
        *linear(f"{attention}.o_proj", f"{attn}.out"),
        rule(f"{layer}.layer_scale{{n:1|2}}.lambda1", f"{ours}.ls{{n}}"),
        *linear(f"{layer}.mlp.up_proj", f"{ours}.mlp.fc1"),
        *linear(f"{layer}.mlp.down_proj", f"{ours}.mlp.fc2"),
        rule(f"{e}mask_token", "torch.backbone.mask_token"),
        rule("norm.{leaf:weight|bias}", "torch.backbone.norm.{leaf}"),
    ]


def is_native(shapes: Mapping[str, Shape]) -> bool:
    """Whether names are those of facebookresearch/dinov3."""
    return "storage_tokens" in shapes


def native_rules() -> list[Rule]:
    """Names of facebookresearch/dinov3, whose keys have a bias that a mask turns off.

    It is carried along with the mask; `check_native` makes sure that it is off.
    """
    block, ours = "blocks.{i}", "backbone.blocks.{i}"
    parts = ("query", "key", "value")
    biases = [f"{ours}.attn.{part}.bias" for part in parts]
    biases[1] = f"torch.{biases[1]}"
    return [
        rule("cls_token", "backbone.cls_token", Squeeze((0, 1))),
        rule("storage_tokens", "backbone.register_tokens", Squeeze((0,))),
        *conv("patch_embed.proj", "backbone.patch_embed", bias=True),
        *norm(f"{block}.norm{{n:1|2}}", f"{ours}.norm{{n}}"),
        rule(
            f"{block}.attn.qkv.weight",
            tuple(f"{ours}.attn.{part}.kernel" for part in parts),
            LINEAR,
        ),
        rule(f"{block}.attn.qkv.bias", tuple(biases)),
        rule(f"{block}.attn.qkv.bias_mask", f"torch.{ours}.attn.qkv.bias_mask"),
        *linear(f"{block}.attn.proj", f"{ours}.attn.out"),
        rule(f"{block}.ls{{n:1|2}}.gamma", f"{ours}.ls{{n}}"),
        *linear(f"{block}.mlp.{{part:fc1|fc2}}", f"{ours}.mlp.{{part}}"),
        rule("mask_token", "torch.backbone.mask_token"),
        rule("norm.{leaf:weight|bias}", "torch.backbone.norm.{leaf}"),
        drop("rope_embed.periods", "computed from the width of a head"),
        drop("local_cls_norm.{leaf:weight|bias}", "of training's small crops"),
    ]


def check_native(arrays: Mapping[str, np.ndarray]) -> None:
    """Raises if a bias would be lost: of the keys, or of others that a mask turns off.

    Args:
      arrays: under our names, see `native_rules`.
    """
    end = ".attn.key.bias"
    for name in (name for name in arrays if name.endswith(end)):
        bias, block = arrays[name], name.removesuffix(end)
        mask = arrays.get(f"{block}.attn.qkv.bias_mask")
        if mask is None:
            sound = not bias.any()
        else:
            wanted = np.repeat(np.array([1, 0, 1], np.float32), len(bias))
            sound = np.array_equal(mask, wanted)
        if not sound:
            raise ValueError(
                f"got {block.removeprefix('torch.backbone.')}.attn.qkv with another "
                "bias than of queries and values alone, expected the authors' form: "
                "this is no DINOv3 that is known here"
            )


def read_dinov3(shapes: Mapping[str, Shape]) -> DinoV3Config:
    """Sizes of the ViT, from the shapes under our names.

    Raises:
      ValueError: a tensor that tells a size is missing or has other axes.
    """
    *_, patch, _, width = shape_of(shapes, KERNEL, 4)
    hidden = shape_of(shapes, "backbone.blocks.0.mlp.fc1.kernel", 2)[1]
    depth = count(shapes, "backbone.blocks.")
    return DinoV3Config(
        width=width,
        depth=depth,
        heads=1,
        taps=tuple(min(depth - 1, tap) for tap in range(4)),
        patch_size=patch,
        mlp_ratio=(hidden + 0.5) / width,  # the model rounds down
        registers=shape_of(shapes, "backbone.register_tokens", 2)[0],
    )


def read_pixels(source: Path, trained_on: str | None) -> Pixels:
    """What pixels the weights expect.

    Args:
      source: the weight file; its name may tell, as the authors' do, or Hugging Face's
        preprocessor_config.json beside it.
      trained_on: a key of `PRETRAINING`; None looks there.

    Raises:
      ValueError: nothing tells.
    """
    if trained_on is not None:
        return PRETRAINING[trained_on]
    if told := [name for name in PRETRAINING if name in source.name.lower()]:
        return PRETRAINING[told[0]]
    path = source.parent / "preprocessor_config.json"
    try:
        found = read_json(path)
        mean, std = (found[f"image_{name}"] for name in ("mean", "std"))
        pixels = Pixels(tuple(map(float, mean)), tuple(map(float, std)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"got {source} without a readable {path.name} beside it ({error!r}), "
            "expected one, which says what pixels the weights take: put it there, or "
            f"give --trained-on {' or '.join(PRETRAINING)}"
        ) from error
    if len(pixels.mean) != 3 or len(pixels.std) != 3 or min(pixels.std) <= 0:
        raise ValueError(f"{path}: got {pixels}, expected three, deviations above 0")
    return pixels


def for_our_pixels(
    kernel: Float[np.ndarray, "p p 3 C"], bias: Float[np.ndarray, " C"], theirs: Pixels
) -> tuple[Float[np.ndarray, "p p 3 C"], Float[np.ndarray, " C"]]:
    """The patch embedding for images that are normalised as ours.

    With x = (pixel - m) / s and the weights' own x' = (pixel - m') / s', x' is
    x·s/s' + (m - m')/s'. No padding enters the convolution, so this is exact.
    """
    ours = PRETRAINING["lvd1689m"]  # ImageNet's, see pixels/normalise.py
    if theirs == ours:
        return kernel, bias
    mean, std = (np.asarray(x, np.float64) / 255 for x in (IMAGENET_MEAN, IMAGENET_STD))
    scale, shift = std / theirs.std, (mean - theirs.mean) / theirs.std
    exact = kernel.astype(np.float64)
    bias = bias + np.einsum("hwic,i->c", exact, shift)
    return (exact * scale[:, None]).astype(np.float32), bias.astype(np.float32)


def convert_dinov3(
    file: WeightFile, *, trained_on: str | None, allow_unused: Sequence[str] = ()
) -> Converted:
    """Converts an open file; see `dinov3`."""
    source = single_precision(file.tensors)
    shapes = {key: tensor.shape for key, tensor in source.items()}
    rules = dinov3_rules(shapes)
    pixels = read_pixels(file.path, trained_on)
    preview = preview_shapes(shapes, rules)
    config = read_dinov3(preview)
    wanted = backbone_shapes(config) | {
        key: shape for key, shape in preview.items() if key.startswith("torch.")
    }
    arrays = apply_rules(source, rules, wanted, allow_unused)
    native = is_native(shapes)
    if native:
        check_native(arrays)
    arrays[KERNEL], arrays[BIAS] = for_our_pixels(arrays[KERNEL], arrays[BIAS], pixels)
    return Converted(
        {key: LazyTensor.of(array) for key, array in arrays.items()},
        {
            "format": "DINOv3 of its authors"
            if native
            else "Hugging Face DINOv3ViTModel",
            "architecture": describe_backbone(config),
            "pixels": f"mean {pixels.mean}, std {pixels.std}, now those of ImageNet",
        },
    )


def dinov3(
    source: str | Path,
    target: str | Path,
    *,
    trained_on: str | None = None,
    allow_unused: Sequence[str] = (),
    prefix: str | None = None,
    ema: bool = False,
) -> Converted:
    """Converts DINOv3 to a file for `backbone.weights`.

    Args:
      source: weights of Hugging Face (a folder too) or of the authors.
      target: the .safetensors file to write.
      trained_on: "lvd1689m" or "sat493m", which normalise pixels differently; None
        takes what the source's name says, or the preprocessor_config.json beside it.
      allow_unused: globs of source tensors that may stay unused.
      prefix: see `open_source`.
      ema: see `open_source`.

    Raises:
      ValueError: see `open_source`, `dinov3_rules`, `read_pixels`, `plan_moves`.
    """
    file, found = open_source(source, ANCHORS, prefix=prefix, ema=ema)
    converted = convert_dinov3(file, trained_on=trained_on, allow_unused=allow_unused)
    converted = converted.with_facts(found)
    options = {"trained_on": trained_on, "allow_unused": [*allow_unused]}
    return write(target, converted, "dinov3", [file], options)
