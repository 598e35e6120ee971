"""A GDAL virtual raster (VRT) over the maps of a scene's parts."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.predict import geo
from crossearth_jax.predict.outputs import FINGERPRINT, PIXELS, TRUST, class_pixels
from crossearth_jax.predict.tiles import Tile
from crossearth_jax.predict.write import quiet
from crossearth_jax.system.escape import xml_text

TYPES = {"uint8": "Byte", "float16": "Float16", "float32": "Float32"}
LONG = 100_000  # characters of a path, a coordinate system or a tag


def write_mosaic(
    made: Path,
    target: Path,
    parts: Sequence[tuple[Path, Tile]],
    *,
    size: tuple[int, int],
    classes: ClassSet,
    mark: str,
) -> None:
    """Writes a VRT; its sources are relative to it, so both can be moved together.

    Args:
      made: the file to write.
      target: where it will lie.
      parts: maps of one layer, the first at the scene's upper left.
      size: rows and columns of the scene.
      classes: names for the class map.
      mark: what it is made of.
    """
    with quiet(), geo.needed("rasterio").open(parts[0][0]) as first:
        tags = {**first.tags(), FINGERPRINT: mark}
        tags.pop(TRUST, None)  # of the first part alone
        is_label = PIXELS in tags
        if is_label:
            counts: Counter = Counter()
            for path, _ in parts:
                counts.update(class_pixels(path))
            tags[PIXELS] = json.dumps(counts)
        bands = [
            _band(first, band, parts, target, classes if is_label else None)
            for band in range(1, first.count + 1)
        ]
        text = (
            f'<VRTDataset rasterXSize="{size[1]}" rasterYSize="{size[0]}">'
            f"{_place(first)}{_metadata(tags)}{''.join(bands)}</VRTDataset>\n"
        )
    made.write_text(text, encoding="utf-8")


def _place(first: Any) -> str:
    text = ""
    if first.crs is not None:
        text += f"<SRS>{xml_text(first.crs.to_wkt(), LONG)}</SRS>"
    if not first.transform.is_identity:
        numbers = ", ".join(map(repr, first.transform.to_gdal()))
        text += f"<GeoTransform>{numbers}</GeoTransform>"
    return text + _points(first)


def _points(first: Any) -> str:
    """Ground control points and RPCs of the first part, whose corner is the scene's."""
    text, (points, crs) = "", first.gcps
    if points:
        system = "" if crs is None else xml_text(crs.to_wkt(), LONG)
        items = (
            f'<GCP Id="{i}" Pixel="{p.col!r}" Line="{p.row!r}" X="{p.x!r}" '
            f'Y="{p.y!r}" Z="{p.z or 0.0!r}"/>'
            for i, p in enumerate(points)
        )
        text += f'<GCPList Projection="{system}">{"".join(items)}</GCPList>'
    if rpcs := first.tags(ns="RPC"):
        items = (f'<MDI key="{k}">{xml_text(v, LONG)}</MDI>' for k, v in rpcs.items())
        text += f'<Metadata domain="RPC">{"".join(items)}</Metadata>'
    return text


def _metadata(tags: dict[str, str]) -> str:
    own = {key: value for key, value in tags.items() if key.startswith("CROSSEARTH_")}
    items = (
        f'<MDI key="{xml_text(k)}">{xml_text(v, LONG)}</MDI>' for k, v in own.items()
    )
    return f"<Metadata>{''.join(items)}</Metadata>"


def _band(
    first: Any,
    band: int,
    parts: Sequence[tuple[Path, Tile]],
    target: Path,
    classes: ClassSet | None,
) -> str:
    kind = TYPES[first.dtypes[band - 1]]
    name = first.descriptions[band - 1] or ""
    about = f"<Description>{xml_text(name)}</Description>"
    about += f"<NoDataValue>{first.nodata}</NoDataValue>"
    about += f"<Scale>{first.scales[band - 1]!r}</Scale>"
    if classes is not None:
        entries = (
            f'<Entry c1="{r}" c2="{g}" c3="{b}" c4="{a}"/>'
            for _, (r, g, b, a) in sorted(first.colormap(band).items())
        )
        names = (f"<Category>{xml_text(n)}</Category>" for n in classes.names)
        about += "<ColorInterp>Palette</ColorInterp>"
        about += f"<ColorTable>{''.join(entries)}</ColorTable>"
        about += f"<CategoryNames>{''.join(names)}</CategoryNames>"
    sources = "".join(_source(path, tile, band, target) for path, tile in parts)
    start = f'<VRTRasterBand dataType="{kind}" band="{band}">'
    return f"{start}{about}{sources}</VRTRasterBand>"


def _source(path: Path, tile: Tile, band: int, target: Path) -> str:
    place = xml_text(os.path.relpath(path, target.parent), LONG)
    size = f'xSize="{tile.width}" ySize="{tile.height}"'
    return (
        f'<SimpleSource><SourceFilename relativeToVRT="1">{place}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand>"
        f'<SrcRect xOff="0" yOff="0" {size}/>'
        f'<DstRect xOff="{tile.left}" yOff="{tile.top}" {size}/></SimpleSource>'
    )
