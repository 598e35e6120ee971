"""Geospatial Semantic Extractor (method.md section 3)."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_run import random_like

from crossearth_jax.models.gse import GeospatialSemanticExtractor


def build(width, patch):
    return nnx.eval_shape(
        lambda: GeospatialSemanticExtractor(width, patch, rngs=nnx.Rngs(0))
    )


def test_five_convolutions_of_the_documented_widths():
    model = build(1024, 16)
    shapes = [conv.kernel.shape for conv in model.convs]
    widths = (3, 64, 128, 256, 512, 1024)
    assert shapes == [(3, 3, a, b) for a, b in itertools.pairwise(widths)]
    assert [conv.strides for conv in model.convs] == [2, 2, 2, 2, 1]


def test_widths_shrink_with_the_backbone_but_not_below_16():
    shapes = [conv.kernel.shape[-1] for conv in build(96, 8).convs]
    assert shapes == [16, 16, 24, 48, 96]


@pytest.mark.parametrize("patch", [1, 4, 8, 16, 32])
def test_one_query_per_token(patch):
    image = jnp.zeros((2, 64, 96, 3))
    queries = nnx.eval_shape(lambda model: model(image), build(32, patch))
    assert queries.shape == (2, 64 // patch, 96 // patch, 32)


@pytest.mark.parametrize("patch", [14, 12, 64])
def test_patch_sizes_out_of_reach_are_refused(patch):
    with pytest.raises(ValueError, match=f"got patch size {patch}, expected 1, 2, 4"):
        build(32, patch)


def test_queries_are_rectified_and_local():
    """A query depends on the image around its token only."""
    graph, shapes = nnx.split(build(8, 4))
    model = nnx.merge(graph, random_like(nnx.to_pure_dict(shapes)))
    run = jax.jit(model)
    image = np.random.default_rng(0).normal(size=(1, 64, 8, 3)).astype(np.float32)
    changed = image.copy()
    changed[:, 56:] += 1
    before, after = run(image), run(changed)
    assert (before >= 0).all() and (before > 0).any()
    moved = np.abs(before - after).max((0, 2, 3)) > 0
    assert moved[-2:].any() and not moved[:8].any()
