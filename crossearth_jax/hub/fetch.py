"""Files to this machine: through huggingface_hub, or pooch for other servers.

huggingface_hub keeps its own cache and takes HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN and
HF_HOME. Nothing is used before its size and digests were compared, see `cache.check`.
"""

import logging
import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from crossearth_jax.hub import cache
from crossearth_jax.hub.catalogue import Model, RemoteFile
from crossearth_jax.hub.failure import NotFetched, not_fetched
from crossearth_jax.system.escape import LINE, terminal
from crossearth_jax.system.extras import needed

PURPOSE = "weights by name"
HUB = "https://huggingface.co"
_CHUNK = 2**18  # bytes; what is lost of a broken transfer
_SILENCE_S = 30.0  # of a server, after which it counts as gone


def fetch(model: Model) -> list[tuple[Path, str]]:
    """The files of a model with their SHA-256, fetched where they are not here.

    Raises:
      NotFetched: one could not be; the message says from where, and where to put it.
      cache.WrongFile: one is not what is published, or not what it was before.
    """
    if not model.files:
        see = page(model)
        raise NotFetched(f"got no file of {model.name} ({model.note}): see {see}")
    with cache.locked(f"{model.name}.files"):
        return [_fetched(model, file) for file in model.files]


def page(model: Model) -> str:
    """Where a person reads about a model and accepts its terms."""
    return f"{HUB}/{model.hub}" if model.hub else str(model.page or model.url)


def origin(model: Model) -> str:
    """Where a model comes from, briefly: a repository of the hub, or a server."""
    if model.hub:
        return model.hub
    server, _, path = str(model.url or model.page).partition("://")[2].partition("/")
    return "/".join([server, *path.split("/")[:2]]) if model.url else server


def url_of(model: Model, file: RemoteFile) -> str:
    """The address of a file."""
    if model.hub:
        endpoint = (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
        return f"{endpoint}/{model.hub}/resolve/main/{quote(file.name)}"
    return f"{model.url}/{quote(file.name)}" if model.url else str(model.page)


def is_here(model: Model, file: RemoteFile) -> bool:
    """Whether a file is on this machine, checked or not."""
    if cache.place_of(model, file).is_file():
        return True
    if not model.hub:
        return False
    try:
        hub = needed("huggingface_hub", PURPOSE, cache.EXTRA)
    except ImportError:
        return False
    return isinstance(hub.try_to_load_from_cache(model.hub, file.name), str)


def _fetched(model: Model, file: RemoteFile) -> tuple[Path, str]:
    place, told = cache.place_of(model, file), None
    if place.is_file():  # put there by hand, or fetched before
        path = place
    elif model.page:
        raise NotFetched(
            f"got no {file.name} of {model.name}, which no program can fetch: take it "
            f"from {model.page} and put it at {place}"
        )
    else:
        path, told = _download(model, file, place)
    try:
        return path, cache.check(model, file, path, told)
    except cache.WrongFile as error:
        raise cache.WrongFile(
            f"{path}, from {url_of(model, file)}: {error}; otherwise remove "
            f"{path.resolve()} and fetch it again"
        ) from error


def _download(model: Model, file: RemoteFile, place: Path) -> tuple[Path, str | None]:
    """The file, and the SHA-256 that its server told."""
    if not is_here(model, file):
        where = terminal(url_of(model, file), LINE)
        print(f"fetching {model.name} from {where}", file=sys.stderr, flush=True)
    try:
        if model.hub:
            path = _from_hub(model.hub, file.name)
            return path, _told(path)
        return _from_server(url_of(model, file), place), None
    except (ImportError, NotFetched):
        raise
    except Exception as error:  # of several libraries, which have no base in common
        raise not_fetched(error, url_of(model, file), place, page(model)) from error


def _told(path: Path) -> str | None:
    """The digest by which a server named a file, as the hub's cache keeps it.

    There a file is a link to another, which has that name; of the large ones it is
    their SHA-256. What that links to in turn has names of another kind.
    """
    name = Path(os.readlink(path)).name if path.is_symlink() else ""
    return name if re.fullmatch("[0-9a-f]{64}", name) else None


def _from_hub(repository: str, name: str) -> Path:
    """Through the hub's client, which resumes a broken transfer and locks."""
    hub = needed("huggingface_hub", PURPOSE, cache.EXTRA)
    return Path(hub.hf_hub_download(repository, name))


def _from_server(url: str, place: Path) -> Path:
    """Through pooch, which puts the file in place when it is complete."""
    pooch = needed("pooch", PURPOSE, cache.EXTRA)
    pooch.get_logger().setLevel(logging.WARNING)
    place.parent.mkdir(parents=True, exist_ok=True)
    got = pooch.retrieve(
        url, None, fname=place.name, path=place.parent, downloader=resuming
    )
    return Path(got)


def resuming(url: str, output: str, _: Any) -> None:
    """A downloader for pooch: what an earlier try left is gone on with."""
    requests = needed("requests", PURPOSE, cache.EXTRA)
    here = Path(output).parent
    part = here / f".{url.partition('?')[0].rpartition('/')[2]}.part"
    done = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    with requests.get(url, stream=True, timeout=_SILENCE_S, headers=headers) as answer:
        if answer.status_code == 416:  # there is nothing behind what is here
            part.unlink()
            return resuming(url, output, _)
        answer.raise_for_status()
        if answer.status_code != 206:
            done = 0
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length else None
        with part.open("ab" if done else "wb") as file, _bar() as bar:
            task = bar.add_task(part.name[1:-5], total=total, completed=done)
            for chunk in answer.iter_content(_CHUNK):
                file.write(chunk)
                bar.advance(task, len(chunk))
    if total is not None and part.stat().st_size != total:
        raise requests.exceptions.ChunkedEncodingError("fewer bytes than announced")
    part.replace(output)
    return None


def _bar() -> Progress:
    """Bytes, rate and time left, on a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        disable=not sys.stderr.isatty(),
    )
