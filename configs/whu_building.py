r"""WHU Building: from aerial to satellite images and back (paper Table 5).

    crossearth prepare whu_building --raw DIR --out ROOT
    crossearth train --config configs/whu_building.py:aerial \
        --config.data.root=ROOT --config.backbone.weights=dinov2_vitl16.safetensors

Sources: aerial (the default), satellite (satellite data set II, East Asia). Both are
scored on aerial/val (1,036 images) and satellite/test (3,726). Two classes: the report
has their mean and the IoU of the buildings alone ("foreground_IoU"). Table 5 prints the
latter: its lowest means lie far below what background alone would score.

Paper's mIoU in %, Rein → CrossEarth (Table 5), and τ/B of the masks (Table 14):
    aerial     A2S 30.8→44.3     X_S 0.5/16, X_M 0.7/64
    satellite  S2A 66.8→64.5     X_S 0.5/16, X_M 0.7/16

Time: one run is 30,000 steps of one 512² crop, about 0.1 hours on one H100 with
`--config.precision=bfloat16`. That is an estimate, not a measurement: 4.3 TFLOP a step
at an assumed 40% of 800 TFLOP/s; compilation, reading and scoring come on top.
"""

from ml_collections import ConfigDict

from crossearth_jax.paper_config import benchmark

# The split that is scored: satellite II has no validation images.
SCORED = {"whu_aerial": "val", "whu_satellite": "test"}


def get_config(source: str = "aerial") -> ConfigDict:
    return benchmark("whu_building.py", source, classes="building", scored=SCORED)
