"""What was written: one journal line per raw pair, one manifest per domain."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossearth_jax import __version__
from crossearth_jax.data.prepare.items import DataSet, Item, LabelCode
from crossearth_jax.data.prepare.raw import RawFiles
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.system.escape import quoted
from crossearth_jax.system.read_json import bounded_lines, parse_json, read_json
from crossearth_jax.system.whole_file import whole_file

HASHED_BYTES = 256 << 20  # larger archives are known by their size only


@dataclass(frozen=True)
class Written:
    """What one raw pair became.

    Attributes:
      split: its split.
      name: of the item.
      raw: bytes of the raw image and label.
      images: file names in images/.
      labels: file names in labels/.
      pixels: label pixels written, by class id, the ignored ones last.
      values: {raw label value: pixels in the raw label}.
    """

    split: str
    name: str
    raw: tuple[int, int]
    images: tuple[str, ...]
    labels: tuple[str, ...]
    pixels: tuple[int, ...]
    values: Mapping[str, int]


def _written(entry: dict[str, Any]) -> Written:
    lists = {key: tuple(v) for key, v in entry.items() if isinstance(v, list)}
    return Written(**{**entry, **lists})


class Journal:
    """The pairs of a domain that are complete on disk, surviving any interruption."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / ".prepare.jsonl"

    def read(self) -> tuple[dict[str, Any] | None, dict[tuple[str, str], Written]]:
        """The settings it was begun with (None: not begun), and the pairs by key."""
        if not self.path.exists():
            return None, {}
        lines = []
        try:
            for _, line in bounded_lines(self.path):
                with suppress(ValueError):  # cut off while it was written
                    lines.append(parse_json(line))
        except ValueError as error:
            raise self._damaged(error) from error
        if not lines:
            return None, {}
        settings, *entries = lines
        try:
            done = {(e["split"], e["name"]): _written(e) for e in entries}
            return dict(settings), done
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> ValueError:
        return ValueError(
            f"got a damaged {self.path} ({quoted(error)}): remove it and start again"
        )

    def begin(self, settings: Mapping[str, Any], done: Iterable[Written]) -> None:
        """Rewrites it with what is known to be complete."""
        with whole_file(self.path) as place, place.open("w") as file:
            for entry in (settings, *map(asdict, done)):
                file.write(json.dumps(entry) + "\n")

    def add(self, written: Written) -> None:
        """Notes a complete pair."""
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(written)) + "\n")


def settings_of(data_set: DataSet) -> dict[str, Any]:
    """What must not change between the runs that fill one folder."""
    return {
        "data_set": data_set.name,
        "options": dict(data_set.options),
        "tile": data_set.tile,
        "classes": list(data_set.classes.names),
    }


def sources_of(files: RawFiles, items: Iterable[Item]) -> list[dict[str, Any]]:
    """Archives, and folders of loose files, that the items come from."""
    members = {m for item in items for m in (item.image, item.label)}
    count, size = Counter[Path](), Counter[Path]()
    for member in members:
        path = member.path if member.inside else member.path.parent
        count[path] += 1
        size[path] += member.size
    return [
        {
            "path": path.relative_to(files.folder).as_posix(),
            "bytes": path.stat().st_size if path.is_file() else size[path],
            "files_used": count[path],
            **_digest(path),
        }
        for path in sorted(count)
    ]


def _digest(path: Path) -> dict[str, str]:
    if not path.is_file() or path.stat().st_size > HASHED_BYTES:
        return {}
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def build_manifest(
    data_set: DataSet,
    domain: str,
    code: LabelCode,
    items: Sequence[Item],
    written: Iterable[Written],
    sources: list[dict[str, Any]],
) -> dict[str, Any]:
    """The content of `manifest.json`; see docs/data.md."""
    written = list(written)
    names = data_set.classes.names
    counts, pixels = Counter[str](), defaultdict[str, Counter[str]](Counter)
    values, after = Counter[str](), Counter[str]()
    for entry in written:
        counts[entry.split] += len(entry.images)
        pixels[entry.split] += Counter(
            dict(zip((*names, "ignored"), entry.pixels, strict=True))
        )
        ids = (*map(str, range(len(names))), str(IGNORE))
        after += Counter(dict(zip(ids, entry.pixels, strict=True)))
        values += Counter(entry.values)
    exceptions = defaultdict[str, list[str]](list)
    for item in items:
        if item.code:
            exceptions[item.code.describe()].append(item.name)
    return {
        "domain": domain,
        "title": data_set.title,
        **settings_of(data_set),
        "palette": [list(colour) for colour in data_set.classes.palette],
        "labels": code.describe(),
        "labels_of_some": dict(exceptions),
        "counts": dict(sorted(counts.items())),
        "expected": {
            split: number
            for (place, split), number in data_set.expected.items()
            if place == domain
        },
        "pixels": {
            split: {name: pixels[split][name] for name in (*names, "ignored")}
            for split in sorted(pixels)
        },
        "label_values": {"before": dict(values), "after": dict(after)},
        "sources": sources,
        "tool": f"crossearth_jax {__version__}",
    }


def absent_classes(manifest: Mapping[str, Any]) -> list[str]:
    """Names of the classes of which no label of any split has a pixel."""
    splits = manifest["pixels"].values()
    return [
        name
        for name in manifest["classes"]
        if not any(pixels[name] for pixels in splits)
    ]


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a domain's folder, None if it is not complete."""
    path = folder / "manifest.json"
    if not path.exists():
        return None
    try:
        manifest = read_json(path, max_bytes=64 * 2**20)
        if not isinstance(manifest, dict) or not {"sources", "counts"} <= set(manifest):
            raise ValueError("expected `sources` and `counts`")
    except ValueError as error:
        raise ValueError(
            f"got a damaged {path} ({error}): remove it and start again"
        ) from error
    return manifest


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes `manifest.json`, at once or not at all."""
    with whole_file(folder / "manifest.json") as place:
        place.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
