"""WHU Building: aerial tiles, and tiles of satellite dataset II (East Asia).

Both are 512 x 512 with 0/255 masks. The satellite archive keeps tiles without a
building apart, in `train_no` and `test_no`; the paper's 13662 and 3726 are the sums.
"""

import re

from crossearth_jax.data.known_classes import BUILDING
from crossearth_jax.data.prepare.items import (
    DataSet,
    Item,
    Mask,
    paired,
)
from crossearth_jax.data.prepare.raw import Member, RawFiles

Key = tuple[str, str, str]  # domain, split, name

# What a folder's or archive's name tells of its tiles; the innermost that matches.
DOMAINS = {
    "whu_aerial": re.compile("aerial|cropped image tiles"),
    "whu_satellite": re.compile("satellite|east asia|cropped image data"),
}
# Uncut scenes of satellite dataset II, and satellite dataset I.
OTHER_PARTS = re.compile("whole area|whole image|global cities")


def find(raw: RawFiles) -> list[Item]:
    """Pairs `{train,val,test}/image/N.tif` with `label/N.tif` in both archives.

    A tile of `train_no` that is called as one of `train` becomes `N_no`.
    """
    pairs = paired(files_in(raw, "images?"), files_in(raw, "(?:label|mask)s?"))
    return [
        Item(domain, split, name, image, label)
        for (domain, split, name), image, label in pairs
    ]


def files_in(raw: RawFiles, folder: str) -> list[tuple[Key, Member]]:
    """Tiles by domain, split and name.

    TIFFs; of a domain and split without any, PNGs that somebody made of them.
    """
    tiles = _tiles(raw, folder, "tiff?")
    there = {key[:2] for key, _ in tiles}
    packed = _tiles(raw, folder, "png")
    return tiles + [(key, member) for key, member in packed if key[:2] not in there]


def _tiles(raw: RawFiles, folder: str, ending: str) -> list[tuple[Key, Member]]:
    pattern = rf"(train|val|test)(_no|_all)?/{folder}/([^/]+)\.{ending}"
    found: list[tuple[Key, bool, Member]] = []
    for member, match in raw.match(pattern):
        above = member.name[: match.start(1)].lower()
        if not OTHER_PARTS.search(above):
            key = _domain(member, above), match[1].lower(), match[3]
            found.append((key, (match[2] or "").lower() == "_no", member))
    with_buildings = {key for key, without, _ in found if not without}
    return [
        (_without_building(key) if without and key in with_buildings else key, member)
        for key, without, member in found
    ]


def _without_building(key: Key) -> Key:
    """The key of a tile of `train_no` or `test_no` whose number another one has."""
    return (*key[:2], f"{key[2]}_no")


def _domain(member: Member, above: str) -> str:
    for part in reversed(above.split("/")):
        for domain, words in DOMAINS.items():
            if words.search(part):
                return domain
    raise ValueError(
        f"{member}: got a tile that may be aerial or satellite, expected to see it in "
        "a folder's name: move it to a folder named 'aerial' or 'satellite'"
    )


DATA_SET = DataSet(
    name="whu_building",
    title="WHU Building",
    classes=BUILDING,
    find=find,
    code=Mask(),
    tile=None,
    expected={
        ("whu_aerial", "train"): 4736,
        ("whu_aerial", "val"): 1036,
        ("whu_aerial", "test"): 2416,
        ("whu_satellite", "train"): 13662,
        ("whu_satellite", "test"): 3726,
    },
    hint=(
        "'3. The cropped aerial image tiles and raster labels.zip' and 'Satellite "
        "dataset Ⅱ (East Asia).zip' from "
        "https://gpcv.whu.edu.cn/data/building_dataset.html"
    ),
)
