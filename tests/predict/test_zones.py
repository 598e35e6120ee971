"""Areas of classes in polygons: any map, any coordinates, a piece at a time."""

import csv

import numpy as np
import pytest
from rasters import CLASSES, UTM, write

from crossearth_jax.predict import zones as module
from crossearth_jax.predict.ground import moved
from crossearth_jax.predict.vector import write_polygons
from crossearth_jax.predict.zones import areas_in, open_zones
from crossearth_jax.predict.zones_files import write_zones

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
geopandas = pytest.importorskip("geopandas", reason="needs the extra geo")
shapely = pytest.importorskip("shapely", reason="needs the extra geo")
pytest.importorskip("exactextract", reason="needs the extra zones")


def class_map(path, size=(60, 80), **profile):
    ids = np.zeros((1, *size), np.uint8)
    ids[0, 10:30, 20:70] = 1
    ids[0, 40:50, 5:15] = 255
    return write(path, ids, **({"nodata": 255} | profile)), ids[0]


def zone_file(path, shapes, crs=UTM, **columns):
    columns = {"name": [f"z{i}" for i in range(len(shapes))]} | columns
    geopandas.GeoDataFrame(columns, geometry=shapes, crs=crs).to_file(path)
    return open_zones(str(path))


def box(top, left, bottom, right):
    """In pixels of `rasters.write`."""
    x, y = 500_000, 4_000_000
    return shapely.box(x + 2 * left, y - 2 * bottom, x + 2 * right, y - 2 * top)


def test_pixels_count_by_the_share_that_a_zone_covers(tmp_path):
    label, ids = class_map(tmp_path / "map.tif")
    bowtie = box(0, 0, 10, 10).exterior.coords
    bowtie = shapely.Polygon([bowtie[i] for i in (0, 2, 1, 3)])
    shapes = [
        box(0, 0, 60, 80),
        box(9.5, 19.75, 30, 70),
        box(-50, -50, 10, 10),
        box(100, 100, 110, 110),
        bowtie,
        shapely.Polygon(),
    ]
    zones = zone_file(tmp_path / "zones.gpkg", shapes)
    areas = areas_in(label, zones, 2) / 4
    whole = [(ids == 0).sum(), (ids == 1).sum(), (ids == 255).sum()]
    ground = 20.5 * 50.25 - 1000
    expected = [whole, (ground, 1000, 0), (100, 0, 0), (0, 0, 0), (50, 0, 0), (0, 0, 0)]
    np.testing.assert_allclose(areas, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("crs", "place"),
    [
        (UTM, (1.6, 1.2, 500_000, 1.2, -1.6, 4_000_000)),  # rotated
        (UTM, (2, 0, 500_000, 0, 2, 4_000_000)),  # south-up
        ("EPSG:4326", (1e-3, 0, 10, 0, -1e-3, 60)),
        ("EPSG:3857", (600, 0, 1e6, 0, -600, 8.4e6)),
        ("EPSG:2263", (3, 0, 980_000, 0, -3, 200_000)),  # US feet
        ("EPSG:32760", (1000, 0, 804_000, 0, -1000, 9_990_000)),  # across 180°
    ],
)
def test_areas_are_those_of_the_polygons_whatever_the_coordinates(tmp_path, crs, place):
    transform = rasterio.Affine(*place)
    label, _ = class_map(tmp_path / "map.tif", crs=crs, transform=transform)
    polygons = tmp_path / "polygons.gpkg"
    write_polygons(label, polygons, CLASSES, specks=0, scratch=tmp_path)
    frame = geopandas.read_file(polygons)
    corners = [
        moved(transform, *corner) for corner in ((0, 0), (80, 0), (80, 60), (0, 60))
    ]
    outline = shapely.Polygon(corners)
    zones = zone_file(tmp_path / "zones.gpkg", [outline], crs=crs)
    expected = frame.groupby("class_id").area_m2.sum().to_numpy()
    np.testing.assert_allclose(areas_in(label, zones, 2)[0, :2], expected, rtol=1e-4)
    if crs == "EPSG:32760":
        return  # the outline in degrees is two
    # A third system, with edges as dense as a user's would be.
    shape = geopandas.GeoSeries([outline.segmentize(outline.length / 400)], crs=crs)
    other = shape.to_crs("EPSG:4326" if crs != "EPSG:4326" else "EPSG:3857")
    zones = zone_file(tmp_path / "other.gpkg", list(other), crs=other.crs)
    np.testing.assert_allclose(areas_in(label, zones, 2)[0, :2], expected, rtol=1e-3)


def test_a_piece_at_a_time_is_all_at_once(tmp_path, monkeypatch):
    label, _ = class_map(tmp_path / "map.tif")
    shapes = [box(i, 2 * i, i + 22.3, 2 * i + 31) for i in range(7)]
    zones = zone_file(tmp_path / "zones.gpkg", shapes)
    whole = areas_in(label, zones, 2)
    monkeypatch.setattr(module, "CHUNK", 3)
    monkeypatch.setattr(module, "CELLS", 50)
    np.testing.assert_allclose(areas_in(label, zones, 2), whole, rtol=1e-9)


def test_countries_around_a_map_are_cut_before_they_are_projected(tmp_path):
    """The poles have no place in Web Mercator."""
    place = rasterio.Affine(600, 0, 1e6, 0, -600, 8.4e6)
    label, ids = class_map(tmp_path / "map.tif", crs="EPSG:3857", transform=place)
    world = shapely.box(-180, -90, 180, 90)
    zones = zone_file(tmp_path / "zones.gpkg", [world], crs="EPSG:4326")
    areas = areas_in(label, zones, 2)[0]
    np.testing.assert_allclose(areas[1] / areas.sum(), 1000 / ids.size, rtol=0.01)


def test_a_table_and_a_geopackage_with_the_zones_own_columns(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 2)
    label, _ = class_map(tmp_path / "map.tif")
    shapes = [box(0, 0, 60, 80), box(100, 100, 110, 110), box(10, 20, 30, 70)]
    names = ["=1+1", "far\x1b[31m", "roof"]
    since = [np.datetime64("2026-11-28"), None, None]
    columns = {"name": names, "MAPPED_m2": [1, 2, 3], "since": since}
    zones = zone_file(tmp_path / "in.gpkg", shapes, **columns)
    table, package = tmp_path / "out.csv", tmp_path / "out.gpkg"
    areas = areas_in(label, zones, 2)
    classes = ("ground", "roof & wall")
    write_zones(table, package, zones, areas, classes, mark="m", beside=package)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("zone", "mapped_m2", "nodata_m2", "ground_m2", "ground_share"),
        *("roof & wall_m2", "roof & wall_share", "name", "MAPPED_m2_2", "since"),
    ]
    assert [row["name"] for row in rows] == ["'=1+1", r"far\x1b[31m", "roof"]
    assert [row["since"][:10] for row in rows] == ["2026-11-28", "", ""]
    assert float(rows[0]["mapped_m2"]) == pytest.approx(4 * (60 * 80 - 100))
    assert [row["roof & wall_share"] for row in rows][1:] == ["", "1.0"]
    frame = geopandas.read_file(package)
    assert frame.crs == UTM and list(frame.geom_type) == ["MultiPolygon"] * 3
    assert list(frame["ground_m2"]) == [float(row["ground_m2"]) for row in rows]


def test_what_are_no_zones_is_one_line(tmp_path):
    points, lost = tmp_path / "points.gpkg", tmp_path / "lost.gpkg"
    with pytest.raises(ValueError, match=r"points\.gpkg with Points, expected pol"):
        zone_file(points, [shapely.Point(1, 2)])
    with pytest.raises(ValueError, match=r"lost\.gpkg without a coordinate system"):
        zone_file(lost, [box(0, 0, 1, 1)], crs=None)
    (tmp_path / "text.gpkg").write_text("no file of polygons")
    with pytest.raises(ValueError, match=r"text\.gpkg, which cannot be read"):
        open_zones(str(tmp_path / "text.gpkg"))
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"table\.csv with no geometry"):
        open_zones(str(tmp_path / "table.csv"))
    with pytest.raises(ValueError, match="which is not there"):
        open_zones(str(tmp_path / "nowhere.shp"))
    two = tmp_path / "two.gpkg"
    frame = geopandas.GeoDataFrame(geometry=[box(0, 0, 1, 1)], crs=UTM)
    for layer in ("a", "b"):
        frame.to_file(two, layer=layer)
    with pytest.raises(ValueError, match=r"with the layers a, b, expected one"):
        open_zones(str(two))
    assert open_zones(f"{two}|layername=b").layer == "b"
