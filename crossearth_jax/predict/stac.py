"""STAC items, from a file or a server, as scenes."""

import re
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from crossearth_jax.predict.sources import (
    HTTP,
    SECONDS,
    Remote,
    Source,
    is_remote,
    source_of,
)
from crossearth_jax.system.escape import terminal
from crossearth_jax.system.read_json import parse_json, read_json

USUAL = "visual"  # true colour in 8 bits, where there is such an asset
LIMIT = 2**25  # bytes of an item collection; an item takes 5 to 20 kB


def is_stac(text: str) -> bool:
    """Whether a file or an address is to be read as STAC."""
    return urlsplit(text).path.lower().endswith((".json", ".geojson"))


def items_of(text: str, asset: str | None = None) -> list[Source]:
    """The scenes of an item or of an item collection.

    Args:
      text: path or http(s) address of the JSON.
      asset: key of each item's asset; None takes "visual", or the only one.

    Raises:
      ValueError: it is no STAC, or an item has no such asset.
    """
    content = _read(text)
    kind = content.get("type") if isinstance(content, dict) else None
    items = content.get("features") if kind == "FeatureCollection" else [content]
    if kind not in ("Feature", "FeatureCollection") or not isinstance(items, list):
        raise ValueError(f"got {text}, expected a STAC item or item collection")
    return [_scene(item, text, asset) for item in items]


def _read(text: str) -> Any:
    try:
        if text.startswith(HTTP):
            with urllib.request.urlopen(text, timeout=SECONDS) as answer:
                raw = answer.read(LIMIT + 1)
            if len(raw) > LIMIT:
                raise ValueError(f"got more than {LIMIT:,} bytes")
            return parse_json(raw)
        return read_json(text, max_bytes=LIMIT)
    except (OSError, ValueError) as error:
        shown = text.partition("?")[0]
        raise ValueError(
            f"{shown}: cannot be read ({error}), expected a STAC item or item "
            "collection in JSON"
        ) from error


def _scene(item: Any, base: str, asset: str | None) -> Source:
    assets = item.get("assets") if isinstance(item, dict) else None
    if not isinstance(assets, dict) or not isinstance(item.get("id"), str):
        raise ValueError(f"got {base}, expected STAC items with `id` and `assets`")
    key = asset
    if key is None:
        key = next(iter(assets)) if len(assets) == 1 else USUAL
    href = assets[key].get("href") if isinstance(assets.get(key), dict) else None
    if not isinstance(href, str):
        raise ValueError(
            f"{base}: got no asset {key} in item {terminal(item['id'])}, expected "
            f"--asset with one of {terminal(', '.join(assets))}"
        )
    place = source_of(_absolute(href, base))
    name = re.sub(r"[^\w.-]", "_", item["id"]) + ".tif"
    address = place.address if isinstance(place, Remote) else str(place)
    return Remote(address, name)


def _absolute(href: str, base: str) -> str:
    if is_remote(href) or Path(href).is_absolute():
        return href
    return (
        urljoin(base, href) if base.startswith(HTTP) else str(Path(base).parent / href)
    )
