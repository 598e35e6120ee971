"""One scene file to the files of its map: all or nothing, and made only once.

Everything is written into a hidden folder beside the result and renamed at the end,
the class map last: if it exists, the map is complete.
"""

import functools
import json
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import logging

from crossearth_jax import __version__
from crossearth_jax.predict import geo
from crossearth_jax.predict.judge import Tally, sampled_scores
from crossearth_jax.predict.outputs import (
    FINGERPRINT,
    STYLE,
    TRUST,
    Wanted,
    from_map,
    marks,
    missing,
    options_of,
    remove_outdated,
)
from crossearth_jax.predict.pipeline import Waiting, read_ahead, write_behind
from crossearth_jax.predict.predictor import Predictor
from crossearth_jax.predict.quicklook import write_quicklook
from crossearth_jax.predict.scene import Scene, grid_part, open_scene
from crossearth_jax.predict.scratch import move, scratch_folder
from crossearth_jax.predict.sources import Remote, Source, settings_of, source_of
from crossearth_jax.predict.strip import Block
from crossearth_jax.predict.style import class_style
from crossearth_jax.predict.tiles import cut
from crossearth_jax.predict.vector import check_place, write_polygons
from crossearth_jax.predict.write import (
    Layer,
    confidence_layer,
    label_layer,
    probability_layer,
    row_writer,
    tags_of,
    trust_layer,
    write_class_names,
    write_map,
)

GDAL_CACHE = 64 << 20  # bytes; GDAL's default is a share of the machine's memory


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


def predict_file(
    predictor: Predictor,
    source: str | Path | Remote,
    target: str | Path,
    wanted: Wanted | None = None,
    progress: Callable[[int, int], None] = lambda rows, height: None,
    *,
    overwrite: bool = False,
) -> Done:
    """Makes what is missing of the map of one scene.

    Args:
      predictor: a loaded run.
      source: a raster that GDAL reads, or its address.
      target: the class map, a .tif.
      wanted: options; None takes the defaults, and reads as in training.
      progress: called with the rows that are done and all rows.
      overwrite: replace files that were made differently, or by others.

    Raises:
      ValueError: the scene cannot be read, its bands do not fit, or a file of another
        origin would be overwritten.
      OSError: a file is damaged, or cannot be written.
    """
    begin = time.perf_counter()
    source, target, wanted = source_of(source), Path(target), wanted
    wanted = wanted or Wanted(predictor.reading)
    if target.suffix.lower() not in (".tif", ".tiff"):
        raise ValueError(f"got a class map named {target}, expected a .tif")
    settings = {"GDAL_CACHEMAX": GDAL_CACHE, "GDAL_PAM_ENABLED": "YES"}
    settings |= settings_of(source)
    with (
        geo.needed("rasterio").Env(**settings),
        open_scene(source, wanted.reading) as scene,
    ):
        made_of = marks(predictor, source, target, wanted)
        todo = missing(made_of, source, overwrite=overwrite)
        job = _Job(predictor, scene, source, target, wanted, made_of)
        waiting = Waiting()
        scored = begin
        if todo:
            _report_place(source, scene, wanted)
            with scratch_folder(target) as scratch:
                scored = _make(job, todo, scratch, waiting, progress)
        part = wanted.tile or scene.source
        size = part.height * part.width
    end = time.perf_counter()
    files = tuple(reversed(made_of))
    return Done(files, size, end - begin, scored - begin, waiting)


@dataclass(frozen=True)
class _Job:
    predictor: Predictor
    scene: Scene
    source: Source
    target: Path
    wanted: Wanted
    made_of: Mapping[Path, str]


def _make(
    job: _Job,
    todo: list[Path],
    scratch: Path,
    waiting: Waiting,
    progress: Callable[[int, int], None],
) -> float:
    """Makes files in the scratch folder and moves them; gives when it had scored."""
    rows, done = scratch / "rows", scratch / "done"  # names that cannot meet
    rows.mkdir()
    done.mkdir()
    label = job.target
    if not all(from_map(path) for path in todo):
        todo = list(job.made_of)
        _score_layers(job, rows, done, waiting, progress)
        label = done / job.target.name
    scored = time.perf_counter()
    _extras(job, label, todo, rows, done)
    for path in todo:
        move(done / path.name, path)
    if job.target in todo:
        remove_outdated(job.target, job.made_of)
    return scored


def _score_layers(
    job: _Job,
    rows: Path,
    done: Path,
    waiting: Waiting,
    progress: Callable[[int, int], None],
) -> None:
    layers = _layers(job.predictor, job.wanted)
    plain = {rows / f"plain{layer.suffix}.tif": layer for layer in layers}
    judge = job.predictor.judge if job.wanted.trust else None
    tally = judge.tally() if judge else None
    _score(job, plain, tally, waiting, progress)
    expected = tally.result() if tally else {}
    for path, layer in plain.items():
        ending = f"{layer.suffix}.tif" if layer.suffix else job.target.suffix
        made = f"{job.target.stem}{ending}"
        write_map(
            path,
            done / made,
            layer,
            scene=job.scene,
            tile=job.wanted.tile,
            classes=job.predictor.classes,
            tags=_tags(job, job.made_of[job.target.with_name(made)], expected),
        )
        path.unlink()


def _report_place(source: Source, scene: Scene, wanted: Wanted) -> None:
    """Warns of what the map, or its polygons, will not have."""
    raster = scene.source
    if wanted.tile is not None and wanted.vector:
        raise ValueError(
            f"{source}: got a tile with polygons, expected none: make them of the "
            "whole map"
        )
    if wanted.vector:
        check_place(raster, Path(wanted.vector))
    if raster.crs is not None:
        return
    if raster.gcps[0]:
        logging.warning(
            "%s has ground control points instead of a coordinate system: so will its "
            "map, and polygons would be in pixels; `gdalwarp` first rectifies it",
            source,
        )
    elif raster.rpcs is not None:
        logging.warning(
            "%s has rational polynomials (RPC) instead of a coordinate system: so will "
            "its map, and polygons would be in pixels; `gdalwarp -rpc` first rectifies "
            "it",
            source,
        )
    else:
        logging.warning("%s has no coordinate system, neither will its map", source)


def _layers(predictor: Predictor, wanted: Wanted) -> list[Layer]:
    layers = [label_layer()]
    if wanted.probabilities:
        names = predictor.classes.names
        layers.append(probability_layer(names, wanted.probabilities))
    if wanted.confidence:
        layers.append(confidence_layer())
    if wanted.trust and predictor.judge:
        layers.append(trust_layer(predictor.judge))
    return layers


def _score(
    job: _Job,
    plain: Mapping[Path, Layer],
    tally: Tally | None,
    waiting: Waiting,
    progress: Callable[[int, int], None],
) -> None:
    """Reader thread → this thread and the devices → writer thread."""
    predictor, scene, wanted = job.predictor, job.scene, job.wanted
    grid, tile, blend = scene.grid, wanted.tile, wanted.blend
    layout = predictor.windows.lay(grid.height, grid.width, blend)
    read_rows, inside = scene.read_rows, iter
    if tile is not None:
        part = cut(scene.on_grid(tile), layout)
        layout, inside = part.layout, part.inside
        read_rows = functools.partial(part.read_rows, scene)
        grid = grid_part(grid, part.tile)
    batches = predictor.read(read_rows, layout, np.uint8)

    def take(block: Block) -> None:
        if tally is not None:
            tally.add(sampled_scores(block))
        write(block)

    with (
        row_writer(plain, grid) as write,
        closing(read_ahead(batches, waiting)) as ahead,
        write_behind(take, waiting) as put,
    ):
        for block in inside(predictor.blocks(ahead, layout)):
            put(block)
            progress(block.top + len(block.valid), grid.height)


def _extras(job: _Job, label: Path, todo: list[Path], rows: Path, done: Path) -> None:
    """What is made of the class map."""
    classes, wanted = job.predictor.classes, job.wanted
    for path in todo:
        made, mark = done / path.name, job.made_of[path]
        if wanted.vector and path == Path(wanted.vector):
            write_polygons(
                label,
                made,
                classes,
                specks=wanted.specks,
                scratch=rows,
                mark=mark,
                beside=path,
                trust=_beside(label, "_trust.tif") if wanted.trust else None,
            )
        elif path.suffix == ".png":
            write_quicklook(job.scene, label, made, classes, {FINGERPRINT: mark})
        elif path.suffix == STYLE:
            made.write_text(class_style(classes, f"{FINGERPRINT}={mark}"), "utf-8")
        elif path.suffix == ".xml":
            write_class_names(made, classes)


def _beside(label: Path, ending: str) -> Path:
    return label.with_name(f"{label.stem}{ending}")


def _tags(job: _Job, mark: str, expected: Mapping[str, float]) -> dict[str, str]:
    """Provenance of a raster, and what is expected of it."""
    about = {
        **job.predictor.about,
        "version": __version__,
        "source": job.source.name,
        "bands": job.scene.bands,
        "scaling": job.scene.scaling,
        "options": options_of(job.predictor, job.wanted),
        "fingerprint": mark,
    }
    tags = tags_of(about, job.predictor.classes)
    return {**tags, TRUST: json.dumps(expected)} if expected else tags
