"""Every configuration key with its default, once; nothing else invents a key.

Files in `configs/` call `default()` and override. Values are the paper's 512 setting
(method.md sections 1 to 9). Sections named below are method.md's.
"""

import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def default() -> ConfigDict:
    """All keys, locked: an unknown key is an error that names the nearest one."""
    config = ConfigDict()
    config.name = "crossearth"
    # Logs, checkpoints, report and pictures; a run found here is resumed.
    config.workdir = placeholder(str)  # default runs/<name>
    # "bfloat16" is for GPU and TPU: layers before the decoder compute in it. Sums
    # between them, the decoder and losses stay float32.
    config.precision = "float32"

    config.data = _data()
    config.backbone = _backbone()
    config.rein = ConfigDict({"num_tokens": 100, "rank": 16, "scale": 1e-3})
    config.gse = ConfigDict({"enabled": True})
    config.injector = ConfigDict({"gamma_init": 0.0, "residual": True})
    config.decoder = _decoder()
    config.mim = _mim()
    config.style = _style()
    config.loss = _loss()
    config.optim = _optim()
    config.train = _train()
    config.eval = _eval()
    config.lock()
    return config


def load(path: Path) -> ConfigDict:
    """The configuration that a run kept in its config.json.

    Raises:
      ValueError: it is missing, or has keys that this version does not know.
    """
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"got no readable {path} ({error}), expected the workdir of a run"
        ) from error
    config = default()
    try:
        config.update(_tuples(stored))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"got {path} of another version of crossearth_jax ({error}): use that one"
        ) from error
    return config


def _tuples(value: Any) -> Any:
    """JSON has lists where a configuration has tuples."""
    if isinstance(value, dict):
        return {key: _tuples(one) for key, one in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _data() -> ConfigDict:
    """Images and labels; section 8 for the augmentation."""
    return ConfigDict(
        {
            "root": placeholder(str),  # folder of the prepared data set
            # "folder": images on disk; "synthetic": the embedded demo scenes.
            "kind": "folder",
            # IMAGES:LABELS folder pairs, several joined by commas; {root} is data.root.
            "train": placeholder(str),
            # Domains that are scored: NAME=IMAGES:LABELS, several joined by commas.
            "source": placeholder(str),  # held-out part of the training domain
            "unseen": placeholder(str),
            "classes": placeholder(str),  # YAML or JSON file, or a known set's name
            "encoding": placeholder(str),  # "ids", "mask255" or "colours"
            "on_corrupt": "error",  # or "skip": leave out, count and list
            "check_headers": True,  # open every file before the first step
            "timeout_s": 300.0,  # a file that takes longer to read is unusable
            "crop": 512,
            "scales": tuple(i / 10 for i in range(5, 21)),  # shortest edge / crop
            "cat_max_ratio": 0.75,  # largest share of one class in a crop
            "flip": True,
            "photometric": True,
            "threads": 2,  # reader threads
            "workers": 0,  # reader processes
            # Synthetic scenes only.
            "climate": "sub",
            "train_scenes": 400,
            "eval_scenes": 24,
        }
    )


def _backbone() -> ConfigDict:
    """Section 1. None leaves a size as the variant has it; see docs/backbones.md."""
    return ConfigDict(
        {
            "variant": "vit_large",  # or another of models/families.py
            "patch_size": 16,
            "weights": placeholder(str),  # made by `python -m weights_convert`
            "trainable": False,  # True only where no pretrained weights exist
            "width": placeholder(int),
            "depth": placeholder(int),
            "heads": placeholder(int),
            "taps": (),  # four 0-based blocks; () keeps the variant's
            "registers": placeholder(int),  # DINOv2 and DINOv3 only
            "layer_scale": placeholder(float),  # at the start; DINOv2 and DINOv3 only
            # Recompute blocks in the backward pass: less memory, a third more time.
            "remat": False,
        }
    )


def _decoder() -> ConfigDict:
    """Section 4."""
    return ConfigDict(
        {
            "width": 256,
            "encoder_layers": 6,
            "decoder_layers": 9,
            "heads": 8,
            "points": 4,
            "encoder_ffn": 1024,
            "decoder_ffn": 2048,
            "groups": 32,
        }
    )


def _mim() -> ConfigDict:
    """Section 7; mask of X_M per benchmark from Table 14."""
    return ConfigDict(
        {
            "enabled": True,
            "decoder": "aspp",  # "aspp_shared", "linear"
            "width": 256,
            "loss": "mse",  # "l1" for CASID
            "target": "clean",  # "self": X_M and X_S, as L_MIM is printed
            "prompt": "replace",  # "product": Eq. 6 read literally
            "ratio": 0.7,  # share of altered area
            "block": 64,  # pixels
        }
    )


def _style() -> ConfigDict:
    """Section 6; mask of X_S per benchmark from Table 14."""
    return ConfigDict(
        {
            "probability": 0.1,  # of a styled step; 0 turns Earth-style injection off
            "per_image": False,  # draw for each image instead of the whole batch
            # "ghiasi" is p_t; "fourier" and "statistics" stand in without weights.
            "transfer": "ghiasi",
            "weights": placeholder(str),  # `python -m weights_convert style`
            "statistics": placeholder(str),  # `crossearth style-statistics`
            "pool": placeholder(str),  # folder of field imagery for the stand-ins;
            # None draws synthetic scenes
            "alpha": 0.1,  # share of the sampled Earth style
            "polarity": "altered",  # "equation5": style the other part
            "ratio": 0.7,
            "block": 64,
        }
    )


def _loss() -> ConfigDict:
    """Section 5, and the weights of section 8's sum."""
    return ConfigDict(
        {
            "class_weight": 2.0,
            "mask_weight": 5.0,
            "dice_weight": 5.0,
            "no_object": 0.1,
            "num_points": 12544,
            "oversample": 3.0,
            "importance": 0.75,
            "exclude_ignored": False,
            "seg": 1.0,
            "mim": 1.0,
            "delta": 1.0,
        }
    )


def _optim() -> ConfigDict:
    """Section 8."""
    return ConfigDict(
        {
            "lr": 1e-4,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "weight_decay": 0.05,
            "power": 0.9,
            "decay_steps": 40_000,  # where the polynomial reaches 0
            "warmup_steps": 0,  # linear from warmup_factor * lr
            "warmup_factor": 1e-6,
            "clip_norm": 0.0,  # 0: no clipping
        }
    )


def _train() -> ConfigDict:
    return ConfigDict(
        {
            "steps": 30_000,
            "batch_size": 1,  # over all devices and hosts
            "accumulate": 1,  # parts that a batch is computed in, to save memory
            "fsdp": 1,  # devices that share one copy of the frozen weights
            "seed": 42,
            # A loss that is not finite: "stop" with a dump for `crossearth replay`, or
            # "skip" the step, and give up after nan_patience steps in a row.
            "on_nan": "stop",
            "nan_patience": 10,
            # Converted CrossEarth or Rein weights to start from, or to score with
            # --mode eval where the workdir has no checkpoint.
            "init": placeholder(str),
            "log_every": 50,
            "checkpoint_every": 1_000,
            "keep": 2,  # newest checkpoints kept
            "keep_every": 0,  # those of every n-th step are kept too
        }
    )


def _eval() -> ConfigDict:
    """Section 9."""
    return ConfigDict(
        {
            "stride": placeholder(int),  # of windows of data.crop; None: 2/3 of it
            "batch": 1,  # windows
            # Images get this longest edge first, see `resample_host.fitted_size`;
            # scores are counted at the size of the label.
            "fit": placeholder(int),
            "examples": 4,  # rows of a picture
        }
    )
