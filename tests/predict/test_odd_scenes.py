"""Small rasters rebuilt from public bug reports: alpha, nodata, distances, places."""

import errno
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from rasters import (
    CLASSES,
    bright_is_roof,
    ground_points,
    polynomials,
    predictor,
    squares,
    write,
)

from crossearth_jax.predict import geo, outputs
from crossearth_jax.predict.files import predict_file
from crossearth_jax.predict.ground import pixel_metres
from crossearth_jax.predict.outputs import Wanted, is_done
from crossearth_jax.predict.resample import resampled
from crossearth_jax.predict.scene import Reading, open_scene
from crossearth_jax.predict.vector import write_polygons

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
geopandas = pytest.importorskip("geopandas", reason="needs the extra geo")
pyogrio = pytest.importorskip("pyogrio", reason="needs the extra geo")
shapely = pytest.importorskip("shapely", reason="needs the extra geo")
colour = pytest.importorskip("rasterio.enums").ColorInterp
LOCAL = 'LOCAL_CS["Local Coordinates (m)",UNIT["metre",1]]'


def valid_of(path, **reading):
    with open_scene(path, Reading(**reading)) as scene:
        return scene.read_rows(0, scene.grid.height)[1]


def marked(path, values, *meaning):
    write(path, values)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = meaning
    return path


# ---- what has data ------------------------------------------------------------------


def with_alpha(bands):
    values = squares(64, 64, bands) + 1
    values[-1] = np.where(np.arange(64) < 20, 0, 255)
    return values


RED, GREEN, BLUE = colour.red, colour.green, colour.blue


@pytest.mark.parametrize(
    "meaning",
    [
        (RED, GREEN, BLUE, colour.undefined, colour.alpha),
        (RED, GREEN, BLUE, colour.alpha),
        (colour.gray, colour.alpha),
    ],
)
@pytest.mark.parametrize("gsd", [None, 2.0])
def test_alpha_counts_wherever_it_stands(tmp_path, meaning, gsd):
    path = marked(tmp_path / "a.tif", with_alpha(len(meaning)), *meaning)
    valid = valid_of(path, gsd=gsd)
    assert not valid[:, :20].any() and valid[:, 20:].all()


def test_alpha_before_the_colours(tmp_path):
    values = with_alpha(4)[::-1]
    path = marked(tmp_path / "a.tif", values, colour.alpha, RED, GREEN, BLUE)
    assert valid_of(path).mean() == 44 / 64


def test_near_infrared_marked_as_alpha_is_hinted_at_and_can_be_ignored(
    tmp_path, caplog
):
    values = squares(64, 64, 4)
    values[3, :, :9] = 0
    path = marked(tmp_path / "a.tif", values, RED, GREEN, BLUE, colour.alpha)
    assert valid_of(path).mean() < 1
    assert "band 4 is marked as alpha" in caplog.text
    assert "--ignore-alpha" in caplog.text
    caplog.clear()
    assert valid_of(path, ignore_alpha=True).all()
    assert valid_of(path, bands=(4, 1, 2)).all()  # named as a colour, it is none
    assert not caplog.text
    values[3] = np.where(np.arange(64) < 9, 0, 255)
    marked(path, values, RED, GREEN, BLUE, colour.alpha)
    assert not valid_of(path).all() and not caplog.text


@pytest.mark.parametrize("gsd", [None, 2.0, 4.0])
def test_nodata_of_the_user_adds_to_the_files(tmp_path, gsd):
    values = squares(64, 64) + 1
    values[:, :, :20] = 0
    values[:, :, 40:] = 254
    path = write(tmp_path / "a.tif", values, nodata=0)
    valid = valid_of(path, nodata=254.0, gsd=gsd)
    step = 64 // valid.shape[1]
    assert not valid[:, : 19 // step].any() and not valid[:, 41 // step + 1 :].any()
    assert valid[:, 20 // step : 40 // step].all()


def test_a_mask_and_nodata_both_count(tmp_path):
    values = squares(64, 64) + 1
    values[:, :, :20] = 0
    path = write(tmp_path / "a.tif", values, nodata=0)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(np.broadcast_to(np.arange(64)[:, None] >= 10, (64, 64)))
    valid = valid_of(path)
    assert not valid[:10].any() and not valid[:, :20].any() and valid[10:, 20:].all()


def test_undeclared_nan_takes_no_valid_pixel_with_it(tmp_path):
    values = squares(60, 60, dtype=np.float32, top=200)
    values[:, 20:30, 20:30] = np.nan
    path = write(tmp_path / "a.tif", values)
    wanted = Wanted(Reading(gsd=4.0), confidence=True)
    predict_file(predictor(), path, tmp_path / "out.tif", wanted)
    for name in ("out.tif", "out_confidence.tif"):
        with rasterio.open(tmp_path / name) as made:
            np.testing.assert_array_equal(made.read(1) == 255, np.isnan(values[0]))


def test_a_palette_is_never_mixed(tmp_path):
    values = np.zeros((1, 40, 40), np.uint8)
    values[:, :, 20:] = 2
    path = write(tmp_path / "a.tif", values)
    black, green = (0, 0, 0), (0, 255, 0)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: black, 1: (255, 0, 0), 2: green})
    with open_scene(path, Reading(gsd=3.1)) as scene:
        pixels, _ = scene.read_rows(0, scene.grid.height)
    assert pixels[..., 0].max() == 0  # never index 1
    np.testing.assert_allclose(pixels[..., 1].max(), 255, rtol=1e-5)


def test_resampling_is_a_weighted_mean_of_what_is_valid():
    values = np.arange(12, dtype=np.float32).reshape(1, 12, 1)
    valid = np.ones((1, 12), bool)
    valid[0, 6:] = False

    def read(rows, columns):
        part = slice(*rows), slice(*columns)
        return values[part], valid[part]

    got, known = resampled(read, (1, 12), (1, 6), (0, 1), (0, 6))
    np.testing.assert_array_equal(known[0], [1, 1, 1, 1, 0, 0])
    # Triangle of reach 2 around 2.5: pixels 1 to 4 with weights 1, 3, 3, 1.
    np.testing.assert_allclose(got[0, 1], 2.5, rtol=1e-6)
    np.testing.assert_allclose(got[0, 3], 5.0, rtol=1e-6)  # only pixel 5 is known
    rows = np.random.default_rng(0).random((50, 30, 2)).astype(np.float32)

    def read_more(span, columns):
        part = rows[slice(*span), slice(*columns)]
        return part, np.ones(part.shape[:2], bool)

    sizes = (50, 30), (33, 41)
    whole, _ = resampled(read_more, *sizes, (0, 33), (0, 41))
    for span, columns in itertools.product(((0, 7), (7, 33)), ((0, 20), (20, 41))):
        part, _ = resampled(read_more, *sizes, span, columns)
        np.testing.assert_array_equal(part, whole[slice(*span), slice(*columns)])


# ---- places -------------------------------------------------------------------------


def test_distances_in_web_mercator_are_those_on_the_ground(tmp_path):
    place = rasterio.Affine(0.6, 0, 1e6, 0, -0.6, 8_399_737.9)  # 60° north
    path = write(tmp_path / "a.tif", squares(64, 64), crs="EPSG:3857", transform=place)
    with rasterio.open(path) as file:
        np.testing.assert_allclose(pixel_metres(file), 0.3, rtol=0.01)
    with open_scene(path, Reading(gsd=0.3)) as scene:
        assert not scene.is_resampled


def test_a_local_system_has_metres_and_polygons(tmp_path):
    path = write(tmp_path / "a.tif", squares(64, 64), crs=LOCAL)
    wanted = Wanted(Reading(gsd=4.0), vector=tmp_path / "out.gpkg")
    predict_file(predictor(), path, tmp_path / "out.tif", wanted)
    frame = geopandas.read_file(tmp_path / "out.gpkg")
    assert frame.area_m2.sum() == 4 * 64 * 64
    with rasterio.open(tmp_path / "out.tif") as made:
        assert made.shape == (64, 64) and "Local" in made.crs.to_wkt()


@pytest.mark.parametrize("crs", [None, LOCAL])
def test_geojson_without_longitudes_is_refused_before_any_work(tmp_path, crs):
    def never(windows):
        raise AssertionError("scored")

    path = write(tmp_path / "a.tif", squares(64, 64), crs=crs)
    wanted = Wanted(vector=tmp_path / "out.geojson")
    with pytest.raises(ValueError, match=r"a\.tif: got --vector geojson.*gpkg"):
        predict_file(predictor(never), path, tmp_path / "out.tif", wanted)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_polygons_are_cut_at_the_antimeridian(tmp_path):
    ids = np.zeros((1, 40, 60), np.uint8)
    ids[:, 10:30, 10:50] = 1
    ids[:, 18:22, 28:33] = 0  # a court on the antimeridian
    # UTM 60 south ends at 180° E, 834 km east of its false origin at the equator.
    place = rasterio.Affine(1000, 0, 804_000, 0, -1000, 9_990_000)
    profile = {"nodata": 255, "crs": "EPSG:32760", "transform": place}
    path = write(tmp_path / "map.tif", ids, **profile)
    target = tmp_path / "out.geojson"
    write_polygons(path, target, CLASSES, specks=0, scratch=tmp_path)
    frame = geopandas.read_file(target)
    assert sorted(frame.class_id) == [0, 0, 1]
    bounds = frame.geometry.explode().bounds
    assert (bounds.maxx - bounds.minx).max() < 1
    assert bounds.minx.min() >= -180 and bounds.maxx.max() <= 180
    assert bounds.minx.min() < -179 and bounds.maxx.max() > 179
    square_degree = 110.6 * 111.3  # km² at the equator
    roof = frame[frame.class_id == 1].geometry.area.sum() * square_degree
    np.testing.assert_allclose(roof, (ids == 1).sum(), rtol=0.02)


def test_areas_without_a_system_are_pixels_whatever_the_transform(tmp_path):
    place = rasterio.Affine(0.3, 0, 100, 0, -0.3, 200)
    path = write(tmp_path / "map.tif", np.zeros((1, 64, 64), np.uint8), crs=None)
    with rasterio.open(path, "r+") as file:
        file.transform = place
    target = tmp_path / "out.gpkg"
    write_polygons(path, target, CLASSES, specks=0, scratch=tmp_path)
    np.testing.assert_allclose(geopandas.read_file(target).area_px.sum(), 4096)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (20, 20)])
def test_a_sieve_wider_than_the_scene(tmp_path, size):
    ids = np.zeros((1, *size), np.uint8)
    ids[0, 0, 0] = 1
    path = write(tmp_path / "map.tif", ids, nodata=255)
    target = tmp_path / "out.gpkg"
    assert write_polygons(path, target, CLASSES, specks=1000, scratch=tmp_path) == 1


def test_ground_control_points_and_polynomials_are_carried(tmp_path, caplog):
    path = write(tmp_path / "a.tif", squares(64, 64), crs=None)
    with rasterio.open(path, "r+") as file:
        file.gcps = ground_points(), "EPSG:4326"
    predict_file(predictor(), path, tmp_path / "out.tif")
    assert "ground control points instead of" in caplog.text
    with rasterio.open(tmp_path / "out.tif") as made:
        assert len(made.gcps[0]) == 4 and made.gcps[1].to_epsg() == 4326
    path = write(tmp_path / "b.tif", squares(64, 64), crs=None)
    with rasterio.open(path, "r+") as file:
        file.rpcs = polynomials()
    predict_file(predictor(), path, tmp_path / "rpc.tif")
    assert "rational polynomials" in caplog.text
    with rasterio.open(tmp_path / "rpc.tif") as made:
        assert made.rpcs.line_num_coeff == polynomials().line_num_coeff


@pytest.mark.parametrize("dtype", ["complex64", "complex_int16"])
@pytest.mark.parametrize("scale", [None, (0.0, 9.0)])
def test_complex_numbers_are_refused(tmp_path, dtype, scale):
    values = squares(9, 9).astype("complex64")
    profile = {"driver": "GTiff", "count": 3, "height": 9, "width": 9, "dtype": dtype}
    with rasterio.open(tmp_path / "a.tif", "w", **profile) as file:
        file.write(values)
    with (
        pytest.raises(ValueError, match=r"a\.tif: got complex numbers"),
        open_scene(tmp_path / "a.tif", Reading(scale=scale)),
    ):
        pass


# ---- files --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["plain", "sieved", "plain_confidence", "lock", "x" * 240]
)
def test_any_name_can_be_mapped(tmp_path, name):
    source = write(tmp_path / f"{name}.tif", squares(64, 64))
    target = tmp_path / "out" / f"{name}.tif"
    confidence = len(name) < 200  # a file system allows 255 characters
    wanted = Wanted(confidence=confidence, vector=target.with_suffix(".gpkg"), specks=4)
    predict_file(predictor(), source, target, wanted)
    assert is_done(predictor(), source, target, wanted)


def counted():
    calls = []

    def score(windows):
        calls.append(1)
        return bright_is_roof(windows)

    return predictor(score), calls


def test_polygons_and_a_picture_are_added_to_a_finished_map(tmp_path):
    source = write(tmp_path / "a.tif", squares(64, 64))
    target = tmp_path / "out.tif"
    scoring, calls = counted()
    predict_file(scoring, source, target)
    first, before = len(calls), target.stat().st_mtime_ns
    more = Wanted(vector=tmp_path / "out.gpkg", specks=8, quicklook=True)
    assert not is_done(scoring, source, target, more)
    predict_file(scoring, source, target, more)
    assert is_done(scoring, source, target, more)
    assert len(calls) == first and target.stat().st_mtime_ns == before
    predict_file(scoring, source, target, Wanted(confidence=True))
    assert len(calls) > first  # that needs the scores


@pytest.mark.parametrize(
    "name",
    ["out.gpkg", "out.geojson", "out_quicklook.png", "out_confidence.tif"],
)
def test_no_foreign_file_is_overwritten_unasked(tmp_path, name):
    source, target = write(tmp_path / "a.tif", squares(64, 64)), tmp_path / "out.tif"
    foreign = tmp_path / name
    foreign.write_text("of somebody else")
    vector = foreign if foreign.suffix in (".gpkg", ".geojson") else None
    wanted = Wanted(vector=vector, quicklook=True, confidence=True)
    with pytest.raises(outputs.Existing, match=f"{name}.*--overwrite"):
        predict_file(predictor(), source, target, wanted)
    assert foreign.read_text() == "of somebody else" and not target.exists()
    predict_file(predictor(), source, target, wanted, overwrite=True)
    assert is_done(predictor(), source, target, wanted)


def test_a_style_of_the_users_is_left_alone(tmp_path):
    source, target = write(tmp_path / "a.tif", squares(64, 64)), tmp_path / "out.tif"
    style = tmp_path / "out.qml"
    for blend in ("flat", "cosine"):
        wanted = Wanted(blend=blend)
        predict_file(predictor(), source, target, wanted, overwrite=True)
        assert outputs.read_mark(style) == outputs.read_mark(target)  # ours follows
    style.write_text("<qgis/>")  # as saved by QGIS
    assert is_done(predictor(), source, target, wanted)
    predict_file(predictor(), source, target, Wanted(), overwrite=True)
    assert style.read_text() == "<qgis/>"


def test_layers_of_others_stay_in_a_geopackage(tmp_path):
    source, target = write(tmp_path / "a.tif", squares(64, 64)), tmp_path / "out.tif"
    place = tmp_path / "project.gpkg"
    frame = geopandas.GeoDataFrame(
        {"name": ["mine"]}, geometry=[shapely.Point(1, 2)], crs=4326
    )
    frame.to_file(place, layer="field trip", driver="GPKG")
    wanted = Wanted(vector=place)
    with pytest.raises(outputs.Existing, match=r"project\.gpkg"):
        predict_file(predictor(), source, target, wanted)
    for blend in ("flat", "cosine"):
        wanted = Wanted(vector=place, blend=blend)
        predict_file(predictor(), source, target, wanted, overwrite=True)
        assert set(pyogrio.list_layers(place)[:, 0]) == {"field trip", "classes"}
        assert geopandas.read_file(place, layer="field trip").name[0] == "mine"
        assert is_done(predictor(), source, target, wanted)


def test_overwriting_leaves_nothing_of_the_old_map(tmp_path):
    source, target = write(tmp_path / "a.tif", squares(64, 64)), tmp_path / "out.tif"
    old = Wanted(vector=tmp_path / "out.gpkg", quicklook=True, confidence=True)
    predict_file(predictor(), source, target, old)
    (tmp_path / "out.geojson").write_text("{}")  # not ours
    predict_file(predictor(), source, target, Wanted(blend="cosine"), overwrite=True)
    names = {p.name for p in tmp_path.iterdir()}
    made = {"out.tif", "out.tif.aux.xml", "out.qml"}
    assert names == {"a.tif", "out.geojson"} | made


def test_the_map_of_a_scene_named_like_a_result_stays(tmp_path):
    for name in ("a_confidence", "a"):
        source = write(tmp_path / f"{name}.tif", squares(64, 64))
        predict_file(predictor(), source, tmp_path / "out" / source.name)
    predict_file(
        predictor(),
        tmp_path / "a.tif",
        tmp_path / "out/a.tif",
        Wanted(blend="cosine"),
        overwrite=True,
    )
    assert (tmp_path / "out/a_confidence.tif").exists()


def test_polygons_may_lie_on_another_disk(tmp_path, monkeypatch):
    import os

    replace = os.replace

    def other_disk(made, target):
        made, target = os.fspath(made), os.fspath(target)
        if ("/far" in target) != ("/far" in made):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(made, target)

    monkeypatch.setattr("os.replace", other_disk)
    source = write(tmp_path / "a.tif", squares(64, 64))
    wanted = Wanted(vector=tmp_path / "far" / "p.gpkg")
    predict_file(predictor(), source, tmp_path / "out.tif", wanted)
    assert len(geopandas.read_file(wanted.vector))
    assert [p.name for p in wanted.vector.parent.iterdir()] == ["p.gpkg"]


@pytest.mark.parametrize(
    ("error", "free", "full"),
    [
        (OSError(errno.ENOSPC, "x"), 10**9, True),
        (OSError(errno.EDQUOT, "x"), 10**9, True),
        (OSError("write error: No space left on device"), 10**9, True),
        (OSError("write error"), 0, True),
        (OSError("overviews must have the same data type"), 10**9, False),
    ],
)
def test_only_a_full_disk_is_called_full(tmp_path, monkeypatch, error, free, full):
    usage = SimpleNamespace(free=free)
    monkeypatch.setattr("crossearth_jax.predict.geo.shutil.disk_usage", lambda _: usage)
    with pytest.raises(OSError) as caught, geo.written(tmp_path / "a.tif"):
        raise error
    assert ("the disk is full" in str(caught.value)) == full
