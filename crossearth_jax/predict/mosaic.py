"""A GDAL virtual raster (VRT) over the maps of a scene's parts, or of many scenes."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.predict import geo
from crossearth_jax.predict.ground import moved
from crossearth_jax.predict.outputs import FINGERPRINT, PIXELS, TRUST, class_pixels
from crossearth_jax.predict.scene import Grid, grid_part
from crossearth_jax.predict.tiles import Tile
from crossearth_jax.system.escape import xml_text

TYPES = {"uint8": "Byte", "float16": "Float16", "float32": "Float32"}
LONG = 100_000  # characters of a path, a coordinate system or a tag
OFF = 0.01  # pixels by which a map may lie beside the grid
MOST = 2**31 - 1  # pixels a side that GDAL counts


def write_mosaic(
    made: Path,
    target: Path,
    parts: Sequence[tuple[Path, Tile]],
    *,
    grid: Grid | None = None,
    classes: ClassSet,
    mark: str,
) -> None:
    """Writes a VRT; its sources are relative to it, so both can be moved together.

    Args:
      made: the file to write.
      target: where it will lie.
      parts: maps of one layer; later ones lie over earlier ones, but for their nodata.
      grid: of all, see `common_grid`; None where parts are those of one scene, the
        first at its upper left, the last at its lower right.
      classes: names for the class map.
      mark: what it is made of.
    """
    with geo.quiet(), geo.needed("rasterio").open(parts[0][0]) as first:
        tags = {**first.tags(), FINGERPRINT: mark}
        tags.pop(TRUST, None)  # of the first part alone
        is_label = tags.pop(PIXELS, None) is not None
        if grid is None:
            rows, columns = parts[-1][1].spans
            size, transform = (rows[1], columns[1]), first.transform
            if is_label:
                tags[PIXELS] = _counted(parts)
        else:
            size, transform = (grid.height, grid.width), grid.transform
            tags["CROSSEARTH_SOURCE"] = f"{len(parts)} maps"
        bands = [
            _band(
                first,
                band,
                parts,
                target,
                classes if is_label else None,
                None if grid is None else first.nodata,  # blocks cover one another not
            )
            for band in range(1, first.count + 1)
        ]
        text = (
            f'<VRTDataset rasterXSize="{size[1]}" rasterYSize="{size[0]}">'
            f"{_place(first, transform)}{_metadata(tags)}{''.join(bands)}"
            "</VRTDataset>\n"
        )
    made.write_text(text, encoding="utf-8")


def common_grid(rasters: Iterable[Any]) -> tuple[Grid, list[Tile]]:
    """The grid over rasters that share one, and where each lies on it.

    Args:
      rasters: open ones, at least one; each is looked at once.

    Raises:
      ValueError: a raster has no coordinate system, or another one, or other pixels.
    """
    first: Any = None
    tiles: list[Tile] = []
    for raster in rasters:
        first = first or _Placed(raster.name, raster.crs, raster.transform)
        tiles.append(_tile_on(first, raster))
    top, left = min(tile.top for tile in tiles), min(tile.left for tile in tiles)
    height = max(tile.spans[0][1] for tile in tiles) - top
    width = max(tile.spans[1][1] for tile in tiles) - left
    if max(height, width) > MOST:
        raise ValueError(
            f"got maps that span {width} x {height} pixels, expected at most {MOST} a "
            "side for --mosaic: map regions into folders of their own"
        )
    whole = grid_part(first, Tile(top, left, height, width))
    placed = [Tile(t.top - top, t.left - left, t.height, t.width) for t in tiles]
    return whole, placed


class _Placed(NamedTuple):
    name: str
    crs: Any
    transform: Any


def _tile_on(first: _Placed, raster: Any) -> Tile:
    """Where a raster lies on the pixels of the first one."""
    if raster.crs is None:
        raise ValueError(
            f"{raster.name}: got no coordinate system, expected one for --mosaic: "
            "georeference the file first, or leave it out"
        )
    if raster.crs != first.crs:
        raise ValueError(
            f"{raster.name}: got another coordinate system than {first.name}, expected "
            "one for --mosaic: reproject it with gdalwarp, or map it into a folder of "
            "its own"
        )
    width, height = raster.width, raster.height
    corners = np.array([(0, 0), (width, 0), (0, height)])
    there = moved(raster.transform, *corners.T)
    found = np.stack(moved(~first.transform, *there), 1)  # [3, 2], columns and rows
    left, top = np.rint(found[0]).astype(int).tolist()
    if np.abs(found - corners - (left, top)).max() > OFF:
        raise ValueError(
            f"{raster.name}: got other pixels than {first.name}, expected one grid for "
            "--mosaic: bring them onto one with gdalwarp -tr … -tap, or map them into "
            "folders of their own"
        )
    return Tile(top, left, height, width)


def _counted(parts: Sequence[tuple[Path, Tile]]) -> str:
    counts: Counter = Counter()
    for path, _ in parts:
        counts.update(class_pixels(path))
    return json.dumps(counts)


def _place(first: Any, transform: Any) -> str:
    text = ""
    if first.crs is not None:
        text += f"<SRS>{xml_text(first.crs.to_wkt(), LONG)}</SRS>"
    if not transform.is_identity:
        numbers = ", ".join(map(repr, transform.to_gdal()))
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
    nodata: float | None,
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
    sources = "".join(_source(path, tile, band, target, nodata) for path, tile in parts)
    start = f'<VRTRasterBand dataType="{kind}" band="{band}">'
    return f"{start}{about}{sources}</VRTRasterBand>"


def _source(
    path: Path, tile: Tile, band: int, target: Path, nodata: float | None
) -> str:
    """One map; what has no data in it covers nothing, unless nodata is None."""
    kind = "SimpleSource" if nodata is None else "ComplexSource"
    end = "" if nodata is None else f"<NODATA>{nodata}</NODATA>"
    place = xml_text(os.path.relpath(path, target.parent), LONG)
    size = f'xSize="{tile.width}" ySize="{tile.height}"'
    return (
        f'<{kind}><SourceFilename relativeToVRT="1">{place}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand>"
        f'<SrcRect xOff="0" yOff="0" {size}/>'
        f'<DstRect xOff="{tile.left}" yOff="{tile.top}" {size}/>'
        f"{end}</{kind}>"
    )
