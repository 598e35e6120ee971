"""`crossearth view MAPS…`: a page to look at maps, here or in a folder for a server."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.options import find_scenes, listed
from crossearth_jax.commands.parser import make_parser
from crossearth_jax.commands.values import count, numbers
from crossearth_jax.predict import geo

if TYPE_CHECKING:  # --help needs no GDAL
    from crossearth_jax.view.gather import View

EPILOG = """\
examples:
  crossearth view maps
  crossearth view maps/a.tif --scene a.tif
  crossearth view rein/a.tif full/a.tif --scene a.tif     two runs, side by side
  crossearth view maps --scene scenes --export page       a folder for a web server

Confidence, trust and polygons that `crossearth predict` wrote beside a map are found by
their names. docs/view.md shows the page.
"""
MOST_PORT = 65_535


def main(argv: Sequence[str]) -> int:
    """Runs the command; an error of the user's input becomes one line."""
    return guarded(run, view_parser().parse_args(argv))


def run(options: argparse.Namespace) -> None:
    """Looks at the files, then serves or exports."""
    from crossearth_jax.view.gather import gather
    from crossearth_jax.view.reading import needed, set_up
    from crossearth_jax.view.scenes import Wanted

    _check_together(options)
    set_up()
    for library in ("rasterio", "pyogrio", "geopandas"):
        geo.needed(library)
    for library in ("rio_tiler", "starlette", "uvicorn", "pmtiles"):
        needed(library)
    view = gather(
        find_maps(options.maps),
        find_scenes(options.scene),
        Wanted(options.bands, options.scale),
        polygons=options.polygons,
    )
    if options.export:
        _export(view, options)
    else:
        from crossearth_jax.view.serve import serve

        serve(view, options.port, browser=options.browser)


def find_maps(inputs: Sequence[str]) -> list[Path]:
    """Files as given, class maps of folders, patterns expanded; each once.

    Raises:
      ValueError: there is no such file, or no class map in a folder.
    """
    from crossearth_jax.view.gather import class_maps_in

    found: list[Path] = []
    for text in listed(inputs):
        files, folder = find_scenes([text]), Path(text)
        found += class_maps_in(folder, files) if folder.is_dir() else files
    return list(dict.fromkeys(found))


def view_parser() -> argparse.ArgumentParser:
    """All arguments of the command."""
    parser = make_parser(
        "crossearth view",
        "Shows class maps in a browser: classes over the scene, their areas, the value "
        "under the\ncursor. The page is served to this machine alone and loads nothing "
        "from others.",
        EPILOG,
    )
    add = parser.add_argument
    add(
        "maps",
        nargs="+",
        metavar="MAP",
        help="class map, folder of maps or pattern; files of polygons too; @FILE has "
        "one of them a line",
    )
    add(
        "--scene",
        nargs="+",
        default=[],
        metavar="SCENE",
        help="rasters that the maps were made of, shown below them",
    )
    add(
        "--bands",
        type=_bands,
        metavar="R,G,B",
        help="of the scene, from 1; default those that the map was made of",
    )
    add(
        "--scale",
        type=_low_high,
        metavar="LOW,HIGH",
        help="values of the scene that become black and white",
    )
    add(
        "--no-polygons",
        dest="polygons",
        action="store_false",
        help="leave out the polygons beside the maps",
    )
    _add_ways(parser)
    return parser


def _add_ways(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the page on this machine").add_argument
    add(
        "--port",
        type=_port,
        metavar="N",
        help="default the first free one from 8008 on; 0 takes any",
    )
    add(
        "--no-browser",
        dest="browser",
        action="store_false",
        help="print the address and open nothing",
    )
    add = parser.add_argument_group("a folder for a web server").add_argument
    add("--export", type=Path, metavar="DIR", help="write the page, and end")
    add(
        "--max-zoom",
        type=_zoom,
        metavar="Z",
        help="of the finest tiles; default as fine as the rasters",
    )
    add(
        "--max-mb",
        type=count,
        default=1_000,
        metavar="N",
        help="give up beyond so many megabytes of tiles (1000)",
    )


def _check_together(options: argparse.Namespace) -> None:
    if not options.scene and (options.bands or options.scale):
        raise ValueError("got --bands or --scale without a scene, expected --scene too")
    if options.max_zoom is not None and not options.export:
        raise ValueError("got --max-zoom without --export, expected both")


def _export(view: "View", options: argparse.Namespace) -> None:
    from crossearth_jax.view.export import check_target, export, plan

    check_target(options.export)
    made = plan(view, options.max_zoom)
    shown = ", ".join(
        f"{name} {number:,} to zoom {made.zooms[name]}"
        for name, number in made.tiles.items()
    )
    print(f"{sum(made.tiles.values()):,} tiles at most: {shown}", flush=True)
    size = export(view, options.export, made, options.max_mb)
    print(
        f"wrote {options.export}, {size / 1e6:.1f} MB; a browser shows it from a web "
        "server, not as files: docs/view.md"
    )


def _bands(text: str) -> tuple[int, ...]:
    found = numbers(text, int, (3, 1), "3,2,1")
    return found * 3 if len(found) == 1 else found


def _low_high(text: str) -> tuple[float, float]:
    return numbers(text, float, (2,), "0,4000")


def _port(text: str) -> int:
    return _between(text, 0, MOST_PORT)


def _zoom(text: str) -> int:
    return _between(text, 0, 22)


def _between(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"got {text}, expected {least} to {most}")
    return int(text)
