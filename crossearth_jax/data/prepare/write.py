"""One raw pair to prepared files: what the worker processes do."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from crossearth_jax.data.prepare.items import (
    Ids,
    Item,
    LabelCode,
    RawLabel,
)
from crossearth_jax.data.prepare.manifest import Written
from crossearth_jax.data.prepare.raw import Member
from crossearth_jax.data.prepare.tiles import tile_corners, tile_name
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.system.whole_file import whole_file

PNG_LEVEL = 4  # of 9


@dataclass(frozen=True)
class Job:
    """A raw pair, and all that is needed to write it.

    Attributes:
      item: the pair.
      code: how its label is encoded.
      folder: of the domain.
      tile: side of the squares, or None.
      num_classes: ids from here on may not occur.
    """

    item: Item
    code: LabelCode
    folder: Path
    tile: int | None
    num_classes: int


def write_item(job: Job) -> Written:
    """Decodes one pair, encodes its label and writes the files, each in one step.

    Raises:
      ValueError: a file cannot be read, the sizes differ, or a label value is unknown;
        names the file.
    """
    item = job.item
    image = item.image.image(item.bands)
    raw = item.label.label(indexed=job.code.indexed)
    if image.shape[:2] != raw.shape[:2]:
        raise ValueError(
            f"{item.label}: got a label of {_size(raw)} pixels for an image of "
            f"{_size(image)} ({item.image}), expected the same size: download both "
            "again"
        )
    try:
        ids, values = job.code.encode_counted(raw)
    except ValueError as error:
        raise ValueError(f"{item.label}: {error}") from error
    folder = job.folder / item.split
    if job.tile is None:
        names = _write_whole(folder, item, raw, ids)
        pixels = _pixels(ids, job.num_classes)
    else:
        names, pixels = _write_tiles(folder, job, image, ids)
    images, labels = zip(*names, strict=True)
    return Written(
        split=item.split,
        name=item.name,
        raw=(item.image.size, item.label.size),
        images=images,
        labels=labels,
        pixels=tuple(pixels.tolist()),
        values=values,
    )


def _write_tiles(
    folder: Path, job: Job, image: UInt8[np.ndarray, "H W 3"], ids: Ids
) -> tuple[list[tuple[str, str]], np.ndarray]:
    """File names of every tile's image and label; pixels by id, overlaps twice."""
    tile, item = job.tile, job.item
    assert tile is not None
    try:
        corners = tile_corners(ids.shape[0], ids.shape[1], tile)
    except ValueError as error:
        raise ValueError(f"{item.image}: {error}") from error
    names, pixels = [], np.zeros(job.num_classes + 1, np.int64)
    for y, x in corners:
        name = f"{tile_name(item.name, y, x, tile)}.png"
        here = np.s_[y : y + tile, x : x + tile]
        _write_png(folder / "images" / name, image[here][:, :, ::-1])
        _write_png(folder / "labels" / name, ids[here])
        pixels += _pixels(ids[here], job.num_classes)
        names.append((name, name))
    return names, pixels


def _write_whole(
    folder: Path, item: Item, raw: RawLabel, ids: Ids
) -> list[tuple[str, str]]:
    """The raw image as it is; the label too, where it holds the ids already."""
    name = f"{item.name}{item.image.suffix}"
    _take_over(item.image, folder / "images" / name)
    label = folder / "labels" / f"{item.name}.png"
    fits = item.label.suffix == ".png" and raw.dtype == np.uint8
    if fits and raw.ndim == 2 and np.array_equal(raw, ids):
        _take_over(item.label, label)
    else:
        _write_png(label, ids)
    return [(name, label.name)]


def _take_over(member: Member, place: Path) -> None:
    """A hard link to a loose file where the disk allows it, else a copy."""
    source = member.file()
    with whole_file(place) as partial:
        if source is None:
            partial.write_bytes(member.read())
            return
        try:
            os.link(source.resolve(), partial)
        except OSError:  # another disk, or one without links
            shutil.copyfile(source, partial)


def _write_png(path: Path, pixels: np.ndarray) -> None:
    done, content = cv2.imencode(
        ".png", np.ascontiguousarray(pixels), [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL]
    )
    assert done
    with whole_file(path) as partial:
        partial.write_bytes(content.tobytes())


def _pixels(ids: Ids, num_classes: int) -> np.ndarray:
    """Pixels by class id, the ignored ones last."""
    counts = np.bincount(ids.reshape(-1), minlength=IGNORE + 1)
    assert not counts[num_classes:IGNORE].any(), "a label code gave an unknown id"
    return np.append(counts[:num_classes], counts[IGNORE])


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"
