import numpy as np
import pytest
from rasters import CLASSES, write

from crossearth_jax.predict.vector import _sieve, write_polygons

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
geopandas = pytest.importorskip("geopandas", reason="needs the extra geo")
pytest.importorskip("pyogrio", reason="needs the extra geo")


def labels():
    ids = np.zeros((1, 60, 80), np.uint8)
    ids[0, 10:30, 20:60] = 1
    ids[0, 18:22, 30:34] = 0  # a court in the roof
    ids[0, 50, 70] = 1  # a speck
    ids[0, :, :5] = 255
    return ids


def polygons(tmp_path, name="out.gpkg", specks=0, **profile):
    path = write(tmp_path / "map.tif", labels(), nodata=255, **profile)
    count = write_polygons(
        path, tmp_path / name, CLASSES, specks=specks, scratch=tmp_path
    )
    frame = geopandas.read_file(tmp_path / name)
    assert len(frame) == count
    return frame


def test_geopackage_has_the_crs_the_classes_and_the_area(tmp_path):
    frame = polygons(tmp_path)
    assert frame.crs.to_epsg() == 32618
    area = frame.groupby("class").area_m2.sum()
    ids = labels()[0]
    assert area["roof & wall"] == 4 * (ids == 1).sum()  # pixels of 2 m
    assert area["ground"] == 4 * (ids == 0).sum()  # no polygon where nodata is
    assert set(frame.columns) == {"class_id", "class", "area_m2", "geometry"}
    roof = frame[frame.class_id == 1].sort_values("area_m2").iloc[-1].geometry
    assert roof.bounds == (500_040, 3_999_940, 500_120, 3_999_980)
    assert len(roof.interiors) == 1


def test_specks_go_to_their_neighbour(tmp_path):
    frame = polygons(tmp_path, specks=8)
    assert sorted(frame.class_id) == [0, 0, 1]  # the court is larger
    assert frame.area_m2.sum() == 4 * (labels() != 255).sum()


def test_sieving_in_strips_is_sieving(tmp_path, monkeypatch):
    features = pytest.importorskip("rasterio.features")
    rng = np.random.default_rng(0)
    ids = (rng.random((1, 400, 60)) < 0.7).astype(np.uint8)
    path = write(tmp_path / "map.tif", ids, nodata=255)
    monkeypatch.setattr("crossearth_jax.predict.vector.STRIP", 64)
    with rasterio.open(path) as file:
        _sieve(file, tmp_path / "sieved.tif", 6)
    with rasterio.open(tmp_path / "sieved.tif") as file:
        got = file.read(1)
    assert (got == features.sieve(ids[0], 6)).mean() > 0.995


def test_areas_in_degrees_are_geodesic(tmp_path):
    degrees = rasterio.Affine(1e-4, 0, 30, 0, -1e-4, 60)
    frame = polygons(tmp_path, crs="EPSG:4326", transform=degrees)
    assert frame.crs.to_epsg() == 4326
    pixel = (1e-4 * 111_412) * (1e-4 * 55_800)  # metres at 60° north on WGS 84
    expected = pixel * (labels() == 1).sum()
    roofs = frame[frame["class"] == "roof & wall"].area_m2.sum()
    np.testing.assert_allclose(roofs, expected, rtol=2e-3)


def test_areas_in_web_mercator_are_geodesic_too(tmp_path):
    place = rasterio.Affine(2, 0, 9_500_000, 0, -2, 8_399_737.9)  # 60° north
    frame = polygons(tmp_path, crs="EPSG:3857", transform=place)
    assert frame.crs.to_epsg() == 3857
    true = 4 * (labels() != 255).sum() * 0.5**2  # lengths are doubled there
    np.testing.assert_allclose(frame.area_m2.sum(), true, rtol=0.01)


def test_geojson_is_in_degrees_and_keeps_square_metres(tmp_path):
    frame = polygons(tmp_path, "out.geojson")
    assert frame.crs.to_epsg() == 4326
    assert frame.area_m2.sum() == 4 * (labels() != 255).sum()


def test_without_coordinates_areas_are_pixels(tmp_path):
    frame = polygons(tmp_path, crs=None, transform=rasterio.Affine.identity())
    assert frame.area_px.sum() == (labels() != 255).sum()


def test_many_polygons_are_written_in_chunks(tmp_path, monkeypatch):
    expected = polygons(tmp_path)
    monkeypatch.setattr("crossearth_jax.predict.vector.CHUNK", 2)
    for name in ("chunks.gpkg", "chunks.geojson"):
        frame = polygons(tmp_path, name)
        assert sorted(frame.area_m2) == sorted(expected.area_m2)


def test_a_map_without_data_has_no_polygons(tmp_path):
    path = write(tmp_path / "map.tif", np.full((1, 9, 9), 255, np.uint8), nodata=255)
    target = tmp_path / "out.gpkg"
    assert write_polygons(path, target, CLASSES, specks=0, scratch=tmp_path) == 0
    assert len(geopandas.read_file(target)) == 0
