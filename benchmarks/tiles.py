"""Speed and memory of `crossearth tiles`, beside rasterio's plain loop.

`python -m benchmarks.tiles`; sides and threads are options.

The scene is made on the fly: four bands of 16 bits, DEFLATE in blocks of 512, with a
house on every 100 by 100 pixels as a polygon in EPSG:4326. Both read it, scale three
bands to 8 bits, burn the polygons and write images and labels of 512 by 512, in the
same formats, each in its own process. Time is from the first look at the files to the
last file written; ours has digests, the picture and the manifest in it. Speeds are
megapixels of scene per second.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt16

from crossearth_jax.predict.geo import needed

SIDES = "5000,20000"
TILE = 512
STEP = 100  # pixels from house to house
LEFT, TOP, PIXEL, CRS = 336_000, 3_057_000, 0.3, "EPSG:32645"
LOW, HIGH = 200.0, 4000.0
PLAIN, OURS = "rasterio's loop", "crossearth tiles"


def main(argv: Sequence[str]) -> None:
    """Measures every side and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tiles")
    parser.add_argument("--sides", default=SIDES, help=f"of scenes (default {SIDES})")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=1, help="the best one counts")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # in the process
    options = parser.parse_args(argv)
    if options.one:
        print(
            json.dumps(measure(options.one[0], Path(options.one[1]), options.workers))
        )
        return
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("side    who                threads    MP/s      MB   cpu ms/MP   ratio")
    for side in map(int, options.sides.split(",")):
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
            write_scene(Path(folder), side)
            first = None
            for who, workers in ((PLAIN, 1), (OURS, 1), (OURS, options.workers)):
                runs = [
                    _in_a_process(who, Path(folder), workers)
                    for _ in range(options.rounds)
                ]
                found = max(runs, key=lambda run: run["speed"])
                first = first or found["speed"]
                print(
                    f"{side:<7} {who:<18} {workers:7} {found['speed']:7.1f} "
                    f"{found['megabytes']:7.0f} {found['cpu']:11.0f} "
                    f"{found['speed'] / first:7.2f}",
                    flush=True,
                )


def _in_a_process(who: str, folder: Path, workers: int) -> dict[str, float]:
    """Speed as it tells, peak memory and processor time as the system does."""
    arguments = ["--one", who, str(folder), "--workers", str(workers)]
    command = [sys.executable, "-m", "benchmarks.tiles", *arguments]
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{who}: ended with {status}")
        out.seek(0)
        found = json.loads(out.read().splitlines()[-1])
    return found | {"megabytes": usage.ru_maxrss / 1024}


def measure(who: str, folder: Path, workers: int) -> dict[str, float]:
    """Cuts the scene once."""
    out = folder / "tiles"
    shutil.rmtree(out, ignore_errors=True)
    begin, cpu = time.perf_counter(), time.process_time()
    if who == PLAIN:
        plain_loop(folder, out)
    else:
        our_tiles(folder, out, workers)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    with needed("rasterio").open(folder / "scene.tif") as scene:
        megapixels = scene.width * scene.height / 1e6
    shutil.rmtree(out)
    return {"speed": megapixels / seconds, "cpu": 1e3 * cpu / megapixels}


def our_tiles(folder: Path, out: Path, workers: int) -> None:
    """What is measured."""
    from crossearth_jax.tiles.make import make_tiles
    from crossearth_jax.tiles.settings import LabelSettings, TileSettings

    asked = TileSettings(
        size=TILE,
        stride=TILE,
        bands=(3, 2, 1),
        scale=(LOW, HIGH),
        split="none",
        labels=LabelSettings(burn="building"),
    )
    files = [folder / "scene.tif"], [folder / "houses.gpkg"]
    make_tiles(*files, out, asked, workers=workers, tell=lambda line: None)


def plain_loop(folder: Path, out: Path) -> None:
    """What one writes by hand: read, scale, burn, write, tile by tile."""
    rasterio, features = needed("rasterio"), needed("rasterio.features")
    window = needed("rasterio.windows").Window
    geopandas, shapely = needed("geopandas"), needed("shapely")
    for kind in ("images", "labels"):
        (out / kind).mkdir(parents=True)
    with rasterio.open(folder / "scene.tif") as scene:
        houses = geopandas.read_file(folder / "houses.gpkg").to_crs(scene.crs)
        shapes, index = houses.geometry.to_numpy(), houses.sindex
        about = {"driver": "GTiff", "height": TILE, "width": TILE, "crs": scene.crs}
        about |= {"dtype": "uint8", "blockysize": TILE}
        for top in (*range(0, scene.height - TILE, TILE), scene.height - TILE):
            for left in (*range(0, scene.width - TILE, TILE), scene.width - TILE):
                place = window(left, top, TILE, TILE)
                values = scene.read([3, 2, 1], window=place).astype(np.float32)
                image = ((values - LOW) / (HIGH - LOW) * 255).clip(0, 255)
                transform = scene.window_transform(place)
                box = shapely.box(*scene.window_bounds(place))
                burnt = [(shapes[i], 1) for i in index.query(box)]
                ids = np.zeros((TILE, TILE), np.uint8)
                if burnt:
                    features.rasterize(burnt, out=ids, transform=transform)
                name = f"{left}_{top}.tif"
                how = about | {"transform": transform}
                with rasterio.open(
                    out / "images" / name, "w", count=3, photometric="rgb", **how
                ) as file:
                    file.write(np.rint(image).astype(np.uint8))
                with rasterio.open(
                    out / "labels" / name,
                    "w",
                    count=1,
                    compress="deflate",
                    zlevel=1,
                    **how,
                ) as file:
                    file.write(ids, 1)


def write_scene(folder: Path, side: int) -> None:
    """A scene and a GeoPackage of houses."""
    rasterio = needed("rasterio")
    window = needed("rasterio.windows").Window
    blocks = [_texture(seed) for seed in range(8)]
    profile = {
        "driver": "GTiff",
        "width": side,
        "height": side,
        "count": 4,
        "dtype": "uint16",
        "crs": CRS,
        "transform": rasterio.Affine(PIXEL, 0, LEFT, 0, -PIXEL, TOP),
        "tiled": True,
        "blockxsize": TILE,
        "blockysize": TILE,
        "compress": "deflate",
        "predictor": 2,
    }
    with rasterio.open(folder / "scene.tif", "w", **profile) as file:
        for i, y in enumerate(range(0, side, TILE)):
            for j, x in enumerate(range(0, side, TILE)):
                rows, columns = min(TILE, side - y), min(TILE, side - x)
                block = blocks[(3 * i + j) % len(blocks)][:, :rows, :columns]
                file.write(block, window=window(x, y, columns, rows))
    places = np.arange(STEP // 2, side - STEP // 2, STEP)
    x, y = (grid.reshape(-1) for grid in np.meshgrid(places, places))
    west, north = LEFT + PIXEL * x, TOP - PIXEL * y
    shapely, geopandas = needed("shapely"), needed("geopandas")
    houses = shapely.box(west, north - PIXEL * 35, west + PIXEL * 30, north)
    frame = geopandas.GeoDataFrame(geometry=houses, crs=CRS).to_crs("EPSG:4326")
    frame.to_file(folder / "houses.gpkg", engine="pyogrio")


def _texture(seed: int) -> UInt16[np.ndarray, "4 512 512"]:
    """Smooth fields of 64 pixels with the noise of a sensor."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(2000, 500, (4, 9, 9))
    at = np.linspace(0, 8, TILE)
    low = np.floor(at).astype(int).clip(max=7)
    part = at - low
    rows = coarse[:, low] * (1 - part)[:, None] + coarse[:, low + 1] * part[:, None]
    smooth = rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part
    noisy = smooth + rng.normal(0, 25, smooth.shape)
    return noisy.clip(1, 4095).astype(np.uint16)


if __name__ == "__main__":
    main(sys.argv[1:])
