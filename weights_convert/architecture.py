"""The sizes of a network, read from the shapes of its tensors under our names.

Heads (but for RVSA's), groups and the split into heads and points leave no trace in
any shape; the shapes do not depend on them, and one head stands for any number.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from flax import nnx

from crossearth_jax.models.backbone import BackboneConfig
from crossearth_jax.models.crossearth import CrossEarth, ModelConfig
from crossearth_jax.models.dinov2 import ViTConfig
from crossearth_jax.models.families import VARIANTS, family_of
from crossearth_jax.models.initial_keys import InitialKeys
from crossearth_jax.models.rvsa import RvsaConfig
from weights_convert.mapping import (
    Rule,
    Shape,
    find_moves,
    run_shapes,
)

_LEVELS = 3  # of the deformable attention
# Sizes of a backbone that leave no trace in shapes, or mean nothing to a user.
_UNTOLD = ("heads", "taps", "mlp_ratio", "layer_scale", "theta")


def preview_shapes(
    shapes: Mapping[str, Shape], rules: Sequence[Rule]
) -> dict[str, Shape]:
    """Shapes after a mapping, of whatever can be mapped; faults are skipped.

    From them the architecture is read, against which `plan_moves` is then strict.
    """
    made: dict[str, Shape] = {}
    for key in shapes:
        for move in find_moves(key, rules):
            if move.targets and all(source in shapes for source in move.sources):
                try:
                    parts = run_shapes(move.rule, [shapes[s] for s in move.sources])
                except ValueError:
                    continue
                made |= zip(move.targets, parts, strict=True)
    return made


def read_backbone(shapes: Mapping[str, Shape]) -> ViTConfig:
    """Sizes of the ViT.

    Raises:
      ValueError: a tensor that tells a size is missing or has other axes.
    """
    *_, patch, _, width = shape_of(shapes, "backbone.patch_embed.kernel", 4)
    rows, _ = shape_of(shapes, "backbone.pos_embed", 2)
    grid = round((rows - 1) ** 0.5)
    if grid**2 != rows - 1:
        raise ValueError(f"got {rows} positions, expected one and a square grid")
    swiglu = "backbone.blocks.0.mlp.w3.kernel" in shapes
    first = "w12" if swiglu else "fc1"
    _, hidden_width = shape_of(shapes, f"backbone.blocks.0.mlp.{first}.kernel", 2)
    depth = count(shapes, "backbone.blocks.")
    registers = shapes.get("backbone.register_tokens", (0,))[0]
    # SwiGlu takes 2/3 of the hidden width, and a gate besides.
    hidden_width = hidden_width * 3 / 4 if swiglu else hidden_width
    return ViTConfig(
        width=width,
        depth=depth,
        heads=1,
        taps=tuple(min(depth - 1, tap) for tap in range(4)),
        patch_size=patch,
        grid=grid,
        mlp_ratio=(hidden_width + 0.5) / width,  # the model rounds down
        swiglu=swiglu,
        registers=registers,
    )


def read_model(
    shapes: Mapping[str, Shape],
    backbone_of: Callable[[Mapping[str, Shape]], BackboneConfig] = read_backbone,
    parts: Mapping[str, Any] | None = None,
) -> ModelConfig:
    """Sizes of backbone, Rein and Mask2Former, and of our own parts as they are given.

    Args:
      shapes: of all tensors, under our names.
      backbone_of: reads the sizes of the backbone's family; a stored `grid` is needed.
      parts: more arguments of `ModelConfig`, see `own_parts.sizes_of_parts`.

    Raises:
      ValueError: a tensor that tells a size is missing or has other axes.
    """
    low_rank = "rein.tokens_a" in shapes
    tokens = "rein.tokens_a" if low_rank else "rein.tokens"
    depth, num_tokens, rank = shape_of(shapes, tokens, 3)
    width, classes = shape_of(shapes, "decoder.class_head.kernel", 2)
    encoder, decoder = "decoder.pixel_decoder.encoder.", "decoder.layers."
    backbone: Any = backbone_of(shapes)
    if backbone.depth != depth:
        raise ValueError(
            f"got Rein tokens for {depth} blocks and a backbone of {backbone.depth}: "
            "they do not belong together"
        )
    weights = shape_of(shapes, f"{encoder}0.self_attn.attention_weights.kernel", 2)[1]
    own = {
        "crop": backbone.grid * backbone.patch_size,
        **(parts or {"gse": False, "mim": False}),
    }
    return ModelConfig(
        **own,
        backbone=backbone,
        num_classes=classes - 1,
        width=width,
        num_queries=num_tokens,
        rein_rank=rank if low_rank else 0,
        encoder_layers=count(shapes, encoder),
        decoder_layers=count(shapes, decoder),
        heads=1,
        points=weights // _LEVELS,
        encoder_ffn=shape_of(shapes, f"{encoder}0.ffn.fc1.kernel", 2)[1],
        decoder_ffn=shape_of(shapes, f"{decoder}0.ffn.fc1.kernel", 2)[1],
        groups=1,
    )


def backbone_shapes(config: BackboneConfig) -> dict[str, Shape]:
    """Shape of every tensor of the backbone, `backbone.…`."""
    make = family_of(config).module
    module = nnx.eval_shape(lambda: make(config, rngs=InitialKeys(0)))
    return _module_shapes({"backbone": nnx.to_pure_dict(nnx.state(module))})


def model_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Shape of every tensor of the whole network."""
    if not isinstance(config.backbone, RvsaConfig):  # whose heads shapes show
        one_head = dataclasses.replace(config.backbone, heads=1)
        config = dataclasses.replace(config, backbone=one_head)
    module = nnx.eval_shape(lambda: CrossEarth(config, rngs=InitialKeys(0)))
    return _module_shapes(nnx.to_pure_dict(nnx.state(module)))


def _module_shapes(state: Any) -> dict[str, Shape]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape
        for path, leaf in leaves
    }


def describe_backbone(config: BackboneConfig) -> dict[str, Any]:
    """What a converted backbone is, for its provenance and for the user."""

    def identity(sizes: BackboneConfig) -> tuple:
        gated = getattr(sizes, "swiglu", False)
        return type(sizes), sizes.width, sizes.depth, gated

    known = [n for n, v in VARIANTS.items() if identity(v) == identity(config)]
    sizes = dataclasses.asdict(config)
    return {
        "variant": known[0] if known else "no published size",
        **{name: size for name, size in sizes.items() if name not in _UNTOLD},
    }


def describe_model(config: ModelConfig) -> dict[str, Any]:
    """What a converted model is; the keys are the configuration's."""
    return {
        "backbone": describe_backbone(config.backbone),
        "num_classes": config.num_classes,
        "crop": config.crop,
        "width": config.width,
        "num_tokens": config.num_queries,
        "rank": config.rein_rank,
        "encoder_layers": config.encoder_layers,
        "decoder_layers": config.decoder_layers,
        "heads x points": config.points,
        "encoder_ffn": config.encoder_ffn,
        "decoder_ffn": config.decoder_ffn,
    }


def count(shapes: Mapping[str, Shape], prefix: str) -> int:
    """Number of modules of a list, told by the names of their tensors."""
    numbers = {k[len(prefix) :].split(".")[0] for k in shapes if k.startswith(prefix)}
    return 1 + max(int(number) for number in numbers) if numbers else 0


def shape_of(shapes: Mapping[str, Shape], key: str, axes: int) -> Shape:
    """Shape of a tensor that must be there.

    Raises:
      ValueError: it is missing or has another number of axes.
    """
    if len(shape := shapes.get(key, ())) != axes:
        raise ValueError(
            f"got no tensor for {key} with {axes} axes, expected one: the file is "
            "damaged or another network's"
        )
    return shape
