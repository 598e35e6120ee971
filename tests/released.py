"""Small files in the forms in which weights are released, with random numbers."""

import numpy as np

from crossearth_jax.models.crossearth import ModelConfig
from crossearth_jax.models.dinov2 import ViTConfig
from weights_convert.architecture import backbone_shapes, model_shapes
from weights_convert.crossearth import mmseg_rules
from weights_convert.dinov2 import hub_rules
from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.files.torch_write import write_torch
from weights_convert.mapping import apply_rules, invert

VIT = ViTConfig(width=8, depth=4, heads=1, taps=(0, 1, 2, 3), patch_size=16, grid=2)
MODEL = ModelConfig(
    backbone=VIT,
    num_classes=3,
    crop=32,
    width=8,
    num_queries=5,
    rein_rank=2,
    gse=False,
    mim=False,
    encoder_layers=1,
    decoder_layers=2,
    heads=2,
    points=2,
    encoder_ffn=12,
    decoder_ffn=10,
    groups=2,
)


def random_arrays(shapes):
    random = np.random.default_rng(len(shapes))
    return {
        key: np.asarray(random.standard_normal(shape), np.float32)
        for key, shape in shapes.items()
    }


def lazy(arrays):
    return {key: LazyTensor.of(np.asarray(value)) for key, value in arrays.items()}


def hub_state(config):
    """What torch-hub's DINOv2 holds, under its names."""
    state = apply_rules(
        lazy(random_arrays(backbone_shapes(config))), invert(hub_rules()), None
    )
    extra = {"mask_token": (1, config.width), "norm.weight": (config.width,)}
    return state | random_arrays(extra | {"norm.bias": (config.width,)})


def mmseg_state(config=MODEL, *, backbone=True):
    """The authors' segmentor, under mmseg's names."""
    arrays = lazy(random_arrays(model_shapes(config)))
    state = apply_rules(arrays, invert(mmseg_rules()), None)
    if backbone:
        width = config.backbone.width
        state |= random_arrays(
            {
                "backbone.mask_token": (1, width),
                "backbone.norm.weight": (width,),
                "backbone.norm.bias": (width,),
            }
        )
        return state
    frozen = [k for k in state if k.startswith("backbone.") and ".reins." not in k]
    return {k: v for k, v in state.items() if k not in frozen}


def save(path, state, **more):
    """A checkpoint as mmengine writes it."""
    write_torch(path, {"meta": {"iter": 7}, **more, "state_dict": lazy(state)})
    return path
