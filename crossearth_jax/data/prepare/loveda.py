"""LoveDA: urban and rural scenes of 1024 x 1024 pixels; the official Val is the test.

Labels are stored as 0 (no data) and 1 to 7. Test.zip has no labels and is skipped.
"""

from crossearth_jax.data.known_classes import LOVEDA
from crossearth_jax.data.prepare.items import (
    DataSet,
    IdMap,
    Item,
    paired,
)
from crossearth_jax.data.prepare.raw import Member, RawFiles
from crossearth_jax.pixels.labels import IGNORE

Key = tuple[str, str, str]  # split, scene, name


def find(raw: RawFiles) -> list[Item]:
    """Pairs `{Train,Val}/{Urban,Rural}/images_png/N.png` with `masks_png/N.png`."""
    pairs = paired(_files(raw, "images_png"), _files(raw, "masks_png"))
    return [
        Item(f"loveda_{scene}", split, name, image, label)
        for (split, scene, name), image, label in pairs
    ]


def _files(raw: RawFiles, folder: str) -> list[tuple[Key, Member]]:
    pattern = rf"(train|val)/(urban|rural)/{folder}/([^/]+)\.png"
    return [
        ((match[1].lower(), match[2].lower(), match[3]), member)
        for member, match in raw.match(pattern)
    ]


DATA_SET = DataSet(
    name="loveda",
    title="LoveDA",
    classes=LOVEDA,
    find=find,
    code=IdMap({0: IGNORE, **{value: value - 1 for value in range(1, 8)}}),
    tile=None,
    expected={
        ("loveda_urban", "train"): 1156,
        ("loveda_urban", "val"): 677,
        ("loveda_rural", "train"): 1366,
        ("loveda_rural", "val"): 992,
    },
    hint="Train.zip and Val.zip from https://zenodo.org/records/5706578",
)
