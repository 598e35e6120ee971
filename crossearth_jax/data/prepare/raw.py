"""The raw files as downloaded: loose files and members of zip archives, as one index.

Archives are never unpacked to disk: members are read one at a time.
"""

import io
import lzma
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Integer, UInt8

from crossearth_jax.data.decode import read_image, read_label
from crossearth_jax.data.folders import (
    IMAGE_SUFFIXES,
    SIDE_NAMES,
    SIDE_SUFFIXES,
    refuse_control,
)
from crossearth_jax.data.timed import read_in_time
from crossearth_jax.system.escape import terminal
from crossearth_jax.system.zip_directory import check_directory

MAX_MEMBER = 160_000_000  # bytes; the largest, of Potsdam, are 6000 x 6000 x 4
MAX_DIRECTORY = 8 * 2**20  # bytes of an archive's table of contents
MAX_MEMBERS = 60_000  # of an archive; the largest data set has 30,000
PIECE = 2**22  # bytes unpacked at a time
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    *(OSError, MemoryError, struct.error),
)


@dataclass(frozen=True)
class Member:
    """One raw file, loose or in an archive.

    Attributes:
      path: the file itself, or the archive that holds it.
      name: posix path below the raw folder as if every archive had been extracted into
        a folder of its own name (`Train.zip` with `Train/a.png` is
        `Train/Train/a.png`): what patterns match.
      inside: the name in the archive; empty for a loose file.
      size: bytes, uncompressed.
    """

    path: Path
    name: str
    inside: str
    size: int

    def __str__(self) -> str:
        inside = terminal(self.inside)
        return f"{self.path} [{inside}]" if inside else str(self.path)

    @property
    def suffix(self) -> str:
        """The file name's ending in lower case, ".png"."""
        return PurePosixPath(self.name).suffix.lower()

    def file(self) -> Path | None:
        """The loose file, which can be hard-linked; None in an archive."""
        return None if self.inside else self.path

    def read(self) -> bytes:
        """The whole content.

        Raises:
          ValueError: the file or its archive is damaged, encrypted, or packed in a way
            that Python cannot read.
        """
        if not self.inside:
            return read_in_time(self.path)
        if self.size > MAX_MEMBER:
            raise ValueError(
                f"{self}: got {self.size:,} bytes, expected at most {MAX_MEMBER:,} for "
                "an image of these data sets: the archive is damaged or another one"
            )
        try:
            whole = io.BytesIO()  # whose value is no copy, unlike joined pieces
            with _open_zip(self.path).open(self.inside) as stream:
                shutil.copyfileobj(stream, whole, PIECE)
            return whole.getvalue()
        except _DAMAGED as error:
            raise ValueError(
                f"{self}: got a damaged archive ({error}), expected a whole zip: "
                "download it again"
            ) from error
        except (NotImplementedError, RuntimeError) as error:
            raise ValueError(
                f"{self}: got a zip that Python cannot read ({error}): extract it with "
                "another tool and leave the folder in its place"
            ) from error

    def image(self) -> UInt8[np.ndarray, "H W 3"]:
        """Decodes the file as an image; see `decode.read_image`."""
        return read_image(Path(str(self)), data=self.read())

    def label(
        self, *, indexed: bool
    ) -> Integer[np.ndarray, "H W"] | UInt8[np.ndarray, "H W 3"]:
        """Decodes the file as a label, values untouched; see `decode.read_label`."""
        return read_label(Path(str(self)), indexed=indexed, data=self.read())


class RawFiles:
    """All files below a folder, those inside zip archives included.

    Georeferencing, statistics, hidden files and what macOS and Windows add are
    skipped.

    Attributes:
      folder: as given.
      members: sorted by name.
      nested: archives inside archives, which are not opened.
    """

    def __init__(self, folder: Path | str) -> None:
        """Lists the files; reads no image.

        Raises:
          ValueError: no such folder, nothing in it, or a broken archive.
        """
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise ValueError(
                f"{folder}: got no such folder, expected the downloaded archives or "
                "extracted folders in it: check --raw"
            )
        loose = _loose(self.folder)
        refuse_control(self.folder, [str(f.relative_to(self.folder)) for f in loose])
        found = [member for path in loose for member in self._members(path)]
        self.members = tuple(sorted(found, key=lambda member: member.name))
        if not self.members:
            raise ValueError(
                f"{folder}: got a folder without files, expected the downloaded "
                "archives or extracted folders: check --raw"
            )
        self.nested = tuple(
            member for member in self.members if member.inside.lower().endswith(".zip")
        )

    def match(self, pattern: str) -> list[tuple[Member, re.Match[str]]]:
        r"""Members whose name matches from its start or from a "/", to its end.

        Args:
          pattern: a regular expression without anchors, letter case ignored, such as
            `(?P<split>train|val)/image/(?P<id>[^/]+)\.tif`.
        """
        regex = re.compile(rf"(?:.*/)?(?:{pattern})", re.IGNORECASE)
        found = ((member, regex.fullmatch(member.name)) for member in self.members)
        return [(member, match) for member, match in found if match]

    def images(self) -> Iterable[Member]:
        """Members that are images or labels by their ending."""
        return (member for member in self.members if member.suffix in IMAGE_SUFFIXES)

    def _members(self, path: Path) -> list[Member]:
        name = path.relative_to(self.folder).as_posix()
        if path.suffix.lower() != ".zip":
            return [Member(path, name, "", path.stat().st_size)]
        folder = name[: -len(path.suffix)]
        return [
            Member(path, f"{folder}/{info.filename}", info.filename, info.file_size)
            for info in _open_zip(path).infolist()
            if not _passed_over(PurePosixPath(info.filename)) and not info.is_dir()
        ]


def _loose(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(f for f in files if not _passed_over(f.relative_to(folder)))


def _passed_over(path: PurePosixPath | Path) -> bool:
    return (
        not path.name
        or any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
        or path.name.lower() in SIDE_NAMES
        or path.suffix.lower() in SIDE_SUFFIXES
    )


def _open_zip(path: Path) -> zipfile.ZipFile:
    stat = path.stat()
    return _open_version(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=16)
def _open_version(path: Path, changed: int, size: int) -> zipfile.ZipFile:
    """An archive with its index, kept open for its many members."""
    try:
        check_directory(path, MAX_DIRECTORY)
        archive = zipfile.ZipFile(path)
        if (count := len(archive.infolist())) > MAX_MEMBERS:
            raise ValueError(f"it has {count:,} members")
        return archive
    except (*_DAMAGED, NotImplementedError, ValueError) as error:
        raise ValueError(
            f"{path}: got {size:,} bytes that are not a whole zip archive ({error}): "
            "the download was probably cut off, download it again"
        ) from error
