"""`--block N`: huge scenes in parts that workers share, and what joins the parts."""

import os
from collections.abc import Sequence
from pathlib import Path

from crossearth_jax.commands.predict_jobs import Job
from crossearth_jax.predict import geo
from crossearth_jax.predict.mosaic import write_mosaic
from crossearth_jax.predict.outputs import (
    FINGERPRINT,
    SIDECAR,
    STYLE,
    Wanted,
    is_done,
    marks,
    missing,
    outputs,
)
from crossearth_jax.predict.predictor import Predictor
from crossearth_jax.predict.quicklook import write_quicklook
from crossearth_jax.predict.scene import open_scene
from crossearth_jax.predict.scratch import move, scratch_folder
from crossearth_jax.predict.sources import address_of, settings_of
from crossearth_jax.predict.style import class_style
from crossearth_jax.predict.tiles import tiles_of
from crossearth_jax.predict.vector import check_place, write_polygons


def blocks_of(job: Job, side: int) -> list[Job]:
    """The parts of a scene; the scene itself where it is no larger than one.

    A scene that cannot be opened stays whole, and its turn will tell.
    """
    rasterio = geo.needed("rasterio")
    try:
        with (
            rasterio.Env(**settings_of(job.source)),
            geo.quiet(),
            rasterio.open(address_of(job.source)) as raster,
        ):
            size = raster.height, raster.width
            if job.vector is not None:
                check_place(raster, job.vector)
    except (rasterio.errors.RasterioError, geo.gdal_error()):
        return [job]
    tiles = tiles_of(*size, side)
    if len(tiles) == 1:
        return [job]
    folder, stem = job.target.with_name(f"{job.target.stem}_blocks"), job.target.stem
    return [
        Job(job.source, folder / f"{stem}_{t.top}_{t.left}.tif", None, t) for t in tiles
    ]


def join_blocks(
    predictor: Predictor,
    job: Job,
    blocks: Sequence[Job],
    wanted: Wanted,
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Writes VRTs over the blocks' maps, polygons and picture, once all are there.

    Any worker may do it, also two at a time: they write the same.

    Args:
      predictor: made the blocks.
      job: the whole scene.
      blocks: its parts.
      wanted: what is made of each scene.
      overwrite: replace files that were made differently, or by others.

    Returns:
      The files, the class map's VRT first; none while a block is missing.

    Raises:
      ValueError: a file of another origin would be overwritten.
      OSError: a file cannot be written.
    """
    folder = blocks[0].target.parent
    if folder.is_dir():
        os.listdir(folder)  # a network disk may still remember files as missing
    for block in blocks:
        if not is_done(predictor, block.source, block.target, block.wanted(wanted)):
            return []
    made_of = _joined(predictor, job, wanted)
    todo = missing(made_of, job.source, overwrite=overwrite)
    for path in reversed(todo):  # the class map first: polygons are made of it
        with scratch_folder(path) as scratch:
            made = scratch / "done" / path.name
            made.parent.mkdir()
            _make(predictor, job, blocks, wanted, path, made, made_of[path])
            move(made, path)
    return list(reversed(made_of))


def check_joined(
    predictor: Predictor, job: Job, wanted: Wanted, *, overwrite: bool
) -> None:
    """Raises before any work if a file of the whole scene may not be written.

    Raises:
      ValueError: see `missing`.
    """
    whole = job.wanted(wanted)
    beside = (path.with_suffix(".vrt") for path in outputs(job.target, whole))
    if any(path.exists() for path in (*outputs(job.target, whole), *beside)):
        missing(_joined(predictor, job, wanted), job.source, overwrite=overwrite)


def _joined(predictor: Predictor, job: Job, wanted: Wanted) -> dict[Path, str]:
    """The files of the whole scene and their marks, the class map's VRT last."""
    whole = job.wanted(wanted)
    found = marks(predictor, job.source, job.target, whole)
    return {
        path.with_suffix(".vrt") if path.suffix == job.target.suffix else path: mark
        for path, mark in found.items()
        if not path.name.endswith(SIDECAR)  # a VRT has the names inside
    }


def _make(
    predictor: Predictor,
    job: Job,
    blocks: Sequence[Job],
    wanted: Wanted,
    path: Path,
    made: Path,
    mark: str,
) -> None:
    classes, label = predictor.classes, job.target.with_suffix(".vrt")
    if path == job.vector:
        write_polygons(
            label,
            made,
            classes,
            specks=wanted.specks,
            scratch=made.parent,
            mark=mark,
            beside=path,
            trust=label.with_name(f"{label.stem}_trust.vrt") if wanted.trust else None,
        )
    elif path.suffix == STYLE:
        made.write_text(class_style(classes, f"{FINGERPRINT}={mark}"), "utf-8")
    elif path.suffix == ".png":
        with open_scene(job.source, wanted.reading) as scene:
            write_quicklook(scene, label, made, classes, {FINGERPRINT: mark})
    else:
        ending = path.stem.removeprefix(job.target.stem)
        parts = [
            (block.target.with_name(f"{block.target.stem}{ending}.tif"), block.tile)
            for block in blocks
            if block.tile is not None
        ]
        write_mosaic(made, path, parts, classes=classes, mark=mark)
