"""`mtp`: MTP's ViT with RVSA (ViT-B and ViT-L) to the backbone f_φ.

Files of the encoder alone, of the whole pretraining network (`encoder.…`) and of
MMLab's fine-tuned ones (`backbone.…`) are taken. Left out are the heads beside it, the
necks of MTP's decoders and a norm that MTP never applies. The patch is 16 and pixels
are normalised as ours. Positions stay those of the file: the model resizes them as MTP
does, so one file serves every crop.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from crossearth_jax.models.rvsa import VARIANTS, RvsaConfig
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
from weights_convert.transforms import POINTWISE, Squeeze

_PREFIXES = ("", "encoder.", "backbone.", "module.", "module.encoder.")
_MARK = "blocks.0.attn.sampling_offsets.2.weight"
ANCHORS = (_MARK,)


def mtp_rules(shapes: Mapping[str, Shape]) -> list[Rule]:
    """Names of MTP's repository.

    Raises:
      ValueError: no ViT with RVSA.
    """
    found = [prefix for prefix in _PREFIXES if prefix + _MARK in shapes]
    if not found:
        raise ValueError(
            f"got the tensors {list(shapes)[:5]} …, expected MTP's ViT with RVSA: see "
            "`crossearth convert inspect FILE`"
        )
    p = found[0]
    block, ours = f"{p}blocks.{{i}}", "backbone.blocks.{i}"
    attn, our_attn = f"{block}.attn", f"{ours}.attn"
    predicted = "sampling_{of:offsets|scales|angles}"
    beside = f"{{other:(?!{re.escape(p)}).+}}"
    return [
        rule(f"{p}pos_embed", "backbone.pos_embed", Squeeze((0,))),
        *conv(f"{p}patch_embed.proj", "backbone.patch_embed", bias=True),
        *norm(f"{block}.norm{{n:1|2}}", f"{ours}.norm{{n}}"),
        *linear(f"{attn}.{{part:qkv|proj}}", f"{our_attn}.{{part}}"),
        rule(
            f"{attn}.full_attn_rel_pos_{{axis:h|w}}",
            f"{our_attn}.full_rel_pos_{{axis}}",
        ),
        rule(f"{attn}.rel_pos_{{axis:h|w}}", f"{our_attn}.rel_pos_{{axis}}"),
        rule(
            f"{attn}.relative_position_bias_table",
            f"{our_attn}.relative_position_bias",
        ),
        rule(
            f"{attn}.{predicted}.2.weight",
            f"{our_attn}.sampling_{{of}}.kernel",
            POINTWISE,
        ),
        rule(f"{attn}.{predicted}.2.bias", f"{our_attn}.sampling_{{of}}.bias"),
        *linear(f"{block}.mlp.{{part:fc1|fc2}}", f"{ours}.mlp.{{part}}"),
        drop(f"{attn}.relative_position_index", "computed from the window's side"),
        drop(f"{p}norm.{{leaf:weight|bias}}", "MTP does not apply it"),
        drop(f"{p}fpn{{n}}.{{leaf:.+}}", "the neck of MTP's decoders"),
        *([drop(beside, "not of the backbone")] if p else []),
    ]


def read_mtp(shapes: Mapping[str, Shape]) -> RvsaConfig:
    """Sizes of the ViT, from the shapes under our names.

    Raises:
      ValueError: a tensor that tells a size is missing or has other axes.
    """
    *_, patch, _, width = shape_of(shapes, "backbone.patch_embed.kernel", 4)
    positions = shape_of(shapes, "backbone.pos_embed", 2)[0]
    grid = math.isqrt(positions)
    if grid**2 != positions:
        raise ValueError(f"got {positions} positions, expected a square grid")
    first = "backbone.blocks.0."
    pairs, heads = shape_of(shapes, f"{first}attn.relative_position_bias", 2)
    hidden = shape_of(shapes, f"{first}mlp.fc1.kernel", 2)[1]
    depth = count(shapes, "backbone.blocks.")
    full = [
        i for i in range(depth) if f"backbone.blocks.{i}.attn.full_rel_pos_h" in shapes
    ]
    known = [v.taps for v in VARIANTS.values() if (v.width, v.depth) == (width, depth)]
    return RvsaConfig(
        width=width,
        depth=depth,
        heads=heads,
        taps=known[0] if known else tuple(min(depth - 1, tap) for tap in range(4)),
        patch_size=patch,
        grid=grid,
        mlp_ratio=(hidden + 0.5) / width,  # the model rounds down
        window_size=(math.isqrt(pairs) + 1) // 2,
        full_every=full[0] + 1 if full else depth + 1,
    )


def convert_mtp(file: WeightFile, *, allow_unused: Sequence[str] = ()) -> Converted:
    """Converts an open file; see `mtp`."""
    source = single_precision(file.tensors)
    shapes = {key: tensor.shape for key, tensor in source.items()}
    rules = mtp_rules(shapes)
    config = read_mtp(preview_shapes(shapes, rules))
    arrays = apply_rules(source, rules, backbone_shapes(config), allow_unused)
    return Converted(
        {key: LazyTensor.of(array) for key, array in arrays.items()},
        {"format": "MTP's ViT with RVSA", "architecture": describe_backbone(config)},
    )


def mtp(
    source: str | Path,
    target: str | Path,
    *,
    allow_unused: Sequence[str] = (),
    prefix: str | None = None,
    ema: bool = False,
) -> Converted:
    """Converts MTP's ViT with RVSA to a file for `backbone.weights`.

    Args:
      source: weights of MTP, of the encoder or of a network around it.
      target: the .safetensors file to write.
      allow_unused: globs of source tensors that may stay unused.
      prefix: see `open_source`.
      ema: see `open_source`.

    Raises:
      ValueError: see `open_source`, `mtp_rules`, `read_mtp`, `plan_moves`.
    """
    file, found = open_source(source, ANCHORS, prefix=prefix, ema=ema)
    converted = convert_mtp(file, allow_unused=allow_unused).with_facts(found)
    return write(target, converted, "mtp", [file], {"allow_unused": [*allow_unused]})
