"""Massachusetts roads: whole scenes of 1500 x 1500 pixels with 0/255 masks."""

from crossearth_jax.data.known_classes import ROAD
from crossearth_jax.data.prepare.items import (
    DataSet,
    Item,
    Mask,
    paired,
)
from crossearth_jax.data.prepare.raw import Member, RawFiles

SPLITS = {"train": "train", "val": "val", "valid": "val", "test": "test"}


def find(raw: RawFiles) -> list[Item]:
    """Pairs `SPLIT/NAME.tiff` with `SPLIT_labels/NAME.tif`.

    Also the layout of the author's site, `SPLIT/sat` and `SPLIT/map`.
    """
    pairs = paired(files_in(raw, "(?:/sat)?"), files_in(raw, "(?:_labels|/map)"))
    return [
        Item("massachusetts", split, name, image, label)
        for (split, name), image, label in pairs
    ]


def files_in(
    raw: RawFiles, folder: str, ending: str = "tiff?"
) -> list[tuple[tuple[str, str], Member]]:
    """Files by split and name; `folder` is a pattern of what follows the split's."""
    pattern = rf"({'|'.join(SPLITS)}){folder}/([^/]+)\.{ending}"
    return [
        ((SPLITS[match[1].lower()], match[2]), member)
        for member, match in raw.match(pattern)
    ]


DATA_SET = DataSet(
    name="massachusetts",
    title="Massachusetts roads",
    classes=ROAD,
    find=find,
    code=Mask(),
    tile=None,
    expected={
        ("massachusetts", "train"): 1108,
        ("massachusetts", "val"): 14,
        ("massachusetts", "test"): 49,
    },
    hint=(
        "train, val and test of the roads from https://www.cs.toronto.edu/~vmnih/data/ "
        "or https://www.kaggle.com/datasets/balraj98/massachusetts-roads-dataset"
    ),
)
