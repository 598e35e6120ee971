"""Training augmentation: pure functions (image, label, rng) -> (image, label).

What the authors trained with (method §8), in the semantics of mmsegmentation 1.x:
resize, crop, flip, photometric distortion, pad, in this order. Images are uint8
[H, W, 3], labels uint8 [H, W] with 255 = ignore.
"""

import cv2
import numpy as np
from jaxtyping import UInt8

from crossearth_jax.pixels.labels import IGNORE

# Grain's threads already use the cores; OpenCV's own would fight them.
cv2.setNumThreads(0)

RATIOS = tuple(tenths / 10 for tenths in range(5, 21))  # 0.5, 0.6, ..., 2.0


def random_resize(
    image: UInt8[np.ndarray, "H W 3"],
    label: UInt8[np.ndarray, "H W"],
    rng: np.random.Generator,
    *,
    crop: int,
    ratios: tuple[float, ...] = RATIOS,
    max_ratio: float = 4.0,
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
    """Resizes to a shortest edge drawn from `ratios` x crop, keeping the aspect.

    Args:
      image: bilinear.
      label: nearest.
      rng: draws the ratio.
      crop: side of the crop, pixels.
      ratios: candidates, drawn uniformly.
      max_ratio: bound of the longest edge, in crops; it wins over the ratio (4 is the
        authors' 2048 at crop 512).
    """
    short = int(crop * ratios[rng.integers(len(ratios))] + 1e-6)
    width, height = resized_size(image.shape[:2], short, int(crop * max_ratio))
    return (
        cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR),
        cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST),
    )


def resized_size(size: tuple[int, int], short: int, longest: int) -> tuple[int, int]:
    """(width, height) of an (H, W) image at this shortest edge, bounded by `longest`.

    Edges are rounded half up, at least one pixel. (The authors' code rounds twice,
    which differs only where `longest` wins, and there by the shorter edge's rounding.)
    """
    height, width = size
    scale = min(short / min(size), longest / max(size))
    return max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))


def random_crop(
    image: UInt8[np.ndarray, "H W 3"],
    label: UInt8[np.ndarray, "H W"],
    rng: np.random.Generator,
    *,
    crop: int,
    cat_max_ratio: float = 0.75,
    tries: int = 10,
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
    """Cuts a window of at most crop x crop, not filled by one class if possible.

    Args:
      image: the image.
      label: its label.
      rng: draws the corner.
      crop: side of the window; shorter image sides are kept whole.
      cat_max_ratio: largest share of one class among the pixels that are not ignored;
        1 or more accepts the first window.
      tries: windows that are examined; the one drawn after them is taken as it is.
    """
    window = _draw_window(label.shape, crop, rng)
    if cat_max_ratio < 1:
        for _ in range(tries):
            if _largest_share(label[window]) < cat_max_ratio:
                break
            window = _draw_window(label.shape, crop, rng)
    return image[window], label[window]


def native_crop(
    image: UInt8[np.ndarray, "H W 3"],
    label: UInt8[np.ndarray, "H W"],
    rng: np.random.Generator,
    *,
    crop: int,
    ratios: tuple[float, ...] = RATIOS,
    cat_max_ratio: float = 0.75,
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
    """Cuts a window of crop / ratio pixels and resizes it by the ratio.

    The same as resizing the whole image by the ratio and cutting a crop, without the
    work: objects have the size in pixels that they have in the file, times the ratio,
    whatever the size of the file.

    Args:
      image: bilinear.
      label: nearest.
      rng: draws the ratio, then the corner.
      crop: side of the result; smaller where the image, resized, is smaller.
      ratios: candidates, drawn uniformly.
      cat_max_ratio: as `random_crop`.
    """
    ratio = ratios[rng.integers(len(ratios))]
    side = max(1, int(crop / ratio + 0.5))
    image, label = random_crop(
        image, label, rng, crop=side, cat_max_ratio=cat_max_ratio
    )
    height, width = (min(crop, max(1, int(n * ratio + 0.5))) for n in label.shape)
    if (height, width) == label.shape:
        return image, label
    return (
        cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR),
        cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST),
    )


def _draw_window(
    shape: tuple[int, ...], crop: int, rng: np.random.Generator
) -> tuple[slice, slice]:
    top = int(rng.integers(max(shape[0] - crop, 0) + 1))
    left = int(rng.integers(max(shape[1] - crop, 0) + 1))
    return slice(top, top + crop), slice(left, left + crop)


def _largest_share(label: UInt8[np.ndarray, "h w"]) -> float:
    """Share of the most frequent class, 1 if there is only one or none.

    A comparison per class is a third of a histogram's time at the few classes of a
    land-cover map, and ends as soon as no other class can be larger.
    """
    total = left = label.size - np.count_nonzero(label == IGNORE)
    most = value = 0
    while left > most:
        count = np.count_nonzero(label == value)
        most, left, value = max(most, count), left - count, value + 1
    return most / total if total else 1.0


def random_flip(
    image: UInt8[np.ndarray, "H W 3"],
    label: UInt8[np.ndarray, "H W"],
    rng: np.random.Generator,
    *,
    probability: float = 0.5,
) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"]]:
    """Mirrors left and right with the given probability."""
    if rng.random() >= probability:
        return image, label
    # Not a view of negative strides: each later copy of one takes twenty times as long.
    return cv2.flip(image, 1), cv2.flip(label, 1)


def photometric_distortion(
    image: UInt8[np.ndarray, "H W 3"],
    label: UInt8[np.ndarray, "H W"],
    rng: np.random.Generator,
    *,
    brightness: float = 32,
    contrast: tuple[float, float] = (0.5, 1.5),
    saturation: tuple[float, float] = (0.5, 1.5),
    hue: int = 18,
) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"]]:
    """Changes brightness, contrast, saturation and hue, each with probability 0.5.

    Contrast comes second or last, by a coin. Every change is rounded down to uint8
    before the next, as mmsegmentation does it.

    Args:
      image: RGB.
      label: returned as it is.
      rng: draws the coins and amounts.
      brightness: bound of the offset, grey levels.
      contrast: range of the factor on all channels.
      saturation: range of the factor on S of HSV.
      hue: the shift is drawn from [-hue, hue), in OpenCV's half degrees.
    """

    def coin() -> bool:
        return bool(rng.integers(2))

    if coin():
        image = scale_and_shift(image, shift=rng.uniform(-brightness, brightness))
    contrast_first = coin()
    if contrast_first and coin():
        image = scale_and_shift(image, scale=rng.uniform(*contrast))
    if coin():
        image = adjust_saturation(image, rng.uniform(*saturation))
    if coin():
        image = shift_hue(image, int(rng.integers(-hue, hue)))
    if not contrast_first and coin():
        image = scale_and_shift(image, scale=rng.uniform(*contrast))
    return image, label


def scale_and_shift(
    image: UInt8[np.ndarray, "..."], *, scale: float = 1.0, shift: float = 0.0
) -> UInt8[np.ndarray, "..."]:
    """Value · scale + shift, clipped to 0-255 and rounded down."""
    levels = np.arange(256, dtype=np.float32) * scale + shift
    table = levels.clip(0, 255).astype(np.uint8)
    return cv2.LUT(np.ascontiguousarray(image), table)


def adjust_saturation(
    image: UInt8[np.ndarray, "H W 3"], scale: float
) -> UInt8[np.ndarray, "H W 3"]:
    """Multiplies S of 8-bit HSV."""
    hsv = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2HSV)
    hsv[:, :, 1] = scale_and_shift(hsv[:, :, 1], scale=scale)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def shift_hue(
    image: UInt8[np.ndarray, "H W 3"], shift: int
) -> UInt8[np.ndarray, "H W 3"]:
    """Turns H of 8-bit HSV by `shift` half degrees (180 is a full turn)."""
    hsv = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2HSV)
    table = ((np.arange(256) + shift) % 180).astype(np.uint8)
    hsv[:, :, 0] = cv2.LUT(np.ascontiguousarray(hsv[:, :, 0]), table)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def pad_to_crop(
    image: UInt8[np.ndarray, "H W 3"],
    label: UInt8[np.ndarray, "H W"],
    *,
    crop: int,
    fill: tuple[int, int, int],
) -> tuple[UInt8[np.ndarray, "S S 3"], UInt8[np.ndarray, "S S"]]:
    """Extends to crop x crop at the bottom and the right; padded pixels are ignored.

    Images that are large enough are returned as they are.

    Args:
      image: at most crop x crop.
      label: its label.
      crop: side of the result.
      fill: colour; the ImageNet mean is 0 after normalisation, which is what the
        authors pad with.
    """
    height, width = label.shape
    if (height, width) == (crop, crop):
        return image, label
    padded = np.empty((crop, crop, 3), np.uint8)
    padded[height:] = fill
    padded[:, width:] = fill
    ignored = np.full((crop, crop), IGNORE, np.uint8)
    padded[:height, :width] = image
    ignored[:height, :width] = label
    return padded, ignored
