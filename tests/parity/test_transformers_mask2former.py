"""Our pixel decoder and decoder against the independent ones of `transformers`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from parity_fixtures import QUICK

from crossearth_jax.models.mask2former import Mask2Former
from crossearth_jax.models.parameters import dotted, undotted
from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.mapping import apply_rules, drop, rule
from weights_convert.torch_layers import (
    attention,
    conv,
    linear,
    norm,
)

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
theirs = pytest.importorskip("transformers.models.mask2former.modeling_mask2former")

WIDTH, STAGE_WIDTH, QUERIES, CLASSES, HEADS, LAYERS, FFN = 32, 16, 6, 3, 4, 4, 48

PIXEL_RULES = [
    *conv("input_projections.{i}.0", "input_convs.{i}.conv", bias=True),
    *norm("input_projections.{i}.1", "input_convs.{i}.norm"),
    rule("level_embed", "level_encoding"),
    *linear(
        "encoder.layers.{i}.self_attn.{part:[a-z_]+}", "encoder.{i}.self_attn.{part}"
    ),
    *norm("encoder.layers.{i}.self_attn_layer_norm", "encoder.{i}.norm1"),
    *linear("encoder.layers.{i}.{part:fc1|fc2}", "encoder.{i}.ffn.{part}"),
    *norm("encoder.layers.{i}.final_layer_norm", "encoder.{i}.norm2"),
    *conv("adapter_1.0", "lateral.conv", bias=False),
    *norm("adapter_1.1", "lateral.norm"),
    *conv("layer_1.0", "output.conv", bias=False),
    *norm("layer_1.1", "output.norm"),
    *conv("mask_projection", "mask_feature", bias=True),
]
LAYER = "decoder.layers.{i}"
DECODER_RULES = [
    *attention(f"{LAYER}.cross_attn", "layers.{i}.cross_attn"),
    *norm(f"{LAYER}.cross_attn_layer_norm", "layers.{i}.norm1"),
    *(
        each
        for theirs_, name in {
            "q": "query",
            "k": "key",
            "v": "value",
            "out": "out",
        }.items()
        for each in linear(
            f"{LAYER}.self_attn.{theirs_}_proj", f"layers.{{i}}.self_attn.{name}"
        )
    ),
    *norm(f"{LAYER}.self_attn_layer_norm", "layers.{i}.norm2"),
    *linear(f"{LAYER}.{{part:fc1|fc2}}", "layers.{i}.ffn.{part}"),
    *norm(f"{LAYER}.final_layer_norm", "layers.{i}.norm3"),
    *norm("decoder.layernorm", "post_norm"),
    *linear("decoder.mask_predictor.mask_embedder.{i}.0", "mask_head.layers.{i}"),
    rule("level_embed.weight", "level_embed"),
    drop("queries_embedder.weight", "Rein gives the queries"),
    drop("queries_features.weight", "and their content"),
]


def renamed(module, rules, prefix=""):
    lazy = {k: LazyTensor.of(v.numpy()) for k, v in module.state_dict().items()}
    arrays = apply_rules(lazy, rules, None)
    return {prefix + key: array for key, array in arrays.items()}


@pytest.fixture(scope="module")
def modules():
    config = transformers.Mask2FormerConfig(
        feature_size=WIDTH,
        mask_feature_size=WIDTH,
        hidden_dim=WIDTH,
        encoder_feedforward_dim=FFN,
        dim_feedforward=FFN,
        encoder_layers=2,
        decoder_layers=LAYERS + 1,  # they count the prediction before the first
        num_attention_heads=HEADS,
        num_queries=QUERIES,
        dropout=0.0,
    )
    torch.manual_seed(0)
    pixel = theirs.Mask2FormerPixelDecoder(config, [STAGE_WIDTH] * 4).eval()
    decoder = theirs.Mask2FormerTransformerModule(WIDTH, config).eval()
    with torch.no_grad():
        for module in (pixel, decoder):
            for parameter in module.parameters():
                parameter.copy_(0.2 * torch.randn_like(parameter) + (parameter == 1))
    return pixel, decoder


@pytest.fixture(scope="module")
def ours(modules):
    model = nnx.eval_shape(
        lambda: Mask2Former(
            STAGE_WIDTH,
            WIDTH,
            CLASSES,
            encoder_layers=2,
            decoder_layers=LAYERS,
            heads=HEADS,
            points=4,
            encoder_ffn=FFN,
            decoder_ffn=FFN,
            groups=32,
            rngs=nnx.Rngs(0),
        )
    )
    graph, state = nnx.split(model)
    like = nnx.to_pure_dict(state)
    pixel, decoder = modules
    arrays = renamed(pixel, PIXEL_RULES, "pixel_decoder.")
    arrays |= renamed(decoder, DECODER_RULES)
    random = np.random.default_rng(0)
    for name, leaf in dotted(like).items():
        if name.startswith(("query_feature", "class_head")):  # theirs has none
            arrays[name] = random.standard_normal(leaf.shape, np.float32)
    assert arrays.keys() == dotted(like).keys()
    return nnx.merge(graph, jax.tree.map(jnp.asarray, undotted(arrays, like)))


def relative(got, expected):
    return np.linalg.norm(np.asarray(got) - expected) / np.linalg.norm(expected)


def nhwc(tensor):
    return tensor.permute(0, 2, 3, 1).numpy()


def test_every_output(modules, ours):
    random = np.random.default_rng(1)
    stages = [
        random.standard_normal((2, 32 // 2**i, 24 // 2**i, STAGE_WIDTH), np.float32)
        for i in range(4)
    ]
    queries = random.standard_normal((QUERIES, WIDTH), np.float32)
    pixel, decoder = modules
    with torch.no_grad():
        decoder.queries_embedder.weight.copy_(torch.from_numpy(queries))
        content = torch.from_numpy(np.array(ours.query_feature(jnp.asarray(queries))))
        decoder.queries_features.weight.copy_(content)
        found = pixel([torch.from_numpy(x).permute(0, 3, 1, 2) for x in stages])
        expected = decoder(list(found.multi_scale_features), found.mask_features)
    maps = [jnp.asarray(x) for x in stages]
    graph, params = nnx.split(ours)

    @partial(jax.jit, compiler_options=QUICK)
    def run(params, maps, queries):
        model = nnx.merge(graph, params)
        return model.pixel_decoder(maps), model(maps, queries)

    (features, memories), output = run(params, maps, queries)
    assert relative(features, nhwc(found.mask_features)) <= 1e-5
    for memory, their_memory in zip(memories, found.multi_scale_features, strict=True):
        assert relative(memory, nhwc(their_memory)) <= 1e-5
    masks = expected.masks_queries_logits
    assert len(output.mask_logits) == len(masks) == LAYERS + 1
    for mine, mask in zip(output.mask_logits, masks, strict=True):
        assert relative(mine, mask.numpy()) <= 1e-4
    # Theirs leaves the classes to another module: ours on their normalised queries.
    for mine, hidden in zip(
        output.class_logits, expected.intermediate_hidden_states, strict=True
    ):
        logits = ours.class_head(jnp.asarray(hidden.transpose(0, 1).numpy()))
        assert relative(mine, np.asarray(logits)) <= 1e-4
