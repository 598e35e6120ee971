"""Where a scene is: a file here, or anything else that GDAL opens by an address."""

import os
import re
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

SCHEME = re.compile(r"[a-z0-9+]+://")
SUBDATASET = re.compile(r"[A-Z][A-Z0-9_]+:.+", re.DOTALL)  # NETCDF:"a.nc":rain
NETWORKED = re.compile(
    r"^(?!(zip|tar|gzip|file)://)[a-z0-9+]+://|/vsi(curl|s3|gs|az|adls|oss|swift)"
)
HTTP = ("http://", "https://")
SECONDS = 30  # until a server must have answered
# What GDAL does unless the environment says something else.
NETWORK = {
    "GDAL_HTTP_CONNECTTIMEOUT": SECONDS,
    "GDAL_HTTP_LOW_SPEED_TIME": SECONDS,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1000,  # bytes a second
    "GDAL_HTTP_MAX_RETRY": 4,
    "GDAL_HTTP_RETRY_DELAY": 2,  # seconds, doubled each time
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no look for neighbours
}


@dataclass(frozen=True)
class Remote:
    """A scene that is no local file.

    Attributes:
      address: what GDAL opens.
      name: of the scene, without folders.
    """

    address: str
    name: str

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return Path(self.name).stem

    def __str__(self) -> str:
        """The address without its query, which may hold a key."""
        return self.address.partition("?")[0] if "://" in self.address else self.address


Source = Path | Remote


def is_remote(text: str) -> bool:
    """Whether a text is an address of GDAL's and no file."""
    found = text.startswith("/vsi") or SCHEME.match(text) or SUBDATASET.fullmatch(text)
    return bool(found) and not os.path.exists(text)


def source_of(place: str | Path | Remote) -> Source:
    """A scene by its path or address."""
    if isinstance(place, Remote):
        return place
    text = str(place)
    return Remote(text, _name(text)) if is_remote(text) else Path(place)


def _name(address: str) -> str:
    """a.tif of https://b.org/a.tif?key=1 and zip://b.zip!c/a.tif, a_rain of a.nc's."""
    text = address
    if SCHEME.match(address):
        parts = urlsplit(address)
        text = unquote(parts.path or parts.netloc)
        if parts.fragment:
            text += "#" + parts.fragment
    elif not address.startswith("/vsi"):
        pieces = [piece.strip('"/') for piece in address.split(":")[1:]]
        names = [Path(p).stem if "." in p else p.replace("/", "_") for p in pieces]
        return "_".join(names) + ".tif"
    return re.split(r"[/!\\]", text.rstrip("/"))[-1]


def address_of(source: Source) -> str:
    """What rasterio opens."""
    return source.address if isinstance(source, Remote) else str(source)


def settings_of(source: Source) -> dict[str, Any]:
    """GDAL's options for a scene: time-outs and retries where there is a network."""
    if not isinstance(source, Remote) or not NETWORKED.search(source.address):
        return {}
    return {key: value for key, value in NETWORK.items() if key not in os.environ}


def identity(source: Source) -> list[Any]:
    """Changes with the content, as far as it is told without reading.

    Local files tell size and time, also inside of archives; HTTP servers an ETag, a
    time or a length. Of other places it is only the address.
    """
    if isinstance(source, Path):
        state = source.stat()
        return [source.name, state.st_size, state.st_mtime_ns]
    if source.address.startswith(HTTP):
        return [str(source), *_headers(source.address)]
    parts = re.split(r'[!"]|(?<=\.zip)/|(?<=\.tar)/|:', source.address)
    paths = [re.sub(r"^/?/vsi\w+/|^//", "", part) for part in parts if part]
    states = [os.stat(path) for path in paths if os.path.isfile(path)]
    return [str(source), *((s.st_size, s.st_mtime_ns) for s in states)]


def _headers(address: str) -> list[str | None]:
    request = urllib.request.Request(address, method="HEAD")
    names = ("ETag", "Last-Modified", "Content-Length")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return [answer.headers.get(name) for name in names]
    except OSError:  # as servers of signed addresses answer; reading will tell
        return []
