import json
import os
import re
import socket
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from rasters import CLASSES, UTM, bright_is_roof, predictor, squares, write

from crossearth_jax.pixels.normalise import normalise
from crossearth_jax.predict.files import predict_file
from crossearth_jax.predict.outputs import Wanted, is_done, outputs
from crossearth_jax.predict.scene import Reading
from crossearth_jax.predict.scratch import scratch_folder
from crossearth_jax.scoring.sliding import sliding_scores
from crossearth_jax.scoring.windows import Windows

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
shutil = pytest.importorskip("rasterio.shutil", reason="needs the extra geo")

EVERYTHING = Wanted(probabilities="uint8", confidence=True, quicklook=True)


def expected_shares(values):
    pixels = np.asarray(normalise(np.moveaxis(values, 0, 2)))
    windows = Windows(crop=64, stride=43, patch=32, batch=2)
    scores = sliding_scores(bright_is_roof, pixels, windows)
    return scores / scores.sum(2, keepdims=True)


@pytest.mark.parametrize("size", [(150, 201), (64, 64), (40, 30), (1, 130)])
def test_a_map_has_the_grid_of_its_scene_and_the_evaluations_classes(tmp_path, size):
    values = squares(*size)
    source = write(tmp_path / "a.tif", values)
    done = predict_file(predictor(), source, tmp_path / "out" / "a.tif", EVERYTHING)
    share = expected_shares(values)
    with rasterio.open(source) as scene, rasterio.open(done.files[0]) as made:
        assert made.shape == scene.shape and made.crs == scene.crs
        assert made.transform == scene.transform and made.nodata == 255
        np.testing.assert_array_equal(made.read(1), share.argmax(2))
        assert made.colormap(1)[1] == (255, 200, 0, 255)
        assert made.colormap(1)[255][3] == 0
    with rasterio.open(tmp_path / "out/a_probabilities.tif") as made:
        assert made.descriptions == CLASSES.names
        got = np.moveaxis(made.read(), 0, 2) * made.scales[0]
        np.testing.assert_allclose(got, share, atol=0.5 / 250 + 1e-5)
    with rasterio.open(tmp_path / "out/a_confidence.tif") as made:
        got = made.read(1) * made.scales[0]
        np.testing.assert_allclose(got, share.max(2), atol=0.5 / 250 + 1e-5)
    with Image.open(tmp_path / "out/a_quicklook.png") as picture:
        assert picture.width > 2 * min(size[1], 30)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        p.name for p in done.files
    )


def test_maps_are_valid_cogs_with_overviews(tmp_path):
    cogeo = pytest.importorskip("rio_cogeo", reason="needs the extra geo")
    source = write(tmp_path / "a.tif", squares(600, 700))
    wanted = Wanted(probabilities="float16", confidence=True)
    done = predict_file(predictor(), source, tmp_path / "out.tif", wanted)
    rasters = [path for path in done.files if path.suffix == ".tif"]
    assert len(rasters) == 3
    for path in rasters:
        valid, errors, warned = cogeo.cog_validate(path, strict=True)
        assert valid, (errors, warned)
        with rasterio.open(path) as made:
            assert made.overviews(1) == [2] and made.profile["compress"] == "deflate"
    share = np.stack(list(predictor().probabilities(_image(source)).transpose(2, 0, 1)))
    with rasterio.open(tmp_path / "out_probabilities.tif") as made:
        # What GDAL before 3.11 calls float32 in 16 bits.
        bits = made.tags(1, ns="IMAGE_STRUCTURE").get("NBITS")
        assert made.dtypes[0] == "float16" or bits == "16"
        np.testing.assert_allclose(made.read(), share, atol=5e-4)


def _image(path):
    with rasterio.open(path) as file:
        return np.moveaxis(file.read(), 0, 2)


def test_gdal_finds_the_class_names_beside_the_map(tmp_path):
    source = write(tmp_path / "a.tif", squares(64, 64))
    predict_file(predictor(), source, tmp_path / "out.tif", Wanted())
    # A VRT lists what GDAL itself knows of the file.
    shutil.copy(tmp_path / "out.tif", tmp_path / "out.vrt", driver="VRT")
    text = (tmp_path / "out.vrt").read_text()
    names = re.findall(r"<Category>(.*?)</Category>", text)
    assert names == ["ground", "roof &amp; wall"]
    sidecar = (tmp_path / "out.tif.aux.xml").read_text()
    row = "<F>1</F><F>roof &amp; wall</F><F>255</F><F>200</F><F>0</F>"
    assert row in sidecar and "GDALRasterAttributeTable" in sidecar


def test_qgis_finds_a_style_beside_the_map(tmp_path):
    source = write(tmp_path / "a.tif", squares(64, 64))
    predict_file(predictor(), source, tmp_path / "out.tif", Wanted())
    style = ElementTree.parse(tmp_path / "out.qml").getroot()
    renderer = style.find("pipe/rasterrenderer")
    assert renderer.get("type") == "paletted" and renderer.get("band") == "1"
    entries = [dict(entry.items()) for entry in renderer.iter("paletteEntry")]
    assert [(e["value"], e["label"], e["color"]) for e in entries] == [
        ("0", "ground", "#3c3c3c"),
        ("1", "roof & wall", "#ffc800"),
    ]


def test_nodata_stays_nodata_in_every_layer(tmp_path):
    values = squares(150, 120) + 1
    values[:, :90] = 0
    values[:, :, 100:] = 0
    source = write(tmp_path / "a.tif", values, nodata=0)
    wanted = Wanted(probabilities="float16", confidence=True)
    predict_file(predictor(), source, tmp_path / "out.tif", wanted)
    empty = (values == 0).all(0)
    for name, nodata in (("out", 255), ("out_confidence", 255)):
        with rasterio.open(tmp_path / f"{name}.tif") as made:
            np.testing.assert_array_equal(made.read(1) == nodata, empty)
    with rasterio.open(tmp_path / "out_probabilities.tif") as made:
        np.testing.assert_array_equal(np.isnan(made.read(2)), empty)


def test_a_scene_without_any_data_is_a_map_without_any(tmp_path):
    def never(windows):
        raise AssertionError("no window has data")

    source = write(tmp_path / "a.tif", np.zeros((3, 90, 80), np.uint8), nodata=0)
    predict_file(predictor(never), source, tmp_path / "out.tif", EVERYTHING)
    with rasterio.open(tmp_path / "out.tif") as made:
        assert (made.read(1) == 255).all()


def test_provenance_is_in_the_tags(tmp_path):
    values = squares(64, 64, dtype=np.uint16, top=3000)
    source = write(tmp_path / "a.tif", values)
    p = predictor(checkpoint="runs/x", step=7, weights="abc")
    predict_file(p, source, tmp_path / "out.tif", Wanted(blend="cosine"))
    with rasterio.open(tmp_path / "out.tif") as made:
        tags = made.tags()
    assert tags["CROSSEARTH_CHECKPOINT"] == "runs/x" and tags["CROSSEARTH_STEP"] == "7"
    assert json.loads(tags["CROSSEARTH_OPTIONS"])["blend"] == "cosine"
    low, _ = json.loads(tags["CROSSEARTH_SCALING"])
    np.testing.assert_allclose(low, np.percentile(values.reshape(3, -1), 2, axis=1))
    assert json.loads(tags["CROSSEARTH_CLASSES"])["1"] == "roof & wall"


def test_resampled_scenes_are_mapped_on_their_own_grid(tmp_path):
    values = np.zeros((3, 120, 160), np.uint8)
    values[:, 40:80, 40:120] = 255
    source = write(tmp_path / "a.tif", values)
    wanted = Wanted(reading=Reading(gsd=4.0), probabilities="uint8")
    predict_file(predictor(), source, tmp_path / "out.tif", wanted)
    with rasterio.open(source) as scene, rasterio.open(tmp_path / "out.tif") as made:
        assert made.shape == scene.shape and made.transform == scene.transform
        labels = made.read(1)
        assert made.colormap(1)[1] == (255, 200, 0, 255)
    assert (labels == (values[0] > 0)).mean() > 0.98
    assert labels[60, 80] == 1 and labels[10, 10] == 0


def test_a_raster_without_coordinates_is_mapped_with_a_warning(tmp_path, caplog):
    source = tmp_path / "a.png"
    Image.fromarray(np.moveaxis(squares(70, 80), 0, 2)).save(source)
    predict_file(predictor(), source, tmp_path / "out.tif", EVERYTHING)
    assert "no coordinate system" in caplog.text
    with rasterio.open(tmp_path / "out.tif") as made:
        assert made.crs is None and made.shape == (70, 80)


def test_a_broken_scene_leaves_nothing(tmp_path):
    source = write(tmp_path / "a.tif", squares(500, 500), compress="deflate")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with pytest.raises(OSError, match="damaged: copy it"):
        predict_file(predictor(), source, tmp_path / "out" / "a.tif", Wanted())
    assert not list((tmp_path / "out").iterdir())
    source.write_text("no raster")
    with pytest.raises(ValueError, match=r"a\.tif: cannot be opened"):
        predict_file(predictor(), source, tmp_path / "out" / "a.tif", Wanted())


def test_a_stop_while_scoring_leaves_nothing(tmp_path):
    calls = []

    def stopped(windows):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return bright_is_roof(windows)

    source = write(tmp_path / "a.tif", squares(300, 300))
    target = tmp_path / "out" / "a.tif"
    with pytest.raises(KeyboardInterrupt):
        predict_file(predictor(stopped), source, target, Wanted())
    assert not list(target.parent.iterdir())


def test_left_overs_of_a_killed_process_are_removed(tmp_path):
    """A killed process has lost its lock, whatever its number was: in containers all
    processes may have the same."""
    target = tmp_path / "a.tif"
    prefix = f".a.tif.{socket.gethostname()}."
    dead = tmp_path / f"{prefix}dead.tmp"
    dead.mkdir()
    (dead / "lock").touch()
    with scratch_folder(target) as alive:
        source = write(tmp_path / "in.tif", squares(64, 64))
        predict_file(predictor(), source, target, Wanted())
        assert not dead.exists() and alive.exists()
    young, old = tmp_path / f"{prefix}young.tmp", tmp_path / f"{prefix}old.tmp"
    young.mkdir()  # its process has not locked it yet
    old.mkdir()
    os.utime(old, (0, 0))
    with scratch_folder(target):
        assert young.exists() and not old.exists()


def test_a_map_is_made_once(tmp_path):
    source = write(tmp_path / "a.tif", squares(64, 64))
    target = tmp_path / "out.tif"
    p = predictor(weights="1")
    assert not is_done(p, source, target, Wanted())
    predict_file(p, source, target, Wanted())
    assert is_done(p, source, target, Wanted())
    # Something is missing: it is made again.
    outputs(target, Wanted())[0].unlink()
    assert not is_done(p, source, target, Wanted())
    predict_file(p, source, target, Wanted())

    for other, wanted in (
        (predictor(weights="2"), Wanted()),
        (p, Wanted(blend="cosine")),
        (p, Wanted(reading=Reading(bands=(3, 2, 1)))),
    ):
        with pytest.raises(ValueError, match="--overwrite"):
            is_done(other, source, target, wanted)
        assert not is_done(other, source, target, wanted, overwrite=True)
    os.utime(source, ns=(1, 1))
    with pytest.raises(ValueError, match=r"another version of a\.tif"):
        is_done(p, source, target, Wanted())


def test_foreign_files_and_the_scene_itself_are_not_overwritten(tmp_path):
    source = write(tmp_path / "a.tif", squares(64, 64))
    other = write(tmp_path / "b.tif", squares(64, 64))
    with pytest.raises(ValueError, match="--overwrite"):
        is_done(predictor(), source, other, Wanted())
    with pytest.raises(ValueError, match="input itself"):
        is_done(predictor(), source, source, Wanted(), overwrite=True)


def test_feet_and_wkt_coordinate_systems_stay(tmp_path):
    for crs in ("EPSG:2263", "+proj=laea +lat_0=10 +lon_0=20 +units=m", UTM):
        source = write(tmp_path / "a.tif", squares(40, 40), crs=crs)
        predict_file(predictor(), source, tmp_path / "out.tif", Wanted())
        with rasterio.open(source) as scene, rasterio.open(tmp_path / "out.tif") as m:
            assert m.crs == scene.crs
        (tmp_path / "out.tif").unlink()
