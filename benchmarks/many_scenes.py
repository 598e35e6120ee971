"""A long list of small scenes: memory while it grows, and processes that share it.

`python -m benchmarks.many_scenes` draws 1,000 scenes of 256² and has `crossearth
predict` map them three times: in one process, in two that share them by `--part`, and
by `--ray` where it is installed. The network is one linear layer per patch, so the
time is that of reading, writing and checking files; `--run WORKDIR` takes a trained
run instead.

The table shows scenes a second from the first map on, since the start of processes and
of Ray is the same for any list; and the memory of one process after a tenth of its maps
and at its end.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from benchmarks.predict import CLASSES, linear_patches
from crossearth_jax.commands import predict
from crossearth_jax.data.synthetic.source import draw_scene
from crossearth_jax.paper.settings import CLIMATES
from crossearth_jax.predict import Predictor
from crossearth_jax.predict.geo import needed
from crossearth_jax.scoring.windows import Windows

LOOK = 0.2  # seconds between looks at the processes


def main(argv: Sequence[str]) -> None:
    """Draws, maps and prints a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.many_scenes", allow_abbrev=False
    )
    parser.add_argument("--scenes", type=int, default=1_000)
    parser.add_argument("--size", type=int, default=256, help="pixels a side")
    parser.add_argument("--run", help="workdir of a trained run")
    options, rest = parser.parse_known_args(argv)
    if rest:  # a process that is measured
        if options.run is None:
            predict.load = linear_predictor
        sys.exit(predict.main([options.run or "linear", *rest]))
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as place:
        folder = Path(place)
        draw(folder / "scenes", options.scenes, options.size)
        print("load:", " ".join(f"{n:.1f}" for n in os.getloadavg()), flush=True)
        print("                 scenes/s  ratio  MB at a tenth  MB at the end")
        first = None
        for name, shares in ways().items():
            found = measure(folder, shares, options)
            first = first or found.speed
            print(
                f"{name:15} {found.speed:9.1f} {found.speed / first:6.2f} "
                f"{found.early:14.0f} {found.late:14.0f}",
                flush=True,
            )


def linear_predictor(*_: object, **__: object) -> Predictor:
    """In place of a trained run."""
    return Predictor(linear_patches(), CLASSES, Windows(256, 171, patch=32, batch=4))


def draw(folder: Path, count: int, size: int) -> None:
    """Scenes of the demo's climates as GeoTIFFs side by side."""
    rasterio = needed("rasterio")
    folder.mkdir()
    names = CLIMATES
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": "EPSG:32618"}
    for i in range(count):
        image = draw_scene(names[i % len(names)], 0, i, size).image
        place = rasterio.Affine(0.3, 0, 500_000 + 0.3 * size * i, 0, -0.3, 4_000_000)
        sides = {"height": size, "width": size, "transform": place}
        with rasterio.open(folder / f"s{i:05}.tif", "w", **profile, **sides) as file:
            file.write(image.transpose(2, 0, 1))


def ways() -> dict[str, list[list[str]]]:
    """Options of the processes that share the scenes."""
    found = {
        "one process": [[]],
        "two processes": [["--part", "1/2"], ["--part", "2/2"]],
    }
    if util.find_spec("ray") is not None:
        found["--ray, two"] = [["--ray", "local", "--ray-workers", "2"]]
    return found


@dataclass
class Found:
    """Scenes a second; megabytes of the first process."""

    speed: float
    early: float
    late: float


def measure(
    folder: Path, shares: list[list[str]], options: argparse.Namespace
) -> Found:
    """Maps all scenes in processes beside one another."""
    out = Path(tempfile.mkdtemp(dir=folder))
    own = ["--run", options.run] if options.run else []
    command = [sys.executable, "-m", "benchmarks.many_scenes", *own]
    places = [str(folder / "scenes"), "--out", str(out)]
    started = [
        subprocess.Popen([*command, *places, *share], stdout=subprocess.DEVNULL)
        for share in shares
    ]
    since, before, early, late = None, 0, 0.0, 0.0
    while any(process.poll() is None for process in started):
        made = sum(1 for path in out.iterdir() if path.suffix == ".tif")
        if since is None and made:
            since, before = time.perf_counter(), made
        memory = _megabytes(started[0].pid)
        if made <= options.scenes / 10:
            early = memory
        late = memory or late
        time.sleep(LOOK)
    if any(process.returncode for process in started) or since is None:
        raise RuntimeError("a process failed, see above")
    seconds = time.perf_counter() - since
    return Found((options.scenes - before) / seconds, early, late)


def _megabytes(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    found = [line.split()[1] for line in lines if line.startswith("VmRSS")]
    return int(found[0]) / 1024 if found else 0.0


if __name__ == "__main__":
    main(sys.argv[1:])
