"""Data sets that TorchGeo reads, exported to a folder of tiles.

TorchGeo, and PyTorch with it, runs here alone: training reads the files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num, UInt8

from crossearth_jax import __version__
from crossearth_jax.data.classes import ENCODINGS, ClassSet
from crossearth_jax.data.infer import distinct_colours
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.system import extras
from crossearth_jax.system.escape import quoted, terminal
from crossearth_jax.system.progress import progress
from crossearth_jax.tiles.cut import MADE, CutTile
from crossearth_jax.tiles.journal import Journal
from crossearth_jax.tiles.manifest import (
    FORMAT,
    VERSION,
    pixels_of,
    write_classes,
    write_manifest,
)
from crossearth_jax.tiles.plan import VAL
from crossearth_jax.tiles.sheet import write_sheet
from crossearth_jax.tiles.write import write_image, write_label

SHOWN = 8  # values that a message lists


@dataclass(frozen=True)
class Export:
    """What is exported.

    Attributes:
      dataset: name of the class in `torchgeo.datasets`.
      raw: its root.
      splits: {"train" or "val": the data set's own name of it}.
      bands: of an image, counted from 0; three, or one.
      scale: values that become 0 and 255; None takes 0-255 as it is.
      first: mask value of the first class; lower ones are ignored.
      ignored: mask values that are ignored.
      download: lets TorchGeo download what is missing.
      arguments: more of the data set's own.
    """

    dataset: str
    raw: str
    splits: Mapping[str, str]
    bands: tuple[int, ...] = (0, 1, 2)
    scale: tuple[float, float] | None = None
    first: int = 0
    ignored: tuple[int, ...] = (IGNORE,)
    download: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)


def export(asked: Export, out: Path) -> dict[str, Any]:
    """Writes images, labels, classes and a manifest, or what is missing of them.

    Args:
      asked: the data set.
      out: gets {train,val}/{images,labels}.

    Returns:
      The manifest.

    Raises:
      ValueError: there is no such data set, or its samples are not images with masks
        of classes.
      ImportError: TorchGeo is not installed.
    """
    parts = {split: _opened(asked, name) for split, name in asked.splits.items()}
    names = _class_names(next(iter(parts.values())))
    journal = Journal(out, (1, 1))
    options = asdict(asked) | {"download": None}
    journal.check(options)
    for split, samples in parts.items():  # what cannot be read leaves nothing behind
        if len(samples):
            _pair(samples[0], asked, names, f"{split} 0")
    journal.begin(options, val=VAL in parts)
    with journal.alone():
        done = journal.done()
        with journal.noting() as notes:
            for split, samples in parts.items():
                for tile in _written(split, samples, asked, names, out, done):
                    notes.add(tile)
                    done[tile.key] = tile
    keys = [
        (split, _name(k)) for split, data in parts.items() for k in range(len(data))
    ]
    return _finish(asked, out, names, [done[key] for key in keys])


def _opened(asked: Export, split: str) -> Any:
    """One split as the data set has it."""
    purpose = "TorchGeo's data sets"
    module = extras.needed("torchgeo.datasets", purpose, "torchgeo")
    kind = getattr(module, asked.dataset, None)
    if not isinstance(kind, type):
        raise ValueError(
            f"got --dataset {asked.dataset}, expected a class of torchgeo.datasets "
            "such as LandCoverAI: see TorchGeo's list of data sets"
        )
    given = {"root": asked.raw, "split": split, "download": asked.download}
    known = signature(kind).parameters
    given = {key: value for key, value in given.items() if key in known}
    if unknown := sorted(asked.arguments.keys() - known.keys()):
        raise ValueError(
            f"got --set {unknown[0]}=…, expected arguments of {asked.dataset}: "
            f"{', '.join(known)}"
        )
    try:
        data = kind(**(given | dict(asked.arguments)))
        len(data)
    except Exception as error:  # its own errors, and those of reading
        reason = quoted(str(error).strip() or type(error).__name__, 300)
        raise ValueError(
            f"{asked.dataset}, split {split}: cannot be opened ({reason}): put its "
            f"files into {asked.raw} as TorchGeo wants them, pass --download, or "
            "correct --split and --set"
        ) from error
    return data


def _class_names(data: Any) -> tuple[str, ...] | None:
    """The data set's own, if it tells them."""
    names = getattr(data, "classes", None)
    if isinstance(names, list | tuple) and all(isinstance(n, str) for n in names):
        return tuple(names) if len(names) >= 2 else None
    return None


def _name(number: int) -> str:
    return f"{number:06d}"


def _written(
    split: str,
    samples: Any,
    asked: Export,
    names: tuple[str, ...] | None,
    out: Path,
    done: Mapping[tuple[str, str], CutTile],
) -> Iterator[CutTile]:
    left = [k for k in range(len(samples)) if (split, _name(k)) not in done]
    with progress(f"exporting {split}", len(left), "samples") as advance:
        for k in left:
            image, ids = _pair(samples[k], asked, names, f"{split} {k}")
            name = f"{_name(k)}.tif"
            write_image(out / split / "images" / name, image, None)
            write_label(out / split / "labels" / name, ids, None)
            counts = np.bincount(ids.reshape(-1), minlength=IGNORE + 1)
            yield CutTile(split, _name(k), MADE, tuple(counts.tolist()))
            advance()


def _pair(
    sample: Any, asked: Export, names: tuple[str, ...] | None, where: str
) -> tuple[UInt8[np.ndarray, "c h w"], UInt8[np.ndarray, "h w"]]:
    """Image and class ids of a sample."""
    is_pair = isinstance(sample, Mapping) and {"image", "mask"} <= sample.keys()
    if not is_pair:
        keys = list(sample) if isinstance(sample, Mapping) else []
        found = ", ".join(map(quoted, keys)) or "none"
        raise ValueError(
            f"{asked.dataset}, sample {where}: got the keys {found}, expected `image` "
            "and `mask`: only data sets of segmentation can be exported"
        )
    image, mask = (np.asarray(sample[key]) for key in ("image", "mask"))
    mask = mask[0] if mask.ndim == 3 and len(mask) == 1 else mask
    if image.ndim != 3 or mask.shape != image.shape[1:]:
        raise ValueError(
            f"{asked.dataset}, sample {where}: got an image of shape {image.shape} and "
            f"a mask of shape {mask.shape}, expected [C, H, W] and [H, W]"
        )
    if max(asked.bands) >= len(image):
        raise ValueError(
            f"{asked.dataset}, sample {where}: got --bands "
            f"{','.join(map(str, asked.bands))}, expected numbers from 0 to "
            f"{len(image) - 1}: it has {len(image)} bands"
        )
    place = f"{asked.dataset}, sample {where}"
    return (
        _eight_bits(image[list(asked.bands)], asked.scale, place),
        _ids(mask, asked, names, place),
    )


def _eight_bits(
    values: Num[np.ndarray, "c h w"], scale: tuple[float, float] | None, where: str
) -> UInt8[np.ndarray, "c h w"]:
    values = values.astype(np.float64)
    if scale is not None:
        low, high = scale
        values = np.nan_to_num((values - low) / (high - low) * 255).clip(0, 255)
        return np.rint(values).astype(np.uint8)
    whole = np.isfinite(values).all() and (values == np.trunc(values)).all()
    if not whole or values.min() < 0 or values.max() > 255:
        raise ValueError(
            f"{where}: got values from {values.min():g} to {values.max():g}, expected "
            "whole numbers of 0 to 255: pass --scale LOW,HIGH, the values that become "
            "0 and 255"
        )
    return values.astype(np.uint8)


def _ids(
    mask: Num[np.ndarray, "h w"],
    asked: Export,
    names: tuple[str, ...] | None,
    where: str,
) -> UInt8[np.ndarray, "h w"]:
    dropped = np.isin(mask, asked.ignored) | (mask < asked.first)
    ids = mask.astype(np.int64) - asked.first
    most = len(names) if names else IGNORE
    strange = np.unique(ids[~dropped & (ids >= most)]) + asked.first
    if len(strange):
        shown = ", ".join(map(str, strange[:SHOWN].tolist()))
        last = asked.first + most - 1
        raise ValueError(
            f"{where}: got the mask values {shown}, expected {asked.first} to {last} "
            f"of {most} classes: pass --first, or --ignore for values that are none"
        )
    return np.where(dropped, IGNORE, ids).astype(np.uint8)


def _finish(
    asked: Export,
    out: Path,
    names: tuple[str, ...] | None,
    tiles: Sequence[CutTile],
) -> dict[str, Any]:
    totals = np.sum([tile.pixels for tile in tiles], 0)
    if names is None:  # the data set tells none
        most = max(2, int(np.flatnonzero(totals[:IGNORE]).max(initial=1)) + 1)
        names = tuple(f"class_{k}" for k in range(most))
    cut = [
        CutTile(t.split, t.name, t.state, (*t.pixels[: len(names)], t.pixels[IGNORE]))
        for t in tiles
    ]
    classes = ClassSet(names, distinct_colours(len(names)), ENCODINGS["ids"])
    scale = None if asked.scale is None else [list(asked.scale)] * len(asked.bands)
    counts = {s: sum(tile.split == s for tile in cut) for s in asked.splits}
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "split": "none" if VAL not in counts else "data set",
        "classes": list(names),
        "images": {
            "dtype": "uint8",
            "bands": list(range(1, len(asked.bands) + 1)),
            "scale": None,
        },
        "scenes": {
            "bands": [band + 1 for band in asked.bands],
            "scale": scale,
            "gsd": None,
        },
        "sources": [{"path": asked.raw, "dataset": asked.dataset, "tiles": counts}],
        "pixels": {split: pixels_of(cut, split, names) for split in asked.splits},
        "options": asdict(asked),
        "tool": f"crossearth_jax {__version__}",
    }
    write_classes(out, classes)
    write_sheet(out, cut, classes, manifest)
    write_manifest(out, manifest)
    shown = ", ".join(f"{n} {split}" for split, n in counts.items())
    print(f"{terminal(out)}: {shown} images of {terminal(asked.dataset)}")
    return manifest
