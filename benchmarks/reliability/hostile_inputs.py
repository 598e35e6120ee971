"""Small sound files of data and scenes from strangers, and how each is read."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.reliability.hostile_files import Format
from crossearth_jax.commands.options import listed
from crossearth_jax.commands.predict_summary import Row, read_summary, write_summary
from crossearth_jax.data.decode import read_image, read_label
from crossearth_jax.data.pack import pack_split
from crossearth_jax.data.packed import packed_files
from crossearth_jax.data.prepare.raw import RawFiles
from crossearth_jax.data.split_lists import listed_pairs
from crossearth_jax.predict.outputs import FINGERPRINT, read_mark
from crossearth_jax.predict.stac import items_of
from crossearth_jax.predict.vector import LAYER, layers_of


def _png(side: int = 24) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 2, (side, side)).astype(np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Train/images/a.png", _png())
        archive.writestr("Train/masks/a.png", _png())


def read_archive(path: Path) -> None:
    """Lists an archive and decodes all its members."""
    for member in RawFiles(path.parent).members:
        member.image()
        member.label(indexed=True)


def _image(path: Path) -> None:
    with Image.open(io.BytesIO(_png())) as image:
        image.save(path)


def read_both(path: Path) -> None:
    """Reads a file as image and as label."""
    read_image(path)
    read_label(path, indexed=True)


def _list(path: Path) -> None:
    for name in ("a.png", "b.png"):
        (path.parent / name).write_bytes(_png())
    path.write_text('# pairs\na.png b.png\n"b.png" "a.png"\n')


def read_lists(path: Path) -> None:
    """Reads a list as scenes and as pairs of files."""
    list(listed([f"@{path}"]))
    listed_pairs(path)


def _stac(path: Path) -> None:
    asset = {"href": "a.tif", "type": "image/tiff"}
    item = {"type": "Feature", "id": "S2A_1", "assets": {"visual": asset, "nir": asset}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [item] * 2}))


def _summary(path: Path) -> None:
    rows = [Row("a.tif", "maps/a.tif", "made", seconds=1.5, pixels={"ground": 3})]
    write_summary((path, path.with_suffix(".csv")), rows)


def _again(path: Path) -> None:
    """Reads the summary of an earlier run and writes it again."""
    paths = path, path.with_suffix(".csv")
    rows = read_summary(paths, overwrite=True)
    write_summary((path.with_name("b.json"), path.with_name("b.csv")), rows.values())


def _packed(path: Path) -> None:
    for side in ("images", "labels"):
        (path.with_suffix("") / side).mkdir(parents=True, exist_ok=True)
        (path.with_suffix("") / side / "a.png").write_bytes(_png())
    pack_split(path.with_suffix(""))


def read_packed(path: Path) -> None:
    """Decodes all pairs of an archive."""
    for image, label in packed_files(path):
        read_image(image)
        read_label(label, indexed=True)


def _polygons(path: Path) -> None:
    """A layer with the mark of `crossearth predict`."""
    import geopandas
    from shapely.geometry import box

    frame = geopandas.GeoDataFrame(
        {"class": ["ground"]}, geometry=[box(0, 0, 1, 1)], crs="EPSG:4326"
    )
    about = {"layer_metadata": {FINGERPRINT: "abc"}}
    if path.suffix == ".geojson":
        about = {"DESCRIPTION": f"{FINGERPRINT}=abc"}
    frame.to_file(path, layer=LAYER, engine="pyogrio", **about)


def read_polygons(path: Path) -> None:
    """What `crossearth predict` asks of polygons that lie where its own would."""
    read_mark(path)
    layers_of(path)


INPUTS = {
    "zip archive": Format("Train.zip", _archive, read_archive, inside="zip"),
    "PNG": Format("a.png", _image, read_both, inside="png"),
    "TIFF": Format("a.tif", _image, read_both),
    "JPEG": Format("a.jpg", _image, read_both),
    "packed split": Format("train.array_record", _packed, read_packed),
    "lists": Format("l.txt", _list, read_lists),
    "STAC": Format("i.json", _stac, lambda path: items_of(str(path)), True),
    "summary.json": Format("summary.json", _summary, _again, True),
    "GeoPackage": Format("a.gpkg", _polygons, read_polygons),
    "GeoJSON": Format("a.geojson", _polygons, read_polygons, True),
}
