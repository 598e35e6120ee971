"""The cache: where files lie, and the digests of those that were seen before.

    files/NAME/FILE        fetched from a server other than the hub, or put by hand
    converted/….safetensors
    digests.json           of every file as it came the first time

Files of the hub lie in its own cache, HF_HOME, which other programs share.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crossearth_jax.hub.catalogue import Model, RemoteFile
from crossearth_jax.system.extras import needed
from crossearth_jax.system.read_json import read_json
from crossearth_jax.system.whole_file import whole_file

PLACE = "CROSSEARTH_CACHE"
EXTRA = "hub"


class WrongFile(ValueError):
    """A file that is not the one that was published, or seen before."""


def folder() -> Path:
    """The cache's folder: CROSSEARTH_CACHE, or ~/.cache/crossearth_jax."""
    if given := os.environ.get(PLACE):
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "crossearth_jax"


def place_of(model: Model, file: RemoteFile) -> Path:
    """Where a file is looked for that was fetched by hand."""
    return folder() / "files" / model.name / file.name


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One process at a time, of all that share this cache.

    Without the library that the clients bring there are no downloads to share, and
    conversions of two processes are each whole.

    Args:
      name: of what is made meanwhile.
    """
    try:
        filelock = needed("filelock", "downloads", EXTRA)
    except ImportError:
        yield
        return
    place = folder() / "locks" / f"{name}.lock"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"got the cache {folder()}, which cannot be written ({error}), expected a "
            f"folder of yours: set {PLACE}"
        ) from error
    with filelock.FileLock(place):
        yield


def kept_digest(model: Model, file: RemoteFile) -> str | None:
    """SHA-256 of a file as it came the first time; None if it never did."""
    entry = _digests().get(_key(model, file), {})
    digest = entry.get("sha256") if isinstance(entry, dict) else None
    return digest if re.fullmatch("[0-9a-f]{64}", str(digest)) else None


def check(model: Model, file: RemoteFile, path: Path, told: str | None = None) -> str:
    """Compares a file with all that is known of it; keeps its digest the first time.

    Args:
      model: that it belongs to.
      file: what is published about it.
      path: of the file.
      told: SHA-256 that the server gave with it.

    Returns:
      Its SHA-256.

    Raises:
      WrongFile: it is another file, or damaged.
    """
    size, sha256, git_blob = _measured(path)
    facts = (
        ("bytes", size, file.bytes, "published"),
        ("SHA-256", sha256, file.sha256, "published"),
        ("git blob", git_blob, file.git_blob, "published"),
        ("SHA-256", sha256, told, "given by the server"),
    )
    for what, got, expected, origin in facts:
        if expected is not None and got != expected:
            raise WrongFile(f"got {what} {got}, expected {expected} as {origin}")
    kept = kept_digest(model, file)
    if kept is None:
        _keep(model, file, {"sha256": sha256, "bytes": size})
    elif kept != sha256:
        raise WrongFile(
            f"got SHA-256 {sha256}, expected {kept}, which it had when it was first "
            f"fetched; if the change is meant, remove its entry from {_list()}"
        )
    return sha256


def _measured(path: Path) -> tuple[int, str, str]:
    """Size, SHA-256 and git's id of a file, read once."""
    size = path.stat().st_size
    sha256, blob = hashlib.sha256(), hashlib.sha1(f"blob {size}\0".encode())
    with path.open("rb") as content:
        while chunk := content.read(2**20):
            sha256.update(chunk)
            blob.update(chunk)
    return size, sha256.hexdigest(), blob.hexdigest()


def _list() -> Path:
    return folder() / "digests.json"


def _key(model: Model, file: RemoteFile) -> str:
    return f"{model.hub or model.url or model.page} {file.name}"


def _digests() -> dict[str, Any]:
    try:
        content = read_json(_list())
    except (OSError, ValueError):  # nothing was kept, or nothing of use
        return {}
    return content if isinstance(content, dict) else {}


def _keep(model: Model, file: RemoteFile, facts: dict[str, Any]) -> None:
    with locked("digests"):
        facts = {**facts, "first": time.strftime("%Y-%m-%d")}
        text = json.dumps({**_digests(), _key(model, file): facts}, indent=1)
        with whole_file(_list()) as place:
            place.write_text(text + "\n")
