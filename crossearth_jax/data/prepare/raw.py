"""The raw files as downloaded: loose files and members of archives, as one index.

Members are read one at a time; see `archive` for archives in archives.
"""

import io
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
from crossearth_jax.data.prepare.archive import (
    DAMAGED,
    PIECE,
    archive_suffix,
    open_archive,
)
from crossearth_jax.data.prepare.formats import advice
from crossearth_jax.data.scaled import read_bands
from crossearth_jax.data.timed import read_in_time
from crossearth_jax.system.escape import terminal

MAX_MEMBER = 160_000_000  # bytes; the largest, of Potsdam, are 6000 x 6000 x 4
MAX_DEPTH = 3  # archives around a file
MAX_NESTED = 30  # archives in an archive, all depths together


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
      within: names of the archives in the archive around it, outermost first.
    """

    path: Path
    name: str
    inside: str
    size: int
    within: tuple[str, ...] = ()

    def __str__(self) -> str:
        inside = terminal("/".join((*self.within, self.inside)))
        return f"{self.path} [{inside}]" if inside else str(self.path)

    @property
    def depth(self) -> int:
        """Archives around it."""
        return len(self.within) + bool(self.inside)

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
            archive = open_archive(self.path, self.within)
            with archive.open(self.inside) as stream:
                shutil.copyfileobj(stream, whole, PIECE)
            return whole.getvalue()
        except DAMAGED as error:
            raise ValueError(
                f"{self}: got a damaged archive ({error}), expected a whole one: "
                "download it again"
            ) from error
        except (NotImplementedError, RuntimeError) as error:
            raise ValueError(
                f"{self}: got a zip that Python cannot read ({error}): extract it with "
                "another tool and leave the folder in its place"
            ) from error

    def image(self, bands: tuple[int, ...] = ()) -> UInt8[np.ndarray, "H W 3"]:
        """Decodes the file as an image; see `decode.read_image`.

        Args:
          bands: the three to take, counted from 1; () takes the file's own colours.
        """
        if not bands:
            return read_image(Path(str(self)), data=self.read())
        return read_bands(Path(str(self)), bands, self.read())

    def label(
        self, *, indexed: bool
    ) -> Integer[np.ndarray, "H W"] | UInt8[np.ndarray, "H W 3"]:
        """Decodes the file as a label, values untouched; see `decode.read_label`."""
        return read_label(Path(str(self)), indexed=indexed, data=self.read())


class RawFiles:
    """All files below a folder, those inside archives included.

    Georeferencing, statistics, hidden files and what macOS and Windows add are
    skipped.

    Attributes:
      folder: as given.
      members: sorted by name.
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
        loose = loose_files(self.folder)
        refuse_control(self.folder, [str(f.relative_to(self.folder)) for f in loose])
        found = [member for path in loose for member in self._members(path)]
        self.members = tuple(sorted(found, key=lambda member: member.name))
        if not self.members:
            raise ValueError(
                f"{folder}: got a folder without files, expected the downloaded "
                "archives or extracted folders: check --raw"
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

    def advice(self) -> str:
        """What to do about files of formats that are not read; see `formats.advice`."""
        return advice(PurePosixPath(member.name).name for member in self.members)

    def _members(self, path: Path) -> list[Member]:
        name = path.relative_to(self.folder).as_posix()
        if not (suffix := archive_suffix(name)):
            return [Member(path, name, "", path.stat().st_size)]
        return list(_inside(path, name[: -len(suffix)]))


def _inside(path: Path, folder: str) -> Iterator[Member]:
    """Files in an archive and in those within it, which are named as if extracted."""
    waiting: list[tuple[tuple[str, ...], str]] = [((), folder)]
    opened = 0
    while waiting:
        within, folder = waiting.pop()
        for inside, size in open_archive(path, within).sizes():
            if _passed_over(PurePosixPath(inside)):
                continue
            name, suffix = f"{folder}/{inside}", archive_suffix(inside)
            if not suffix:
                yield Member(path, name, inside, size, within)
                continue
            opened += 1
            if opened > MAX_NESTED or len(within) + 2 > MAX_DEPTH:
                raise ValueError(
                    f"{path}: got more than {MAX_NESTED} archives in it, or more than "
                    f"{MAX_DEPTH} in one another ({terminal(name)}), expected what is "
                    "published: extract the outer one"
                )
            waiting.append(((*within, inside), name[: -len(suffix)]))


def loose_files(folder: Path) -> list[Path]:
    """All files below a folder but georeferencing, statistics and hidden ones."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(f for f in files if not _passed_over(f.relative_to(folder)))


def _passed_over(path: PurePosixPath | Path) -> bool:
    return (
        not path.name
        or any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
        or path.name.lower() in SIDE_NAMES
        or path.suffix.lower() in SIDE_SUFFIXES
    )
