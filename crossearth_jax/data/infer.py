"""Classes without a class file: only where the labels can be read in one way."""

import colorsys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crossearth_jax.data.classes import ENCODINGS, ClassSet
from crossearth_jax.data.decode import read_label
from crossearth_jax.data.packed import Packed
from crossearth_jax.data.palettes import Palettes, colours_of
from crossearth_jax.data.pixel_limit import MAX_PIXELS
from crossearth_jax.data.timed import TIMEOUT_S, read_in_time
from crossearth_jax.pixels.labels import IGNORE, Colour

MAX_CLASSES = 50
JPEG = b"\xff\xd8\xff"  # its first bytes


def infer_classes(
    labels: Sequence[Path | Packed],
    *,
    sample: int = 500,
    timeout_s: float = TIMEOUT_S,
    max_pixels: int = MAX_PIXELS,
) -> ClassSet:
    """Infers K classes from labels that hold nothing but ids 0..K-1 (and 255, ignore).

    Prints the values seen with their share of pixels. Anything that could be read in
    two ways is refused.

    Args:
      labels: label files; at most `sample` of them, evenly spread, are read.
      sample: how many.
      timeout_s: for reading one file.
      max_pixels: of a label.

    Raises:
      ValueError: the labels are colours, 0/255 masks, JPEGs, or have gaps in their ids.
    """
    step = max(1, -(-len(labels) // sample))
    chosen = labels[::step]
    counts: Counter[int] = Counter()
    palettes = Palettes()
    for path in chosen:
        data = read_in_time(path, timeout_s, max_pixels)
        raw = read_label(path, indexed=True, data=data, max_pixels=max_pixels)
        if raw.ndim == 3:
            raise ValueError(
                f"{path}: got a colour label and no class file: set "
                "data.encoding=colours and give the palette in a class file "
                "(data.classes=FILE)"
            )
        _refuse_lossy(path, data)
        values, pixels = np.unique(raw, return_counts=True)
        counts.update(dict(zip(values.tolist(), pixels.tolist(), strict=True)))
        palettes.add(path, colours_of(data, values.tolist()))
    print(_value_table(counts, len(chosen), len(labels)))
    ids = sorted(set(counts) - {IGNORE})
    _check_inferred(ids, counts)
    print(f"inferred {len(ids)} classes, ids 0..{len(ids) - 1}; 255 is ignored")
    return ClassSet(
        names=tuple(f"class_{k}" for k in ids),
        palette=distinct_colours(len(ids)),
        encoding=ENCODINGS["ids"],
    )


def _refuse_lossy(path: Path | Packed, data: bytes) -> None:
    if data.startswith(JPEG):
        raise ValueError(
            f"{path}: got a JPEG label, expected PNG or TIFF: JPEG changes values, "
            "so ids in it mean nothing; export the labels again"
        )


def _value_table(counts: Counter[int], read: int, total: int) -> str:
    pixels = sum(counts.values())
    rows = [f"label values in {read} of {total} files:", "  value  share of pixels"]
    for value, count in sorted(counts.items())[:60]:
        rows.append(f"  {value:5d}  {count / pixels:8.3%}")
    if len(counts) > 60:
        rows.append(f"  ... and {len(counts) - 60} more values")
    return "\n".join(rows)


def _check_inferred(ids: Sequence[int], counts: Counter[int]) -> None:
    seen = ", ".join(map(str, sorted(counts)[:20]))
    if set(counts) == {0, 255}:
        raise ValueError(
            "got labels with 0 and 255 only, which may be a mask or ids with ignored "
            "pixels: set data.encoding=mask255, or give a class file with "
            "data.classes=FILE"
        )
    contiguous = list(ids) == list(range(len(ids)))
    if not 2 <= len(ids) <= MAX_CLASSES or not contiguous:
        raise ValueError(
            f"got label values {seen}, expected ids 0..K-1 without gaps (2 to "
            f"{MAX_CLASSES} classes, 255 = ignore): declare their meaning in a "
            "class file (data.classes=FILE)"
        )


def distinct_colours(count: int) -> tuple[Colour, ...]:
    """Black, then hues a golden ratio apart; black and white for two classes."""
    if count == 2:
        return ((0, 0, 0), (255, 255, 255))
    colours: list[Colour] = [(0, 0, 0)]
    for k in range(1, count):
        value = 1.0 if k % 2 else 0.75
        r, g, b = colorsys.hsv_to_rgb(k * 0.61803399 % 1, 0.85, value)
        colours.append((round(255 * r), round(255 * g), round(255 * b)))
    return tuple(colours)
