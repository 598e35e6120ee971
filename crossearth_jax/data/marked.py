"""Label pixels that the file itself marks as no data: transparent, or its nodata value.

A mark and a class of the same value contradict each other. `gdal_rasterize -a_nodata 0`
marks a background of zeros that is a class, a mosaic marks its empty corners so: which
of them it is, only the user knows.
"""

import numpy as np
from jaxtyping import Bool, UInt8

from crossearth_jax.data.classes import ClassSet, LabelEncoding, encode_label
from crossearth_jax.data.decode import Label
from crossearth_jax.pixels.labels import IGNORE

CHOICES = ("ask", "ignore", "class")


def check_label_nodata(choice: str) -> None:
    """Raises for an unknown `data.label_nodata`."""
    if choice not in CHOICES:
        raise ValueError(
            f'got data.label_nodata="{choice}", expected {" or ".join(CHOICES)}'
        )


def encode_marked(
    raw: Label,
    nothing: Bool[np.ndarray, "H W"] | None,
    classes: ClassSet,
    encoding: LabelEncoding,
    choice: str = "ask",
) -> UInt8[np.ndarray, "H W"]:
    """Values of a label file to class ids, 255 where ignored or without data.

    Args:
      raw: numbers [H, W] or colours [H, W, 3].
      nothing: where the file says that there is no data; None for nowhere.
      classes: names and palette.
      encoding: what the values mean.
      choice: marked pixels whose value means a class are an error ("ask"), ignored
        ("ignore"), or of that class ("class"). Others are ignored in any case.

    Raises:
      ValueError: as `encode_label`, or marked pixels have the value of a class.
    """
    if nothing is None:
        return encode_label(raw, classes, encoding)
    label = np.full(raw.shape[:2], IGNORE, np.uint8)
    label[~nothing] = encode_label(raw[~nothing][None], classes, encoding)[0]
    if choice == "ignore":
        return label
    for value in np.unique(raw[nothing], axis=0):
        try:
            (((meant,),),) = (encode_label(value[None, None], classes, encoding),)
        except ValueError:
            continue  # a value without a meaning: ignored
        if meant == IGNORE:
            continue
        same = raw == value
        label[nothing & (same if raw.ndim == 2 else same.all(2))] = meant
        if choice == "ask":
            shown = value.tolist() if raw.ndim == 3 else int(value)
            raise ValueError(
                f"got {np.count_nonzero(nothing)} pixels that the file marks as no "
                f"data (its nodata value or transparent) with the value {shown} of "
                f"class {classes.names[meant]!r}, expected one meaning: set "
                'data.label_nodata="ignore", or "class" if they are of the class'
            )
    return label
