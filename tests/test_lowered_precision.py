"""In which precision the lowered programs compute every product and convolution.

Read from the programs as they are lowered for CUDA and TPU: what names no precision is
TF32 on the one and bfloat16 on the other.
"""

import re
from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from crossearth_jax.build import model_config
from crossearth_jax.data.pipeline import Batch
from crossearth_jax.earth_style.predictor import StylePredictor
from crossearth_jax.earth_style.restyle import GhiasiRestyle, StatisticsRestyle
from crossearth_jax.earth_style.statistics import EarthStatistics
from crossearth_jax.earth_style.transfer import StyleTransfer
from crossearth_jax.losses.segmentation import draw_points, segmentation_terms
from crossearth_jax.models.crossearth import CrossEarth
from crossearth_jax.models.initial_keys import InitialKeys
from crossearth_jax.models.precision import Arithmetic, arithmetic_of
from crossearth_jax.run_settings import read_settings
from crossearth_jax.scoring.score_fn import class_scores
from crossearth_jax.train_step import make_gradients

pytestmark = pytest.mark.slow

# What a precision is called in the program for a platform.
NAMES = {
    ("float32", "cuda"): "HIGHEST",
    ("float32", "tpu"): "HIGHEST",
    ("tensorfloat32", "cuda"): "tf32 x1",
    ("tensorfloat32", "tpu"): "bf16 x3",
    ("bfloat16", "cuda"): "bf16 x1",
    ("bfloat16", "tpu"): "bf16 x1",
}
PRECISIONS = [each.value for each in Arithmetic]


def test_what_names_no_precision_is_seen():
    square = jax.ShapeDtypeStruct((8, 8), np.float32)
    image = jax.ShapeDtypeStruct((1, 8, 8, 8), np.float32)
    kernel = jax.ShapeDtypeStruct((3, 3, 8, 8), np.float32)
    conv = partial(
        jax.lax.conv_general_dilated,
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    assert products(jnp.matmul, square, square) == {("dot_general", "DEFAULT"): 1}
    assert products(conv, image, kernel) == {("convolution", "DEFAULT"): 1}


@pytest.mark.parametrize(
    ("variant", "precision", "platform"),
    [
        *(("vit_tiny", precision, platform) for precision, platform in NAMES),
        *((other, "bfloat16", "tpu") for other in ("rvsa_tiny", "dinov3_tiny")),
        *((other, "tensorfloat32", "cuda") for other in ("rvsa_tiny", "dinov3_tiny")),
    ],
)
def test_step_and_scores_name_what_the_configuration_says(
    variant, precision, platform, tiny_config
):
    config = tiny_config(precision=precision, **{"backbone.variant": variant})
    wanted = {"HIGHEST", NAMES[precision, platform]}
    found = step_products(config, platform)
    assert {name for _, name in found} == wanted
    # Nothing names TF32 for a convolution, and bfloat16's operands say all.
    assert {name for kind, name in found if kind == "convolution"} == {"HIGHEST"}
    assert {name for _, name in score_products(config, platform)} == wanted


def test_the_style_networks_are_float32(tiny_config):
    config = tiny_config(precision="bfloat16", **{"data.crop": 64})
    plain = step_products(config, "cuda")
    styled = step_products(config, "cuda", ghiasi())
    more = styled - plain
    assert more and {name for _, name in more} == {"HIGHEST"}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_decoder_and_its_queries_are_float32(precision, tiny_config):
    model, params = taken_apart(tiny_config(precision=precision))
    graph = nnx.graphdef(model)
    vit, crop = model.config.backbone, model.config.crop

    def decoded(params: dict, stages: list, queries: jax.Array):
        return nnx.merge(graph, params).decoder(stages, queries)

    def queries(params: dict):
        return nnx.merge(graph, params).rein.queries()

    sides = [2 * crop // vit.patch_size >> i for i in range(4)]
    stages = [jax.ShapeDtypeStruct((1, n, n, vit.width), np.float32) for n in sides]
    given = jax.ShapeDtypeStruct((8, model.config.width), np.float32)

    def loss(params: dict, stages: list, given: jax.Array):
        out = decoded(params, stages, given)
        return out.class_logits.sum() + out.mask_logits.sum()

    found = products(jax.grad(loss, allow_int=True), params, stages, given)
    assert {name for _, name in found} == {"HIGHEST"}
    assert {name for _, name in products(queries, params)} == {"HIGHEST"}


def test_losses_are_float32(tiny_config):
    loss = read_settings(tiny_config()).objective.segmentation
    classes, masks = (
        jax.ShapeDtypeStruct(shape, np.float32)
        for shape in ((2, 1, 8, 6), (2, 1, 8, 16, 16))
    )
    label = jax.ShapeDtypeStruct((1, 64, 64), np.uint8)

    def of(classes: jax.Array, masks: jax.Array, label: jax.Array):
        points = draw_points(jax.random.key(0), loss, (2, 1, 5))
        terms = segmentation_terms(classes, masks, label, points, loss)
        return sum(terms[name].sum() for name in ("class", "mask", "dice"))

    found = products(jax.grad(of, argnums=(0, 1)), classes, masks, label)
    assert {name for _, name in found} == {"HIGHEST"}


def test_flags_of_the_user_change_nothing(tiny_config):
    config = tiny_config()
    with jax.default_matmul_precision("bfloat16"):
        found = score_products(config, "tpu")
    assert {name for _, name in found} == {"HIGHEST"}


def ghiasi() -> nnx.Module:
    """p_s and p_t, of a few channels."""
    statistics = EarthStatistics(np.zeros(100, np.float32), np.eye(100, dtype="f"))
    return GhiasiRestyle(
        StylePredictor(8, rngs=nnx.Rngs(0)),
        StyleTransfer(8, rngs=nnx.Rngs(1)),
        statistics,
    )


def taken_apart(config: ConfigDict) -> tuple[CrossEarth, dict]:
    """Structure and shapes of a model that is never made."""
    sizes = model_config(config, 5)
    arithmetic = arithmetic_of(config.precision)
    model = nnx.eval_shape(
        lambda: CrossEarth(sizes, rngs=InitialKeys(0), arithmetic=arithmetic)
    )
    return model, nnx.to_pure_dict(nnx.state(model))


def step_products(
    config: ConfigDict, platform: str, restyle: nnx.Module | None = None
) -> Counter:
    """Of losses and gradients, of the backbone's weights too."""
    restyle = restyle or StatisticsRestyle(np.zeros((1, 8, 8, 3), np.uint8))
    model, params = taken_apart(config)
    style_graph, style_state = nnx.split(restyle)
    gradients = make_gradients(
        nnx.graphdef(model), style_graph, read_settings(config).objective
    )
    crop = config.data.crop
    batch = Batch(
        jax.ShapeDtypeStruct((1, crop, crop, 3), np.uint8),
        jax.ShapeDtypeStruct((1, crop, crop), np.uint8),
    )
    frozen = {"model": {}, "restyle": style_state}
    return products(
        gradients, params, frozen, batch, jax.random.key(0), platform=platform
    )


def score_products(config: ConfigDict, platform: str) -> Counter:
    """Of what evaluation and prediction run."""
    model, params = taken_apart(config)
    crop = config.data.crop
    windows = jax.ShapeDtypeStruct((1, crop, crop, 3), np.float32)
    scores = partial(class_scores, nnx.graphdef(model))
    return products(scores, params, {}, windows, platform=platform)


def products(function, *arguments, platform: str = "cuda") -> Counter:
    """(operation, precision) of all products and convolutions of a program."""
    lowered = jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,))
    lines = lowered.as_text().splitlines()
    found = [re.search(r"stablehlo\.(dot_general|convolution)\b", x) for x in lines]
    return Counter(
        (match[1], named_precision(line))
        for match, line in zip(found, lines, strict=True)
        if match
    )


def named_precision(line: str) -> str:
    """HIGHEST, an algorithm such as "tf32 x1", or else DEFAULT."""
    algorithm = re.search(
        r"lhs_precision_type = (\w+).*num_primitive_operations = (\d)", line
    )
    if algorithm:
        return f"{algorithm[1]} x{algorithm[2]}"
    levels = re.search(r"precision = \[(\w+), (\w+)\]", line)  # of a product
    levels = levels or re.search(
        r"<precision (\w+)>, #stablehlo<precision (\w+)>", line
    )
    return levels[1] if levels and levels[1] == levels[2] else "DEFAULT"
