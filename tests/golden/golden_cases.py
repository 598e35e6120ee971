"""What the goldens hold: a small whole model with fixed numbers, stage by stage.

`python tests/golden/golden_cases.py` writes golden.npz again; do so only for a
change of the numbers that is meant, and say why in the commit.
"""

import sys
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from crossearth_jax.losses.segmentation import (
    LossPoints,
    SegmentationLoss,
    segmentation_terms,
)
from crossearth_jax.models.crossearth import CrossEarth, ModelConfig
from crossearth_jax.models.dinov2 import ViTConfig
from crossearth_jax.models.parameters import dotted, undotted

FILE = Path(__file__).with_name("golden.npz")
KEPT = 48  # values of each stage, evenly spread, and its norm
CLASSES, SIZE, POINTS = 3, 64, 16
CONFIG = ModelConfig(
    backbone=ViTConfig(
        width=16, depth=4, heads=2, taps=(0, 1, 2, 3), patch_size=8, grid=4, registers=1
    ),
    num_classes=CLASSES,
    crop=SIZE,
    width=16,
    num_queries=6,
    rein_rank=2,
    encoder_layers=1,
    decoder_layers=2,
    heads=2,
    points=2,
    encoder_ffn=24,
    decoder_ffn=24,
    groups=4,
    mim_width=4,
)


def numbers(name, shape):
    """The same numbers for the same name, whatever else the model has."""
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)


def parameters(like):
    def leaf(name, shape):
        gain = name.endswith(("scale", "gamma", "ls1", "ls2"))
        return jnp.asarray(0.15 * numbers(name, shape) + gain, jnp.float32)

    return undotted({k: leaf(k, v.shape) for k, v in dotted(like).items()}, like)


def stages(model, image, label, points):
    taps = model.taps(image)
    queries = model.gse(image)
    output = model.segment(taps, image)
    loss = SegmentationLoss(num_points=POINTS)
    terms = segmentation_terms(
        output.class_logits, output.mask_logits, label, points, loss
    )
    return {
        **{f"tap{i}": tap for i, tap in enumerate(taps)},
        "gse": queries,
        "injected": model.injectors[0](taps[0], queries),
        "queries": model.rein.queries(),
        "class_logits": output.class_logits,
        "mask_logits": output.mask_logits,
        "scores": model.scores(image),
        "reconstruction": model.reconstruct(taps),
        **{f"loss_{name}": terms[name] for name in ("class", "mask", "dice")},
    }


def compute():
    """Every stage, thinned out."""
    model = nnx.eval_shape(lambda: CrossEarth(CONFIG, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(model)
    params = parameters(nnx.to_pure_dict(state))
    image = jnp.asarray(numbers("image", (2, SIZE, SIZE, 3)), jnp.float32)
    label = np.random.default_rng(0).integers(0, CLASSES, (2, SIZE, SIZE))
    label[0, :9] = 255
    shape, extra = (CONFIG.decoder_layers + 1, 2), POINTS - int(0.75 * POINTS)
    random = np.random.default_rng(1).uniform
    points = LossPoints(
        *(
            jnp.asarray(random(size=(*shape, *rest, 2)), jnp.float32)
            for rest in ((POINTS,), (CLASSES, 3 * POINTS), (CLASSES, extra))
        )
    )

    def run(params, image, label, points):
        return stages(nnx.merge(graph, params), image, label, points)

    quick = jax.jit(run, compiler_options={"xla_backend_optimization_level": "0"})
    found = quick(params, image, jnp.asarray(label), points)
    return {name: thinned(np.asarray(value)) for name, value in found.items()}


def thinned(array):
    """Norm, then evenly spread values."""
    flat = array.reshape(-1)
    chosen = np.linspace(0, flat.size - 1, min(KEPT, flat.size)).astype(int)
    return np.concatenate([[np.linalg.norm(flat)], flat[chosen]]).astype(np.float32)


if __name__ == "__main__":
    np.savez(FILE, **compute())
    print(f"wrote {FILE}")
