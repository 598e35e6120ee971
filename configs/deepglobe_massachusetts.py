r"""Roads: trained on DeepGlobe, scored on Massachusetts (paper Table 5).

    crossearth prepare deepglobe --raw DIR --out ROOT
    crossearth prepare massachusetts --raw DIR --out ROOT
    crossearth train --config configs/deepglobe_massachusetts.py \
        --config.data.root=ROOT --config.backbone.weights=dinov2_vitl16.safetensors

DeepGlobe's public labels are those of its training images, so no part of the source is
held out. The 49 Massachusetts test images of 1500² are slid over whole. Two classes:
the report has their mean and the IoU of the road alone ("foreground_IoU"), which is
what Table 5 prints: its lowest means lie far below what background alone would score.

Paper's mIoU in %, Rein → CrossEarth (Table 5), and τ/B of the masks (Table 14):
    D2M 49.7→50.5     X_S 0.3/16, X_M 0.5/16

    configs/deepglobe_massachusetts.py:mtp   the same on MTP's RVSA instead of DINOv2:
        MTP 54.3, CrossEarth on MTP 55.5 (Table 10); weights by `crossearth
        convert mtp SOURCE mtp.safetensors`, see docs/backbones.md
    …:mtp,baseline   MTP's backbone without CrossEarth: no GSE, MIM or Earth style; Rein
        stays, since the decoder's queries come from it
    …:official, …:mtp,official   with the authors' learning rate at 1024²: 6e-5, warm-up
        of 10,000 steps

Time: one run on DINOv2 is 30,000 steps of one 1024² crop, about 0.7 hours on one H100
with `--config.precision=bfloat16`. That is an estimate, not a measurement: 27.8 TFLOP
a step at an assumed 40% of 800 TFLOP/s; compilation, reading and scoring come on top.
"""

from ml_collections import ConfigDict

from crossearth_jax.paper_config import benchmark


def get_config(argument: str = "") -> ConfigDict:
    backbone, _, kind = argument.partition(",")
    if backbone == "official" and not kind:
        backbone, kind = "", "official"
    if backbone not in ("", "mtp") or kind not in ("", "baseline", "official"):
        raise ValueError(
            f"got deepglobe_massachusetts.py:{argument}, expected "
            '"mtp", "official", "mtp,baseline" or "mtp,official"'
        )
    recipe = f",{kind}" if kind == "official" else ""
    file, scored = "deepglobe_massachusetts.py", {"massachusetts": "test"}
    config = benchmark(file, recipe, classes="road", scored=scored)
    if backbone == "mtp":
        config.backbone.variant = "rvsa_large"
        # The same setting for `crossearth compare`, in a folder of its own.
        config.workdir = f"runs/{config.name}_mtp{recipe.replace(',', '_')}"
    if kind == "baseline":
        config.gse.enabled = config.mim.enabled = False
        config.style.probability = 0.0
        config.workdir = f"runs/{config.name}_{backbone or 'dinov2'}_baseline"
    return config
