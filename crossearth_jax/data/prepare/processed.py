"""Copies that others prepared already: CrossEarth's, and mmsegmentation's layout.

Both keep ids from 1 on, 0 for what is ignored, in `img_dir/SPLIT` and `ann_dir/SPLIT`;
CrossEarth's masks are 0 and 1, in folders `label2` and `…_labels_new`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from crossearth_jax.data.prepare import (
    loveda,
    massachusetts,
    rescuenet,
    whu_building,
)
from crossearth_jax.data.prepare.items import (
    DataSet,
    IdMap,
    Item,
    LabelCode,
    Mask,
    paired,
)
from crossearth_jax.data.prepare.raw import Member, RawFiles
from crossearth_jax.pixels.labels import IGNORE

PUBLISHED, CROSSEARTH, MMSEG = "published", "crossearth", "mmseg"
# Numbers of LoveDA's images, as the official archives have them.
LOVEDA_URBAN = {"train": range(1366, 2522), "val": range(3514, 4191)}
LOVEDA_RURAL = {"train": range(1366), "val": range(2522, 3514)}


@dataclass(frozen=True)
class _Copy:
    """How a processed copy differs from the published data set.

    Attributes:
      find: pairs its files; None as in the published one.
      code: its labels.
      hint: what is expected.
      origins: whose it may be.
    """

    find: Callable[[RawFiles], Sequence[Item]] | None
    code: LabelCode | Callable[[Sequence[Item]], LabelCode]
    hint: str
    origins: tuple[str, ...] = (CROSSEARTH,)


def origins(name: str) -> tuple[str, ...]:
    """What `--from` may be for a data set."""
    if name == "casid":  # whose copies are told apart by their labels
        return PUBLISHED, CROSSEARTH
    return PUBLISHED, *_COPIES[name].origins


def processed(data_set: DataSet, origin: str) -> DataSet:
    """A data set as it is read from a processed copy; images stay as they are.

    Args:
      data_set: as published.
      origin: one of `origins`.

    Raises:
      ValueError: five classes of Potsdam are asked for.
    """
    if origin == PUBLISHED or data_set.name == "casid":
        return data_set
    if any(domain.startswith("potsdam5") for domain, _ in data_set.expected):
        raise ValueError(
            f"got --classes 5 with --from {origin}, whose labels may be of six classes "
            "or of five, expected the published archives: leave --from out"
        )
    copy = _COPIES[data_set.name]
    return replace(
        data_set,
        find=copy.find or data_set.find,
        code=copy.code,
        tile=None,
        hint=copy.hint,
        options={"from": origin},
    )


# Finding


def _img_ann(raw: RawFiles, stem: str) -> list[tuple[str, str, Member, Member]]:
    """(split, name, image, label) of `img_dir/SPLIT/NAME` and `ann_dir/SPLIT/NAME`."""
    folders = ("img_dir", "ann_dir")
    sides = []
    for folder, ending in zip(folders, (r"(?:png|tiff?|jpe?g)", "png"), strict=True):
        side = []
        for member, match in raw.match(rf"{folder}/(train|val)/({stem})\.{ending}"):
            above = member.name[: match.start(1)].split("/")
            root = "/".join(part for part in above if part.lower() not in folders)
            side.append(((root, match[1].lower(), match[2]), member))
        sides.append(side)
    return [(key[1], key[2], image, label) for key, image, label in paired(*sides)]


def _potsdam(raw: RawFiles) -> list[Item]:
    return [
        Item(f"potsdam_{_bands(image)}", split, name, image, label)
        for split, name, image, label in _img_ann(raw, r"\d+_\d+_\d+_\d+_\d+_\d+")
    ]


def _bands(image: Member) -> str:
    """Which bands a copy has, by the innermost folder or archive that tells."""
    for part in reversed(image.name.lower().split("/")[:-1]):
        for word in ("irrg", "rgb"):
            if word in part:
                return word
    raise ValueError(
        f"{image}: got a tile that may be RGB or IR-R-G, expected to see it in a "
        "folder's name: put it into a folder named 'rgb' or 'irrg'"
    )


def _vaihingen(raw: RawFiles) -> list[Item]:
    found = _img_ann(raw, r"area\d+_\d+_\d+_\d+_\d+")
    return [Item("vaihingen", *pair) for pair in found]


def _loveda(raw: RawFiles) -> Sequence[Item]:
    """Also the folders as published, which CrossEarth's copy keeps."""
    if not (found := _img_ann(raw, r"\d{1,9}")):
        return loveda.find(raw)
    return [
        Item(f"loveda_{_scene(split, name, image)}", split, name, image, label)
        for split, name, image, label in found
    ]


def _scene(split: str, name: str, image: Member) -> str:
    """Urban or rural, which mmsegmentation's converter mixes, by the number."""
    if int(name) in LOVEDA_URBAN[split]:
        return "urban"
    if int(name) in LOVEDA_RURAL[split]:
        return "rural"
    raise ValueError(
        f"{image}: got number {name} in {split}, expected one of LoveDA's: is this "
        "LoveDA?"
    )


def _whu(raw: RawFiles) -> list[Item]:
    new = whu_building.files_in(raw, "label2")
    there = {key[:2] for key, _ in new}
    old = whu_building.files_in(raw, "(?:label|mask)s?")
    labels = new + [pair for pair in old if pair[0][:2] not in there]
    pairs = paired(whu_building.files_in(raw, "images?"), labels)
    return [Item(*key, image, label) for key, image, label in pairs]


def _massachusetts(raw: RawFiles) -> list[Item]:
    labels = massachusetts.files_in(raw, "_labels_new", r"(?:tiff?|png)")
    there = {split for (split, _), _ in labels}
    old = massachusetts.files_in(raw, "(?:_labels|/map)")
    labels += [pair for pair in old if pair[0][0] not in there]
    pairs = paired(massachusetts.files_in(raw, "(?:/sat)?"), labels)
    return [Item("massachusetts", *key, image, label) for key, image, label in pairs]


# Labels


def mask_code(items: Sequence[Item], threshold: int | None = None) -> Mask:
    """Whether masks are 0 and 1 or 0 and 255, from the first that tells.

    A later one that contradicts is an error when it is encoded.
    """
    for item in items:
        top = item.label.label(indexed=False).max(initial=0)
        if top:
            return Mask(white=1) if top == 1 else Mask(threshold)
    return Mask(white=1)


def _from_1(classes: int) -> IdMap:
    return IdMap({0: IGNORE, **{k + 1: k for k in range(classes)}})


_IMG_ANN = "img_dir/{train,val} and ann_dir/{train,val}, as mmsegmentation has them"
_BOTH = (CROSSEARTH, MMSEG)
_COPIES = {
    "potsdam": _Copy(_potsdam, _from_1(6), _IMG_ANN, _BOTH),
    "vaihingen": _Copy(_vaihingen, _from_1(6), _IMG_ANN, _BOTH),
    "loveda": _Copy(_loveda, _from_1(7), _IMG_ANN, _BOTH),
    "rescuenet": _Copy(None, _from_1(5), rescuenet.HINT + ", ids 1 to 5"),
    "whu_building": _Copy(_whu, mask_code, "{train,test}/image and label2"),
    "deepglobe": _Copy(
        None,
        lambda items: mask_code(items, threshold=128),
        "train/ID_sat.jpg and train/ID_mask.png, of 0 and 1",
    ),
    "massachusetts": _Copy(
        _massachusetts, mask_code, "{train,val,test} and {train,val,test}_labels_new"
    ),
}
