r"""LoveDA: from cities to the countryside and back (paper Table 4).

    crossearth prepare loveda --raw DIR --out ROOT
    crossearth train --config configs/loveda.py:urban \
        --config.data.root=ROOT --config.backbone.weights=dinov2_vitl16.safetensors

Sources: urban (the default), rural. Each is scored on the official validation images
of both, which have labels; the official test images have none.

Paper's mIoU in %, Rein → CrossEarth (Table 4), and τ/B of the masks (Table 14):
    urban  U2R 45.6→46.6     X_S 0.1/64, X_M 0.7/64
    rural  R2U 57.7→57.9     X_S 0.5/16, X_M 0.7/64

Time: one run is 30,000 steps of one 1024² crop, about 0.5 hours on one H100 with
`--config.precision=bfloat16`. That is an estimate, not a measurement: 19.7 TFLOP a step
at an assumed 40% of 800 TFLOP/s; compilation, reading and scoring come on top.
"""

from ml_collections import ConfigDict

from crossearth_jax.config import default
from crossearth_jax.paper.settings import run_of


def get_config(source: str = "urban") -> ConfigDict:
    run = run_of("loveda.py", source)
    config = default()
    config.name = run.name
    config.data.classes, config.data.encoding = "loveda", "ids"
    config.data.train = f"{{root}}/{run.source}/train"
    config.data.source = f"{run.source}={{root}}/{run.source}/val"
    config.data.unseen = ",".join(f"{x}={{root}}/{x}/val" for x in run.unseen)
    config.data.crop = run.crop
    config.backbone.remat = True  # at 1024² four times as much would be kept
    config.mim.loss = run.mim_loss
    config.style.ratio, config.style.block = run.styled
    config.mim.ratio, config.mim.block = run.masked
    return config
