"""From what was named to what is shown: what fits together, and one line where not."""

import json

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio")
pytest.importorskip("rio_tiler", reason="the extra `view` is missing")

from drawn import CLASSES, blocks, class_map, raster, shares_of  # noqa: E402

from crossearth_jax.commands.view import find_maps  # noqa: E402
from crossearth_jax.data.classes import ClassSet  # noqa: E402
from crossearth_jax.view.about import about  # noqa: E402
from crossearth_jax.view.areas import stated_areas  # noqa: E402
from crossearth_jax.view.gather import gather  # noqa: E402
from crossearth_jax.view.maps import LARGE, check_overviews  # noqa: E402
from crossearth_jax.view.polygons import geojson, open_polygons  # noqa: E402

EAST = rasterio.Affine(2, 0, 335_400, 0, -2, 3_060_000)
IDS = blocks(128, 200)
PIXELS = {"crs": None, "transform": None}


def picture(path, **place):
    return raster(path, np.zeros((3, 128, 200), np.uint8), nodata=None, **place)


def test_a_folder_gives_its_class_maps_alone(tmp_path):
    maps = tmp_path / "maps"
    first = class_map(maps, IDS, shares=shares_of(IDS), polygons=".gpkg")
    second = class_map(maps, IDS, stem="b_trust", transform=EAST)  # a scene's name
    picture(maps / "picture.tif")
    found = find_maps([str(maps)])
    assert found == [second, first]
    (group,) = gather(found).groups
    assert group.name == "maps" and list(group.layers) == [
        *("classes", "confidence", "trust")
    ]
    assert [one.name for one in gather(found).polygons] == ["polygons0"]
    assert gather(found, polygons=False).polygons == ()


def test_what_predict_wrote_is_found(tmp_path):
    from rasters import predictor, squares, write

    from crossearth_jax.predict import Reading, Wanted, predict_file

    values = squares(96, 128, 4, dtype=np.uint16, top=3000)
    scene, maps = write(tmp_path / "scene.tif", values), tmp_path / "maps"
    maps.mkdir()
    wanted = Wanted(
        reading=Reading(bands=(3, 2, 1), scale=(0, 4000)),
        confidence=True,
        vector=maps / "scene.gpkg",
        quicklook=True,
    )
    predict_file(predictor(weights="1"), scene, maps / "scene.tif", wanted)
    view = gather(find_maps([str(maps)]), [scene])
    (group,), (one,) = view.groups, view.maps
    assert [entry.name for entry in group.classes] == ["ground", "roof & wall"]
    assert list(group.layers) == ["classes", "confidence"] and len(view.polygons) == 1
    assert sum(stated_areas(one).values()) == 4 * 96 * 128
    (raster_,), (eight_bits,) = view.scene.rasters, view.scene.eight_bits
    assert raster_.bands == (3, 2, 1)
    seen = eight_bits(np.full((1, 1, 3), 2000, np.uint16))
    assert seen.tolist() == [[[128, 128, 128]]]


def test_a_folder_of_grey_pictures_is_taken_only_without_maps_of_ours(tmp_path):
    grey = raster(tmp_path / "grey.tif", IDS[None], nodata=None)
    assert find_maps([str(tmp_path)]) == [grey]
    ours = class_map(tmp_path, IDS)
    assert find_maps([str(tmp_path)]) == [ours]
    with pytest.raises(ValueError, match="without a class map"):
        (tmp_path / "empty").mkdir()
        picture(tmp_path / "empty" / "a.tif")
        find_maps([str(tmp_path / "empty")])


def test_maps_of_two_runs_are_two_groups(tmp_path):
    paths = [class_map(tmp_path / run, IDS) for run in ("rein", "full")]
    other = ClassSet(("a", "b"), CLASSES.palette[:2])
    paths.append(class_map(tmp_path / "full", IDS % 2, stem="x", classes=other))
    told = about(gather(paths))
    assert [group["name"] for group in told["groups"]] == [
        *("rein/scene.tif", "full/scene.tif", "x.tif")
    ]
    names = {one["name"] for g in told["groups"] for one in g["layers"].values()}
    assert len(names) == 3


def test_one_scene_of_two_runs_lies_in_one_place_without_longitudes(tmp_path):
    paths = [class_map(tmp_path / run, IDS, **PIXELS) for run in ("rein", "full")]
    paths.append(class_map(tmp_path / "full", IDS, stem="b", **PIXELS))
    first, same, other = (one.place.box for one in gather(paths).maps[:3])
    assert first == same and other[0] > first[2]


def test_neighbours_touch_and_others_overlap(tmp_path):
    first = class_map(tmp_path, IDS)
    beside = class_map(tmp_path, IDS, stem="b", transform=EAST)
    assert not about(gather([first, beside]))["groups"][0]["overlap"]
    half = rasterio.Affine(2, 0, 335_200, 0, -2, 3_060_000)
    over = class_map(tmp_path, IDS, stem="c", transform=half)
    assert about(gather([first, over]))["groups"][0]["overlap"]


def test_a_mosaic_is_drawn_by_its_maps(tmp_path):
    from crossearth_jax.predict.mosaic import common_grid, write_mosaic

    more = {"shares": {"confidence": shares_of(IDS)["confidence"]}}
    parts = [class_map(tmp_path, IDS, **more)]
    parts.append(class_map(tmp_path, IDS, stem="b", transform=EAST, **more))
    opened = [rasterio.open(path) for path in parts]
    grid, tiles = common_grid(opened)
    for file in opened:
        file.close()
    mosaic = tmp_path / "mosaic.vrt"
    placed = list(zip(parts, tiles, strict=True))
    write_mosaic(mosaic, mosaic, placed, grid=grid, classes=CLASSES, mark="x")
    beside = tmp_path / "mosaic_confidence.vrt"
    placed = [(p.with_name(f"{p.stem}_confidence.tif"), tile) for p, tile in placed]
    write_mosaic(beside, beside, placed, grid=grid, classes=CLASSES, mark="x")
    assert sorted(find_maps([str(tmp_path)])) == sorted(parts)  # not both
    (one,) = gather([mosaic]).maps
    assert [raster.name for raster in one.rasters] == ["scene.tif", "b.tif"]
    assert one.size == (128, 400)
    assert [raster.name for raster in one.beside["confidence"]] == [
        *("scene_confidence.tif", "b_confidence.tif")
    ]


def test_a_map_of_others_has_its_ids_for_names(tmp_path):
    ids = np.zeros((80, 80), np.int16)
    ids[:40], ids[40:60], ids[60:] = 10, 200, -1
    path = raster(tmp_path / "cover.tif", ids[None], nodata=-1)
    (group,) = gather([path]).groups
    assert [(c.id, c.name) for c in group.classes] == [
        *((10, "class 10"), (200, "class 200"))
    ]
    layer = group.layers["classes"]
    assert any(layer.tile(layer.zoom, *xy) for xy in layer.tiles(layer.zoom))


@pytest.mark.parametrize(
    "text",
    ["[1]", '{"0": 1}', '{"-1": "a"}', '{"255": "a"}', "{", '{"²": "a", "word": "b"}'],
)
def test_a_tag_of_names_that_is_none_counts_for_nothing(tmp_path, text):
    tags = {"CROSSEARTH_CLASSES": text}
    path = raster(tmp_path / "a.tif", IDS[None], tags=tags)
    names = [entry.name for entry in gather([path]).groups[0].classes]
    assert names == [f"class {k}" for k in range(5)]


def wrong_input(folder, kind):
    """(maps, scenes) that do not fit."""
    map_, pixels = class_map(folder, IDS, about={"bands": (1, 2, 3)}), None
    if kind in ("mixed", "size", "scene without place"):
        pixels = class_map(folder, IDS, stem="p", **PIXELS)
    broken = folder / "broken.tif"
    broken.write_bytes(map_.read_bytes()[:300])
    high = np.full((1, 30, 30), 1000, np.int16)
    vector = folder / "broken.gpkg"
    vector.write_bytes(b"SQLite format 3\0" + b"\1" * 500)
    far = rasterio.Affine(2, 0, 400_000, 0, -2, 3_060_000)
    made = {
        "picture": lambda: ([picture(folder / "a.tif")], []),
        "numbers": lambda: ([raster(folder / "f.tif", np.ones((1, 9, 9)))], []),
        "ids": lambda: ([raster(folder / "i.tif", high, nodata=None)], []),
        "broken": lambda: ([broken], []),
        "mixed": lambda: ([map_, pixels], []),
        "polygons alone": lambda: ([vector], []),
        "broken polygons": lambda: ([map_, vector], []),
        "broken scene": lambda: ([map_], [broken]),
        "far": lambda: ([map_], [picture(folder / "far.tif", transform=far)]),
        "bands": lambda: (
            [map_],
            [raster(folder / "4.tif", np.zeros((4, 9, 9), np.uint16), nodata=None)],
        ),
        "size": lambda: (
            [pixels],
            [raster(folder / "s.tif", np.zeros((3, 9, 9), np.uint8), **PIXELS)],
        ),
        "scene without place": lambda: ([map_], [picture(folder / "s.tif", **PIXELS)]),
    }
    return made[kind]()


@pytest.mark.parametrize(
    "kind, line",
    [
        ("picture", r"a\.tif: got 3 bands, expected a class map.*--scene"),
        ("numbers", r"f\.tif: got float64 numbers, expected a class map"),
        ("ids", r"i\.tif: got the value 1000, expected class ids from 0 to 254"),
        ("broken", r"broken\.tif: cannot be opened"),
        ("mixed", r"scene\.tif with and .*p\.tif without longitudes.*view them apart"),
        ("polygons alone", r"got polygons alone, expected a class map too"),
        ("broken polygons", r"broken\.gpkg: cannot be read"),
        ("broken scene", r"broken\.tif: cannot be opened"),
        ("far", r"far\.tif, which lies under none of the maps"),
        ("bands", r"4\.tif: got 4 bands.*--bands 3,2,1"),
        ("size", r"s\.tif of 9 x 9 pixels, expected as many.*200 x 128"),
        ("scene without place", r"s\.tif without coordinate system"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, kind, line):
    maps, scenes = wrong_input(tmp_path, kind)
    with pytest.raises((ValueError, OSError), match=line) as caught:
        gather(maps, scenes)
    assert "\n" not in str(caught.value)


def test_a_large_raster_needs_overviews(tmp_path):
    side = int(LARGE**0.5) + 1
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "sparse_ok": True}
    path = tmp_path / "large.tif"
    with rasterio.open(path, "w", width=side, height=side, **profile):
        pass
    with rasterio.open(path) as file, pytest.raises(ValueError, match="rio cogeo"):
        check_overviews(file, path)


def test_polygons_are_in_degrees_or_where_pixels_are_drawn(tmp_path):
    placed = class_map(tmp_path / "a", IDS, polygons=".gpkg")
    loose = class_map(tmp_path / "b", IDS, polygons=".gpkg", **PIXELS)
    for path in (placed, loose):
        view = gather([path])
        (polygons,), box = view.polygons, about(view)["groups"][0]["maps"][0]["bounds"]
        features = json.loads(geojson(polygons))["features"]
        columns = {"class_id", "class", "area_m2" if path == placed else "area_px"}
        assert {key for f in features for key in f["properties"]} == columns
        points = np.array(
            [p for f in features for p in f["geometry"]["coordinates"][0]]
        )
        found = [*points.min(0), *points.max(0)]
        assert np.abs(np.subtract(found, box)).max() < 1e-4
        sizes = {f["properties"].get("area_px") for f in features}
        assert path == placed or sizes >= {64 * 64}


def test_polygons_without_a_place_or_too_many_are_one_line(tmp_path, monkeypatch):
    path = class_map(tmp_path, IDS, polygons=".gpkg", **PIXELS)
    with pytest.raises(ValueError, match="without a coordinate system"):
        open_polygons(path.with_suffix(".gpkg"), "p", None)
    monkeypatch.setattr("crossearth_jax.view.polygons.MOST", 3)
    with pytest.raises(ValueError, match=r"got 7 polygons, expected at most 3"):
        gather([path])


def test_other_polygons_are_shown_too(tmp_path):
    path = class_map(tmp_path, IDS, polygons=".geojson")
    moved = tmp_path / "zones.geojson"
    path.with_suffix(".geojson").rename(moved)
    view = gather([path, moved])
    assert [one.path for one in view.polygons] == [moved]
    assert json.loads(geojson(view.polygons[0]))["features"]
