"""The page's own files, and the libraries that it comes with."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class Asset:
    """A file of the page."""

    content: bytes
    media: str


@cache
def assets() -> dict[str, Asset]:
    """Files by name: the page's, and MapLibre and PMTiles with their licences."""
    found = {}
    for folder in ("page", "vendor"):
        for entry in files("crossearth_jax.view").joinpath(folder).iterdir():
            media = MEDIA.get("." + entry.name.rpartition(".")[2])
            if media is not None:
                found[entry.name] = Asset(entry.read_bytes(), media)
    return found
