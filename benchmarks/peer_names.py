"""Our weights in the PyTorch peer, and its gradients under our names."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.mapping import apply_rules, invert, rule
from weights_convert.torch_layers import (
    attention,
    conv,
    linear,
    norm,
)
from weights_convert.transforms import LINEAR, Squeeze

_VIT, _VIT_LAYER = "backbone.embeddings", "backbone.encoder.layer.{i}"
_QKV = [f"{_VIT_LAYER}.attention.{part}_proj" for part in "qkv"]
_PIXEL, _OUR_PIXEL = "decoder.pixel_decoder", "decoder.pixel_decoder"
_LAYER, _OUR_LAYER = "decoder.layers.layers.{i}", "decoder.layers.{i}"
_SELF = {"q": "query", "k": "key", "v": "value", "out": "out"}

RULES = [
    rule(f"{_VIT}.cls_token", "backbone.cls_token", Squeeze((0, 1))),
    rule(f"{_VIT}.position_embeddings", "backbone.pos_embed", Squeeze((0,))),
    *conv(f"{_VIT}.patch_embeddings.projection", "backbone.patch_embed", bias=True),
    *norm(f"{_VIT_LAYER}.norm{{n:1|2}}", "backbone.blocks.{i}.norm{n}"),
    rule(
        tuple(f"{name}.weight" for name in _QKV),
        "backbone.blocks.{i}.attn.qkv.kernel",
        LINEAR,
    ),
    rule(tuple(f"{name}.bias" for name in _QKV), "backbone.blocks.{i}.attn.qkv.bias"),
    *linear(f"{_VIT_LAYER}.attention.o_proj", "backbone.blocks.{i}.attn.proj"),
    rule(f"{_VIT_LAYER}.layer_scale{{n:1|2}}.lambda1", "backbone.blocks.{i}.ls{n}"),
    *linear(f"{_VIT_LAYER}.mlp.{{part:fc1|fc2}}", "backbone.blocks.{i}.mlp.{part}"),
    rule("rein.{part:tokens_a|tokens_b|scale}", "rein.{part}"),
    *linear("rein.{part:mlp_token2feat|mlp_delta_f|transform|merge}", "rein.{part}"),
    *conv("gse.convs.{i}", "gse.convs.{i}", bias=True),
    *norm("injectors.{i}.{part:query|feature}_norm", "injectors.{i}.{part}_norm"),
    *linear("injectors.{i}.attention.{part:[a-z]+}", "injectors.{i}.attention.{part}"),
    rule("injectors.{i}.gamma", "injectors.{i}.gamma"),
    *conv(
        f"{_PIXEL}.input_projections.{{i}}.0",
        f"{_OUR_PIXEL}.input_convs.{{i}}.conv",
        bias=True,
    ),
    *norm(
        f"{_PIXEL}.input_projections.{{i}}.1", f"{_OUR_PIXEL}.input_convs.{{i}}.norm"
    ),
    rule(f"{_PIXEL}.level_embed", f"{_OUR_PIXEL}.level_encoding"),
    *linear(
        f"{_PIXEL}.encoder.layers.{{i}}.self_attn.{{part:[a-z_]+}}",
        f"{_OUR_PIXEL}.encoder.{{i}}.self_attn.{{part}}",
    ),
    *norm(
        f"{_PIXEL}.encoder.layers.{{i}}.self_attn_layer_norm",
        f"{_OUR_PIXEL}.encoder.{{i}}.norm1",
    ),
    *linear(
        f"{_PIXEL}.encoder.layers.{{i}}.{{part:fc1|fc2}}",
        f"{_OUR_PIXEL}.encoder.{{i}}.ffn.{{part}}",
    ),
    *norm(
        f"{_PIXEL}.encoder.layers.{{i}}.final_layer_norm",
        f"{_OUR_PIXEL}.encoder.{{i}}.norm2",
    ),
    *conv(f"{_PIXEL}.adapter_1.0", f"{_OUR_PIXEL}.lateral.conv", bias=False),
    *norm(f"{_PIXEL}.adapter_1.1", f"{_OUR_PIXEL}.lateral.norm"),
    *conv(f"{_PIXEL}.layer_1.0", f"{_OUR_PIXEL}.output.conv", bias=False),
    *norm(f"{_PIXEL}.layer_1.1", f"{_OUR_PIXEL}.output.norm"),
    *conv(f"{_PIXEL}.mask_projection", f"{_OUR_PIXEL}.mask_feature", bias=True),
    *attention(f"{_LAYER}.cross_attn", f"{_OUR_LAYER}.cross_attn"),
    *norm(f"{_LAYER}.cross_attn_layer_norm", f"{_OUR_LAYER}.norm1"),
    *(
        each
        for theirs, ours in _SELF.items()
        for each in linear(
            f"{_LAYER}.self_attn.{theirs}_proj", f"{_OUR_LAYER}.self_attn.{ours}"
        )
    ),
    *norm(f"{_LAYER}.self_attn_layer_norm", f"{_OUR_LAYER}.norm2"),
    *linear(f"{_LAYER}.{{part:fc1|fc2}}", f"{_OUR_LAYER}.ffn.{{part}}"),
    *norm(f"{_LAYER}.final_layer_norm", f"{_OUR_LAYER}.norm3"),
    *norm("decoder.layers.layernorm", "decoder.post_norm"),
    *linear(
        "decoder.layers.mask_predictor.mask_embedder.{i}.0",
        "decoder.mask_head.layers.{i}",
    ),
    rule("decoder.level_embed", "decoder.level_embed"),
    *linear("decoder.{part:query_feature|class_head}", "decoder.{part}"),
    *conv("mim_decoder.convs.{i}", "mim_decoder.convs.{i}", bias=True),
    *linear("mim_decoder.linear", "mim_decoder.linear"),
    rule("prompt", "prompt"),
]


def load(model: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Puts our parameters (dotted paths) into the peer, strictly."""
    lazy = {name: LazyTensor.of(array) for name, array in arrays.items()}
    shapes = {name: tuple(x.shape) for name, x in model.state_dict().items()}
    state = apply_rules(lazy, invert(RULES), shapes)
    model.load_state_dict({k: torch.from_numpy(x) for k, x in state.items()})


def gradients(model: nn.Module) -> dict[str, np.ndarray]:
    """Gradients of all that trains, as our parameters are called and laid out."""
    found = {
        name: LazyTensor.of(parameter.grad.float().cpu().numpy())
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return apply_rules(found, RULES, None)


def exempt_from_decay(model: nn.Module) -> set[str]:
    """Parameters without weight decay, as `optim.decay_mask` has them."""
    norms = (nn.LayerNorm, nn.GroupNorm)
    found = {
        f"{name}.{own}"
        for name, module in model.named_modules()
        if isinstance(module, norms)
        for own, _ in module.named_parameters()
    }
    others = [f"injectors.{i}.gamma" for i in range(4)]
    return found | {
        "rein.scale",
        "rein.tokens_a",
        "rein.tokens_b",
        "decoder.level_embed",
        *others,
    }
