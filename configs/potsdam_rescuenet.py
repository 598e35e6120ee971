r"""Disaster assessment: Potsdam to RescueNet on five classes (paper Table 6).

    crossearth prepare potsdam --classes 5 --raw DIR --out ROOT
    crossearth prepare rescuenet --raw DIR --out ROOT
    crossearth train --config configs/potsdam_rescuenet.py:irrg \
        --config.data.root=ROOT --config.backbone.weights=dinov2_vitl16.safetensors

Sources: irrg (Potsdam in IR-R-G, the default), rgb. Channels stay as they are on disk.
Scored on Potsdam's held-out images and on RescueNet's 449 validation images; its 450
test images: `--config.data.unseen=rescuenet=ROOT/rescuenet/test`. Whole images are
resized to a longest edge of 512 (`eval.fit`) and scored at the label's own size.

Paper's mIoU in %, Rein → CrossEarth (Table 6), and τ/B of the masks (Table 14):
    irrg  P(i)2Res 45.4→45.5     X_S 0.5/32, X_M 0.7/64
    rgb   P(r)2Res 45.9→46.8     X_S 0.3/16, X_M 0.7/64

Time: one run is 30,000 steps of one 512² crop, about 0.1 hours on one H100 with
`--config.precision=bfloat16`. That is an estimate, not a measurement: 4.3 TFLOP a step
at an assumed 40% of 800 TFLOP/s; compilation, reading and scoring come on top.
"""

from ml_collections import ConfigDict

from crossearth_jax.paper_config import benchmark


def get_config(source: str = "irrg") -> ConfigDict:
    file = "potsdam_rescuenet.py"
    config = benchmark(file, source, classes="isprs5", scored="val")
    config.eval.fit = 512  # leaves Potsdam's tiles of 512² as they are
    return config
