r"""LoveDA: from cities to the countryside and back (paper Table 4).

    crossearth prepare loveda --raw DIR --out ROOT
    crossearth train --config configs/loveda.py:urban \
        --config.data.root=ROOT --config.backbone.weights=dinov2_vitl16.safetensors

Sources: urban (the default), rural. Each is scored on the official validation images
of both, which have labels; the official test images have none.

Paper's mIoU in %, Rein → CrossEarth (Table 4), and τ/B of the masks (Table 14):
    urban  U2R 45.6→46.6     X_S 0.1/64, X_M 0.7/64
    rural  R2U 57.7→57.9     X_S 0.5/16, X_M 0.7/64

Time: one run is 30,000 steps of one 1024² crop, about 0.7 hours on one H100 with
`--config.precision=bfloat16`. That is an estimate, not a measurement: 27.8 TFLOP a step
at an assumed 40% of 800 TFLOP/s; compilation, reading and scoring come on top.
"""

from ml_collections import ConfigDict

from crossearth_jax.paper_config import benchmark


def get_config(source: str = "urban") -> ConfigDict:
    return benchmark("loveda.py", source, classes="loveda", scored="val")
