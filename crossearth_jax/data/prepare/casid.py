"""CASID: scenes of 5000 x 5000 pixels from four climates, cut into tiles of 1024.

Copies with different folders and encodings exist; CrossEarth's own is cut
already (one tile an image) and counts ids from 0 or from 1.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from crossearth_jax.data.known_classes import CASID
from crossearth_jax.data.prepare.items import (
    DataSet,
    IdMap,
    Item,
    LabelCode,
    Palette,
    paired,
)
from crossearth_jax.data.prepare.raw import Member, RawFiles
from crossearth_jax.pixels.labels import Colour

# Folder or archive names of a climate, in small letters only, without "climate".
FOLDERS = {
    "sub": ("sub", "subms", "subtropicalmonsoon"),
    "tem": ("tem", "temms", "temperatemonsoon"),
    "tms": ("tms", "troms", "tropicalmonsoon"),
    "trf": ("trf", "trorf", "tropicalrainforest"),
}
SPLITS = {"train": ("train", "alltrain"), "test": ("test", "alltest")}
LABEL_ENDING = re.compile("[-_]label$", re.IGNORECASE)

COLOURS: dict[Colour, int] = {c: k for k, c in enumerate(CASID.palette)}
FROM_0 = IdMap({k: k for k in range(5)})
FROM_1 = IdMap({k + 1: k for k in range(5)})


class Key(NamedTuple):
    """What an image shares with its label."""

    climate: str
    split: str
    name: str


def find(raw: RawFiles) -> list[Item]:
    """Pairs `NAME.png` with `NAME-label.png`, or equal names in a label folder.

    Climate and split come from the names of folders or archives; a split also from
    text files of names instead (`…train….txt`, `…test….txt`).

    Raises:
      ValueError: a file of a climate is neither train nor test, or has no partner.
    """
    listed = _listed_splits(raw)
    found: dict[str, list[tuple[Key, Member]]] = {"image": [], "label": [], "ids": []}
    for member in raw.images():
        if climate := _named(member, FOLDERS):
            kind, name = _kind_and_name(member)
            split = _named(member, SPLITS) or listed.get(name) or _no_split(member)
            found[kind].append((Key(climate, split, name), member))
    # CrossEarth's configs read `label_id` where both are there.
    with_ids = {key for key, _ in found["ids"]}
    labels = [pair for pair in found["label"] if pair[0] not in with_ids]
    pairs = paired(found["image"], labels + found["ids"])
    return [Item(*key, image, label) for key, image, label in pairs]


def label_code(items: Sequence[Item]) -> LabelCode:
    """Infers how all labels are encoded, from the first that tells.

    Colours are the palette; a 0 among numbers means ids 0 to 4, a 5 means 1 to 5. A
    later label that contradicts is an error when it is encoded.

    Raises:
      ValueError: a label has both a 0 and a 5, or none of all labels tells.
    """
    only_0 = False
    for item in items:
        numbers = item.label.label(indexed=True)
        if numbers.ndim == 3:
            return Palette(COLOURS)
        has_0, has_5 = bool((numbers == 0).any()), bool((numbers == 5).any())
        if has_0 and has_5:
            raise ValueError(
                f"{item.label}: got ids 0 and 5 in one label, expected 0 to 4 or 1 to "
                "5: is this a CASID label?"
            )
        if has_5:
            return FROM_1
        if has_0 and numbers.any():
            return FROM_0
        only_0 |= has_0  # black in a palette file, or id 0
    if only_0:
        return FROM_0
    values = np.unique(items[-1].label.label(indexed=True)).tolist() if items else []
    raise ValueError(
        f"got labels without a 0 or a 5 (the last: {values[:8]}), expected ids 0 to 4 "
        "or 1 to 5: prepare all four climates together"
    )


def _kind_and_name(member: Member) -> tuple[str, str]:
    """What a file is, "image", "label" or "ids" (`label_id`), and its shared name."""
    path = PurePosixPath(member.name)
    name = LABEL_ENDING.sub("", path.stem)
    folder = _plain(path.parent.name)
    if folder == "labelid":
        return "ids", name
    is_label = name != path.stem or folder in ("label", "labels")
    return "label" if is_label else "image", name


def _plain(name: str) -> str:
    return re.sub("[^a-z]", "", name.lower()).removesuffix("climate")


def _named(member: Member, names: dict[str, tuple[str, ...]]) -> str | None:
    """The key whose names hold that of a folder above `member`, the innermost first."""
    for folder in PurePosixPath(member.name).parent.parts[::-1]:
        for key, spellings in names.items():
            if _plain(folder) in spellings:
                return key
    return None


def _listed_splits(raw: RawFiles) -> dict[str, str]:
    """Splits by image name, from text files such as `train.txt`."""
    splits = {}
    for member, match in raw.match(r"[^/]*(train|test)[^/]*\.txt"):
        for line in member.read().decode().split():
            splits[line.rsplit("/", 1)[-1].removesuffix(".png")] = match[1].lower()
    return splits


def _no_split(member: Member) -> str:
    raise ValueError(
        f"{member}: got a file in neither a train nor a test folder, and no list "
        "(train.txt, test.txt) that names it, expected one of them: sort the images "
        "into train and test folders as published"
    )


DATA_SET = DataSet(
    name="casid",
    title="CASID",
    classes=CASID,
    find=find,
    code=label_code,
    tile=1024,
    expected={
        ("sub", "train"): 4900,
        ("sub", "test"): 2200,
        ("tem", "train"): 5025,
        ("tem", "test"): 2075,
        ("tms", "train"): 3400,
        ("tms", "test"): 1650,
        ("trf", "train"): 3700,
        ("trf", "test"): 1550,
    },
    hint=(
        "the archives of the four climates, linked from "
        "https://github.com/Linwei-Chen/CASID, or "
        "https://huggingface.co/datasets/Linwei-Chen/CASID, or CAISD.zip from "
        "https://huggingface.co/datasets/Cusyoung/CrossEarth-Benchmark"
    ),
)
