"""ISPRS Potsdam, RGB and IR-R-G, with six classes or the five of RescueNet."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from crossearth_jax.data.known_classes import (
    BLACK,
    BLUE,
    CYAN,
    GREEN,
    ISPRS,
    ISPRS5,
    RED,
    WHITE,
    YELLOW,
)
from crossearth_jax.data.prepare.items import (
    DataSet,
    Item,
    Palette,
    paired,
    without_participants,
)
from crossearth_jax.data.prepare.raw import Member, RawFiles
from crossearth_jax.pixels.labels import IGNORE, Colour

# 24 of the 38 areas train, as in mmsegmentation's converter.
TRAIN = frozenset(
    {(row, column) for row in range(2, 6) for column in range(10, 13)}
    | {(row, column) for row in (6, 7) for column in range(7, 13)}
)
VAL = frozenset(
    {(2, 13), (2, 14), (3, 13), (3, 14), (7, 13)}
    | {(row, column) for row in (4, 5, 6) for column in (13, 14, 15)}
)
TILE = 512
TILES = 144  # of an area of 6000 x 6000 pixels

# Labels published with colours beside the palette: 4_12 is a lossy copy (about 25,000
# colours), 6_7 has most of its cars as (252, 255, 0). Both train.
LOSSY_LABELS = frozenset({(4, 12), (6, 7)})

# Where the bands of both domains are in `4_Ortho_RGBIR`, counted from 1.
OF_RGBIR = {"irrg": (4, 1, 2), "rgb": (1, 2, 3)}

SIX_CLASSES: Mapping[Colour, int] = {
    BLACK: IGNORE,  # boundaries between objects
    WHITE: 0,
    BLUE: 1,
    CYAN: 2,
    GREEN: 3,
    YELLOW: 4,
    RED: 5,
}
HINT = (
    "Potsdam.zip, or of it 2_Ortho_RGB.zip and/or 3_Ortho_IRRG.zip (or "
    "4_Ortho_RGBIR.zip for both) and 5_Labels_all_noBoundary.zip, of the ISPRS "
    "2D semantic labelling benchmark, Potsdam"
)


def data_set(
    classes: Literal[6, 5] = 6,
    low_vegetation: Literal["ignore", "vegetation"] = "ignore",
    lossy_labels: Literal["round", "ignore"] = "round",
) -> DataSet:
    """Potsdam with the given options.

    Args:
      classes: 6, or 5 as RescueNet has them (domains potsdam5_*).
      low_vegetation: with 5 classes, ignored (Table 2) or one with trees.
      lossy_labels: the off-palette pixels of areas 4_12 and 6_7 take the nearest
        colour, or are ignored as in mmsegmentation's converter.
    """
    prefix, options = "potsdam", {"lossy_labels": lossy_labels}
    colours = SIX_CLASSES
    if classes == 5:
        prefix, options["low_vegetation"] = "potsdam5", low_vegetation
        low = IGNORE if low_vegetation == "ignore" else 2
        colours = {**SIX_CLASSES, CYAN: low, GREEN: 2, YELLOW: 3, RED: 4}
    code = Palette(colours)
    lossy = replace(code, others=lossy_labels)

    def find(files: RawFiles) -> Sequence[Item]:
        return list(_items(files, prefix, lossy))

    return DataSet(
        name="potsdam",
        title=f"ISPRS Potsdam, {classes} classes",
        classes=ISPRS if classes == 6 else ISPRS5,
        find=find,
        code=code,
        tile=TILE,
        expected={
            (f"{prefix}_{bands}", split): TILES * len(areas)
            for bands in ("irrg", "rgb")
            for split, areas in (("train", TRAIN), ("val", VAL))
        },
        hint=HINT,
        options=options,
    )


def _items(files: RawFiles, prefix: str, lossy: Palette) -> Iterator[Item]:
    areas = TRAIN | VAL
    labels = without_participants(_by_area(files, r"label_noBoundary"))
    all_bands = _by_area(files, "RGBIR")
    for bands, places in OF_RGBIR.items():
        own = _by_area(files, bands)
        images = own or all_bands
        if images and not labels:
            raise ValueError(_no_labels(files))
        if not images:
            continue
        pairs = paired(
            [(area, image) for area, image in images if area in areas],
            [(area, label) for area, label in labels if area in areas],
        )
        for area, image, label in sorted(pairs, key=lambda pair: pair[0]):
            yield Item(
                domain=f"{prefix}_{bands}",
                split="train" if area in TRAIN else "val",
                name=f"{area[0]}_{area[1]}",
                image=image,
                label=label,
                code=lossy if area in LOSSY_LABELS else None,
                bands=() if own else places,
            )


def _by_area(files: RawFiles, ending: str) -> list[tuple[tuple[int, int], Member]]:
    """((row, column), file); `2_10` and `02_10` are one area."""
    found = files.match(rf"top_potsdam_0*(\d+)_0*(\d+)_{ending}\.tiff?")
    return [(_area(match), member) for member, match in found]


def _area(match: re.Match[str]) -> tuple[int, int]:
    return int(match[1]), int(match[2])


def _no_labels(files: RawFiles) -> str:
    if full := _by_area(files, "label"):
        return (
            f"{files.folder}: got labels with object boundaries ({len(full)}, e.g. "
            f"{full[0][1]}), expected those without, *_label_noBoundary.tif: download "
            "5_Labels_all_noBoundary.zip"
        )
    return (
        f"{files.folder}: got images without labels, expected "
        "*_label_noBoundary.tif: download 5_Labels_all_noBoundary.zip"
    )
