"""Which tiles are done, surviving any interruption, shared by all parts of a job."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crossearth_jax.system.escape import quoted
from crossearth_jax.system.held_file import held_file
from crossearth_jax.system.read_json import bounded_lines, parse_json, read_json
from crossearth_jax.system.whole_file import whole_file
from crossearth_jax.tiles.cut import MADE, CutTile
from crossearth_jax.tiles.plan import TRAIN, VAL

FOLDER = ".tiles"  # hidden, in the folder of the tiles
BEGUN = "begun.json"
SHOWN = 5  # differences that a message lists
MAX_BYTES = 64 << 20  # of a file here; 500,000 tiles
MAX_VALUES = 12_000_000  # of a part's journal


class Journal:
    """The tiles of a folder that are complete on disk.

    Args:
      out: folder of the tiles.
      part: number of this part and how many there are.
    """

    def __init__(self, out: Path, part: tuple[int, int]) -> None:
        self.out, self.folder, self.part = out, out / FOLDER, part
        self.path = self.folder / f"done-{part[0]}-of-{part[1]}.jsonl"

    def check(self, settings: Mapping[str, Any]) -> bool:
        """Whether the folder was begun already, with the same settings.

        Raises:
          ValueError: with others, which are listed; or it holds something else.
        """
        path = self.folder / BEGUN
        if not path.exists():
            self._refuse_strangers()
            return False
        try:
            before = read_json(path, max_bytes=MAX_BYTES)
        except ValueError as error:
            raise ValueError(
                f"got a damaged {path} ({error}): remove {self.out} and start again"
            ) from error
        now = json.loads(json.dumps(settings))
        found = list(_differences("", before, now))
        if found:
            more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            raise ValueError(
                f"{self.out}: got {'; '.join(found[:SHOWN])}{more}, expected what the "
                "folder was begun with: take the same scenes, labels and options, or "
                "give another --out"
            )
        return True

    def begin(self, settings: Mapping[str, Any], *, val: bool) -> None:
        """Makes the folders.

        Args:
          settings: what must not change until the folder is complete.
          val: whether there is a validation split.
        """
        for split in (TRAIN, VAL) if val else (TRAIN,):
            for kind in ("images", "labels"):
                (self.out / split / kind).mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(exist_ok=True)
        if not (self.folder / BEGUN).exists():
            with whole_file(self.folder / BEGUN) as place:
                place.write_text(json.dumps(settings, indent=1) + "\n")

    def done(self) -> dict[tuple[str, str], CutTile]:
        """Tiles of all parts whose files are there, by split and name.

        Raises:
          ValueError: a journal is far larger than one of tiles.
        """
        found: dict[tuple[str, str], CutTile] = {}
        for path in sorted(self.folder.glob("done-*.jsonl")):
            found |= {tile.key: tile for tile in _tiles_of(path)}
        there = self._files()
        return {
            key: tile
            for key, tile in found.items()
            if tile.state != MADE or {(*key, "images"), (*key, "labels")} <= there
        }

    def _files(self) -> set[tuple[str, str, str]]:
        """Split, stem and kind of all tiles there."""
        return {
            (split, name.removesuffix(".tif"), kind)
            for split in (TRAIN, VAL)
            for kind in ("images", "labels")
            if (self.out / split / kind).is_dir()
            for name in os.listdir(self.out / split / kind)
            if name.endswith(".tif") and not name.startswith(".")
        }

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Holds this part, so that no second process makes the same tiles.

        Raises:
          ValueError: one does.
        """
        taken = (
            f"{self.out}: got a folder that another `crossearth tiles` fills, expected "
            "to be alone: wait for it, give another --out, or share the work with "
            "--part I/N"
        )
        with held_file(self.path.with_suffix(".lock"), taken):
            yield

    def remove_empty(self) -> None:
        """Leaves no folder without tiles; without any tile, nothing is left at all."""
        for split in (TRAIN, VAL):
            for kind in ("images", "labels", ""):
                with suppress(OSError):  # it has files
                    (self.out / split / kind).rmdir()
        if not any((self.out / split).exists() for split in (TRAIN, VAL)):
            shutil.rmtree(self.folder)
            with suppress(OSError):
                self.out.rmdir()

    @contextmanager
    def noting(self) -> Iterator["Notes"]:
        """Opens the journal of this part for more lines."""
        if self.part == (1, 1):  # files of other parts may be in use
            for place in self.out.glob("*/*/.*.tmp"):  # of what was killed
                place.unlink(missing_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            if file.tell():
                file.write("\n")  # behind a line that was cut off
            yield Notes(file)

    def _refuse_strangers(self) -> None:
        if not self.out.exists():
            return
        if not self.out.is_dir():
            raise ValueError(f"got --out {self.out}, a file, expected a folder")
        found = sorted(p.name for p in self.out.iterdir() if p.name != FOLDER)
        if found:
            raise ValueError(
                f"got --out {self.out} with {quoted(found[0])} in it, expected a new "
                "folder or one that `crossearth tiles` began: give another --out"
            )


def _tiles_of(path: Path) -> Iterator[CutTile]:
    """The tiles of a part's journal; a line that was cut off says nothing."""
    try:
        for _, line in bounded_lines(path, MAX_BYTES, MAX_VALUES):
            with suppress(ValueError, TypeError, KeyError, AttributeError):
                entry = parse_json(line)
                pixels = tuple(map(int, entry.pop("pixels")))
                yield CutTile(pixels=pixels, **entry)
    except ValueError as error:
        raise ValueError(
            f"got a damaged {path} ({error}): remove it, and its tiles are cut again"
        ) from error


class Notes:
    """Lines of a journal."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def add(self, tile: CutTile) -> None:
        """Notes a tile whose files are complete."""
        self.file.write(json.dumps(asdict(tile)) + "\n")
        self.file.flush()


def _differences(place: str, before: Any, now: Any) -> Iterator[str]:
    """What differs between two contents of JSON, as "options.size 512 (was 256)"."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*now, *before]):
            inside = f"{place}.{key}" if place else str(key)
            yield from _differences(inside, before.get(key), now.get(key))
    elif before != now:
        yield f"{place} {quoted(now)} (was {quoted(before)})"
