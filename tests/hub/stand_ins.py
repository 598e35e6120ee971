"""A small stand-in of every kind of released weights, of the sizes of `…_tiny`."""

import dataclasses

from released import MODEL, hub_state, lazy, mmseg_state, random_arrays, save
from safetensors.numpy import save as as_safetensors

from crossearth_jax.models import dinov2, dinov3, rvsa
from weights_convert.architecture import backbone_shapes
from weights_convert.dinov3 import PATCHES, dinov3_rules
from weights_convert.mapping import apply_rules, invert
from weights_convert.mtp import mtp_rules

# One head: none of the shapes below shows how many there are.
VIT = dataclasses.replace(dinov2.VARIANTS["vit_tiny"], heads=1, grid=4, patch_size=14)


def _under(rules, shapes):
    return apply_rules(lazy(random_arrays(shapes)), invert(rules), None)


def dinov2_file():
    """torch-hub's names; patch 14, as the published ones."""
    return as_safetensors(hub_state(VIT))


def dinov3_file():
    """Hugging Face's names."""
    shapes = backbone_shapes(dinov3.VARIANTS["dinov3_tiny"])
    state = _under(dinov3_rules({PATCHES: (), "layer.0.": ()}), shapes)
    rest = {"embeddings.mask_token": (1, 1, 96), "norm.weight": (96,)}
    return as_safetensors(state | random_arrays(rest | {"norm.bias": (96,)}))


def mtp_file(place):
    """The encoder, under MTP's names."""
    rules = mtp_rules({"blocks.0.attn.sampling_offsets.2.weight": ()})
    shapes = backbone_shapes(rvsa.VARIANTS["rvsa_tiny"])
    save(place, _under(rules, shapes))
    return place.read_bytes()


def crossearth_file(place, classes=7, **more):
    """mmseg's names, without the frozen backbone, as the authors release it."""
    fitted = dataclasses.replace(VIT, patch_size=16)
    model = dataclasses.replace(MODEL, backbone=fitted, num_classes=classes)
    model = dataclasses.replace(model, width=32, num_queries=8, points=32, groups=1)
    save(place, mmseg_state(model, backbone=False), **more)
    return place.read_bytes()
