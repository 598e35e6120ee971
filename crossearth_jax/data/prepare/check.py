"""Whether downloads are the published files: in seconds by size, then by MD5."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from crossearth_jax.data.prepare.archive import archive_suffix, open_archive
from crossearth_jax.data.prepare.distribution import DISTRIBUTIONS, Published
from crossearth_jax.data.prepare.items import DataSet
from crossearth_jax.data.prepare.raw import RawFiles, loose_files
from crossearth_jax.data.prepare.run import find_items
from crossearth_jax.system.escape import terminal
from crossearth_jax.system.progress import progress

PIECE = 2**26  # bytes hashed between two steps of the progress bar


@dataclass(frozen=True)
class _Found:
    """An archive, loose or in another."""

    path: Path
    within: tuple[str, ...]
    size: int

    def __str__(self) -> str:
        inside = terminal("/".join(self.within))
        return f"{self.path} [{inside}]" if inside else str(self.path)

    @property
    def name(self) -> str:
        return PurePosixPath(self.within[-1]).name if self.within else self.path.name

    def open(self) -> BinaryIO:
        if not self.within:
            return self.path.open("rb")
        return open_archive(self.path, self.within[:-1]).nested(self.within[-1])


def check(data_set: DataSet, raw: Path) -> None:
    """Prints what is there; compares sizes, tables of contents, pairs and MD5.

    Args:
      data_set: what to look for.
      raw: folder with the downloads.

    Raises:
      ValueError: a file is not the published one, is damaged, or pairs are incomplete.
    """
    published = {each.name: each for each in DISTRIBUTIONS[data_set.name].archives}
    loose = [
        _Found(path, (), path.stat().st_size)
        for path in loose_files(raw)
        if archive_suffix(path.name)
    ]
    for each in loose:
        _check_size(each, published)
    files = RawFiles(raw)
    found = loose + list(_nested(files))
    for each in found[len(loose) :]:
        _check_size(each, published)
    here = {each.name for each in found}
    for each in published.values():
        if each.url and each.name not in here:
            print(f"not there: {each.name}")
    pairs = Counter((i.domain, i.split) for i in find_items(data_set, files))
    for (domain, split), number in sorted(pairs.items()):
        print(f"{domain}/{split}: {number} images with labels, not yet read")
    for each in found:
        if md5 := published.get(each.name, Published("")).md5:
            _check_md5(each, md5)


def _nested(files: RawFiles) -> Iterator[_Found]:
    """Archives within archives that hold anything."""
    seen = {(member.path, member.within) for member in files.members if member.within}
    for path, within in sorted(seen):
        sizes = dict(open_archive(path, within[:-1]).sizes())
        yield _Found(path, within, sizes[within[-1]])


def _check_size(found: _Found, published: dict[str, Published]) -> None:
    expected = published.get(found.name, Published("")).bytes
    if expected is None:
        print(f"{found}: {found.size:,} bytes (no published size is known)", flush=True)
    elif expected == found.size:
        print(f"{found}: {found.size:,} bytes, as published", flush=True)
    else:
        cut = "the download was cut off" if found.size < expected else "another file"
        raise ValueError(
            f"{found}: got {found.size:,} bytes, expected {expected:,} as published "
            f"({cut}): download it again"
        )


def _check_md5(found: _Found, expected: str) -> None:
    got = md5_of(found.open(), found.size, terminal(found.name))
    if got != expected:
        raise ValueError(
            f"{found}: got MD5 {got}, expected {expected} as published: it is damaged "
            "or another version, download it again"
        )
    print(f"{found}: MD5 {got}, as published")


def md5_of(file: BinaryIO, size: int, name: str) -> str:
    """The MD5 of a file, which is closed, with progress on the terminal."""
    digest = hashlib.md5(usedforsecurity=False)
    steps = max(1, -(-size // PIECE))
    with file, progress(f"MD5 of {name}", steps, "pieces of 64 MiB") as advance:
        for piece in _pieces(file):
            digest.update(piece)
            advance()
    return digest.hexdigest()


def _pieces(file: BinaryIO) -> Iterable[bytes]:
    while piece := file.read(PIECE):
        yield piece
