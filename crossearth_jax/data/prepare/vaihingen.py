"""ISPRS Vaihingen: IR-R-G, six classes."""

from collections.abc import Sequence

from crossearth_jax.data.known_classes import ISPRS
from crossearth_jax.data.prepare.items import (
    DataSet,
    Item,
    Palette,
    paired,
    without_participants,
)
from crossearth_jax.data.prepare.potsdam import SIX_CLASSES
from crossearth_jax.data.prepare.raw import RawFiles

# The areas whose labels the contest gave out train, those it kept back validate. There
# is no area 9, 18, 19, 25 or 36; a label of area 9 has no image.
TRAIN = frozenset({1, 3, 5, 7, 11, 13, 15, 17, 21, 23, 26, 28, 30, 32, 34, 37})
VAL = frozenset({2, 4, 6, 8, 10, 12, 14, 16, 20, 22, 24, 27, 29, 31, 33, 35, 38})
HINT = (
    "Vaihingen.zip, or of it ISPRS_semantic_labeling_Vaihingen.zip (top/) and "
    "ISPRS_semantic_labeling_Vaihingen_ground_truth_eroded_COMPLETE.zip of the ISPRS "
    "2D semantic labelling benchmark, Vaihingen"
)


def find(files: RawFiles) -> Sequence[Item]:
    """Pairs the 33 areas; labels are the eroded ones (`_noBoundary`).

    Raises:
      ValueError: an area lacks its image or label, or only the labels with boundaries
        are there.
    """
    # The labels with boundaries have the names of the images: the folder decides.
    images = files.match(r"top/top_mosaic_09cm_area0*(\d+)\.tiff?")
    labels = files.match(r"top_mosaic_09cm_area0*(\d+)_noBoundary\.tiff?")
    if images and not labels:
        raise ValueError(
            f"{files.folder}: got images without eroded labels, expected "
            "top_mosaic_09cm_area*_noBoundary.tif: download "
            "ISPRS_semantic_labeling_Vaihingen_ground_truth_eroded_COMPLETE.zip"
        )
    areas = TRAIN | VAL
    pairs = paired(
        [(int(m[1]), image) for image, m in images if int(m[1]) in areas],
        without_participants(
            (int(m[1]), label) for label, m in labels if int(m[1]) in areas
        ),
    )
    return [
        Item(
            domain="vaihingen",
            split="train" if area in TRAIN else "val",
            name=f"area{area}",
            image=image,
            label=label,
        )
        for area, image, label in sorted(pairs, key=lambda pair: pair[0])
    ]


DATA_SET = DataSet(
    name="vaihingen",
    title="ISPRS Vaihingen",
    classes=ISPRS,
    find=find,
    code=Palette(SIX_CLASSES),
    tile=512,
    expected={("vaihingen", "train"): 344, ("vaihingen", "val"): 398},
    hint=HINT,
)
