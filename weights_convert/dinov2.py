"""`dinov2`: every usual form of DINOv2's weights to the backbone f_φ (method.md 1).

Weights come with patch 14 and a 37×37 position grid; both are resized, bicubic, to
the wanted patch and crop. What our backbone has no place for (the final norm and the
mask token) is carried along under `torch.…`, so that the way back loses nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float, Shaped

from crossearth_jax.pixels.resample import resize_bicubic, resize_bicubic_antialiased
from weights_convert.architecture import (
    backbone_shapes,
    describe_backbone,
    preview_shapes,
    read_backbone,
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
from weights_convert.transforms import (
    LINEAR,
    Chain,
    Squeeze,
    ZeroRow,
)

ANCHORS = ("patch_embed.proj.weight", "embeddings.patch_embeddings.projection.weight")
KERNEL, POSITIONS = "backbone.patch_embed.kernel", "backbone.pos_embed"


def _carried(source: str, name: str) -> Rule:
    return rule(source, f"torch.backbone.{name}")


def hub_rules(prefix: str = "") -> list[Rule]:
    """Names of facebookresearch/dinov2, which mmseg keeps under `backbone.`."""
    p, block = prefix, prefix + "blocks.{i}"
    ours = "backbone.blocks.{i}"
    return [
        rule(f"{p}cls_token", "backbone.cls_token", Squeeze((0, 1))),
        rule(f"{p}pos_embed", POSITIONS, Squeeze((0,))),
        rule(f"{p}register_tokens", "backbone.register_tokens", Squeeze((0,))),
        *conv(f"{p}patch_embed.proj", "backbone.patch_embed", bias=True),
        *norm(f"{block}.norm{{n:1|2}}", f"{ours}.norm{{n}}"),
        *linear(f"{block}.attn.{{part:qkv|proj}}", f"{ours}.attn.{{part}}"),
        rule(f"{block}.ls{{n:1|2}}.gamma", f"{ours}.ls{{n}}"),
        *linear(f"{block}.mlp.{{part:fc1|fc2|w12|w3}}", f"{ours}.mlp.{{part}}"),
        *(
            _carried(f"{p}{name}", name)
            for name in ("mask_token", "norm.weight", "norm.bias")
        ),
    ]


def hugging_face_rules() -> list[Rule]:
    """Names of `transformers`, on disk and (since its version 5) in memory."""
    e, layer = "embeddings.", "encoder.layer.{i}"
    ours = "backbone.blocks.{i}"
    old, new = (
        tuple(f"{layer}.attention.{name}" for name in names)
        for names in (
            ("attention.query", "attention.key", "attention.value"),
            ("q_proj", "k_proj", "v_proj"),
        )
    )
    gate = (f"{layer}.mlp.gate_proj", f"{layer}.mlp.up_proj")
    return [
        rule(f"{e}cls_token", "backbone.cls_token", Squeeze((0, 1))),
        rule(f"{e}position_embeddings", POSITIONS, Squeeze((0,))),
        rule(f"{e}register_tokens", "backbone.register_tokens", Squeeze((0,))),
        *conv(f"{e}patch_embeddings.projection", "backbone.patch_embed", bias=True),
        *norm(f"{layer}.norm{{n:1|2}}", f"{ours}.norm{{n}}"),
        *_joined(old, f"{ours}.attn.qkv"),
        *_joined(new, f"{ours}.attn.qkv"),
        *linear(f"{layer}.attention.output.dense", f"{ours}.attn.proj"),
        *linear(f"{layer}.attention.o_proj", f"{ours}.attn.proj"),
        rule(f"{layer}.layer_scale{{n:1|2}}.lambda1", f"{ours}.ls{{n}}"),
        *linear(f"{layer}.mlp.{{part:fc1|fc2}}", f"{ours}.mlp.{{part}}"),
        *linear(f"{layer}.mlp.weights_in", f"{ours}.mlp.w12"),
        *_joined(gate, f"{ours}.mlp.w12"),
        *linear(f"{layer}.mlp.weights_out", f"{ours}.mlp.w3"),
        *linear(f"{layer}.mlp.down_proj", f"{ours}.mlp.w3"),
        _carried(f"{e}mask_token", "mask_token"),
        _carried("layernorm.weight", "norm.weight"),
        _carried("layernorm.bias", "norm.bias"),
    ]


def _joined(sources: tuple[str, ...], target: str) -> list[Rule]:
    """Several linear layers of the source as one."""
    return [
        rule(tuple(f"{s}.weight" for s in sources), f"{target}.kernel", LINEAR),
        rule(tuple(f"{s}.bias" for s in sources), f"{target}.bias"),
    ]


def timm_rules(shapes: Mapping[str, Shape]) -> list[Rule]:
    """Names of timm: hub's but for registers and the gated MLP.

    With registers, timm adds the class token's position to the class token, and the
    position grid has no row for it: that row is zero here.
    """
    block, ours = "blocks.{i}", "backbone.blocks.{i}"
    gated = _is_square_gate(shapes)
    rules = [
        each
        for each in hub_rules()
        if not each.targets[0].template.startswith((POSITIONS, f"{ours}.mlp."))
    ]
    no_class_row = Chain((Squeeze((0,)), ZeroRow()))
    positions = no_class_row if "reg_token" in shapes else Squeeze((0,))
    names = {"fc1": "w12", "fc2": "w3"} if gated else {"fc1": "fc1", "fc2": "fc2"}
    return [
        *rules,
        rule("pos_embed", POSITIONS, positions),
        rule("reg_token", "backbone.register_tokens", Squeeze((0,))),
        *(
            each
            for theirs, name in names.items()
            for each in linear(f"{block}.mlp.{theirs}", f"{ours}.mlp.{name}")
        ),
        *(drop(f"head.{leaf}", "no classification") for leaf in ("weight", "bias")),
    ]


def _is_square_gate(shapes: Mapping[str, Shape]) -> bool:
    """Whether the MLP is gated: then fc1 is twice as wide as what fc2 takes."""
    first, second = (
        shapes.get(f"blocks.0.mlp.{name}.weight", (0, 0)) for name in ("fc1", "fc2")
    )
    return len(first) == len(second) == 2 and first[0] == 2 * second[1] > 0


@dataclass(frozen=True)
class SourceFormat:
    """How a file names DINOv2's tensors.

    Attributes:
      name: to tell the user.
      rules: its mapping table.
    """

    name: str
    rules: list[Rule]


def detect(shapes: Mapping[str, Shape]) -> SourceFormat:
    """Tells the naming from the tensors.

    Raises:
      ValueError: no DINOv2 under any known naming.
    """
    if "storage_tokens" in shapes:
        raise ValueError(
            "got a DINOv3 of its authors, expected a DINOv2: use `crossearth convert "
            "dinov3`"
        )
    if ANCHORS[1] in shapes:
        return SourceFormat("Hugging Face Dinov2Model", hugging_face_rules())
    for prefix in ("", "backbone."):
        kernel = shapes.get(f"{prefix}patch_embed.proj.weight")
        if kernel is None:
            continue
        if not prefix and "mask_token" not in shapes:
            return SourceFormat("timm", timm_rules(shapes))
        converted = "the authors' dinov2_converted, patch 16"
        name = converted if kernel[-1] == 16 else "torch-hub"
        return SourceFormat(name, hub_rules(prefix))
    raise ValueError(
        f"got the tensors {list(shapes)[:5]} …, expected a DINOv2 of torch-hub, "
        "Hugging Face or timm: see `crossearth convert inspect FILE`"
    )


def convert_dinov2(
    file: WeightFile, *, crop: int, patch: int, allow_unused: Sequence[str] = ()
) -> Converted:
    """Converts an open file; see `dinov2`."""
    source = single_precision(file.tensors)
    shapes = {key: tensor.shape for key, tensor in source.items()}
    found = detect(shapes)
    preview = preview_shapes(shapes, found.rules)
    config = read_backbone(preview)
    wanted = backbone_shapes(config) | {
        key: shape for key, shape in preview.items() if key.startswith("torch.")
    }
    arrays = apply_rules(source, found.rules, wanted, allow_unused)
    arrays = fit_backbone(arrays, crop=crop, patch=patch)
    return Converted(
        {key: LazyTensor.of(array) for key, array in arrays.items()},
        {
            "format": found.name,
            "architecture": describe_backbone(read_backbone(_shapes(arrays))),
            "resized": f"patch {config.patch_size} to {patch}, "
            f"positions {config.grid} to {crop // patch}",
        },
    )


def _shapes(arrays: Mapping[str, Shaped[np.ndarray, "..."]]) -> dict[str, Shape]:
    return {key: array.shape for key, array in arrays.items()}


def fit_backbone(
    arrays: dict[str, Shaped[np.ndarray, "..."]], *, crop: int, patch: int
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Resizes patch kernel and position grid for images of crop×crop.

    Raises:
      ValueError: the crop is not a multiple of the patch.
    """
    if patch < 1 or crop < patch or crop % patch:
        raise ValueError(
            f"got crop {crop} and patch {patch}, expected a multiple of the patch: "
            "set --crop"
        )
    kernel, positions = arrays[KERNEL], arrays[POSITIONS]
    return arrays | {
        KERNEL: resize_kernel(kernel, patch),
        POSITIONS: resize_grid(
            positions,
            (crop // patch, crop // patch),
            registers="backbone.register_tokens" in arrays,
        ),
    }


def resize_kernel(
    kernel: Float[np.ndarray, "p p 3 C"], patch: int
) -> Float[np.ndarray, "q q 3 C"]:
    """Patch embedding for another patch size, bicubic."""
    height, width, *rest = kernel.shape
    if (height, width) == (patch, patch):
        return kernel
    maps = kernel.reshape(1, height, width, -1)
    return _bicubic(maps, (patch, patch)).reshape(patch, patch, *rest)


def resize_grid(
    positions: Float[np.ndarray, "n C"],
    size: tuple[int, int],
    *,
    registers: bool = False,
) -> Float[np.ndarray, "m C"]:
    """Positions for another token grid, bicubic; the class token's row stays.

    DINOv2's models with registers were trained with antialias.
    """
    side = round((len(positions) - 1) ** 0.5)
    if size == (side, side):
        return positions
    maps = positions[1:].reshape(1, side, side, -1)
    resize = resize_bicubic_antialiased if registers else resize_bicubic
    resized = _bicubic(maps, size, resize).reshape(size[0] * size[1], -1)
    return np.concatenate([positions[:1], resized])


def _bicubic(
    maps: Float[np.ndarray, "1 h w C"],
    size: tuple[int, int],
    resize: Callable[..., jax.Array] = resize_bicubic,
) -> Float[np.ndarray, "1 H W C"]:
    with jax.default_device(jax.devices("cpu")[0]):
        return np.asarray(resize(maps, size))


def dinov2(
    source: str | Path,
    target: str | Path,
    *,
    crop: int = 512,
    patch: int = 16,
    allow_unused: Sequence[str] = (),
    prefix: str | None = None,
    ema: bool = False,
) -> Converted:
    """Converts DINOv2 to a file for `backbone.weights`.

    Args:
      source: weights of torch-hub, Hugging Face (a folder too), timm, the authors'
        converted, or a checkpoint of any training that has such a network in it.
      target: the .safetensors file to write.
      crop: side of the training crop in pixels.
      patch: side of a patch in pixels.
      allow_unused: globs of source tensors that may stay unused.
      prefix: see `open_source`.
      ema: see `open_source`.

    Raises:
      ValueError: see `open_source`, `detect`, `plan_moves`; or sizes do not match.
    """
    file, found = open_source(source, ANCHORS, prefix=prefix, ema=ema)
    converted = convert_dinov2(file, crop=crop, patch=patch, allow_unused=allow_unused)
    converted = converted.with_facts(found)
    options = {"crop": crop, "patch": patch, "allow_unused": [*allow_unused]}
    return write(target, converted, "dinov2", [file], options)
