"""What the files of a map say about themselves; imports nothing heavy."""

from collections.abc import Mapping
from typing import Any

from crossearth_jax.system.read_json import parse_json

FINGERPRINT = "CROSSEARTH_FINGERPRINT"
PIXELS = "CROSSEARTH_PIXELS"  # how many of each class a map has
TRUST = "CROSSEARTH_TRUST"  # what is expected of a map
CLASSES = "CROSSEARTH_CLASSES"  # names by id
SOURCE = "CROSSEARTH_SOURCE"  # name of the scene
BANDS = "CROSSEARTH_BANDS"  # of the scene that became red, green and blue
SCALING = "CROSSEARTH_SCALING"  # its values that became 0, and 255; null for 8 bits
UNIT = 250  # of an 8-bit probability that means 1; 255 is nodata
POLYGONS = "classes"  # the layer of a GeoPackage


def json_in(tags: Mapping[str, str], tag: str) -> Any:
    """What a tag of a raster holds as JSON; None without it, or if it is no JSON."""
    try:
        return parse_json(tags[tag]) if tag in tags else None
    except ValueError:
        return None


def numbers_in(tags: Mapping[str, str], tag: str, kind: type) -> dict[str, Any]:
    """Numbers by name from a tag of a raster; empty if it holds anything else."""
    found = json_in(tags, tag)
    sound = isinstance(found, dict) and all(type(n) is kind for n in found.values())
    return found if sound else {}
