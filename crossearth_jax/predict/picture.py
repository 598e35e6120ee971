"""An array of the caller's as the picture that a predictor wants, or one clear line."""

import numpy as np
from jaxtyping import Num
from numpy.typing import ArrayLike

from crossearth_jax.data.raw_images import RawImages
from crossearth_jax.pixels.scaling import scaled_bands

COLOURS = 3


def checked_picture(image: ArrayLike) -> Num[np.ndarray, "H W 3"]:
    """The array, if it is a colour picture on the 0-255 scale.

    Args:
      image: rows, columns and red, green, blue; any type of number.

    Raises:
      ValueError: tells what came and how to make a picture of it.
    """
    picture = np.asarray(image)
    _check_shape(picture.shape)
    kind = picture.dtype.kind
    if kind not in "uif":
        raise _wrong(f"values of type {picture.dtype}", "convert it to uint8")
    if picture.dtype == np.uint8:
        return picture
    low, high = picture.min(), picture.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise _wrong(
            "values that are not finite",
            "fill them, or map the file with predict_file, which masks them",
        )
    if kind == "f" and 0 <= low and 0 < high <= 1:
        raise _wrong(f"values from {low:g} to {high:g}", "multiply it by 255")
    if low < 0 or high > 255:
        raise _wrong(
            f"{picture.dtype} values from {low:g} to {high:g}",
            "stretch it first, such as (image - low) / (high - low) * 255, or map the "
            "file with predict_file",
        )
    return picture


def picture_as_trained(image: ArrayLike, raw: RawImages) -> Num[np.ndarray, "H W 3"]:
    """An array of a file's bands, read as a scene is by a run that states how.

    Args:
      image: rows, columns and all B bands, in the file's own numbers.
      raw: what the run states; its ground sampling distance is not looked at.

    Raises:
      ValueError: tells what came and how to make a picture of it.
    """
    values = np.asarray(image)
    raw = raw.of_type(values.dtype == np.uint8)
    if not raw.stated:
        return checked_picture(values)
    if values.ndim != 3 or values.dtype.kind not in "uif" or 0 in values.shape:
        raise _wrong_bands(f"{values.dtype} values of shape {values.shape}", raw)
    bands = raw.bands or (1, 2, 3)
    if max(bands) > values.shape[2] or (not raw.bands and values.shape[2] != COLOURS):
        raise _wrong_bands(f"{values.shape[2]} band(s)", raw)
    chosen = values[..., [band - 1 for band in bands]]
    if not np.isfinite(chosen).all():
        raise _wrong_bands("values that are not finite", raw)
    scale = raw.pairs(len(bands))
    if scale is not None:
        chosen = scaled_bands(chosen, scale)
    if len(bands) == 1:
        chosen = np.repeat(chosen, COLOURS, -1)
    return checked_picture(chosen)


def _wrong_bands(came: str, raw: RawImages) -> ValueError:
    return ValueError(
        f"got {came}, expected rows, columns and bands of finite numbers, of which the "
        f"run was trained on {raw.words()}: pass the file's own values of all bands"
    )


def _check_shape(shape: tuple[int, ...]) -> None:
    fixes = {
        2: "repeat a grey picture, np.stack([image] * 3, -1)",
        4: "pass the pictures of a batch one by one",
    }
    if len(shape) != 3:
        fix = fixes.get(len(shape), "pass one picture")
        raise _wrong(f"an array of shape {shape}", fix)
    if 0 in shape:
        raise _wrong(f"an array of shape {shape}", "pass a picture with pixels")
    if shape[2] == COLOURS:
        return
    fix = "pick red, green and blue, such as image[..., [0, 1, 2]]"
    if shape[2] == 1:
        fix = "repeat a grey picture, np.repeat(image, 3, -1)"
    elif shape[2] == COLOURS + 1:
        fix = "leave out alpha, image[..., :3]"
    elif shape[0] == COLOURS:
        fix = "move the channels last, np.moveaxis(image, 0, -1)"
    raise _wrong(f"an array of shape {shape}", fix)


def _wrong(came: str, fix: str) -> ValueError:
    return ValueError(
        f"got {came}, expected a picture [rows, columns, 3] of values 0 to 255: {fix}"
    )
