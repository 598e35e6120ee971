"""Where labelled images lie: folders, archives, and the domains made of them."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from crossearth_jax.data.packed import SUFFIX, Packed, packed_files
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
    """An image file and its label file, loose or in an archive."""

    image: Path | Packed
    label: Path | Packed
    name: str


@dataclass(frozen=True)
class Domain:
    """A named place, sensor, season or climate: one or several folder pairs.

    Attributes:
      name: as reports show it.
      folders: (images, labels) folders, or (archive,) of packed ones.
    """

    name: str
    folders: tuple[tuple[Path, ...], ...]

    def find_pairs(self) -> tuple[Pair, ...]:
        """All pairs, folder by folder; joined folders prefix the names.

        Raises:
          ValueError: see `find_pairs`, or the same folder is given twice.
        """
        if len(self.folders) == 1:
            return _pairs_in(self.folders[0])
        pairs = tuple(
            Pair(pair.image, pair.label, f"{_place(folders)}.{pair.name}")
            for folders in self.folders
            for pair in _pairs_in(folders)
        )
        repeats = [n for n, k in Counter(p.name for p in pairs).items() if k > 1]
        if repeats:
            raise ValueError(
                f"domain {self.name}: got {len(repeats)} names twice, e.g. "
                f"{repeats[0]!r}, expected each once: join each folder once, and give "
                "the folders that hold images/ different names"
            )
        return pairs


def find_pairs(images_dir: Path | str, labels_dir: Path | str) -> tuple[Pair, ...]:
    """Pairs images and labels of the same stem, sorted by stem.

    Georeferencing side files and hidden files are skipped.

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

    A part without "NAME=" joins the domain before it. Without any name, the domain is
    called after its folders. Instead of IMAGES:LABELS, one place can be given alone:

    - FOLDER with images/ and labels/ in it, which are read, packed or not;
    - FOLDER without images/, where FOLDER.array_record lies beside: that is read;
    - FOLDER.array_record, which is read whatever lies beside it.

    Raises:
      ValueError: the text is empty, a part has another form, or a name occurs twice.
    """
    groups: list[tuple[str, list[tuple[Path, ...]]]] = []
    for part in text.split(","):
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
    if len(domains) > 1:
        raise ValueError(
            f"got {len(domains)} named domains in {text!r}, expected one: drop the "
            "names to join the folders"
        )
    return domains[0]


def _folders(part: str) -> tuple[Path, ...]:
    folders = [Path(f.strip()).expanduser() for f in part.split(":") if f.strip()]
    if len(folders) == 1 and part.count(":") == 0:
        (root,) = folders
        if archive := _archive(root):
            return (archive,)
        if root.is_dir() and not (root / "images").is_dir():
            raise ValueError(
                f"{root}: got a folder without images/, expected images/ and labels/ "
                f"in it, or {root.name}{SUFFIX} beside it: write IMAGES:LABELS"
            )
        return root / "images", root / "labels"
    if len(folders) == 2 and part.count(":") == 1:
        return folders[0], folders[1]
    raise ValueError(
        f"got {part!r}, expected IMAGES:LABELS, or a folder that has images/ and "
        "labels/: write e.g. A/images:A/labels,B/images:B/labels"
    )


def _archive(root: Path) -> Path | None:
    """The archive that a place refers to, if any."""
    if root.suffix == SUFFIX:
        return root
    beside = root.with_name(root.name + SUFFIX) if root.name else root
    return beside if beside.is_file() and not (root / "images").exists() else None


def _pairs_in(folders: tuple[Path, ...]) -> tuple[Pair, ...]:
    """The pairs of (images, labels) or (archive,)."""
    if len(folders) == 2:
        return find_pairs(*folders)
    pairs = packed_files(folders[0])
    return tuple(Pair(i, label, PurePosixPath(i.name).stem) for i, label in pairs)


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
