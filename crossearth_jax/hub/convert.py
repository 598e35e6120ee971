"""A model by name to the file that trains and predicts here, kept in the cache.

The converter, `weights_convert`, is found by name when it is needed: it stands outside
this package and imports it.
"""

import errno
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors import safe_open

from crossearth_jax import __version__
from crossearth_jax.hub import cache
from crossearth_jax.hub.catalogue import WHOLE, Model, model_of
from crossearth_jax.hub.fetch import fetch
from crossearth_jax.system.read_json import parse_json
from crossearth_jax.system.safetensors_file import check_file

CROP, PATCH = 512, 16  # pixels; the paper's


def convert_named(
    model: Model,
    *,
    crop: int = CROP,
    patch: int = PATCH,
    target: Path | None = None,
) -> Path:
    """The converted file of a model; fetched and converted where it is not there yet.

    Args:
      model: see `catalogue`.
      crop: side of a training crop in pixels; of DINOv2's positions alone.
      patch: side of a patch in pixels; of DINOv2 alone.
      target: .safetensors file to write; None keeps it in the cache.

    Raises:
      NotFetched, WrongFile: see `fetch`.
      ValueError: the converter refuses the file.
    """
    options = {**_sizes(model.kind, crop, patch), **model.options}
    kept = [cache.kept_digest(model, file) for file in model.files]
    if target is None and kept and all(kept):
        if there := _kept(model, options, [str(digest) for digest in kept]):
            return there
    with cache.locked(model.name):
        files = fetch(model)
        digests = [digest for _, digest in files]
        if model.kind in WHOLE:
            options |= options_of_whole(model, files[0][0])
        there = target or _place(model.name, options, digests)
        if not there.is_file():
            paths = [path for path, _ in files]
            # A model of several files is the folder of them.
            source = paths[0] if len(paths) == 1 else paths[0].parent
            _convert(model.kind, source, there, options)
        elif not _is_of(there, digests):
            raise ValueError(
                f"got {there}, which is there already and is not of {model.name}, "
                "expected a new file: remove it, or choose another folder"
            )
    return there


def is_converted(model: Model) -> bool:
    """Whether a conversion of a model's files, as they came first, is in the cache."""
    kept = [cache.kept_digest(model, file) for file in model.files]
    places = (cache.folder() / "converted").glob(f"{model.name}-{__version__}-*")
    digests = [digest for digest in kept if digest]
    return 0 < len(kept) == len(digests) and any(
        _is_of(place, digests) for place in places
    )


def _kept(
    model: Model, options: Mapping[str, Any], digests: Sequence[str]
) -> Path | None:
    """A conversion of an earlier time, found without asking any server."""
    if model.kind not in WHOLE:
        place = _place(model.name, options, digests)
        return place if place.is_file() else None
    # Which backbone it has depends on what is in its file; so do its options.
    places = (cache.folder() / "converted").glob(f"{model.name}-{__version__}-*")
    return next((place for place in sorted(places) if _is_of(place, digests)), None)


def convert_file(kind: str, source: Path, options: Mapping[str, Any]) -> Path:
    """The converted file of a user's own checkpoint, kept in the cache.

    Args:
      kind: of the conversion.
      source: the checkpoint.
      options: of the conversion.
    """
    with source.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    there = _place(source.stem, options, [digest])
    if not there.is_file():
        _convert(kind, source, there, options)
    return there


def converter(kind: str) -> Callable[..., Any]:
    """What converts a kind: `convert(source, target, **options)`."""
    module = "crossearth" if kind == "rein" else kind
    return getattr(import_module(f"weights_convert.{module}"), kind)


def options_of_whole(model: Model, source: Path) -> dict[str, Any]:
    """Options for a whole network's conversion, its frozen backbone among them."""
    found: dict[str, Any] = {"classes": model.classes, "crop": model.crop}
    if model.background:
        found["background"] = model.background
    if model.backbone and lacks_backbone(source):
        backbone, crop = model_of(model.backbone), model.crop or CROP
        found["backbone"] = convert_named(backbone, crop=crop)
    return found


def lacks_backbone(source: Path) -> bool:
    """Whether a whole network's checkpoint leaves its frozen backbone out."""
    return import_module("weights_convert.crossearth").lacks_backbone(source)


def find_converted(name: str, sources: Sequence[Mapping[str, str]]) -> Path | None:
    """A converted file of this cache that was made of the same sources.

    Args:
      name: of the file that is looked for.
      sources: {"sha256": …} of each, as a converted file keeps them.
    """
    places = sorted((cache.folder() / "converted").glob("*.safetensors"))
    for place in sorted(places, key=lambda each: each.name != name):
        if sources and _is_of(place, [each["sha256"] for each in sources]):
            return place
    return None


def sources_of(place: Path) -> list[dict[str, str]]:
    """Names and SHA-256 of what a converted file was made of; none if it says none."""
    try:
        check_file(place)
        with safe_open(place, framework="np") as file:
            told = parse_json((file.metadata() or {}).get("sources", "[]"))
    except Exception:  # damaged, or no such file: it was made of nothing known
        return []
    listed = told if isinstance(told, list) else []
    return [each for each in listed if isinstance(each, dict) and "sha256" in each]


def _is_of(place: Path, digests: Sequence[str]) -> bool:
    """Whether a converted file was made of these files, and perhaps of others."""
    return {*digests} <= {each["sha256"] for each in sources_of(place)}


def _sizes(kind: str, crop: int, patch: int) -> dict[str, Any]:
    return {"crop": crop, "patch": patch} if kind == "dinov2" else {}


def _place(name: str, options: Mapping[str, Any], digests: Sequence[str]) -> Path:
    """Where a conversion is kept: other sources or options are another file."""
    facts = json.dumps([*digests, sorted(options.items())], default=str)
    number = hashlib.sha256(facts.encode()).hexdigest()[:12]
    file = f"{name}-{__version__}-{number}.safetensors"
    return cache.folder() / "converted" / file


def _convert(kind: str, source: Path, there: Path, options: Mapping[str, Any]) -> None:
    """Writes a converted file, whole or not at all."""
    try:
        there.parent.mkdir(parents=True, exist_ok=True)
        converter(kind)(source, there, **options)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        size = source.stat().st_size
        raise OSError(
            f"got no space for {there}, expected about {size:,} bytes: free some, or "
            f"set {cache.PLACE} to a folder on another disk"
        ) from error
