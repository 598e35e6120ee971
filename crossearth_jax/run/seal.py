"""Seals: what a finished checkpoint folder must hold, byte for byte.

Orbax publishes a step by one rename, so a killed save is never half visible. It has
no digests, though: bits that flip later on a disk or in a copy restore silently.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossearth_jax.system.read_json import MAX_BYTES, parse_json, read_bounded
from crossearth_jax.system.whole_file import whole_file

NAME = "seal.json"
UNFINISHED = "it was never finished"
# What file managers and network disks leave in any folder.
STRAY_NAMES = (".ds_store", "thumbs.db", "desktop.ini")
STRAY_BEGINNINGS = ("._", ".nfs", ".smbdelete", f".{NAME}")


def write(folder: Path, about: Mapping[str, Any]) -> None:
    """Seals a finished folder.

    Args:
      folder: whose files no longer change.
      about: kept beside the digests.
    """
    _write(folder, {**about, "files": _digests(folder)})


def add(folder: Path, about: Mapping[str, Any]) -> None:
    """Adds facts to a seal; the files and their digests stay as they are.

    Raises:
      ValueError: the seal is damaged.
      OSError: there is none, or it cannot be written.
    """
    _write(folder, {**read(folder), **about})


def _write(folder: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=1, sort_keys=True)
    # The seal's own digest comes first, so that a changed seal shows too.
    with whole_file(folder / NAME) as place:
        place.write_text(f"{_hash(text.encode())}\n{text}")


def read(folder: Path) -> dict[str, Any]:
    """The content of a seal.

    Raises:
      ValueError: it is damaged.
      FileNotFoundError: the folder has no seal.
    """
    text = read_bounded(folder / NAME, MAX_BYTES, errors="replace")
    digest, _, text = text.partition("\n")
    if digest != _hash(text.encode()):
        raise ValueError(f"{NAME} is damaged")
    content = parse_json(text)
    files = content.get("files") if isinstance(content, dict) else None
    if not isinstance(files, dict) or not all(map(_is_entry, files.values())):
        raise ValueError(f"{NAME} is no seal: it lists no files")
    return content


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, list) and [type(part) for part in entry] == [int, str]


def damage(folder: Path) -> str | None:
    """What is wrong with a sealed folder, None if nothing is."""
    try:
        content = read(folder)
        wanted, step = content["files"], content.get("step")
    except FileNotFoundError:
        return UNFINISHED
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return str(error)
    if step is not None and str(step) != folder.name:
        return f"it holds step {step}: the folder was renamed"
    found = _digests(folder)
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            return f"{name} is missing"
        if name not in wanted:
            return f"{name} does not belong to it"
        if found[name] != wanted[name]:
            return f"{name} is damaged ({wanted[name][0]} bytes, now {found[name][0]})"
    return None


def _digests(folder: Path) -> dict[str, list[Any]]:
    """Size and BLAKE2b of every file but the seal, by relative path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): [path.stat().st_size, _of_file(path)]
        for path in files
        if path != folder / NAME and not _is_stray(path.name.lower())
    }


def _is_stray(name: str) -> bool:
    return name in STRAY_NAMES or name.startswith(STRAY_BEGINNINGS)


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.blake2b(digest_size=20)
        ).hexdigest()


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=20).hexdigest()
