r"""Potsdam and Vaihingen: unseen region, spectral band, or both (paper Table 3).

    crossearth prepare potsdam --raw DIR --out ROOT
    crossearth prepare vaihingen --raw DIR --out ROOT
    crossearth train --config configs/potsdam_vaihingen.py:p_irrg \
        --config.data.root=ROOT --config.backbone.weights=dinov2_vitl16.safetensors

Sources: p_irrg (Potsdam in IR-R-G, the default), p_rgb (Potsdam in RGB), vaihingen
(IR-R-G). Each is scored on its own held-out images and on the other two domains; six
classes, also without clutter. Channels stay as they are on disk: IR, R, G take the
places of R, G, B, normalised with ImageNet's mean and std as the authors do.

Paper's mIoU in %, Rein → CrossEarth (Table 3), and τ/B of the masks (Table 14):
    p_irrg     P(i)2V 60.3→67.5, P(i)2P(r) 69.2→76.0     X_S 0.7/64, X_M 0.7/64
    p_rgb      P(r)2V 56.1→61.9, P(r)2P(i) 76.3→77.8     X_S 0.3/16, X_M 0.7/64
    vaihingen  V2P(i) 57.6→58.2, V2P(r) 50.6→52.7        X_S 0.5/32, X_M 0.7/64
(Rein's classes of P(r)2P(i) average to 75.5; 76.3 is a misprint.)

Time: one run is 30,000 steps of one 512² crop, about 0.1 hours on one H100 with
`--config.precision=bfloat16`. That is an estimate, not a measurement: 4.3 TFLOP a step
at an assumed 40% of 800 TFLOP/s; compilation, reading and scoring come on top.
"""

from ml_collections import ConfigDict

from crossearth_jax.paper_config import benchmark


def get_config(source: str = "p_irrg") -> ConfigDict:
    return benchmark("potsdam_vaihingen.py", source, classes="isprs", scored="val")
