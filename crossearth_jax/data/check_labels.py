"""Reads every label before the first step: each value must mean a class.

Otherwise a bad value in a scored domain would be found after all training. What a file
holds is kept in the user's cache, by its size and time, so that a second look at the
same files takes as long as listing them.
"""

import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from jaxtyping import Int

from crossearth_jax.data.check_files import report_unusable
from crossearth_jax.data.classes import label_codes, meaning_of
from crossearth_jax.data.datasets import FolderSource
from crossearth_jax.data.decode import read_label_and_mask
from crossearth_jax.data.folders import Pair
from crossearth_jax.data.packed import Packed
from crossearth_jax.data.palettes import Palettes, colours_of
from crossearth_jax.data.timed import read_in_time
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.system import hosts
from crossearth_jax.system.progress import progress
from crossearth_jax.system.read_json import read_json
from crossearth_jax.system.whole_file import whole_file

MOST_VALUES = 300  # of one file that are kept; lossy labels have thousands
FORMAT = 2  # of the cache
KEPT_BYTES, KEPT_VALUES = 2**28, 2**24  # of the cache of a folder


@dataclass(frozen=True)
class Found:
    """What a label file holds.

    Attributes:
      codes: its values (colours as 0xRRGGBB), but for pixels marked as no data.
      marked: values of the pixels marked so.
      colours: [value, red, green, blue] of an indexed file.
      pixels: of each code.
      marked_pixels: of each marked value.
    """

    codes: tuple[int, ...]
    marked: tuple[int, ...] = ()
    colours: tuple[tuple[int, ...], ...] = ()
    pixels: tuple[int, ...] = ()
    marked_pixels: tuple[int, ...] = ()


def check_labels(
    sources: Sequence[FolderSource],
    on_corrupt: str = "error",
    *,
    host: int = 0,
    host_count: int = 1,
    cache: Path | None = None,
) -> dict[str, Found]:
    """Reads all labels; several hosts share them and hear of each other's.

    Args:
      sources: colour tables of indexed files must agree within each.
      on_corrupt: "error" raises, "skip" warns: reading leaves the files out.
      host: index of this one.
      host_count: of them.
      cache: folder of what is known of files; None takes the user's.

    Returns:
      What each label that can be read holds, by its place as text.

    Raises:
      ValueError: labels that cannot be used; the first ones are named.
    """
    cache = cache or user_cache()
    work = [(s, pair) for s in sources for pair in s.pairs]
    mine = work[host::host_count]
    reasons: dict[str, str] = {}
    with progress("labels read", len(mine), "files", quiet=host > 0) as advance:
        found = _read_all(mine, cache, reasons, advance)
    everything = hosts.gather((found, reasons))
    known = {name: one for part, _ in everything for name, one in part.items()}
    bad = {name: why for _, part in everything for name, why in part.items()}
    for source in sources:
        bad |= _other_tables(source, known)
    if bad:
        ordered = [bad[str(pair.label)] for _, pair in work if str(pair.label) in bad]
        report_unusable(list(dict.fromkeys(ordered)), len(work), on_corrupt)
    return {name: one for name, one in known.items() if name not in bad}


def class_pixels(
    source: FolderSource, known: Mapping[str, Found]
) -> Int[np.ndarray, "N K"]:
    """Pixels of each class in each label of a source; none of one that is not known.

    Args:
      source: of N records.
      known: of `check_labels`.
    """
    meaning = meaning_of(source.classes, source.encoding)
    counts = np.zeros((len(source), len(source.classes.names)), np.int64)
    for row, pair in zip(counts, source.pairs, strict=True):
        found = known.get(str(pair.label), Found(()))
        pairs = list(zip(found.codes, found.pixels, strict=True))
        if source.label_nodata == "class":
            pairs += zip(found.marked, found.marked_pixels, strict=True)
        for code, pixels in pairs:
            if (meant := meaning.get(code, IGNORE)) != IGNORE:
                row[meant] += pixels
    return counts


def _read_all(
    work: Sequence[tuple[FolderSource, Pair]],
    cache: Path,
    reasons: dict[str, str],
    advance: Any,
) -> dict[str, Found]:
    """{label: what it holds}; fills in why others cannot be used."""
    kept = _Kept(cache)
    found: dict[str, Found] = {}

    def look(one: tuple[FolderSource, Pair]) -> tuple[str, Found | None, str | None]:
        source, pair = one
        try:
            holds = kept.get(source, pair) or kept.put(
                source, pair, _read(source, pair)
            )
            if not _fits(source, holds):
                source.label(pair)  # says what is wrong
        except ValueError as error:
            return str(pair.label), None, str(error)
        return str(pair.label), holds, None

    with ThreadPoolExecutor(max(4, os.cpu_count() or 1)) as pool:
        for name, holds, why in pool.map(look, work):
            if why is not None:
                reasons[name] = why
            elif holds is not None:
                found[name] = holds
            advance()
    kept.write()
    return found


def _read(source: FolderSource, pair: Pair) -> Found:
    """Decodes one label."""
    data = read_in_time(pair.label, source.timeout_s, source.max_pixels)
    indexed = source.encoding.kind == "ids"
    raw, nothing = read_label_and_mask(
        pair.label, indexed=indexed, data=data, max_pixels=source.max_pixels
    )
    codes = label_codes(raw, source.encoding)
    seen = codes if nothing is None else codes[~nothing]
    marks = codes[:0] if nothing is None else codes[nothing]
    (values, pixels), (marked, marked_pixels) = _counted(seen), _counted(marks)
    return Found(values, marked, _table(data, values, indexed), pixels, marked_pixels)


def _counted(codes: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Distinct values, and the pixels of each."""
    if codes.size and codes.min() >= 0 and codes.max() < 1 << 16:
        every = np.bincount(codes.ravel())
        values = np.flatnonzero(every)
        counts = every[values]
    else:
        values, counts = np.unique(codes, return_counts=True)
    return tuple(values.tolist()), tuple(counts.tolist())


def _table(
    data: bytes, values: Sequence[int], indexed: bool
) -> tuple[tuple[int, ...], ...]:
    if not indexed:
        return ()
    return tuple((v, *colour) for v, colour in colours_of(data, values).items())


def _fits(source: FolderSource, holds: Found) -> bool:
    """Whether every value means a class or nothing, and no mark contradicts it."""
    meaning = meaning_of(source.classes, source.encoding)
    asked = source.label_nodata == "ask"
    contradicts = any(meaning.get(code, IGNORE) != IGNORE for code in holds.marked)
    return meaning.keys() >= set(holds.codes) and not (asked and contradicts)


def _other_tables(source: FolderSource, known: Mapping[str, Found]) -> dict[str, str]:
    """{label: why} of indexed files whose colour tables disagree with earlier ones."""
    palettes, bad = Palettes(), {}
    for pair in source.pairs:
        if holds := known.get(str(pair.label)):
            try:
                palettes.add(pair.label, {v: (r, g, b) for v, r, g, b in holds.colours})
            except ValueError as error:
                bad[str(pair.label)] = str(error)
    return bad


def user_cache() -> Path:
    """Where what is known of label files is kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    return cache / "crossearth_jax" / "labels"


class _Kept:
    """What is known of the labels of each folder or archive: one JSON file for each.

    A cache that cannot be read or written is a slower start, no error.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[Path, dict[str, Any]] = {}
        self._changed: set[Path] = set()
        self._lock = threading.Lock()

    def get(self, source: FolderSource, pair: Pair) -> Found | None:
        place, key, stamp = _identity(source, pair)
        entry = self._of(place).get(key)
        try:
            if entry is None or entry["stamp"] != stamp:
                return None
            table = tuple(map(tuple, entry["colours"]))
            names = ("codes", "marked", "pixels", "marked_pixels")
            lists = {name: tuple(entry[name]) for name in names}
            found = Found(**lists, colours=table)
            whole = len(found.codes) == len(found.pixels)
            whole &= len(found.marked) == len(found.marked_pixels)
            return found if whole else None
        except (LookupError, TypeError):
            return None

    def put(self, source: FolderSource, pair: Pair, found: Found) -> Found:
        place, key, stamp = _identity(source, pair)
        if len(found.codes) <= MOST_VALUES:
            self._of(place)[key] = {"stamp": stamp, **asdict(found)}
            self._changed.add(place)
        return found

    def _of(self, place: Path) -> dict[str, Any]:
        with self._lock:  # two readers would each keep a table of their own
            if place not in self._known:
                self._known[place] = self._stored(place)
            return self._known[place]

    def _stored(self, place: Path) -> dict[str, Any]:
        try:
            content = read_json(
                self._file(place), max_bytes=KEPT_BYTES, max_values=KEPT_VALUES
            )
        except (OSError, ValueError):
            return {}
        good = isinstance(content, dict) and content.get("format") == FORMAT
        files = content.get("files") if good else None
        return files if isinstance(files, dict) else {}

    def _file(self, place: Path) -> Path:
        digest = hashlib.sha256(str(place).encode()).hexdigest()
        return self._folder / f"{digest[:32]}.json"

    def write(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for place in self._changed:
                with whole_file(self._file(place)) as file:
                    content = {"format": FORMAT, "files": self._known[place]}
                    file.write_text(json.dumps(content))
        except OSError as error:
            logging.info("labels are read again next time: %s", error)


def _identity(source: FolderSource, pair: Pair) -> tuple[Path, str, list[int]]:
    """Folder, key in it, and what changes with the content."""
    label, kind = pair.label, source.encoding.kind
    if isinstance(label, Packed):
        status, place, name = label.archive.stat(), label.archive, str(label.record)
    else:
        status, place, name = label.stat(), label.parent, label.name
    stamp = [status.st_size, status.st_mtime_ns, status.st_ino]
    return place.absolute(), f"{kind} {name}", stamp
