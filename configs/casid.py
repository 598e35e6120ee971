r"""CASID: four climates, one trains and all four are scored (paper Table 7).

    crossearth prepare casid --raw DIR --out ROOT
    crossearth train --config configs/casid.py:sub \
        --config.data.root=ROOT --config.backbone.weights=dinov2_vitl16.safetensors

Sources: sub (subtropical monsoon, the default), tem (temperate monsoon), tms (tropical
monsoon), trf (tropical rainforest). The source is scored on its test images, which are
the paper's in-domain settings Sub, Tem, Tms and Trf. `sub,official` has the authors'
learning rate at 1024² instead of the paper's: 6e-5, warm-up of 10,000 steps.

Paper's mIoU in %, Rein → CrossEarth (Table 7), and τ/B of the masks (Table 14):
    sub  Sub 67.2→69.4, Sub2Tem 46.4→48.1, Sub2Tms 59.7→64.6, Sub2Trf 63.4→64.2
         X_S 0.1/64, X_M 0.7/64
    tem  Tem 51.3→53.5, Tem2Sub 65.5→63.5, Tem2Tms 62.9→61.8, Tem2Trf 55.9→57.8
         X_S 0.1/64, X_M 0.7/128
    tms  Tms 65.0→68.9, Tms2Sub 68.6→69.1, Tms2Tem 37.2→40.5, Tms2Trf 59.7→60.7
         X_S 0.1/64, X_M 0.7/64
    trf  Trf 61.0→65.3, Trf2Sub 67.6→67.9, Trf2Tem 37.8→42.3, Trf2Tms 64.9→64.4
         X_S 0.5/64, X_M 0.7/64

Time: one run is 30,000 steps of one 1024² crop, about 0.7 hours on one H100 with
`--config.precision=bfloat16`. That is an estimate, not a measurement: 27.8 TFLOP a step
at an assumed 40% of 800 TFLOP/s; compilation, reading and scoring come on top.
"""

from ml_collections import ConfigDict

from crossearth_jax.paper_config import benchmark


def get_config(source: str = "sub") -> ConfigDict:
    return benchmark("casid.py", source, classes="casid", scored="test")
