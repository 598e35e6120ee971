"""`crossearth` and `rein`: mmseg-style checkpoints of the authors' segmentor.

Such a checkpoint holds `decode_head.…` and `backbone.reins.…`; the frozen DINOv2 is
in it only after the authors' merging tool. Class count, image size and architecture
are read from the tensors.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossearth_jax.hub.weights import find_weights
from weights_convert import binary_head, runnable
from weights_convert.architecture import (
    describe_model,
    model_shapes,
    preview_shapes,
    read_backbone,
    read_model,
)
from weights_convert.dinov2 import hub_rules
from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.files.open import WeightFile, open_weights
from weights_convert.mapping import (
    Rule,
    Shape,
    apply_rules,
    rule,
)
from weights_convert.mtp import read_mtp
from weights_convert.output import Converted, single_precision, write
from weights_convert.own_parts import own_rules, sizes_of_parts
from weights_convert.source import open_source
from weights_convert.torch_layers import (
    attention,
    conv,
    linear,
    norm,
)

ANCHORS = ("decode_head.cls_embed.weight",)


def whole_rules() -> list[Rule]:
    """The segmentor, and our own names of what the official code does not have."""
    return [*mmseg_rules(), *own_rules()]


def mmseg_rules() -> list[Rule]:
    """The whole segmentor: DINOv2, Rein, pixel decoder, transformer decoder."""
    return [
        *hub_rules("backbone."),
        *rein_rules(),
        *pixel_decoder_rules(),
        *decoder_rules(),
    ]


def rein_rules() -> list[Rule]:
    """Rein's adapters, low-rank or full-rank."""
    r = "backbone.reins"
    layers = "{layer:mlp_token2feat|mlp_delta_f|transform|merge}"
    return [
        rule(f"{r}.scale", "rein.scale"),
        rule(f"{r}.learnable_tokens", "rein.tokens"),
        rule(f"{r}.learnable_tokens_{{x:a|b}}", "rein.tokens_{x}"),
        *linear(f"{r}.{layers}", "rein.{layer}"),
    ]


def pixel_decoder_rules() -> list[Rule]:
    """Layers of mmdet: MSDeformAttnPixelDecoder."""
    p, ours = "decode_head.pixel_decoder", "decoder.pixel_decoder"
    layer, our_layer = f"{p}.encoder.layers.{{i}}", f"{ours}.encoder.{{i}}"
    parts = "{part:sampling_offsets|attention_weights|value_proj|output_proj}"
    fine = (("lateral_convs.0", "lateral"), ("output_convs.0", "output"))
    return [
        *conv(
            f"{p}.input_convs.{{i}}.conv", f"{ours}.input_convs.{{i}}.conv", bias=True
        ),
        *norm(f"{p}.input_convs.{{i}}.gn", f"{ours}.input_convs.{{i}}.norm"),
        rule(f"{p}.level_encoding.weight", f"{ours}.level_encoding"),
        *linear(f"{layer}.self_attn.{parts}", f"{our_layer}.self_attn.{{part}}"),
        *_feed_forward(f"{layer}.ffn", f"{our_layer}.ffn"),
        *_norms(layer, our_layer, 2),
        *(
            each
            for theirs, name in fine
            for each in (
                *conv(f"{p}.{theirs}.conv", f"{ours}.{name}.conv", bias=False),
                *norm(f"{p}.{theirs}.gn", f"{ours}.{name}.norm"),
            )
        ),
        *conv(f"{p}.mask_feature", f"{ours}.mask_feature", bias=True),
    ]


def decoder_rules() -> list[Rule]:
    """ReinMask2FormerHead without its pixel decoder."""
    d = "decode_head"
    layer = f"{d}.transformer_decoder.layers.{{i}}"
    our_layer = "decoder.layers.{i}"
    return [
        *attention(f"{layer}.{{a:cross_attn|self_attn}}.attn", f"{our_layer}.{{a}}"),
        *_feed_forward(f"{layer}.ffn", f"{our_layer}.ffn"),
        *_norms(layer, our_layer, 3),
        *norm(f"{d}.transformer_decoder.post_norm", "decoder.post_norm"),
        rule(f"{d}.level_embed.weight", "decoder.level_embed"),
        *linear(f"{d}.querys2feat", "decoder.query_feature"),
        *linear(f"{d}.cls_embed", "decoder.class_head"),
        *(  # ReLUs stand between, and have numbers too
            each
            for j in range(3)
            for each in linear(
                f"{d}.mask_embed.{2 * j}", f"decoder.mask_head.layers.{j}"
            )
        ),
    ]


def _feed_forward(source: str, target: str) -> list[Rule]:
    """The FFN of mmcv."""
    first, second = f"{source}.layers.0.0", f"{source}.layers.1"
    return [*linear(first, f"{target}.fc1"), *linear(second, f"{target}.fc2")]


def _norms(source: str, target: str, count: int) -> list[Rule]:
    return [
        each
        for n in range(count)
        for each in norm(f"{source}.norms.{n}", f"{target}.norm{n + 1}")
    ]


def convert_mmseg(
    file: WeightFile,
    backbone: WeightFile | None,
    allow_unused: Sequence[str] = (),
    swap_classes: bool = False,
    background: int = 0,
    classes: str | None = None,
    crop: int | None = None,
    sizes: Mapping[str, str] | None = None,
) -> Converted:
    """Converts an open checkpoint; see `crossearth`."""
    source = single_precision(file.tensors)
    rules = whole_rules()
    preview = preview_shapes({k: t.shape for k, t in source.items()}, rules)
    frozen = _frozen(file, preview, backbone)
    shapes = preview | {key: t.shape for key, t in frozen.items()}
    rvsa = "backbone.blocks.0.attn.relative_position_bias" in shapes
    family = read_mtp if rvsa else read_backbone
    config = read_model(shapes, family, sizes_of_parts(shapes))
    wanted = model_shapes(config) | {
        key: shape for key, shape in preview.items() if key.startswith("torch.")
    }
    wanted = {key: shape for key, shape in wanted.items() if key not in frozen}
    arrays = apply_rules(source, rules, wanted, allow_unused)
    converted = {key: LazyTensor.of(array) for key, array in arrays.items()}
    facts: dict[str, Any] = {
        "format": "mmseg checkpoint "
        + ("without" if frozen else "with")
        + " the frozen backbone",
        "architecture": describe_model(config),
    }
    names = binary_head.names_of(file.metadata)
    swap_classes = swap_classes or binary_head.is_behind(names, background)
    if swap_classes:
        converted = binary_head.exchanged(converted)
    if converted[binary_head.HEAD[1]].shape[0] == 3:  # two, and "no object"
        facts["classes"] = binary_head.describe(names, swap_classes)
    own = runnable.kept_by_us(file) if crop is None and not sizes else {}
    facts |= own or runnable.settings_of(config, sizes or {}, crop)
    facts |= runnable.classes_of(config.num_classes, classes, file, swap_classes)
    return Converted(frozen | converted, facts)


def lacks_backbone(source: str | Path) -> bool:
    """Whether a checkpoint leaves the frozen backbone out, as mmseg's do."""
    names = open_source(source, ANCHORS)[0].tensors
    inside = [name for name in names if name.startswith("backbone.")]
    return all(name.startswith("backbone.reins.") for name in inside)


def _frozen(
    file: WeightFile, preview: Mapping[str, Shape], backbone: WeightFile | None
) -> dict[str, LazyTensor]:
    """The frozen backbone's tensors, where the checkpoint lacks them."""
    if "decoder.class_head.kernel" not in preview:
        raise ValueError(
            f"{file.path}: got the tensors {list(file.tensors)[:5]} …, expected an "
            "mmseg checkpoint with backbone.reins.… and decode_head.…"
        )
    inside = any(key.startswith("backbone.") for key in preview)
    if inside and backbone is not None:
        raise ValueError(
            f"{file.path}: got a checkpoint with its own backbone and --backbone "
            f"{backbone.path}: leave --backbone out"
        )
    if inside:
        return {}
    if backbone is None:
        raise ValueError(
            f"{file.path}: got a checkpoint without the frozen backbone: convert the "
            "DINOv2 it was trained on with `crossearth convert dinov2` and give "
            "the result, or a name such as dinov2-large, with --backbone"
        )
    names = ("backbone.", "torch.backbone.")
    found = {k: t for k, t in backbone.tensors.items() if k.startswith(names)}
    if "backbone.patch_embed.kernel" not in found:
        raise ValueError(
            f"{backbone.path}: got no converted backbone: make one with `python -m "
            "weights_convert dinov2`"
        )
    return found


def crossearth(
    source: str | Path,
    target: str | Path,
    *,
    backbone: str | Path | None = None,
    allow_unused: Sequence[str] = (),
    swap_classes: bool = False,
    background: int = 0,
    classes: str | None = None,
    crop: int | None = None,
    sizes: Mapping[str, str] | None = None,
    prefix: str | None = None,
    ema: bool = False,
) -> Converted:
    """Converts a released CrossEarth checkpoint, for `train.init` and `predict`.

    Args:
      source: an mmseg checkpoint.
      target: the .safetensors file to write; it holds the backbone, too.
      backbone: converted DINOv2; needed where the checkpoint leaves it out.
      allow_unused: globs of source tensors that may stay unused.
      swap_classes: exchange the two classes of a head whose background is id 1.
      background: its id in a two-class head that does not name its classes; 1 also
        exchanges them.
      classes: a known set's name or a class file, to be kept; see `runnable`.
      crop: side of a window of predictions; None takes what the positions show.
      sizes: those that no tensor shows, by key; see `runnable`.
      prefix: see `open_source`.
      ema: see `open_source`.

    Raises:
      ValueError: see `open_source` and `plan_moves`; or the backbone is missing or
        does not fit.
    """
    options = {"swap_classes": swap_classes, "background": background}
    options |= {"classes": classes, "crop": crop, "sizes": sizes}
    options |= {"prefix": prefix, "ema": ema}
    return _mmseg("crossearth", source, target, backbone, allow_unused, options)


def rein(
    source: str | Path,
    target: str | Path,
    *,
    backbone: str | Path | None = None,
    allow_unused: Sequence[str] = (),
    swap_classes: bool = False,
    background: int = 0,
    classes: str | None = None,
    crop: int | None = None,
    sizes: Mapping[str, str] | None = None,
    prefix: str | None = None,
    ema: bool = False,
) -> Converted:
    """Converts a released Rein checkpoint on DINOv2; see `crossearth`."""
    options = {"swap_classes": swap_classes, "background": background}
    options |= {"classes": classes, "crop": crop, "sizes": sizes}
    options |= {"prefix": prefix, "ema": ema}
    return _mmseg("rein", source, target, backbone, allow_unused, options)


def _mmseg(
    kind: str,
    source: str | Path,
    target: str | Path,
    backbone: str | Path | None,
    allow_unused: Sequence[str],
    options: dict[str, Any],
) -> Converted:
    asked = {name: options.pop(name) for name in ("prefix", "ema")}
    file, found = open_source(source, ANCHORS, **asked)
    frozen = None if backbone is None else open_weights(find_weights(backbone))
    converted = convert_mmseg(file, frozen, allow_unused, **options).with_facts(found)
    files = [file] if frozen is None else [file, frozen]
    kept = {"allow_unused": [*allow_unused], "swap_classes": options["swap_classes"]}
    return write(target, converted, kind, files, kept)
