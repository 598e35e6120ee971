"""What a data set declares about itself: its raw pairs, label encoding and numbers."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Integer, UInt8

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.prepare.raw import Member, RawFiles
from crossearth_jax.pixels.labels import IGNORE, Colour

Key = TypeVar("Key", bound=Hashable)
RawLabel = Integer[np.ndarray, "H W"] | UInt8[np.ndarray, "H W 3"]
Ids = UInt8[np.ndarray, "H W"]
MOST_COLOURED = 0.01  # of a grey mask's pixels; more make it a label of colours
NOT_GREY = ", not grey"  # of raw label values


@dataclass(frozen=True)
class Palette:
    """Labels as colours.

    Attributes:
      colours: {(r, g, b): class id or 255}.
      others: what happens to any other colour: "refuse" is an error; "round" takes
        every channel as 0 or 255, whichever is nearer, before looking it up (for label
        files known to be lossy); "ignore" makes it 255.
    """

    colours: Mapping[Colour, int]
    others: Literal["refuse", "round", "ignore"] = "refuse"
    indexed = False  # read palette images as the colours that a viewer shows

    def encode(self, raw: RawLabel) -> Ids:
        """Colours to ids; a ValueError names unknown ones."""
        return self.encode_counted(raw)[0]

    def encode_counted(self, raw: RawLabel) -> tuple[Ids, dict[str, int]]:
        """As `encode`, with the pixels of every colour found."""
        if raw.ndim == 2:
            raw = np.repeat(raw[:, :, None], 3, axis=2)
        codes = np.zeros(raw.shape[:2], np.int32)  # 0xRRGGBB
        for channel in np.moveaxis(raw, 2, 0):  # one by one: areas of 6000 x 6000
            if self.others == "round":
                channel = np.where(channel >= 128, np.uint8(255), np.uint8(0))
            codes <<= 8
            codes |= channel
        table = {r << 16 | g << 8 | b: k for (r, g, b), k in self.colours.items()}

        def show(code: int) -> str:
            return str((code >> 16, code >> 8 & 255, code & 255))

        return _encode(codes, table, show, ignore_others=self.others == "ignore")

    def describe(self) -> str:
        """One line for manifest and terminal."""
        colours = ", ".join(f"{c} → {k}" for c, k in self.colours.items())
        others = {
            "refuse": "",
            "round": ", channels rounded to 0 or 255",
            "ignore": ", other colours → 255",
        }
        return f"colours {colours}{others[self.others]}"


@dataclass(frozen=True)
class IdMap:
    """Labels as numbers: {number on disk: class id or 255}, any other is an error."""

    ids: Mapping[int, int]
    indexed = True

    def encode(self, raw: RawLabel) -> Ids:
        """Numbers to ids; a ValueError names unknown ones."""
        return self.encode_counted(raw)[0]

    def encode_counted(self, raw: RawLabel) -> tuple[Ids, dict[str, int]]:
        """As `encode`, with the pixels of every number found."""
        return _encode(_one_channel(raw, "numbers"), self.ids, str)

    def describe(self) -> str:
        """One line for manifest and terminal."""
        return f"ids {', '.join(f'{raw} → {k}' for raw, k in self.ids.items())}"


@dataclass(frozen=True)
class Mask:
    """Black and white masks, to ids 0 and 1.

    Attributes:
      threshold: values from here on are 1, smaller ones 0; None allows 0 and `white`
        only.
      white: the value for 1: 255, or 1 where a data set is known to store ids.
    """

    threshold: int | None = None
    white: Literal[255, 1] = 255
    indexed = False  # one-bit images count as 0/255

    def encode(self, raw: RawLabel) -> Ids:
        """Mask values to ids; a ValueError names unknown ones."""
        return self.encode_counted(raw)[0]

    def encode_counted(self, raw: RawLabel) -> tuple[Ids, dict[str, int]]:
        """As `encode`, with the pixels of every value found."""
        if self.threshold is not None and raw.ndim == 3:
            return self._nearly_grey(raw, self.threshold)
        values = _one_channel(raw, "black and white")
        if self.threshold is None:
            return _encode(values, {0: 0, self.white: 1}, str)
        ids = (values >= self.threshold).astype(np.uint8)
        if values.max(initial=0) == 1:
            raise ValueError(
                f"got label values 0 and 1 in a mask with threshold {self.threshold}, "
                "expected 0 to 255: these are ids already, take the original masks"
            )
        low, high = np.bincount(ids.reshape(-1), minlength=2).tolist()
        return ids, {f"< {self.threshold}": low, f">= {self.threshold}": high}

    def _nearly_grey(
        self, raw: UInt8[np.ndarray, "H W 3"], threshold: int
    ) -> tuple[Ids, dict[str, int]]:
        """A lossy mask with a few pixels of colour, of which the mean decides."""
        coloured = (raw != raw[:, :, :1]).any(2)
        if coloured.mean() > MOST_COLOURED:
            _one_channel(raw, "black and white")
        ids = (raw.sum(2, dtype=np.int32) >= 3 * threshold).astype(np.uint8)
        counts = {}
        for here, which in ((~coloured, ""), (coloured, NOT_GREY)):
            low, high = np.bincount(ids[here], minlength=2).tolist()
            counts |= {f"< {threshold}{which}": low, f">= {threshold}{which}": high}
        return ids, counts

    def describe(self) -> str:
        """One line for manifest and terminal."""
        if self.threshold is None:
            return f"mask 0 → 0, {self.white} → 1"
        return f"mask, from {self.threshold} on → 1, below → 0"


LabelCode = Palette | IdMap | Mask


@dataclass(frozen=True)
class Item:
    """One raw image with its label.

    Attributes:
      domain: folder of the output, such as "potsdam_irrg".
      split: "train", "val" or "test".
      name: file stem of the output, unique in domain and split.
      image: the raw image.
      label: the raw label.
      code: how this label is encoded where it differs from the data set's.
      bands: of the image that are taken, counted from 1; () takes its own colours.
    """

    domain: str
    split: str
    name: str
    image: Member
    label: Member
    code: LabelCode | None = None
    bands: tuple[int, ...] = ()


@dataclass(frozen=True)
class DataSet:
    """One data set of the benchmark.

    Attributes:
      name: of the command line.
      title: for people.
      classes: names and palette by class id.
      find: pairs all raw files; a missing partner is an error that names it.
      code: the encoding of all labels, or a function that finds it out from the items.
      tile: side of the squares that images are cut into; None keeps them whole.
      expected: images written per (domain, split); a difference is only reported.
      hint: which files to download from where.
      options: settings that change the output, as the manifest records them.
    """

    name: str
    title: str
    classes: ClassSet
    find: Callable[[RawFiles], Sequence[Item]]
    code: LabelCode | Callable[[Sequence[Item]], LabelCode]
    tile: int | None
    expected: Mapping[tuple[str, str], int]
    hint: str
    options: Mapping[str, str] = field(default_factory=dict)


def keyed(found: Iterable[tuple[Key, Member]]) -> dict[Key, Member]:
    """One member per key; of a member and its extracted copy, the copy.

    Raises:
      ValueError: two different files claim one key.
    """
    members: dict[Key, Member] = {}
    for key, member in found:
        other = members.setdefault(key, member)
        if other is member:
            continue
        if other.size != member.size or other.depth == member.depth:
            raise ValueError(
                f"got two files for {key!r}: {other} and {member}, expected one: "
                "remove one of them"
            )
        members[key] = min(other, member, key=lambda one: one.depth)
    return members


def without_participants(
    found: Iterable[tuple[Key, Member]],
) -> list[tuple[Key, Member]]:
    """Leaves out what a contest gave to participants where the whole is there too.

    The ISPRS archives `…for_participants…` repeat files of `…all…` and `…COMPLETE…`.
    """
    parts: list[tuple[Key, Member]] = []
    whole: list[tuple[Key, Member]] = []
    for key, member in found:
        some = "participants" in member.name.lower()
        (parts if some else whole).append((key, member))
    keys = {key for key, _ in whole}
    return whole + [(key, member) for key, member in parts if key not in keys]


def paired(
    images: Iterable[tuple[Key, Member]], labels: Iterable[tuple[Key, Member]]
) -> list[tuple[Key, Member, Member]]:
    """(key, image, label) in the order of the images' keys.

    Raises:
      ValueError: an image or label has no partner; names up to three.
    """
    by_image, by_label = keyed(images), keyed(labels)
    alone = []
    for what, ours, theirs in (
        ("image(s) without label", by_image, by_label),
        ("label(s) without image", by_label, by_image),
    ):
        if missing := [str(m) for key, m in ours.items() if key not in theirs]:
            alone.append(f"{len(missing)} {what} (e.g. {', '.join(missing[:3])})")
    if alone:
        raise ValueError(
            f"got {' and '.join(alone)}, expected pairs: complete the download"
        )
    return [(key, by_image[key], by_label[key]) for key in by_image]


def _one_channel(raw: RawLabel, what: str) -> Integer[np.ndarray, "H W"]:
    if raw.ndim == 3:
        raise ValueError(f"got a colour label, expected {what}: take the original file")
    return raw


def _encode(
    codes: Integer[np.ndarray, "H W"],
    table: Mapping[int, int],
    show: Callable[[int], str],
    *,
    ignore_others: bool = False,
) -> tuple[Ids, dict[str, int]]:
    """Looks codes up: ids, and {shown code: pixels} of those that occur."""
    ids = np.full(codes.shape, IGNORE, np.uint8)
    counts, left = {}, codes.size
    for code, target in table.items():
        here = codes == code
        if pixels := int(here.sum()):
            counts[show(code)] = pixels
            ids[here] = target
            left -= pixels
    if left and not ignore_others:
        raise ValueError(_unknown(codes, table, show))
    return ids, counts | ({"others": left} if left else {})


def _unknown(
    codes: Integer[np.ndarray, "H W"], table: Mapping[int, int], show: Callable
) -> str:
    unknown = codes[~np.isin(codes, list(table))]
    values, counts = np.unique(unknown, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:5]
    seen = ", ".join(f"{show(int(values[i]))} in {counts[i]} pixels" for i in most)
    more = f" and {len(values) - 5} other values" if len(values) > 5 else ""
    hint = "is this the file that was published?"
    if values.tolist() == [255] and show is str:
        hint = "a 0/255 mask is not a label of ids"
    elif values.tolist() == [1] and 255 in table:
        hint = "a label of ids is not a 0/255 mask"
    elif len(values) > 20:
        hint = "lossy (JPEG) or resampled labels cannot be used"
    known = ", ".join(show(code) for code in table)
    return f"got label value {seen}{more}, expected {known}: {hint}"
