"""Every configuration key with its default, once; nothing else invents a key.

Files in `configs/` call `default()` and override. Values are the paper's 512 setting
(method.md sections 1 to 9). Sections named below are method.md's.

What a key means stands in the comment above or beside it, and nowhere else:
`config_keys` reads it from here for `crossearth train --help`. None leaves a choice to
what the comment says.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, FieldReference
from ml_collections.config_dict import placeholder

from crossearth_jax.system.escape import cut, quoted
from crossearth_jax.system.read_json import read_json

NETWORK = ("backbone.", "rein.", "gse.", "mim.", "injector.", "decoder.")
MOST_LAYERS, MOST_SIZE = 100, 16_384  # of a network that a file describes


def default() -> ConfigDict:
    """All keys, locked: an unknown key is an error that names the nearest one."""
    config = ConfigDict()
    config.name = "crossearth"  # of the run, in its folder and reports
    # Folder of logs, checkpoints, report and pictures; a run found there is resumed.
    config.workdir = placeholder(str)  # None: runs/<name>
    # Of products before the decoder, on every device: "float32", "tensorfloat32" or
    # "bfloat16", see models/precision.py. Sums between layers, the decoder and losses
    # stay float32.
    config.precision = "float32"

    config.data = _data()
    config.backbone = _backbone()
    config.rein = _rein()
    config.gse = _gse()
    config.injector = _injector()
    config.decoder = _decoder()
    config.mim = _mim()
    config.style = _style()
    config.loss = _loss()
    config.optim = _optim()
    config.train = _train()
    config.eval = _eval()
    config.log = _log()
    config.lock()
    return config


def load(path: Path, changes: Mapping[str, object] | None = None) -> ConfigDict:
    """The configuration that a run kept in its config.json.

    Args:
      path: of the file.
      changes: values by dotted key, which differ from what was kept.

    Raises:
      ValueError: it is missing, or has keys that this version does not know.
    """
    try:
        stored = read_json(path)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"got no readable {path} ({error}), expected the workdir of a run"
        ) from error
    config = default()
    try:
        config.update(_tuples(stored))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = cut(str(error), 300)
        raise ValueError(
            f"got {path} of another version of crossearth_jax ({reason}): use that one"
        ) from error
    config.update_from_flattened_dict(dict(changes or {}))
    try:
        _check_sizes(config)
    except ValueError as error:
        raise ValueError(f"got {path} with {error}: it is damaged") from error
    return config


def with_changes(changes: Mapping[str, object]) -> ConfigDict:
    """The defaults but for some values, by dotted key.

    Raises:
      ValueError: a key is unknown, or its value of another type.
    """
    config = default()
    try:
        config.update_from_flattened_dict(dict(changes))
        _check_sizes(config)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"got {cut(str(error), 300)}") from error
    return config


def _check_sizes(config: ConfigDict) -> None:
    """Refuses networks that would take hours to build, and absent numbers."""
    usual = dict(flattened(default().to_dict()))
    for key, value in flattened(config.to_dict()):
        if value is None and isinstance(usual.get(key), int | float):
            raise ValueError(f"{key}=null, expected a number")
        most = MOST_LAYERS if key.endswith("_layers") else MOST_SIZE
        if key.startswith(NETWORK) and type(value) is int and not 0 <= value <= most:
            raise ValueError(f"{key}={quoted(value)}, expected 0 to {most:,}")


def flattened(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys of a nested configuration as "train.seed", and their values."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _tuples(value: Any) -> Any:
    """JSON has lists where a configuration has tuples."""
    if isinstance(value, dict):
        return {key: _tuples(one) for key, one in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _data() -> ConfigDict:
    """Images, labels and how they are varied; section 8."""
    return ConfigDict(
        {
            # Folder of the prepared data sets, or what `crossearth tiles` wrote: then
            # its manifest gives train, source, classes, bands, scale and gsd.
            "root": placeholder(str),
            # "folder": images on disk; "synthetic": the embedded demo scenes.
            "kind": "folder",
            # IMAGES:LABELS folder pairs, several joined by commas; {root} is data.root.
            # @FILE lists pairs, IMAGES:LABELS@FILE.txt names; quotes protect commas.
            "train": placeholder(str),
            # The training domain's held-out part, which is scored:
            # NAME=IMAGES:LABELS, several joined by commas.
            "source": placeholder(str),
            "unseen": placeholder(str),  # the other domains that are scored, likewise
            "classes": placeholder(str),  # YAML or JSON file, or a known set's name
            "encoding": placeholder(str),  # "ids", "mask255" or "colours"
            "label_suffix": "",  # of labels' names, such as "_mask"
            "on_corrupt": "error",  # or "skip": leave out, count and list
            # Pixels that a label file itself marks as no data though their value means
            # a class: "ask" (an error), "ignore" or "class".
            "label_nodata": "ask",
            # What images of any bits and bands are, see docs/data.md; the run keeps it,
            # and `predict` reads scenes by it. 1-based numbers of red, green and blue,
            # or of a grey one, such as 3,2,1; () takes the file's own colours.
            "bands": (),
            # Values that become 0 and 255, such as 0,4000, or a pair for each band; ()
            # leaves 8 bits as they are.
            "scale": (),
            "gsd": placeholder(float),  # metres a pixel; training does not resample
            "check_headers": True,  # open every file before the first step
            "max_pixels": 100_000_000,  # of an image; a larger one is refused
            "check_labels": True,  # read every label, once for each version of it
            "timeout_s": 300.0,  # a file that takes longer to read is unusable
            "crop": 512,  # pixels of a training crop and of a scored window
            "scales": tuple(i / 10 for i in range(5, 21)),  # factors to draw from
            # What factor 1 is. "shortest_edge": the whole image resized to one crop,
            # as the paper trains on tiles; "native": the file's own pixels, as scores
            # and maps see them, which large images need.
            "scale_from": "shortest_edge",
            "cat_max_ratio": 0.75,  # largest share of one class in a crop
            # How often folders of data.train come: "images", each image once in an
            # epoch; "pixels" or "sources", each folder by its labelled pixels or alike.
            "balance": "images",
            # Temperature T, such as 0.01: a class is drawn by exp((1 - share) / T),
            # then an image that holds it, as DAFormer does; None draws no class.
            "rare_class_sampling": placeholder(float),
            "flip": True,  # mirror half of the crops, left to right
            "photometric": True,  # vary brightness, contrast, saturation and hue
            "threads": 2,  # reader threads
            "workers": 0,  # reader processes; 0: threads alone
            "climate": "sub",  # synthetic only: the one that trains; all four score
            "train_scenes": 400,  # synthetic only
            "eval_scenes": 24,  # synthetic only: of each climate
        }
    )


def _backbone() -> ConfigDict:
    """A frozen ViT; None leaves a size as its variant has it; section 1."""
    return ConfigDict(
        {
            "variant": "vit_large",  # or another of docs/backbones.md
            "patch_size": 16,  # pixels
            # Made by `crossearth convert`, or a name of `crossearth models`.
            "weights": placeholder(str),
            "trainable": False,  # True only where no pretrained weights exist
            "width": placeholder(int),  # channels of a token
            "depth": placeholder(int),  # blocks
            "heads": placeholder(int),  # of attention
            "taps": (),  # four 0-based blocks that are read; () keeps the variant's
            "registers": placeholder(int),  # extra tokens; DINOv2 and DINOv3 only
            "layer_scale": placeholder(float),  # its start; DINOv2 and DINOv3 only
            # Recompute blocks in the backward pass: less memory, a third more time.
            # "auto": where the device's memory asks for it.
            "remat": FieldReference(False, field_type=object),
        }
    )


def _rein() -> ConfigDict:
    """Adapters in every block of the frozen backbone; section 2."""
    return ConfigDict(
        {
            "num_tokens": 100,  # learnt tokens of a block
            "rank": 16,  # of their two factors; 0: not factored
            "scale": 1e-3,  # of what is added, at the start; learnt
        }
    )


def _gse() -> ConfigDict:
    """Geospatial semantic extractor; section 3."""
    return ConfigDict(
        {
            "enabled": True,  # GSE and Injectors; False for the Rein baseline
        }
    )


def _injector() -> ConfigDict:
    """What GSE finds, added to the four taps; section 3."""
    return ConfigDict(
        {
            "gamma_init": 0.0,  # weight of what is injected, at the start; learnt
            "residual": True,  # False: replace the tap instead of adding to it
            # "sequential": each refined tap is the next Injector's query, not GSE's
            "order": "parallel",
        }
    )


def _decoder() -> ConfigDict:
    """Mask2Former; section 4."""
    return ConfigDict(
        {
            "width": 256,  # channels
            "encoder_layers": 6,  # of deformable attention in the pixel decoder
            "decoder_layers": 9,  # of the transformer decoder
            "heads": 8,  # of attention
            "points": 4,  # sampled by a head on each level
            "encoder_ffn": 1024,  # hidden channels of the pixel decoder's layers
            "decoder_ffn": 2048,  # hidden channels of the transformer decoder's
            "groups": 32,  # of GroupNorm
        }
    )


def _mim() -> ConfigDict:
    """Masked image modelling; section 7, mask of X_M per benchmark from Table 14."""
    return ConfigDict(
        {
            "enabled": True,  # False leaves the masked pass and both its losses out
            "decoder": "aspp",  # or "aspp_shared", "linear"
            "width": 256,  # channels of its decoder
            "loss": "mse",  # or "l1", as for CASID
            "pixels": "all",  # or "hidden": L_MIM of X_M on its hidden blocks alone
            "target": "clean",  # or "self": X_M and X_S, as L_MIM is printed
            "prompt": "replace",  # or "product": Eq. 6 read literally
            "ratio": 0.7,  # share of altered area
            "block": 64,  # pixels of a block that is altered or not
        }
    )


def _style() -> ConfigDict:
    """Earth-style injection; section 6, mask of X_S per benchmark from Table 14."""
    return ConfigDict(
        {
            "probability": 0.1,  # of a styled step; 0 turns Earth-style injection off
            "per_image": False,  # draw for each image instead of the whole batch
            # "ghiasi" is p_t; "fourier" and "statistics" stand in without weights.
            "transfer": "ghiasi",
            # Made by `crossearth convert style`, or a name of `crossearth models`.
            "weights": placeholder(str),
            "statistics": placeholder(str),  # by `crossearth style-statistics`
            # Folder of field imagery for the stand-ins; None draws synthetic scenes.
            "pool": placeholder(str),
            "alpha": 0.1,  # share of the sampled Earth style
            "polarity": "altered",  # or "equation5": style the other part
            "ratio": 0.7,  # share of altered area
            "block": 64,  # pixels of a block that is altered or not
        }
    )


def _loss() -> ConfigDict:
    """L_Seg, and the weights of the sum of losses; sections 5 and 8."""
    return ConfigDict(
        {
            "class_weight": 2.0,  # of the class cost and loss in L_Seg
            "mask_weight": 5.0,  # of the mask cost and loss in L_Seg
            "dice_weight": 5.0,  # of the Dice cost and loss in L_Seg
            # In the class loss: a number for each class, such as 1,4.5, or
            # "inverse_frequency" of its pixels in the labels of training.
            "class_weights": placeholder(object),
            "no_object": 0.1,  # class weight of unmatched queries
            "num_points": 12544,  # of a mask, at which its losses are taken
            "oversample": 3.0,  # candidates for uncertain points, times num_points
            "importance": 0.75,  # share of points chosen by uncertainty
            "exclude_ignored": False,  # leave out points on ignored pixels
            "seg": 1.0,  # weight of L_Seg
            "mim": 1.0,  # weight of L_MIM
            "delta": 1.0,  # weight of L_Δ
        }
    )


def _optim() -> ConfigDict:
    """AdamW and its schedule; section 8."""
    return ConfigDict(
        {
            "lr": 1e-4,  # learning rate at its highest
            "betas": (0.9, 0.999),  # decay of the first and second moments
            "eps": 1e-8,  # in the denominator
            "weight_decay": 0.05,  # decoupled
            "power": 0.9,  # of the polynomial that the rate falls with
            "decay_steps": 40_000,  # where the polynomial reaches 0
            "warmup_steps": 0,  # linear from warmup_factor * lr
            "warmup_factor": 1e-6,  # share of lr that the warm-up starts from
            "clip_norm": 0.0,  # of all gradients together; 0: no clipping
        }
    )


def _train() -> ConfigDict:
    """The run: its length, its batch, what it keeps."""
    return ConfigDict(
        {
            "steps": 30_000,  # of the optimiser
            "batch_size": 1,  # images of a step, over all devices and hosts
            "accumulate": 1,  # parts that a batch is computed in, to save memory
            "fsdp": 1,  # devices that share one copy of the frozen weights
            "seed": 42,  # of initial values, order of images, crops, masks and styles
            # A loss that is not finite: "stop" with a dump for `crossearth replay`, or
            # "skip" the step.
            "on_nan": "stop",
            "nan_patience": 10,  # skipped steps in a row after which the run ends
            # Workdir of a run, converted CrossEarth or Rein weights, or a name, to
            # start from, or for `crossearth eval` to score without a checkpoint.
            "init": placeholder(str),
            # Classes of train.init: "same" as the data's, in order; "by_name": those
            # of equal names are taken; "fresh": the class head starts anew.
            "init_classes": "same",
            "log_every": 50,  # steps between lines of metrics.jsonl
            "checkpoint_every": 1_000,  # steps
            "keep": 2,  # newest checkpoints kept
            "keep_every": 0,  # those of every n-th step are kept too; 0: none
            # Save every step that eval.every scores, and keep the best on the source.
            "keep_best": False,
            # Who gets curves, scores and pictures besides metrics.jsonl: of
            # "tensorboard", "wandb", "mlflow" and "trackio", see docs/training.md.
            "loggers": ("tensorboard",),
        }
    )


def _eval() -> ConfigDict:
    """Scoring by sliding windows; section 9."""
    return ConfigDict(
        {
            "stride": placeholder(int),  # of windows of data.crop; None: 2/3 of it
            "batch": 1,  # windows
            "every": 0,  # steps between scores while training; 0: at the end alone
            "domains": "source",  # that are scored while training; or "all"
            # Images get this longest edge first, None: as they are; scores are counted
            # at the size of the label.
            "fit": placeholder(int),
            "examples": 4,  # rows of a domain's picture
            # Keep what `crossearth trust` needs: scores up to 64 of the source domain's
            # images once more.
            "trust": True,
        }
    )


def _log() -> ConfigDict:
    """What metrics.jsonl and the loggers get besides losses and rates."""
    return ConfigDict(
        {
            # Norm of every loss's gradient, by part of the model: a backward pass more
            # for each loss but the first.
            "gradient_norms": False,
        }
    )
