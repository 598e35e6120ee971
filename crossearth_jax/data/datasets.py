"""Folders of images and labels: pairing, domains, and the records read from them.

A source is anything with `len(source)`, `source[i] -> Record` and `source.names`;
training and evaluation know nothing else about where data comes from.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from absl import logging
from jaxtyping import UInt8

from crossearth_jax.data.classes import (
    ENCODINGS,
    IGNORE,
    ClassSet,
    Colour,
    LabelEncoding,
    encode_label,
    resolve_encoding,
)
from crossearth_jax.data.decode import read_image, read_label
from crossearth_jax.data.infer import infer_classes
from crossearth_jax.data.known_classes import CASID

__all__ = [
    "CASID",
    "ENCODINGS",
    "IGNORE",
    "IMAGENET_MEAN",
    "ClassSet",
    "Colour",
    "Domain",
    "FolderSource",
    "LabelEncoding",
    "Pair",
    "Record",
    "Source",
    "find_pairs",
    "infer_classes",
    "parse_domain",
    "parse_domains",
]

IMAGENET_MEAN = (124, 116, 104)  # rounded; what stands for "nothing" in an image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
# Georeferencing, statistics and overviews that other tools leave beside images.
SIDE_SUFFIXES = (
    *(".xml", ".ovr", ".msk", ".prj", ".wld"),
    *(".tfw", ".tifw", ".tiffw", ".pgw", ".pngw", ".jgw", ".jpgw", ".jpegw"),
)
SIDE_NAMES = ("thumbs.db", "desktop.ini")

SKIP_SHARE = 0.1  # of a source may be corrupt with on_corrupt="skip"
SKIP_LEAST = 3  # but fewer files than this never stop a run


@dataclass(frozen=True)
class Record:
    """One labelled image.

    Attributes:
      image: [H, W, 3], 0-255, channels in the file's order.
      label: [H, W] class ids, 255 = ignore.
      name: unique in its source.
      valid: False for the placeholder of a file that could not be read.
    """

    image: UInt8[np.ndarray, "H W 3"]
    label: UInt8[np.ndarray, "H W"]
    name: str
    valid: bool = True


@runtime_checkable
class Source(Protocol):
    """Random access to records."""

    @property
    def names(self) -> Sequence[str]:
        """The names of all records, without reading them."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...


@dataclass(frozen=True)
class Pair:
    """An image file and its label file."""

    image: Path
    label: Path
    name: str


@dataclass(frozen=True)
class Domain:
    """A named place, sensor, season or climate: one or several folder pairs.

    Attributes:
      name: as it stands in reports.
      folders: (images, labels) folders.
    """

    name: str
    folders: tuple[tuple[Path, Path], ...]

    def find_pairs(self) -> tuple[Pair, ...]:
        """All pairs, folder by folder; joined folders prefix the names.

        Raises:
          ValueError: see `find_pairs`, or the same folder is given twice.
        """
        if len(self.folders) == 1:
            return find_pairs(*self.folders[0])
        pairs = tuple(
            Pair(pair.image, pair.label, f"{_place(images)}.{pair.name}")
            for images, labels in self.folders
            for pair in find_pairs(images, labels)
        )
        repeats = [n for n, k in Counter(p.name for p in pairs).items() if k > 1]
        if repeats:
            raise ValueError(
                f"domain {self.name}: got {len(repeats)} names twice, e.g. "
                f"{repeats[0]!r}, expected each once: join each folder once, and give "
                "the folders that hold images/ different names"
            )
        return pairs


class FolderSource:
    """Records decoded from files; safe to share between threads.

    Attributes:
      classes: the classes of the labels.
      encoding: how the files encode them.
      names: of all records, in order.
      skipped: {name: reason} of the files that could not be used so far
        (`on_corrupt="skip"`).
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        classes: ClassSet,
        encoding: LabelEncoding | str | None = None,
        on_corrupt: str = "error",
    ) -> None:
        """Checks the settings; reads no image yet.

        Args:
          pairs: from `find_pairs` or `Domain.find_pairs`.
          classes: names and palette.
          encoding: "ids", "mask255", "colours", or all details; default the class
            file's.
          on_corrupt: "error" stops at the first file that cannot be used; "skip"
            gives an ignored placeholder instead, lists the file in `skipped`, and
            stops once more than 10% of the source, at least 3 files, are listed.

        Raises:
          ValueError: no pairs, or settings that do not fit together.
        """
        if not pairs:
            raise ValueError("got no image/label pairs, expected at least one")
        if on_corrupt not in ("error", "skip"):
            raise ValueError(
                f'got data.on_corrupt={on_corrupt!r}, expected "error" or "skip"'
            )
        self.classes = classes
        self.encoding = resolve_encoding(classes, encoding)
        self.names = tuple(pair.name for pair in pairs)
        self.skipped: dict[str, str] = {}
        self._pairs = tuple(pairs)
        self._on_corrupt = on_corrupt

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Record:
        """Decodes one record.

        Raises:
          ValueError: the file cannot be used, or too many were skipped.
        """
        pair = self._pairs[index]
        try:
            return self._read(pair)
        except ValueError as error:
            if self._on_corrupt == "error":
                raise
            self._note_skip(pair.name, str(error))
        return placeholder(pair.name)

    def _read(self, pair: Pair) -> Record:
        image = read_image(pair.image)
        raw = read_label(pair.label, indexed=self.encoding.kind == "ids")
        if raw.shape[:2] != image.shape[:2]:
            (h, w), (label_h, label_w) = image.shape[:2], raw.shape[:2]
            raise ValueError(
                f"{pair.label}: got a label of {label_w} x {label_h} pixels for an "
                f"image of {w} x {h} ({pair.image}), expected the same size: export "
                "both on one grid"
            )
        try:
            label = encode_label(raw, self.classes, self.encoding)
        except ValueError as error:
            raise ValueError(f"{pair.label}: {error}") from error
        return Record(image, label, pair.name)

    def _note_skip(self, name: str, reason: str) -> None:
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


def placeholder(name: str) -> Record:
    """A record of nothing: mean grey, everything ignored, `valid=False`."""
    image = np.full((32, 32, 3), IMAGENET_MEAN, np.uint8)
    return Record(image, np.full((32, 32), IGNORE, np.uint8), name, valid=False)


def find_pairs(images_dir: Path | str, labels_dir: Path | str) -> tuple[Pair, ...]:
    """Pairs images and labels of the same stem, sorted by stem.

    Georeferencing side files and hidden files are passed over.

    Raises:
      ValueError: a folder is missing or empty, holds something that is no PNG, JPEG
        or TIFF, a stem occurs twice, or an image or label has no partner.
    """
    images_dir, labels_dir = Path(images_dir), Path(labels_dir)
    images, labels = _by_stem(images_dir), _by_stem(labels_dir)
    if images_dir.resolve() == labels_dir.resolve():
        raise ValueError(
            f"{images_dir}: got one folder for images and labels, expected two: write "
            "IMAGES:LABELS, or give a folder that has images/ and labels/"
        )
    alone = [
        f"{len(names)} {what} (e.g. {', '.join(sorted(names)[:3])})"
        for what, names in (
            ("images without label", images.keys() - labels.keys()),
            ("labels without image", labels.keys() - images.keys()),
        )
        if names
    ]
    if alone:
        raise ValueError(
            f"got {' and '.join(alone)} in {images_dir} and {labels_dir}, expected the "
            "same names in both: rename, add or remove files"
        )
    return tuple(Pair(images[s], labels[s], s) for s in sorted(images))


def parse_domains(text: str) -> tuple[Domain, ...]:
    """Parses "NAME=IMAGES:LABELS,…": every "NAME=" starts another domain.

    A part without "NAME=" joins the domain before it. A folder that has images/ and
    labels/ may stand alone instead of IMAGES:LABELS. Without any name, the domain is
    called after its folders.

    Raises:
      ValueError: the text is empty, a part has not this form, or a name occurs twice.
    """
    groups: list[tuple[str, list[tuple[Path, Path]]]] = []
    for part in text.split(","):
        named = re.match(r"\s*([\w.+-]+)=", part)
        if named or not groups:
            groups.append((named.group(1) if named else "", []))
        groups[-1][1].append(_folders(part[named.end() :] if named else part))
    domains = tuple(
        Domain(
            name or "+".join(_place(images) for images, _ in folders), tuple(folders)
        )
        for name, folders in groups
    )
    names = Counter(domain.name for domain in domains)
    if repeats := [name for name, count in names.items() if count > 1]:
        raise ValueError(
            f"got domain {repeats[0]!r} twice in {text!r}, expected each name once"
        )
    return domains


def parse_domain(text: str) -> Domain:
    """Parses one domain, e.g. "A/images:A/labels,B" or "nepal=B/images:B/labels".

    Raises:
      ValueError: as `parse_domains`, or several names are given.
    """
    domains = parse_domains(text)
    if len(domains) > 1:
        raise ValueError(
            f"got {len(domains)} named domains in {text!r}, expected one: drop the "
            "names to join the folders"
        )
    return domains[0]


def _folders(part: str) -> tuple[Path, Path]:
    folders = [Path(f.strip()).expanduser() for f in part.split(":") if f.strip()]
    if len(folders) == 1 and part.count(":") == 0:
        (root,) = folders
        if root.is_dir() and not (root / "images").is_dir():
            raise ValueError(
                f"{root}: got a folder without images/, expected images/ and labels/ "
                "in it: write IMAGES:LABELS"
            )
        return root / "images", root / "labels"
    if len(folders) == 2 and part.count(":") == 1:
        return folders[0], folders[1]
    raise ValueError(
        f"got {part!r}, expected IMAGES:LABELS, or a folder that has images/ and "
        "labels/: write e.g. A/images:A/labels,B/images:B/labels"
    )


def _place(images: Path) -> str:
    """What a folder of images shows: the name above a plain "images"."""
    images = images.absolute()
    return images.parent.name if images.name == "images" else images.name


def _by_stem(folder: Path) -> dict[str, Path]:
    """{stem: file} of the images in a folder."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: got no such folder, expected one: check the path")
    files = [f for f in sorted(folder.iterdir()) if not _is_side_file(f)]
    unknown = [f.name for f in files if f.suffix.lower() not in IMAGE_SUFFIXES]
    if unknown:
        raise ValueError(
            f"{folder}: got {len(unknown)} entries of unknown type (e.g. "
            f"{', '.join(unknown[:3])}), expected {', '.join(IMAGE_SUFFIXES)}: convert "
            "or remove them; name subfolders one by one"
        )
    if not files:
        raise ValueError(f"{folder}: got an empty folder, expected images")
    stems = Counter(f.stem for f in files)
    if repeats := [stem for stem, count in stems.items() if count > 1]:
        raise ValueError(
            f"{folder}: got {len(repeats)} names with several files (e.g. "
            f"{repeats[0]!r}), expected one each: remove the copies"
        )
    return {f.stem: f for f in files}


def _is_side_file(path: Path) -> bool:
    name = path.name.lower()
    return (
        name.startswith(".")
        or name in SIDE_NAMES
        or path.suffix.lower() in SIDE_SUFFIXES
    )
