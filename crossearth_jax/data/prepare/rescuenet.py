"""RescueNet: drone images after hurricane Michael, to the five classes of Potsdam."""

from collections.abc import Sequence

import numpy as np

from crossearth_jax.data.known_classes import ISPRS5
from crossearth_jax.data.prepare.items import (
    DataSet,
    IdMap,
    Item,
    paired,
)
from crossearth_jax.data.prepare.raw import RawFiles

SURFACE, BUILDING, VEGETATION, CAR, CLUTTER = range(5)
CODE = IdMap(
    {
        0: CLUTTER,  # background
        1: CLUTTER,  # water
        2: BUILDING,  # without damage
        3: BUILDING,  # minor damage
        4: BUILDING,  # major damage
        5: BUILDING,  # total destruction
        6: CAR,
        7: SURFACE,  # clear road
        8: SURFACE,  # blocked road
        9: VEGETATION,  # trees
        10: CLUTTER,  # pool
    }
)
BUILDINGS_END = 5  # CrossEarth's processed copy has the ids 1 to 5, of other classes
SAND = 11  # an id of the 12-class release only
LOOKED_AT = 24  # labels that are read before anything is written
HINT = (
    "the 11-class RescueNet with {train,val,test}/{split}-org-img/ID.jpg and "
    "{split}-label-img/ID_lab.png"
)


def find(files: RawFiles) -> Sequence[Item]:
    """Pairs the images of every split that is there.

    Raises:
      ValueError: an image or label has no partner, or this is FloodNet, which has the
        same layout.
    """
    pattern = r"(?P<split>train|val|test)-{}-img/(?P<id>[^/]+?){}"
    images = files.match(pattern.format("org", r"\.jpe?g"))
    labels = files.match(pattern.format("label", r"_lab\.png"))
    flood = [member for member, _ in images if "floodnet" in member.name.lower()]
    if flood:
        raise ValueError(
            f"{flood[0]}: got FloodNet, which has RescueNet's layout but other ids, "
            f"expected {HINT}: remove it from --raw"
        )
    pairs = paired(
        [((m["split"].lower(), m["id"]), image) for image, m in images],
        [((m["split"].lower(), m["id"]), label) for label, m in labels],
    )
    return [
        Item(domain="rescuenet", split=split, name=name, image=image, label=label)
        for (split, name), image, label in sorted(pairs, key=lambda pair: pair[0])
    ]


def check_release(items: Sequence[Item]) -> IdMap:
    """The ids of the 11-class release, after a look at some labels.

    Raises:
      ValueError: a label has ids of the 12-class release, where debris and sand shift
        all others, or all have only ids that CrossEarth's processed copy has too.
    """
    step = max(1, len(items) // LOOKED_AT)
    highest = 0
    for item in items[::step]:
        values = np.unique(item.label.label(indexed=True))
        if SAND in values:
            raise ValueError(
                f"{item.label}: got id {SAND} (sand), which only the 12-class release "
                "of RescueNet has; its other ids mean other classes too. Expected the "
                "11-class release (ids 0 to 10): download that one"
            )
        highest = max(highest, int(values[-1]))
    if highest <= BUILDINGS_END:
        raise ValueError(
            f"got no id above {highest} in {len(items[::step])} labels (e.g. "
            f"{items[0].label}), expected vehicles, roads and trees (6 to 10) of the "
            "11-class release: CrossEarth's processed RescueNet has the same folders "
            "but other classes as 1 to 5; add --from crossearth for it, or download "
            "the release"
        )
    return CODE


DATA_SET = DataSet(
    name="rescuenet",
    title="RescueNet, 5 classes",
    classes=ISPRS5,
    find=find,
    code=check_release,
    tile=None,
    expected={
        ("rescuenet", "train"): 3595,
        ("rescuenet", "val"): 449,
        ("rescuenet", "test"): 450,
    },
    hint=HINT,
)
