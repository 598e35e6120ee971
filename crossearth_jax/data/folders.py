"""Where labelled images lie: folders, archives, and the domains made of them."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from crossearth_jax.data.packed import SUFFIX, Packed, packed_files
from crossearth_jax.data.raw_images import ORDINARY, RawImages
from crossearth_jax.data.split_lists import listed, listed_pairs
from crossearth_jax.system.escape import quoted

NAME_BYTES = 100  # of a domain's name; file systems allow 255 with what is added

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
# Georeferencing, statistics and overviews that other tools leave beside images.
SIDE_SUFFIXES = (
    ".xml",
    ".ovr",
    ".msk",
    ".prj",
    ".wld",
    ".tfw",
    ".tifw",
    ".tiffw",
    ".pgw",
    ".pngw",
    ".jgw",
    ".jpgw",
    ".jpegw",
)
SIDE_NAMES = ("thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Pair:
    """An image file and its label file, loose or in an archive.

    Attributes:
      image: the image.
      label: its label.
      name: unique in its domain.
      raw: how the image is read.
    """

    image: Path | Packed
    label: Path | Packed
    name: str
    raw: RawImages = ORDINARY


@dataclass(frozen=True)
class Domain:
    """A named place, sensor, season or climate: one or several folder pairs.

    Attributes:
      name: as reports show it.
      folders: (images, labels), with a list of names behind them perhaps, or (archive,)
        or (list of pairs,).
    """

    name: str
    folders: tuple[tuple[Path, ...], ...]

    def find_pairs(self, label_suffix: str = "") -> tuple[Pair, ...]:
        """All pairs, folder by folder; joined folders prefix the names.

        Args:
          label_suffix: as `find_pairs`.

        Raises:
          ValueError: see `find_pairs`, or the same folder is given twice.
        """
        return tuple(p for part in self.find_parts(label_suffix) for p in part)

    def find_parts(self, label_suffix: str = "") -> tuple[tuple[Pair, ...], ...]:
        """The pairs of each folder, see `find_pairs`."""
        parts = tuple(_pairs_in(folders, label_suffix) for folders in self.folders)
        if len(parts) == 1:
            return parts
        parts = tuple(
            tuple(replace(pair, name=f"{_place(folders)}.{pair.name}") for pair in part)
            for folders, part in zip(self.folders, parts, strict=True)
        )
        pairs = [pair for part in parts for pair in part]
        repeats = [n for n, k in Counter(p.name for p in pairs).items() if k > 1]
        if repeats:
            raise ValueError(
                f"domain {self.name}: got {len(repeats)} names twice, e.g. "
                f"{repeats[0]!r}, expected each once: join each folder once, and give "
                "the folders that hold images/ different names"
            )
        return parts


def find_pairs(
    images_dir: Path | str, labels_dir: Path | str, label_suffix: str = ""
) -> tuple[Pair, ...]:
    """Pairs images and labels of the same stem, sorted by stem.

    Georeferencing side files and hidden files are skipped.

    Args:
      images_dir: folder of images.
      labels_dir: folder of labels; with a suffix it may be the same.
      label_suffix: what stems of labels have behind those of images, such as "_mask".

    Raises:
      ValueError: a folder is missing or empty, holds something that is no PNG, JPEG
        or TIFF, a stem occurs twice, or an image or label has no partner.
    """
    images_dir, labels_dir = Path(images_dir), Path(labels_dir)
    images, labels = _by_stem(images_dir), _by_stem(labels_dir)
    one_folder = images_dir.resolve() == labels_dir.resolve()
    if label_suffix:
        others = [stem for stem in labels if not _has(label_suffix, stem)]
        if others and not one_folder:
            raise ValueError(
                f"{labels_dir}: got {len(others)} labels without {label_suffix!r} at "
                f"the end of their name (e.g. {others[0]}), expected it in all: "
                "correct data.label_suffix, or rename them"
            )
        if one_folder:
            images = {s: f for s, f in images.items() if not _has(label_suffix, s)}
        labels = {
            stem.removesuffix(label_suffix): file
            for stem, file in labels.items()
            if _has(label_suffix, stem)
        }
    elif one_folder:
        raise ValueError(
            f"{images_dir}: got one folder for images and labels, expected two: write "
            "IMAGES:LABELS, or give a folder that has images/ and labels/, or say with "
            "data.label_suffix which files are labels"
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


def _has(suffix: str, stem: str) -> bool:
    return stem.endswith(suffix) and stem != suffix


def parse_domains(text: str) -> tuple[Domain, ...]:
    """Parses "NAME=IMAGES:LABELS,…": every "NAME=" starts another domain.

    A part without "NAME=" joins the domain before it. Without any name, the domain is
    called after its folders. Instead of IMAGES:LABELS, one place can be given alone:

    - FOLDER with images/ and labels/ in it, which are read, packed or not;
    - FOLDER without images/, where FOLDER.array_record lies beside: that is read;
    - FOLDER.array_record, which is read whatever lies beside it;
    - @FILE, a list of pairs, see `split_lists`.

    Behind IMAGES:LABELS or FOLDER, @FILE.txt takes the images that the list names. A
    path with a comma, a colon or an @ stands in double quotes.

    Raises:
      ValueError: the text is empty, a part has another form, or a name occurs twice.
    """
    groups: list[tuple[str, list[tuple[Path, ...]]]] = []
    for part in outside_quotes(text, ","):
        named = re.match(r"\s*([\w.+-]+)=", part)
        if named or not groups:
            groups.append((named.group(1) if named else "", []))
        groups[-1][1].append(_folders(part[named.end() :] if named else part))
    domains = tuple(
        Domain(name or "+".join(map(_place, folders)), tuple(folders))
        for name, folders in groups
    )
    for domain in domains:
        check_domain_name(domain.name)
    names = Counter(domain.name for domain in domains)
    if repeats := [name for name, count in names.items() if count > 1]:
        raise ValueError(
            f"got domain {repeats[0]!r} twice in {text!r}, expected each name once"
        )
    return domains


def check_domain_name(name: str) -> None:
    """Refuses what cannot name a domain's files and rows in reports.

    Raises:
      ValueError: it is empty, no plain file name, too long or not printable.
    """
    plain = Path(name).name == name and name not in ("", ".", "..")
    if not plain or "\\" in name or not name.isprintable():
        raise ValueError(
            f"got a domain named {quoted(name)}, expected a plain file name: rename it "
            "with NAME=IMAGES:LABELS"
        )
    if len(name.encode()) > NAME_BYTES:
        raise ValueError(
            f"got a domain named {quoted(name)} with {len(name)} characters, expected "
            f"at most {NAME_BYTES}: shorten it with NAME=IMAGES:LABELS"
        )


def parse_domain(text: str) -> Domain:
    """Parses one domain, e.g. "A/images:A/labels,B" or "nepal=B/images:B/labels".

    Raises:
      ValueError: as `parse_domains`, or several names are given.
    """
    domains = parse_domains(text)
    if len(domains) != 1:
        raise ValueError(
            f"got {len(domains)} named domains in {text!r}, expected one: drop the "
            "names to join the folders"
        )
    return domains[0]


def outside_quotes(text: str, separator: str) -> list[str]:
    """Splits a text at a separator, but for those within double quotes, which stay.

    Raises:
      ValueError: a quote is not closed.
    """
    if text.count('"') % 2:
        raise ValueError(f"got {text!r}, expected every double quote to be closed")
    parts = [""]
    for i, piece in enumerate(text.split('"')):
        if i % 2:
            parts[-1] += f'"{piece}"'
            continue
        first, *rest = piece.split(separator)
        parts[-1] += first
        parts.extend(rest)
    return parts


def _folders(part: str) -> tuple[Path, ...]:
    """(images, labels), (images, labels, list of names), (archive,) or (list,)."""
    *before, listed = outside_quotes(part, "@")
    if before and not "".join(before).strip():
        return (_path(listed),)
    if before and listed.strip().strip('"').endswith(".txt"):
        return (*_two_folders("@".join(before)), _path(listed))
    return _two_folders(part, archives=True)


def _two_folders(part: str, *, archives: bool = False) -> tuple[Path, ...]:
    pieces = outside_quotes(part, ":")
    folders = [_path(piece) for piece in pieces if piece.strip()]
    if len(folders) == 1 and len(pieces) == 1:
        (root,) = folders
        if archives and (archive := _archive(root)):
            return (archive,)
        if root.is_dir() and not (root / "images").is_dir():
            raise ValueError(
                f"{root}: got a folder without images/, expected images/ and labels/ "
                f"in it, or {root.name}{SUFFIX} beside it: write IMAGES:LABELS"
            )
        return root / "images", root / "labels"
    if len(folders) == 2 and len(pieces) == 2:
        return folders[0], folders[1]
    raise ValueError(
        f"got {part!r}, expected IMAGES:LABELS, or a folder that has images/ and "
        "labels/: write e.g. A/images:A/labels,B/images:B/labels"
    )


def _path(piece: str) -> Path:
    return Path(piece.strip().replace('"', "")).expanduser()


def _archive(root: Path) -> Path | None:
    """The archive that a place refers to, if any."""
    if root.suffix == SUFFIX:
        return root
    beside = root.with_name(root.name + SUFFIX) if root.name else root
    return beside if beside.is_file() and not (root / "images").exists() else None


def _pairs_in(folders: tuple[Path, ...], label_suffix: str) -> tuple[Pair, ...]:
    """The pairs of what `_folders` found."""
    if len(folders) == 2:
        return find_pairs(*folders, label_suffix)
    if len(folders) == 3:
        images, labels, names = folders
        known = {pair.name: pair for pair in find_pairs(images, labels, label_suffix)}
        return tuple(listed(names, known, images).values())
    if folders[0].suffix == SUFFIX:
        pairs = packed_files(folders[0])
        return tuple(Pair(i, label, PurePosixPath(i.name).stem) for i, label in pairs)
    return tuple(Pair(*files) for files in listed_pairs(folders[0]))


def _place(folders: tuple[Path, ...]) -> str:
    """A name for a place: the archive's, or the one above a plain "images"."""
    images = folders[0].absolute()
    if len(folders) == 1:
        return images.stem
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
    refuse_control(folder, [f.name for f in files])
    stems = Counter(f.stem for f in files)
    if repeats := [stem for stem, count in stems.items() if count > 1]:
        raise ValueError(
            f"{folder}: got {len(repeats)} names with several files (e.g. "
            f"{repeats[0]!r}), expected one each: remove the copies"
        )
    return {f.stem: f for f in files}


def refuse_control(folder: Path, names: Iterable[str]) -> None:
    """Refuses file names with line breaks and other control characters in them.

    Raises:
      ValueError: names the first.
    """
    if found := [name for name in names if re.search("[\x00-\x1f\x7f]", name)]:
        raise ValueError(
            f"{folder}: got {len(found)} names with control characters (e.g. "
            f"{quoted(found[0])}), expected none: rename the files"
        )


def _is_side_file(path: Path) -> bool:
    name = path.name.lower()
    return (
        name.startswith(".")
        or name in SIDE_NAMES
        or path.suffix.lower() in SIDE_SUFFIXES
    )
