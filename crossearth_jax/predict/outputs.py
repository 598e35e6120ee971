"""The files of a map: their names, what each was made of, which are still to make."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from crossearth_jax.predict import geo
from crossearth_jax.predict.map_tags import FINGERPRINT, PIXELS, TRUST, numbers_in
from crossearth_jax.predict.predictor import Predictor
from crossearth_jax.predict.scene import Reading
from crossearth_jax.predict.sources import Source, identity
from crossearth_jax.predict.tiles import Tile
from crossearth_jax.predict.vector import DRIVERS, LAYER, layers_of
from crossearth_jax.predict.write import label_layer
from crossearth_jax.scoring.windows import Blend

HEAD = 4096  # bytes of a GeoJSON file that hold its description
SIDECAR = ".aux.xml"
STYLE = ".qml"
# What may stand beside a map, by the end of its name.
BESIDE = (
    *("_probabilities.tif", "_confidence.tif", "_trust.tif", "_quicklook.png"),
    *DRIVERS,
)


@dataclass(frozen=True)
class Wanted:
    """What is made of a scene.

    Attributes:
      reading: bands, scaling, nodata, resampling.
      blend: "flat" or "cosine".
      probabilities: "uint8" or "float16"; None writes none.
      confidence: write the probability of the chosen class.
      vector: path of the polygons, as text too; None writes none.
      specks: areas of fewer pixels get no polygon.
      quicklook: write a picture.
      tile: the part of the scene that is mapped; None maps all.
      trust: write the calibrated chance of the chosen class, and what is expected of
        the map; needs `Predictor.judge`.
    """

    reading: Reading = field(default_factory=Reading)
    blend: Blend = "flat"
    probabilities: str | None = None
    confidence: bool = False
    vector: str | Path | None = None
    specks: int = 0
    quicklook: bool = False
    tile: Tile | None = None
    trust: bool = False


class Existing(ValueError):
    """A file that would be overwritten."""


def outputs(target: Path, wanted: Wanted) -> list[Path]:
    """All files of a map, the class map last."""
    stem = target.with_suffix("")
    files = [target.with_name(target.name + SIDECAR), target.with_suffix(STYLE)]
    if wanted.probabilities:
        files.append(Path(f"{stem}_probabilities.tif"))
    if wanted.confidence:
        files.append(Path(f"{stem}_confidence.tif"))
    if wanted.trust:
        files.append(Path(f"{stem}_trust.tif"))
    if wanted.vector:
        files.append(Path(wanted.vector))
    if wanted.quicklook:
        files.append(Path(f"{stem}_quicklook.png"))
    return [*files, target]


def from_map(path: Path) -> bool:
    """Whether a file is made of the class map alone, without scoring again."""
    return path.suffix in (*DRIVERS, ".png", STYLE) or path.name.endswith(SIDECAR)


def marks(
    predictor: Predictor, source: Source, target: Path, wanted: Wanted
) -> dict[Path, str]:
    """Each file of a map, and the mark of what it is made of.

    All begin with the map's own, which changes with weights, options and input. A style
    of the user's, as QGIS saves it, is left alone and not among them.
    """
    own = fingerprint(predictor, source, wanted)
    judged = f"-{predictor.judge.mark}" if wanted.trust and predictor.judge else ""
    files = (p for p in outputs(target, wanted) if not _is_users_style(p))
    found = dict.fromkeys(files, own)
    for path in found:
        if path.name.endswith("_probabilities.tif") and path != target:
            found[path] = f"{own}-{wanted.probabilities}"
        elif path.name.endswith("_trust.tif") and path != target:
            found[path] = f"{own}{judged}"
        elif wanted.vector and path == Path(wanted.vector):
            found[path] = f"{own}-{wanted.specks}{judged}"
    return found


def missing(
    wanted_marks: Mapping[Path, str], source: Source, *, overwrite: bool
) -> list[Path]:
    """The files of a map that are still to make.

    Args:
      wanted_marks: of `marks`, the class map last.
      source: the scene.
      overwrite: replace files that were made differently, or by others.

    Raises:
      ValueError: a file would overwrite the scene.
      Existing: a file is there already, but not with this mark.
    """
    target = list(wanted_marks)[-1]
    absent, other = [], []
    for path, mark in wanted_marks.items():
        if isinstance(source, Path) and _is_same(path, source):
            raise ValueError(
                f"got --out {path}, which is the input itself: choose another folder"
            )
        if not path.exists():
            absent.append(path)
        elif not path.name.endswith(SIDECAR) and read_mark(path) != mark:
            (absent if path.suffix == STYLE else other).append(path)
    if other and not overwrite:
        raise Existing(
            f"got {other[-1]}, made with other weights or options, from another "
            f"version of {source.name} or by another program: choose another --out, or "
            "pass --overwrite"
        )
    both = {*absent, *other}
    if target in both:
        return list(wanted_marks)
    return [path for path in wanted_marks if path in both]


def _is_users_style(path: Path) -> bool:
    return path.suffix == STYLE and path.exists() and read_mark(path) is None


def _is_same(path: Path, source: Path) -> bool:
    return path.exists() and source.exists() and path.samefile(source)


def is_done(
    predictor: Predictor,
    source: Source,
    target: Path,
    wanted: Wanted,
    *,
    overwrite: bool = False,
) -> bool:
    """Whether the map is there, made with the same weights, options and input.

    Raises:
      ValueError: see `missing`.
    """
    if not any(path.exists() for path in outputs(target, wanted)):
        return False  # without asking a server about the scene
    found = marks(predictor, source, target, wanted)
    return not missing(found, source, overwrite=overwrite)


def remove_outdated(target: Path, made: Mapping[Path, str]) -> None:
    """Removes what an older map had beside it: it would not fit the new one."""
    own = made[target]
    for ending in BESIDE:
        path = Path(f"{target.with_suffix('')}{ending}")
        is_there = os.path.exists(path)  # False too for a name that is too long
        mark = read_mark(path) if is_there and path not in made else None
        if mark is not None and not mark.startswith(own) and _is_ours_alone(path):
            path.unlink()


def _is_ours_alone(path: Path) -> bool:
    """Not where layers of others are, nor a class map of a scene of that name."""
    if path.suffix == ".gpkg":
        return layers_of(path) == [LAYER]
    if path.suffix == ".tif":
        with geo.quiet(), geo.needed("rasterio").open(path) as file:
            return file.descriptions != label_layer().bands
    return True


def options_of(predictor: Predictor, wanted: Wanted) -> dict[str, Any]:
    """What changes the pixels of the map."""
    part = {} if wanted.tile is None else {"tile": asdict(wanted.tile)}
    reading = asdict(wanted.reading)
    if reading["trained"] is None:  # as maps of older versions have it
        del reading["trained"]
    return {
        **reading,
        "blend": wanted.blend,
        "crop": predictor.windows.crop,
        "stride": predictor.windows.stride,
        **part,
    }


def made_of(predictor: Predictor) -> dict[str, Any]:
    """What tells predictors apart whose maps differ, by name."""
    about = {k: v for k, v in predictor.about.items() if k != "checkpoint"}
    windows = predictor.windows
    return {**about, "crop": windows.crop, "stride": windows.stride}


def fingerprint(predictor: Predictor, source: Source, wanted: Wanted) -> str:
    """Changes with the weights, the options and the input."""
    facts = {
        "about": {k: v for k, v in predictor.about.items() if k != "checkpoint"},
        "options": options_of(predictor, wanted),
        "input": identity(source),
    }
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_mark(path: Path) -> str | None:
    """What a file of a map was made of; None if it is another's."""
    try:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                return picture.info.get(FINGERPRINT)
        if path.suffix in (".geojson", STYLE):
            with path.open("rb") as file:
                head = file.read(HEAD).decode(errors="replace")
            found = re.search(rf"{FINGERPRINT}=([\w-]+)", head)
            return found[1] if found else None
        if path.suffix == ".gpkg":
            about = geo.needed("pyogrio").read_info(path, layer=LAYER)
            return (about["layer_metadata"] or {}).get(FINGERPRINT)
        with geo.quiet(), geo.needed("rasterio").open(path) as file:
            return file.tags().get(FINGERPRINT)
    except (OSError, ValueError, *_reading_errors()):
        return None


def class_pixels(target: Path) -> dict[str, int]:
    """Pixels of a finished class map by class, and without data as "nodata"."""
    return _numbers_in(target, PIXELS, int)


def expected_of(target: Path) -> dict[str, float]:
    """What a finished class map was expected to score; empty where nobody asked."""
    return _numbers_in(target, TRUST, float)


def _numbers_in(target: Path, tag: str, kind: type) -> dict[str, Any]:
    """Numbers by name from a tag of a map; empty without it, or if it is no such."""
    with geo.quiet(), geo.needed("rasterio").open(target) as file:
        return numbers_in(file.tags(), tag, kind)


def _reading_errors() -> tuple[type[Exception], ...]:
    """What libraries raise for files that are not what their name says."""
    return (RuntimeError, geo.needed("rasterio.errors").RasterioError, geo.gdal_error())
