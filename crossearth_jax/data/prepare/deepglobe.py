"""DeepGlobe road extraction: 1024 x 1024 JPEG scenes with grey masks, road from 128 on.

Only `train` has masks; `valid` and `test` are skipped.
"""

from crossearth_jax.data.known_classes import ROAD
from crossearth_jax.data.prepare.items import (
    DataSet,
    Item,
    Mask,
    paired,
)
from crossearth_jax.data.prepare.raw import Member, RawFiles


def find(raw: RawFiles) -> list[Item]:
    """Pairs `train/ID_sat.jpg` with `train/ID_mask.png`."""
    pairs = paired(_files(raw, r"_sat\.jpe?g"), _files(raw, r"_mask\.png"))
    return [Item("deepglobe", "train", *pair) for pair in pairs]


def _files(raw: RawFiles, ending: str) -> list[tuple[str, Member]]:
    found = raw.match(rf"train/([^/]+){ending}")
    return [(match[1], member) for member, match in found]


DATA_SET = DataSet(
    name="deepglobe",
    title="DeepGlobe road extraction",
    classes=ROAD,
    find=find,
    code=Mask(threshold=128),
    tile=None,
    expected={("deepglobe", "train"): 6226},
    hint=(
        "the road extraction challenge's zip (6226 train pairs), e.g. from "
        "https://www.kaggle.com/datasets/balraj98/deepglobe-road-extraction-dataset"
    ),
)
