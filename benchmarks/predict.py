"""Memory and speed of `crossearth predict` on large rasters.

`python -m benchmarks.predict`; sizes and crop are options.

Each raster is made on the fly and mapped in a process of its own, with a network of one
linear layer per patch, so that the time is that of reading, blending and writing. What
the table shows is the peak memory of the process, megapixels of scene per second, and
the share of time that the computing thread waited for files (the device still has
a batch then, so it waits no longer).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.predict import Predictor, Wanted, predict_file
from crossearth_jax.predict.geo import needed
from crossearth_jax.scoring.windows import Windows

SIZES = "5000x5000,20000x5000,20000x20000"  # width x height
CLASSES = ClassSet(("a", "b"), ((60, 60, 60), (255, 200, 0)))
TILE = 512


def main(argv: Sequence[str]) -> None:
    """Measures every size and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predict")
    parser.add_argument("--sizes", default=SIZES, help=f"default {SIZES}")
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--one", help=argparse.SUPPRESS)  # in the process measured
    options = parser.parse_args(argv)
    if options.one:
        print(json.dumps(measure(Path(options.one), options.crop, options.batch)))
        return
    print("width x height      MB   MP/s  waiting for files  finishing")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        first = None
        for size in options.sizes.split(","):
            width, height = (int(n) for n in size.split("x"))
            path = Path(folder) / "scene.tif"
            write_raster(path, width, height)
            found = _in_a_process(path, options.crop, options.batch)
            first = first or found["megabytes"]
            growth = 100 * (found["megabytes"] / first - 1)
            print(
                f"{size:15} {found['megabytes']:6.0f} {found['speed']:6.1f} "
                f"{100 * found['waiting']:17.1f}% {found['finishing']:8.1f} s   "
                f"memory {growth:+.1f} %",
                flush=True,
            )


def _in_a_process(path: Path, crop: int, batch: int) -> dict[str, float]:
    arguments = ["--one", str(path), "--crop", str(crop), "--batch", str(batch)]
    command = [sys.executable, "-m", "benchmarks.predict", *arguments]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(result.stdout.splitlines()[-1])


def measure(path: Path, crop: int, batch: int) -> dict[str, float]:
    """Maps one raster."""
    windows = Windows(crop, round(crop * 2 / 3), patch=32, batch=batch)
    predictor = Predictor(linear_patches(), CLASSES, windows)
    jax.block_until_ready(predictor.score_fn(np.zeros((batch, crop, crop, 3))))
    begin = time.perf_counter()
    done = predict_file(predictor, path, path.parent / "map" / "map.tif", Wanted())
    seconds = time.perf_counter() - begin
    for file in done.files:
        file.unlink()
    waited = done.waiting.read + done.waiting.write
    return {
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "speed": done.pixels / 1e6 / seconds,
        "waiting": waited / done.scoring,
        "finishing": done.seconds - done.scoring,
    }


def linear_patches(patch: int = 16) -> jax.stages.Wrapped:
    """Scores that are one linear map of the mean colour of each patch."""

    @jax.jit
    def scores(windows: Float[Array, "b h w 3"]) -> Float[Array, "b h w 2"]:
        b, h, w, _ = windows.shape
        grid = windows.reshape(b, h // patch, patch, w // patch, patch, 3)
        colour = grid.mean((2, 4))
        roof = jax.nn.sigmoid(colour @ jnp.array([1.0, 0.5, -0.5]))
        two = jnp.stack([1 - roof, roof], -1)
        return two.repeat(patch, 1).repeat(patch, 2)

    return scores


def write_raster(path: Path, width: int, height: int) -> None:
    """A tiled GeoTIFF of smooth noise, 3 x uint8, tile by tile."""
    rasterio = needed("rasterio")
    window = needed("rasterio.windows").Window
    tiles = [_texture(seed) for seed in range(8)]
    profile = {
        "driver": "GTiff",
        "width": width,
        "height": height,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32618",
        "transform": rasterio.Affine(0.3, 0, 500_000, 0, -0.3, 4_000_000),
        "tiled": True,
        "blockxsize": TILE,
        "blockysize": TILE,
        "compress": "lzw",
    }
    with rasterio.open(path, "w", **profile) as file:
        for i, y in enumerate(range(0, height, TILE)):
            for j, x in enumerate(range(0, width, TILE)):
                rows, columns = min(TILE, height - y), min(TILE, width - x)
                tile = tiles[(3 * i + j) % len(tiles)][:, :rows, :columns]
                file.write(tile, window=window(x, y, columns, rows))


def _texture(seed: int) -> UInt8[np.ndarray, "3 512 512"]:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (3, TILE // 8, TILE // 8))
    return coarse.repeat(8, 1).repeat(8, 2).astype(np.uint8)


if __name__ == "__main__":
    main(sys.argv[1:])
