"""CASID: scenes of 5000 x 5000 pixels from four climates, cut into tiles of 1024.

Copies with different folders and encodings exist; CrossEarth's own is cut
already (one tile an image) and counts ids from 0 or from 1.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

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
from crossearth_jax.system.escape import LINE, terminal

# Folder or archive names of a climate and of a split, in small letters only.
FOLDERS = {
    "sub": ("sub", "subms", "subtropicalmonsoon"),
    "tem": ("tem", "temms", "temperatemonsoon"),
    "tms": ("tms", "troms", "tropicalmonsoon"),
    "trf": ("trf", "trorf", "tropicalrainforest"),
}
SPLITS = ("train", "test")
CLIMATE_OF = {word: key for key, words in FOLDERS.items() for word in words}
# What else such a name may hold, as of an archive that mends another.
OTHER_WORDS = "all|casid|caisd|climate|data|fixed|fix|images?|imgs?|labels?|missing|new"
LONGEST = 60  # letters of such a name
FIX = (
    "TemMs/all_test has no images in CrossEarth's CAISD.zip; its authors posted them "
    "at https://drive.google.com/file/d/1TBzszefsrtUVZ8aRXWOTS_8YVf-GcL6s and "
    "https://pan.baidu.com/s/1dFaUJ4c8GwEYSFomOrtrTg (code 8kqp), see "
    "https://github.com/VisionXLab/CrossEarth/issues/15: put that archive beside it"
)
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
    text files of names instead (`…train….txt`, `…test….txt`). Images of no climate are
    those that a climate's labels lack, where the names agree. A climate in which one
    has no partner is skipped with a warning.

    Raises:
      ValueError: a file of a climate is neither train nor test, or every climate is
        incomplete.
    """
    found = _by_kind(raw)
    # CrossEarth's configs read `label_id` where both are there.
    with_ids = {key for key, _ in found["ids"]}
    labels = [pair for pair in found["label"] if pair[0] not in with_ids]
    images, labels = found["image"], labels + found["ids"]
    items, incomplete = [], []
    for climate in FOLDERS:
        ours, theirs = (
            [(key, member) for key, member in every if key.climate == climate]
            for every in (images, labels)
        )
        try:
            pairs = paired(ours, theirs)
        except ValueError as error:
            more = f"; {FIX}" if climate == "tem" else ""
            incomplete.append(f"{climate}: {error}{more}")
        else:
            items += [Item(*key, image, label) for key, image, label in pairs]
    if incomplete and not items:
        raise ValueError("; ".join(incomplete))
    for each in incomplete:
        print(f"WARNING skipped {terminal(each, LINE)}")
    return items


def _by_kind(raw: RawFiles) -> dict[str, list[tuple[Key, Member]]]:
    """Images, labels and `label_id`s of all climates."""
    listed = _listed_splits(raw)
    found: dict[str, list[tuple[Key, Member]]] = {"image": [], "label": [], "ids": []}
    placeless = []
    for member in raw.images():
        kind, name = _kind_and_name(member)
        if climate := _named(member, "climate"):
            split = _named(member, "split") or listed.get(name) or _no_split(member)
            found[kind].append((Key(climate, split, name), member))
        elif kind == "image":
            placeless.append((name, member))
    found["image"] += _adopted(found, placeless)
    return found


def _adopted(
    found: dict[str, list[tuple[Key, Member]]], placeless: list[tuple[str, Member]]
) -> Iterator[tuple[Key, Member]]:
    """Images of no climate that have the name of a label without an image."""
    missing = {key for key, _ in found["label"] + found["ids"]}
    missing -= {key for key, _ in found["image"]}
    by_name: dict[str, list[Key]] = {}
    for key in missing:
        by_name.setdefault(key.name, []).append(key)
    for name, member in placeless:
        if len(keys := by_name.get(name, [])) == 1:
            yield keys[0], member


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
    return re.sub("[^a-z]", "", name.lower())


def _pattern() -> re.Pattern[str]:
    """A climate, a split or both, among other words."""
    names = "|".join(sorted(CLIMATE_OF, key=len, reverse=True))
    other = f"(?:{OTHER_WORDS})*"
    return re.compile(
        f"{other}(?P<first>{'|'.join(SPLITS)})?{other}(?P<climate>{names})?{other}"
        f"(?P<split>{'|'.join(SPLITS)})?{other}"
    )


NAMED = _pattern()


def _named(member: Member, what: Literal["climate", "split"]) -> str | None:
    """Its climate or split by the folders above `member`, the innermost first."""
    for folder in PurePosixPath(member.name).parent.parts[::-1]:
        plain = _plain(folder)
        if len(plain) <= LONGEST and (match := NAMED.fullmatch(plain)):
            if what == "climate" and match["climate"]:
                return CLIMATE_OF[match["climate"]]
            if what == "split" and (split := match["split"] or match["first"]):
                return split
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
