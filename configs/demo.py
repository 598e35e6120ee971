"""The embedded demo: train on one drawn climate, score three that were never seen.

    python -m crossearth_jax.main --config configs/demo.py          the full method
    python -m crossearth_jax.main --config configs/demo.py:rein     the Rein baseline
    python -m crossearth_jax.main --config configs/demo.py:quick    two minutes, for CI

Nothing is downloaded: `crossearth_jax/data/synthetic/` draws the scenes. The small
backbone has no pretrained weights, so the demo trains it too, which the paper's method
does not do; the style networks have none either, so channel statistics of drawn field
imagery stand in for p_t. Two CPU cores need about five minutes.
"""

from ml_collections import ConfigDict

from crossearth_jax.config import default


def get_config(variant: str = "full") -> ConfigDict:
    if variant not in ("full", "rein", "quick"):
        raise ValueError(f'got demo.py:{variant}, expected "full", "rein" or "quick"')
    config = default()
    config.name = "demo" if variant == "full" else f"demo_{variant}"

    config.data.kind = "synthetic"
    config.data.climate = "sub"
    config.data.crop = 128
    config.data.scales = (1.0,)

    # A ViT of 0.5 M parameters on 8-pixel patches, from scratch.
    config.backbone.variant = "vit_tiny"
    config.backbone.patch_size = 8
    config.backbone.trainable = True
    config.rein.num_tokens = 16
    config.decoder.width = 64
    config.decoder.encoder_layers = 1
    config.decoder.decoder_layers = 3
    config.decoder.heads = 4
    config.decoder.points = 2
    config.decoder.encoder_ffn = 128
    config.decoder.decoder_ffn = 128
    config.decoder.groups = 8
    config.loss.num_points = 512

    config.mim.width = 32
    config.mim.loss = "l1"
    config.mim.ratio, config.mim.block = 0.5, 16
    config.style.transfer = "statistics"
    config.style.per_image = True
    config.style.probability = 0.3
    config.style.ratio, config.style.block = 0.7, 32

    config.train.seed = 1  # the run that docs/results.md shows
    config.train.batch_size = 4
    config.train.steps = 400
    config.train.checkpoint_every = 100
    config.eval.batch = 4
    config.optim.lr = 1e-3
    config.optim.clip_norm = 1.0
    config.optim.warmup_steps = 30
    config.optim.warmup_factor = 1e-3

    if variant == "rein":
        config.gse.enabled = False
        config.mim.enabled = False
        config.style.probability = 0.0
    if variant == "quick":
        config.train.steps = 60
        config.data.eval_scenes = 4
    config.optim.decay_steps = config.train.steps + 20
    return config
