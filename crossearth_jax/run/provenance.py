"""What a run was made of, kept beside its results: `provenance.json`.

`crossearth rerun` compares it with what it finds, so that a difference in results can
be traced to a difference in data, packages or devices.
"""

import functools
import hashlib
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from absl import logging

import crossearth_jax
from crossearth_jax.build_data import Data
from crossearth_jax.data.datasets import FolderSource
from crossearth_jax.system.read_json import read_json
from crossearth_jax.system.whole_file import whole_file

PACKAGES = (
    "crossearth_jax",  # of this code, installed or not
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "numpy",
    "opencv-python-headless",
)
SAMPLED = 8  # pairs of files whose bytes hosts compare


def collect(seed: int, data: Data) -> dict[str, Any]:
    """The facts of this process; hosts must agree on those under "must_agree"."""
    return {
        "must_agree": {
            "packages": {name: _version(name) for name in PACKAGES},
            "data": data_hash(data),
            "contents": sampled_contents(data),
            "code": code_digest(),
        },
        "seed": seed,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "git": git_commit(),
        "devices": [d.device_kind for d in jax.devices()],
        "hosts": jax.process_count(),
        "command": sys.argv,
    }


def write(origin: dict[str, Any], workdir: Path, start: int) -> None:
    """Adds this start to the list of starts in `provenance.json`."""
    path = workdir / "provenance.json"
    starts = _starts_so_far(workdir) if start and path.exists() else []
    text = json.dumps([*starts, {"from_step": start, **origin}], indent=1)
    with whole_file(path) as place:
        place.write_text(text + "\n")


def _starts_so_far(workdir: Path) -> list[dict[str, Any]]:
    """A list that cannot be read is kept beside a new one: the run is sound."""
    try:
        return read(workdir)
    except ValueError as error:
        aside = workdir / "provenance.damaged.json"
        (workdir / "provenance.json").replace(aside)
        logging.warning("%s; it is now %s", error, aside.name)
        return []


def read(workdir: Path) -> list[dict[str, Any]]:
    """One entry for every start of a run, oldest first.

    Raises:
      ValueError: the file is missing or unreadable.
    """
    path = workdir / "provenance.json"
    try:
        starts = read_json(path)
        if (
            not starts
            or not isinstance(starts, list)
            or not all(isinstance(s, dict) for s in starts)
        ):
            raise ValueError("expected a list of starts")
        return starts
    except (OSError, ValueError) as error:
        raise ValueError(
            f"got no readable {path} ({error}), expected the workdir of a run"
        ) from error


def data_hash(data: Data) -> str:
    """SHA-256 over the classes and over names and sizes of all files.

    Contents are not read: it would take as long as an epoch.
    """
    sources = (data.train, *(domain.source for domain in data.domains))
    facts = [repr(data.classes), *(source.fingerprint() for source in sources)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def sampled_contents(data: Data) -> str:
    """SHA-256 over the bytes of some training files, evenly spread; "" for drawn ones.

    Names and sizes alone do not tell a mask from one with other values.
    """
    if not isinstance(data.train, FolderSource):
        return ""  # drawn by the code
    return data.train.contents(SAMPLED)


@functools.cache
def code_digest() -> str:
    """SHA-256 over this package's Python files, names and contents."""
    package = Path(crossearth_jax.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        # Line ends differ between checkouts of one commit.
        source = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{path.relative_to(package).as_posix()} {len(source)} ".encode())
        digest.update(source)
    return digest.hexdigest()


def git_commit() -> str | None:
    """Commit of the checkout that this package runs from, "+" if it was changed."""
    here = Path(__file__).parent
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", here, *arguments],
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            ).stdout.strip()
            for arguments in (
                ("rev-parse", "HEAD"),
                ("status", "--porcelain", "--untracked-files=no", "."),
            )
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changes else "")


def _version(package: str) -> str | None:
    if package == "crossearth_jax":
        return crossearth_jax.__version__
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
