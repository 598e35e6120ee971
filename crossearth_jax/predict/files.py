"""One scene file to the files of its map: all or nothing, and made only once.

Everything is written into a hidden folder beside the result and renamed at the end,
the class map last: if it exists, the map is complete.
"""

import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from absl import logging

from crossearth_jax import __version__
from crossearth_jax.predict import geo
from crossearth_jax.predict.pipeline import Waiting, read_ahead, write_behind
from crossearth_jax.predict.predictor import Predictor
from crossearth_jax.predict.quicklook import write_quicklook
from crossearth_jax.predict.scene import Reading, Scene, open_scene
from crossearth_jax.predict.vector import write_polygons
from crossearth_jax.predict.write import (
    Layer,
    confidence_layer,
    label_layer,
    probability_layer,
    quiet,
    row_writer,
    tags_of,
    write_map,
)
from crossearth_jax.scoring.windows import Blend

FINGERPRINT = "CROSSEARTH_FINGERPRINT"
GDAL_CACHE = 64  # MB; GDAL's default is a share of the machine's memory


@dataclass(frozen=True)
class Wanted:
    """What is made of a scene.

    Attributes:
      reading: bands, scaling, nodata, resampling.
      blend: "flat" or "cosine".
      probabilities: "uint8" or "float16"; None writes none.
      confidence: write the probability of the chosen class.
      vector: path of the polygons; None writes none.
      specks: areas of fewer pixels get no polygon.
      quicklook: write a picture.
    """

    reading: Reading = field(default_factory=Reading)
    blend: Blend = "flat"
    probabilities: str | None = None
    confidence: bool = False
    vector: Path | None = None
    specks: int = 0
    quicklook: bool = False


@dataclass(frozen=True)
class Done:
    """What was made and how long it took.

    Attributes:
      files: the map first.
      pixels: of the scene.
      seconds: from opening to renaming.
      scoring: seconds until the last row was scored and written.
      waiting: for reader and writer, within `scoring`.
    """

    files: tuple[Path, ...]
    pixels: int
    seconds: float
    scoring: float
    waiting: Waiting


class Existing(ValueError):
    """A file that would be overwritten."""


def outputs(target: Path, wanted: Wanted) -> list[Path]:
    """All files of a map, the class map last."""
    stem = target.with_suffix("")
    files = [target.with_name(target.name + ".aux.xml")]
    if wanted.probabilities:
        files.append(Path(f"{stem}_probabilities.tif"))
    if wanted.confidence:
        files.append(Path(f"{stem}_confidence.tif"))
    if wanted.vector:
        files.append(wanted.vector)
    if wanted.quicklook:
        files.append(Path(f"{stem}_quicklook.png"))
    return [*files, target]


def is_done(
    predictor: Predictor,
    source: Path,
    target: Path,
    wanted: Wanted,
    *,
    overwrite: bool = False,
) -> bool:
    """Whether the map is there, made with the same weights, options and input.

    Raises:
      ValueError: the map is there, but made differently, and may not be overwritten; or
        it would overwrite the scene.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise ValueError(
            f"got --out {target}, which is the input itself: choose another folder"
        )
    if not target.exists():
        return False
    same = _read_fingerprint(target) == _fingerprint(predictor, source, wanted)
    if same and all(path.exists() for path in outputs(target, wanted)):
        return True
    if same or overwrite:
        return False
    raise Existing(
        f"got {target}, made with other weights or options or from another version of "
        f"{source.name}: choose another --out, or pass --overwrite"
    )


def predict_file(
    predictor: Predictor,
    source: Path,
    target: Path,
    wanted: Wanted,
    progress: Callable[[int, int], None] = lambda rows, height: None,
) -> Done:
    """Makes the map of one scene.

    Args:
      predictor: a loaded run.
      source: a raster that GDAL reads.
      target: the class map, a .tif.
      wanted: options.
      progress: called with the rows that are done and all rows.

    Raises:
      ValueError: the scene cannot be read, or its bands do not fit.
      OSError: a file is damaged, or cannot be written.
    """
    begin = time.perf_counter()
    waiting = Waiting()
    settings = {"GDAL_CACHEMAX": GDAL_CACHE, "GDAL_PAM_ENABLED": "YES"}
    with (
        geo.needed("rasterio").Env(**settings),
        open_scene(source, wanted.reading) as scene,
        scratch_folder(target) as scratch,
    ):
        if scene.source.crs is None and not scene.source.gcps[0]:
            logging.warning("%s has no coordinate system, neither will its map", source)
        layers = _layers(predictor, wanted)
        plain = {scratch / f"plain{layer.suffix}.tif": layer for layer in layers}
        _score(predictor, scene, plain, wanted.blend, waiting, progress)
        scored = time.perf_counter()
        tags = _tags(predictor, source, scene, wanted)
        for path, layer in plain.items():
            write_map(
                path,
                scratch / f"{target.stem}{layer.suffix}{target.suffix}",
                layer,
                source=scene.source,
                classes=predictor.classes,
                tags=tags,
            )
            path.unlink()
        _extras(predictor, scene, scratch, target, wanted)
        files = outputs(target, wanted)
        for path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(scratch / path.name, path)
    end = time.perf_counter()
    size = scene.source.height * scene.source.width
    return Done(tuple(reversed(files)), size, end - begin, scored - begin, waiting)


def _layers(predictor: Predictor, wanted: Wanted) -> list[Layer]:
    layers = [label_layer()]
    if wanted.probabilities:
        names = predictor.classes.names
        layers.append(probability_layer(names, wanted.probabilities))
    if wanted.confidence:
        layers.append(confidence_layer())
    return layers


def _score(
    predictor: Predictor,
    scene: Scene,
    plain: Mapping[Path, Layer],
    blend: Blend,
    waiting: Waiting,
    progress: Callable[[int, int], None],
) -> None:
    """Reader thread → this thread and the devices → writer thread."""
    height, width = scene.grid.height, scene.grid.width
    layout = predictor.windows.lay(height, width, blend)
    batches = predictor.read(scene.read_rows, layout, scene.dtype)
    with (
        row_writer(plain, scene.grid) as write,
        closing(read_ahead(batches, waiting)) as ahead,
        write_behind(write, waiting) as put,
    ):
        for block in predictor.blocks(ahead, layout):
            put(block)
            progress(block.top + len(block.valid), height)


def _extras(
    predictor: Predictor, scene: Scene, scratch: Path, target: Path, wanted: Wanted
) -> None:
    label, classes = scratch / target.name, predictor.classes
    if wanted.vector:
        polygons = scratch / wanted.vector.name
        write_polygons(label, polygons, classes, specks=wanted.specks, scratch=scratch)
    if wanted.quicklook:
        picture = scratch / f"{target.stem}_quicklook.png"
        write_quicklook(scene, label, picture, classes)


# ---- provenance ---------------------------------------------------------------------


def _tags(
    predictor: Predictor, source: Path, scene: Scene, wanted: Wanted
) -> dict[str, str]:
    about = {
        **predictor.about,
        "version": __version__,
        "source": source.name,
        "bands": scene.bands,
        "scaling": scene.scaling,
        "options": _options(predictor, wanted),
        "fingerprint": _fingerprint(predictor, source, wanted),
    }
    return tags_of(about, predictor.classes)


def _options(predictor: Predictor, wanted: Wanted) -> dict[str, Any]:
    """What changes the pixels of the map."""
    return {
        **asdict(wanted.reading),
        "blend": wanted.blend,
        "crop": predictor.windows.crop,
        "stride": predictor.windows.stride,
    }


def _fingerprint(predictor: Predictor, source: Path, wanted: Wanted) -> str:
    """Changes with the weights, the options and the input."""
    state = source.stat()
    made_of = {
        "about": {k: v for k, v in predictor.about.items() if k != "checkpoint"},
        "options": _options(predictor, wanted),
        "probabilities": wanted.probabilities,
        "specks": wanted.specks,
        "input": (source.name, state.st_size, state.st_mtime_ns),
    }
    text = json.dumps(made_of, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read_fingerprint(target: Path) -> str | None:
    rasterio = geo.needed("rasterio")
    try:
        with quiet(), rasterio.open(target) as file:
            return file.tags().get(FINGERPRINT)
    except rasterio.errors.RasterioError:
        return None


# ---- scratch ------------------------------------------------------------------------


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """A hidden folder beside the result, on the same disk; gone at the end.

    Folders that killed processes of this machine left behind are removed too.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.{socket.gethostname()}."
    for left in target.parent.glob(f"{prefix}*.tmp"):
        if not _is_running(left.name.removeprefix(prefix).removesuffix(".tmp")):
            shutil.rmtree(left, ignore_errors=True)
    folder = target.parent / f"{prefix}{os.getpid()}.tmp"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass
    return True
