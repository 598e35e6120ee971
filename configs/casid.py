r"""CASID: four climates, one trains and all four are scored (paper Table 7).

    python -m crossearth_jax.main --config configs/casid.py:sub \
        --config.data.root=DIR --config.backbone.weights=dinov2_vitl16.safetensors

Sources: sub (subtropical monsoon, the default), tem (temperate monsoon), tms
(temperate continental), trf (tropical rainforest). `DIR/<domain>/{train,test}` hold
images/ and labels/ with ids 0..4. ViT-L, 1024² crops, batch 1, 30k iterations.

Paper's mIoU, Rein → CrossEarth (Table 7):
    sub: Sub 67.2→69.4, Tem 46.4→48.1, Tms 59.7→64.6, Trf 63.4→64.2
    tem: Tem 51.3→53.5, Sub 65.5→63.5, Tms 62.9→61.8, Trf 55.9→57.8
    tms: Tms 65.0→68.9, Sub 68.6→69.1, Tem 37.2→40.5, Trf 59.7→60.7
    trf: Trf 61.0→65.3, Sub 67.6→67.9, Tem 37.8→42.3, Tms 64.9→64.4
"""

from ml_collections import ConfigDict

from crossearth_jax.config import default

# Table 14: (τ, B) of X_S, then of X_M.
MASKS = {
    "sub": ((0.1, 64), (0.7, 64)),
    "tem": ((0.1, 64), (0.7, 128)),
    "tms": ((0.1, 64), (0.7, 64)),
    "trf": ((0.5, 64), (0.7, 64)),
}


def get_config(source: str = "sub") -> ConfigDict:
    if source not in MASKS:
        raise ValueError(f"got casid.py:{source}, expected one of {', '.join(MASKS)}")
    config = default()
    config.name = f"casid_{source}"
    config.data.classes = "casid"
    config.data.encoding = "ids"
    config.data.train = f"{{root}}/{source}/train"
    config.data.source = f"{source}={{root}}/{source}/test"
    config.data.unseen = ",".join(
        f"{name}={{root}}/{name}/test" for name in MASKS if name != source
    )
    config.data.crop = 1024
    config.mim.loss = "l1"
    (config.style.ratio, config.style.block), mim = MASKS[source]
    config.mim.ratio, config.mim.block = mim
    return config
