"""The smallest configuration that has every part; also `--config tests/tiny.py`."""

from ml_collections import ConfigDict

from crossearth_jax.config import default


def get_config() -> ConfigDict:
    config = default()
    config.name = "tiny"
    config.data.kind = "synthetic"
    config.data.crop = 32
    config.data.scales = (4.0,)  # the scenes of 128 pixels as they are
    config.data.train_scenes = 8
    config.data.eval_scenes = 2
    config.data.threads = 1

    config.backbone.variant = "vit_tiny"
    config.backbone.patch_size = 8
    config.backbone.width = 32
    config.backbone.depth = 4
    config.backbone.heads = 2
    config.backbone.taps = (0, 1, 2, 3)
    config.backbone.trainable = True
    config.rein.num_tokens = 8
    config.rein.rank = 4
    config.decoder.width = 16
    config.decoder.encoder_layers = 1
    config.decoder.decoder_layers = 1
    config.decoder.heads = 2
    config.decoder.points = 2
    config.decoder.encoder_ffn = 16
    config.decoder.decoder_ffn = 16
    config.decoder.groups = 4
    config.loss.num_points = 32

    config.mim.width = 8
    config.mim.block = 8
    config.style.block = 8
    config.style.transfer = "statistics"

    config.train.steps = 4
    config.train.batch_size = 2
    config.train.log_every = 1
    config.eval.batch = 4
    config.eval.examples = 1
    config.eval.trust = False
    config.optim.lr = 1e-3
    config.optim.decay_steps = 100
    return config
