"""The authors' recorded numbers, and our model with their weights.

The architecture comes from their `tiny_config.json` and the weights, through
weights_convert, from their `.pth`.
"""

import json
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from outside import FIXTURES

from crossearth_jax.models.crossearth import CrossEarth, ModelConfig
from crossearth_jax.models.dinov2 import ViTConfig
from crossearth_jax.models.parameters import dotted, undotted
from weights_convert.crossearth import convert_mmseg, mmseg_rules
from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.files.open import open_weights
from weights_convert.mapping import apply_rules, invert

# Compiling takes longer than running: less optimisation halves the tests' time.
QUICK = {"xla_backend_optimization_level": "0"}


@cache
def recorded(name):
    return dict(np.load(FIXTURES / name))


@cache
def settings():
    return json.loads((FIXTURES / "tiny_config.json").read_text())["model"]


def model_config():
    """Our configuration of the recorded model."""
    backbone, head = settings()["backbone"], settings()["decode_head"]
    reins, pixel = backbone["reins_config"], head["pixel_decoder"]
    encoder, decoder = pixel["encoder"], head["transformer_decoder"]
    patch = backbone["patch_size"]
    return ModelConfig(
        backbone=ViTConfig(
            width=backbone["embed_dim"],
            depth=backbone["depth"],
            heads=backbone["num_heads"],
            taps=tuple(backbone["out_indices"]),
            patch_size=patch,
            grid=backbone["img_size"] // patch,
            mlp_ratio=backbone["mlp_ratio"],
        ),
        num_classes=head["num_classes"],
        crop=backbone["img_size"],
        width=head["feat_channels"],
        num_queries=head["num_queries"],
        rein_rank=reins.get("lora_dim", 0),
        gse=False,
        mim=False,
        encoder_layers=encoder["num_layers"],
        decoder_layers=decoder["num_layers"],
        heads=decoder["layer_cfg"]["self_attn_cfg"]["num_heads"],
        points=encoder["layer_cfg"]["self_attn_cfg"]["num_points"],
        encoder_ffn=encoder["layer_cfg"]["ffn_cfg"]["feedforward_channels"],
        decoder_ffn=decoder["layer_cfg"]["ffn_cfg"]["feedforward_channels"],
        groups=pixel["norm_cfg"]["num_groups"],
    )


@cache
def converted():
    """Their weights under our names."""
    tensors = convert_mmseg(open_weights(FIXTURES / "tiny_segmentor.pth"), None).tensors
    return {key: tensor.read() for key, tensor in tensors.items()}


@cache
def network():
    """Structure and parameters of our model with their weights."""
    config = model_config()
    model = nnx.eval_shape(lambda: CrossEarth(config, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(model)
    like = nnx.to_pure_dict(state)
    arrays = {k: v for k, v in converted().items() if not k.startswith("torch.")}
    shapes = {k: v.shape for k, v in dotted(like).items()}
    assert shapes == {k: v.shape for k, v in arrays.items()}
    return graph, jax.tree.map(jnp.asarray, undotted(arrays, like))


def ours(arrays):
    """Arrays under mmseg's names to ours, flat."""
    lazy = {key: LazyTensor.of(np.asarray(value)) for key, value in arrays.items()}
    return apply_rules(lazy, mmseg_rules(), None)


def theirs(tree):
    """A nested dict of arrays under our names to mmseg's names and layouts."""
    lazy = {k: LazyTensor.of(np.asarray(v)) for k, v in dotted(tree).items()}
    return apply_rules(lazy, invert(mmseg_rules()), None)


def relative(got, expected):
    """‖a - b‖ / ‖b‖."""
    got, expected = (np.asarray(x, np.float64) for x in (got, expected))
    assert got.shape == expected.shape
    norm = np.linalg.norm(expected)
    return float(np.linalg.norm(got - expected) / (norm if norm else 1.0))


def nhwc(array):
    return jnp.asarray(np.moveaxis(array, 1, -1))


def same_argmax(got, expected):
    """Share of equal pixels among those whose top two scores differ clearly.

    Args:
      got: class ids [H, W].
      expected: scores [K, H, W] that they should be the arg-max of.
    """
    top = np.sort(expected, axis=0)
    clear = top[-1] - top[-2] > 1e-4
    assert clear.mean() > 0.5
    return float((np.asarray(got) == expected.argmax(0))[clear].mean())
