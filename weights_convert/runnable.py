"""What predicting needs beside the tensors: the network's settings and its classes.

Both are kept in the converted file, as keys of the configuration and as a class set,
so that `crossearth predict FILE scene.tif` needs nothing else.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from crossearth_jax.data.classes import ClassSet, colour
from crossearth_jax.data.infer import distinct_colours
from crossearth_jax.data.known_classes import KNOWN_CLASSES, class_set
from crossearth_jax.hub.catalogue import of_file
from crossearth_jax.models.backbone import BackboneConfig
from crossearth_jax.models.crossearth import ModelConfig
from crossearth_jax.models.families import VARIANTS
from crossearth_jax.models.rvsa import RvsaConfig
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.run_settings import check_crop
from crossearth_jax.system.read_json import parse_json
from weights_convert.binary_head import names_of
from weights_convert.files.open import WeightFile

# Sizes that no tensor shows, and the authors' where the network is not theirs.
HIDDEN = ("backbone.heads", "backbone.taps", "decoder.heads", "decoder.groups")
HEADS, GROUPS = 8, 32
_UNNAMED = "nothing; name them with --classes FILE"


def settings_of(
    config: ModelConfig, given: Mapping[str, str], crop: int | None = None
) -> dict[str, Any]:
    """{"network": keys of the configuration that build this network}.

    Where nothing is given for a network of no published size, it is {"network": None,
    "why": …}: such a file can be trained from and cannot predict.

    Args:
      config: as the shapes show it, with one head and one group.
      given: text by key, of `HIDDEN`.
      crop: side of a window; None takes what the positions show.

    Raises:
      ValueError: what is given does not fit, or is not all.
    """
    try:
        return {"network": _settings(config, given, crop or config.crop)}
    except ValueError as error:
        if given:
            raise
        return {"network": None, "why": str(error)}


def kept_by_us(file: WeightFile) -> dict[str, Any]:
    """What `to-torch` kept of a run, as `settings_of`; empty for others' files."""
    meta = file.metadata.get("meta", file.metadata)
    meta = meta if isinstance(meta, Mapping) else {}
    if not str(meta.get("tool", "")).strip('"').startswith("weights_convert "):
        return {}
    found = meta.get("network")
    if isinstance(found, str):  # as a safetensors file keeps it
        found = parse_json(found)
    return {"network": dict(found)} if isinstance(found, Mapping) else {}


def _settings(
    config: ModelConfig, given: Mapping[str, str], crop: int
) -> dict[str, Any]:
    check_crop(crop, config.backbone.patch_size)
    if unknown := [key for key in given if key not in HIDDEN]:
        raise ValueError(
            f"got --set {unknown[0]}, expected one of {', '.join(HIDDEN)}: the tensors "
            "show all other sizes"
        )
    heads = _whole(given, "decoder.heads", HEADS)
    groups = _whole(given, "decoder.groups", GROUPS)
    for key, number, of, size in (
        ("decoder.heads", heads, "width", config.width),
        ("decoder.groups", groups, "width", config.width),
        ("decoder.heads", heads, "heads x points", config.points),
    ):
        if number < 1 or size % number:
            raise ValueError(
                f"got {key} {number} for {of} {size}, expected a divisor: give the "
                f"network's own with --set {key}=…"
            )
    return {
        **_backbone(config.backbone, given),
        "data.crop": crop,
        "eval.stride": round(crop * 2 / 3),
        "rein.num_tokens": config.num_queries,
        "rein.rank": config.rein_rank,
        "gse.enabled": config.gse,
        "mim.enabled": config.mim,
        **({"injector.residual": config.injector_residual} if config.gse else {}),
        **(
            {"mim.decoder": config.mim_decoder, "mim.width": config.mim_width}
            if config.mim
            else {}
        ),
        "decoder.width": config.width,
        "decoder.encoder_layers": config.encoder_layers,
        "decoder.decoder_layers": config.decoder_layers,
        "decoder.heads": heads,
        "decoder.points": config.points // heads,
        "decoder.encoder_ffn": config.encoder_ffn,
        "decoder.decoder_ffn": config.decoder_ffn,
        "decoder.groups": groups,
    }


def classes_of(
    count: int, given: str | None, file: WeightFile, swapped: bool
) -> dict[str, Any]:
    """{"class_set": names and colours, "named_by": what they are known from}.

    Args:
      count: of the head's classes.
      given: a known set's name or a class file; then it has to fit.
      file: the checkpoint, whose name may be of a released one and which may name
        its classes itself.
      swapped: whether classes 0 and 1 were exchanged.

    Raises:
      ValueError: see `known_classes.class_set`.
    """
    if not 2 <= count <= IGNORE:  # a network that is trained from alone
        return {}
    if given is not None:
        return _facts(class_set(given, count), str(given))
    released = of_file(file.path.name)
    if released and released.classes in KNOWN_CLASSES:
        known = KNOWN_CLASSES[released.classes]
        if len(known.names) == count:
            return _facts(known, f"{file.path.name}, a released checkpoint")
    if told := _told(file, count, swapped):
        return _facts(told, "the checkpoint")
    names = tuple(f"class_{k}" for k in range(count))
    return _facts(_drawn(names), _UNNAMED)


def _backbone(
    config: BackboneConfig, given: Mapping[str, str]
) -> dict[str, int | str | list[int]]:
    """Keys of the backbone; those of no published size need the hidden ones."""
    gated = getattr(config, "swiglu", False)
    kin = {
        name: each
        for name, each in VARIANTS.items()
        if type(each) is type(config) and getattr(each, "swiglu", False) == gated
    }
    same = (config.width, config.depth)
    known = [n for n, v in kin.items() if (v.width, v.depth) == same]
    missing = [key for key in HIDDEN[:2] if key not in given]
    if not known and (missing or isinstance(config, RvsaConfig)):
        raise ValueError(
            f"got a backbone of width {config.width} and depth {config.depth}, which "
            "is no published size and does not show its heads and taps: give them as "
            "with --set backbone.heads=4 --set backbone.taps=1,3,5,7"
        )
    base = known[0] if known else next(n for n in kin if n.endswith("_large"))
    settings: dict[str, Any] = {
        "backbone.variant": base,
        "backbone.patch_size": config.patch_size,
        "backbone.width": config.width,
        "backbone.depth": config.depth,
        "backbone.heads": _whole(given, "backbone.heads", kin[base].heads),
    }
    if "backbone.taps" in given:
        settings["backbone.taps"] = [int(x) for x in given["backbone.taps"].split(",")]
    if registers := getattr(config, "registers", 0):
        settings["backbone.registers"] = registers
    return settings


def _whole(given: Mapping[str, str], key: str, default: int) -> int:
    text = given.get(key, str(default))
    if not text.isdigit():
        raise ValueError(f"got --set {key}={text}, expected a whole number")
    return int(text)


def _told(file: WeightFile, count: int, swapped: bool) -> ClassSet | None:
    """Classes that the checkpoint itself names, as mmengine keeps them."""
    names = names_of(file.metadata)
    if len(names) != count or len({*names}) < count or count < 2:
        return None
    found: Any = file.metadata.get("meta", {})
    for key in ("dataset_meta", "palette"):
        found = found.get(key, ()) if isinstance(found, Mapping) else ()
    try:
        palette = [colour(tuple(one)) for one in found]
    except (TypeError, ValueError):
        palette = []
    if swapped:
        names, palette = names[::-1], palette[::-1]
    if len(palette) != count:
        return _drawn(names)
    return ClassSet(names, tuple(palette))


def _drawn(names: tuple[str, ...]) -> ClassSet:
    return ClassSet(names, distinct_colours(len(names)))


def _facts(classes: ClassSet, named_by: str) -> dict[str, Any]:
    kept = dataclasses.asdict(classes)
    del kept["encoding"]  # of labels, which predicting has none of
    return {"class_set": kept, "named_by": named_by}
