"""Records: labelled images, read from the files of folders or archives.

A source is anything with `len(source)`, `source[i] -> Record` and `source.names`;
training and evaluation know nothing else about where data comes from.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from absl import logging
from jaxtyping import UInt8

from crossearth_jax.data.classes import (
    ClassSet,
    LabelEncoding,
    resolve_encoding,
)
from crossearth_jax.data.decode import read_label_and_mask
from crossearth_jax.data.folders import Pair
from crossearth_jax.data.marked import check_label_nodata, encode_marked
from crossearth_jax.data.packed import Packed
from crossearth_jax.data.pixel_limit import MAX_PIXELS
from crossearth_jax.data.scaled import read_scaled
from crossearth_jax.data.timed import TIMEOUT_S, read_in_time
from crossearth_jax.pixels.imagenet import IMAGENET_GREY
from crossearth_jax.pixels.labels import IGNORE

SKIP_SHARE = 0.1  # of a source may be corrupt with on_corrupt="skip"
SKIP_LEAST = 3  # but fewer files than this never stop a run


@dataclass(frozen=True)
class Record:
    """One labelled image.

    Attributes:
      image: [H, W, 3], 0-255, channels in the file's order.
      label: [H, W] class ids, 255 = ignore.
      name: unique in its source.
      valid: False for the placeholder of a file that could not be used.
      reason: why not.
    """

    image: UInt8[np.ndarray, "H W 3"]
    label: UInt8[np.ndarray, "H W"]
    name: str
    valid: bool = True
    reason: str = ""


@runtime_checkable
class Source(Protocol):
    """Random access to records."""

    @property
    def names(self) -> Sequence[str]:
        """The names of all records, without reading them."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...

    def fingerprint(self) -> str:
        """The same for the same data; reads names and sizes, no contents."""
        ...


class FolderSource:
    """Records decoded from files, loose or packed; safe to share between threads.

    Attributes:
      classes: the classes of the labels.
      encoding: how the files encode them.
      names: of all records, in order.
      timeout_s: for reading one file.
      max_pixels: of one image.
      pairs: the files.
      skipped: {name: reason} of the files that could not be used so far
        (`on_corrupt="skip"`).
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        classes: ClassSet,
        encoding: LabelEncoding | str | None = None,
        on_corrupt: str = "error",
        timeout_s: float = TIMEOUT_S,
        max_pixels: int = MAX_PIXELS,
        label_nodata: str = "ask",
    ) -> None:
        """Checks the settings; reads no image yet.

        Args:
          pairs: from `find_pairs` or `Domain.find_pairs`.
          classes: names and palette.
          encoding: "ids", "mask255", "colours", or all details; default the class
            file's.
          on_corrupt: "error" stops at the first file that cannot be used; "skip"
            returns an ignored placeholder instead, lists the file in `skipped`, and
            stops once more than 10% of the source, at least 3 files, are listed.
          timeout_s: a file that takes longer to read cannot be used.
          max_pixels: nor can a larger image.
          label_nodata: what pixels are that a label file itself marks as no data though
            their value means a class, see `marked.encode_marked`.

        Raises:
          ValueError: no pairs, or settings that do not fit together.
        """
        if not pairs:
            raise ValueError("got no image/label pairs, expected at least one")
        if on_corrupt not in ("error", "skip"):
            raise ValueError(
                f'got data.on_corrupt={on_corrupt!r}, expected "error" or "skip"'
            )
        check_label_nodata(label_nodata)
        self.classes = classes
        self.label_nodata = label_nodata
        self.encoding = resolve_encoding(classes, encoding)
        self.names = tuple(pair.name for pair in pairs)
        self.skipped: dict[str, str] = {}
        self.pairs = tuple(pairs)
        self._on_corrupt = on_corrupt
        self.timeout_s, self.max_pixels = timeout_s, max_pixels
        self._limits = {"timeout_s": timeout_s, "max_pixels": max_pixels}

    def __len__(self) -> int:
        return len(self.pairs)

    def fingerprint(self) -> str:
        """SHA-256 of names and file sizes."""
        sizes = [(p.name, _size(p.image), _size(p.label)) for p in self.pairs]
        return hashlib.sha256(repr(sizes).encode()).hexdigest()

    def contents(self, count: int) -> str:
        """SHA-256 of the bytes of `count` pairs of files, evenly spread.

        Raises:
          ValueError: one cannot be read.
        """
        digest = hashlib.sha256()
        for pair in self.pairs[:: -(-len(self.pairs) // count)]:
            for file in (pair.image, pair.label):
                digest.update(read_in_time(file, self.timeout_s, self.max_pixels))
        return digest.hexdigest()

    def __getitem__(self, index: int) -> Record:
        """Decodes one record.

        Raises:
          ValueError: the file cannot be used, or too many were skipped.
        """
        pair = self.pairs[index]
        if reason := self.skipped.get(pair.name):  # do not wait for it in every epoch
            return placeholder(pair.name, reason)
        try:
            return self._read(pair)
        except ValueError as error:
            if self._on_corrupt == "error":
                raise
            self.note_skip(pair.name, str(error))
            return placeholder(pair.name, str(error))

    def label(self, pair: Pair) -> UInt8[np.ndarray, "H W"]:
        """Decodes the label of a pair to class ids, 255 = ignore.

        Raises:
          ValueError: the file cannot be used.
        """
        raw, nothing = read_label_and_mask(
            pair.label, indexed=self.encoding.kind == "ids", **self._limits
        )
        try:
            return encode_marked(
                raw, nothing, self.classes, self.encoding, self.label_nodata
            )
        except ValueError as error:
            raise ValueError(f"{pair.label}: {error}") from error

    def _read(self, pair: Pair) -> Record:
        image, hidden = read_scaled(pair.image, pair.raw, **self._limits)
        label = self.label(pair)
        if label.shape != image.shape[:2]:
            (h, w), (label_h, label_w) = image.shape[:2], label.shape
            raise ValueError(
                f"{pair.label}: got a label of {label_w} x {label_h} pixels for an "
                f"image of {w} x {h} ({pair.image}), expected the same size: export "
                "both on one grid"
            )
        if hidden is not None:  # no data: nothing was seen there
            label[hidden] = IGNORE
        return Record(image, label, pair.name)

    def note_skip(self, name: str, reason: str) -> None:
        """Lists a file in `skipped`.

        Raises:
          ValueError: there are too many.
        """
        if name not in self.skipped:
            self.skipped[name] = reason
            logging.warning("skipped (%d so far): %s", len(self.skipped), reason)
        count, total = len(self.skipped), len(self)
        if count > SKIP_SHARE * total and count >= min(SKIP_LEAST, total):
            listed = "\n  ".join(list(self.skipped.values())[:10])
            raise ValueError(
                f"got {count} unusable files of {total}, expected at most "
                f"{SKIP_SHARE:.0%} with data.on_corrupt=skip: repair the data. "
                f"The first:\n  {listed}"
            )


def placeholder(name: str, reason: str) -> Record:
    """A record of nothing: mean grey, everything ignored, not valid."""
    image = np.full((32, 32, 3), IMAGENET_GREY, np.uint8)
    label = np.full((32, 32), IGNORE, np.uint8)
    return Record(image, label, name, valid=False, reason=reason)


def _size(file: Path | Packed) -> int:
    """Bytes."""
    return file.size if isinstance(file, Packed) else file.stat().st_size


Role = Literal["source", "unseen"]


@dataclass(frozen=True)
class ScoredDomain:
    """What to score.

    Attributes:
      name: as in the report.
      role: "source" for a held-out part of a training domain, else "unseen".
      source: its records.
      fit: pixels; images are resized to this longest edge first, see `resample_host`.
        Scores are counted at the label's own size anyway.
    """

    name: str
    role: Role
    source: Source
    fit: int | None = None
