"""A look at every file before the first step: type, size and pairing, headers only."""

import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from mmap import ACCESS_READ, mmap
from pathlib import Path

from absl import logging

from crossearth_jax.data.folders import Pair
from crossearth_jax.data.header import read_header
from crossearth_jax.data.image_budget import check_structure
from crossearth_jax.data.pixel_limit import (
    MAX_PIXEL_BYTES,
    MAX_PIXELS,
    TooLargeError,
)
from crossearth_jax.data.raw_images import RawImages
from crossearth_jax.data.scaled import UnclearError, choose
from crossearth_jax.data.tags import check_upright, colour_bands
from crossearth_jax.data.timed import TIMEOUT_S, within
from crossearth_jax.system.escape import cut

SLACK = 2**20  # bytes of a file that are no pixels
THREADS = 8  # hide the delay of network disks; a local disk needs none of them
LISTED = 10  # files in a message


class Question(str):
    """A reason that is answered by a setting, for all files at once."""


def check_headers(
    pairs: Sequence[Pair],
    on_corrupt: str = "error",
    timeout_s: float = TIMEOUT_S,
    max_pixels: int = MAX_PIXELS,
) -> dict[Path, tuple[int, int]]:
    """Opens all images and labels without decoding a pixel, 0.2 ms a pair.

    What it cannot see, a file cut off behind its header, is found when the file is
    read; values of labels are `check_labels`'s. Archives were checked when packed.

    Args:
      pairs: of all domains, from `find_pairs`.
      on_corrupt: "error" raises, "skip" warns: reading leaves the files out.
      timeout_s: for one pair.
      max_pixels: of an image.

    Returns:
      Width and height of every sound image that is a file of its own.

    Raises:
      ValueError: files that cannot be used; the first ones are named. Where images
        need `data.bands` or `data.scale`, the first one asks for all.
    """
    loose = [pair for pair in pairs if isinstance(pair.image, Path)]
    with ThreadPoolExecutor(THREADS) as pool:
        looked = list(pool.map(partial(_size_in_time, timeout_s, max_pixels), loose))
    asked = [reason for reason in looked if isinstance(reason, Question)]
    if asked and on_corrupt == "error":
        more = f" (and so are {len(asked) - 1} more)" if len(asked) > 1 else ""
        raise ValueError(f"{asked[0]}{more}")
    if found := [reason for reason in looked if isinstance(reason, str)]:
        report_unusable(found, len(pairs), on_corrupt)
    return {
        pair.image: size
        for pair, size in zip(loose, looked, strict=True)
        if isinstance(pair.image, Path) and not isinstance(size, str)
    }


def report_unusable(found: Sequence[str], total: int, on_corrupt: str) -> None:
    """Says which files cannot be used.

    Args:
      found: why, a line for each file.
      total: pairs that were looked at.
      on_corrupt: "error" raises, "skip" warns.

    Raises:
      ValueError: the first ones are named.
    """
    if len(found) == 1:
        message = found[0]
    else:
        listed = "\n  ".join(found[:LISTED])
        more = f"\n  and {len(found) - LISTED} more" if len(found) > LISTED else ""
        message = (
            f"got {len(found)} unusable files of {total} pairs, expected none: "
            f"repair or remove them, with their partners:\n  {listed}{more}"
        )
    if on_corrupt == "error":
        raise ValueError(message)
    logging.warning("these are skipped: %s", message)


def _size_in_time(
    timeout_s: float, max_pixels: int, pair: Pair
) -> tuple[int, int] | str:
    try:
        return within(timeout_s, partial(_size_or_reason, pair, max_pixels))
    except TimeoutError as error:
        return (
            f"{pair.image} and {pair.label}: {error}, expected their headers: check "
            "the disk or the network mount, or raise data.timeout_s"
        )


def _size_or_reason(pair: Pair, max_pixels: int) -> tuple[int, int] | str:
    """The image's size, or why the pair cannot be used."""
    assert isinstance(pair.image, Path) and isinstance(pair.label, Path)
    try:
        image = _size(pair.image, max_pixels, pair.raw)
        label = _size(pair.label, max_pixels)
    except UnclearError as error:
        return Question(error)
    except ValueError as error:
        return str(error)
    if image == label:
        return image
    (width, height), (label_width, label_height) = image, label
    return (
        f"{pair.label}: got a label of {label_width} x {label_height} pixels for an "
        f"image of {width} x {height} ({pair.image}), expected the same size: export "
        "both on one grid"
    )


def _size(path: Path, max_pixels: int, raw: RawImages | None = None) -> tuple[int, int]:
    """Width and height as the header has them.

    Args:
      path: of the file.
      max_pixels: of an image.
      raw: how an image is read; None for a label.

    Raises:
      UnclearError: an image needs to be told how.
      ValueError: it cannot be opened, or its tags say that it cannot be read as it is.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait forever
            raise ValueError("it is not a regular file")
        if found.st_size == 0:
            raise ValueError("it is empty, 0 bytes")
        if found.st_size > max_pixels * MAX_PIXEL_BYTES + SLACK:
            raise TooLargeError(
                f"got {found.st_size:,} bytes, more than data.max_pixels allows"
            )
        if found.st_size > SLACK:  # a smaller one cannot say too much
            _check_structure(path)
        size, tags = read_header(path, path, max_pixels)
    except TooLargeError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # decoders fail on foreign bytes in many ways
        reason = cut(str(error), 300)
        raise ValueError(
            f"{path}: cannot be opened ({reason}), expected a PNG, JPEG or TIFF: copy "
            'or convert it again, or set data.on_corrupt="skip"'
        ) from error
    check_upright(path, tags)
    if raw is not None:
        choose(path, tags, raw)
    elif tags.bands > 1:
        colour_bands(path, tags)
    return size


def _check_structure(path: Path) -> None:
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        check_structure(data, header=True)
