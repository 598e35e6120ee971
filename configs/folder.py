r"""Your own images: folders of images and label images, any number of domains.

    python -m crossearth_jax.main --config configs/folder.py \
        --config.data.train=A/images:A/labels,B/images:B/labels \
        --config.data.unseen=nepal=C/images:C/labels,kenya=D/images:D/labels \
        --config.backbone.weights=dinov2-large

or everything from a folder that `crossearth tiles` wrote:

    python -m crossearth_jax.main --config configs/folder.py --config.data.root=DIR

A folder that has images/ and labels/ can stand alone: --config.data.train=A,B. Images:
PNG, JPEG, TIFF; RGB, RGBA or grey, 8 bits; others with data.bands and data.scale.
Labels of the same stem: class ids (data.encoding=ids), 0/255 masks (mask255) or colours
of a class file (colours). Names and colours of the classes are in a YAML file,
data.classes=classes.yaml.

    configs/folder.py:cpu       frozen DINOv2 ViT-S by name and a small decoder, the
                                whole method around them: a first look without a GPU
    configs/folder.py:small     a 1.5 M parameter ViT from scratch, which needs nothing
                                downloaded and does not carry over to new places
"""

from ml_collections import ConfigDict

from crossearth_jax.config import default


def get_config(size: str = "large") -> ConfigDict:
    if size not in ("large", "cpu", "small"):
        raise ValueError(f'got folder.py:{size}, expected "large", "cpu" or "small"')
    config = default()
    config.name = "folder"
    config.style.transfer = "statistics"
    config.data.scale_from = "native"  # images may be of any size
    if size == "large":
        return config

    config.data.crop = 256
    config.data.scales = (0.75, 1.0, 1.25, 1.5)
    if size == "cpu":
        config.backbone.variant = "vit_small"
        config.backbone.weights = "dinov2-small"
    else:
        config.backbone.variant = "vit_tiny"
        config.backbone.trainable = True
    config.rein.num_tokens = 32
    config.decoder.width = 64
    config.decoder.encoder_layers = 2
    config.decoder.decoder_layers = 3
    config.decoder.heads = 4
    config.decoder.encoder_ffn = 128
    config.decoder.decoder_ffn = 256
    config.decoder.groups = 8
    config.loss.num_points = 1024
    config.mim.width = 32
    config.train.batch_size = 4
    config.train.steps = 1000 if size == "cpu" else 2000
    config.optim.lr = 1e-3
    config.optim.clip_norm = 1.0
    config.optim.warmup_steps = 50
    config.optim.warmup_factor = 1e-3
    config.optim.decay_steps = config.train.steps + 20
    return config
