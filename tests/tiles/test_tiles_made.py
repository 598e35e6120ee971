"""Folders of tiles: images, scaling, restarts, shares, manifest, classes."""

import numpy as np
import pytest
from labelled import (
    GRID,
    LEFT,
    TOP,
    asked,
    manifest,
    mosaic,
    polygons,
    rasterio,
    rect,
    scene,
    tiles_in,
)
from PIL import Image
from rasters import write

from benchmarks import tiles as benchmark
from crossearth_jax.commands.tiles import asked_of, tiles_parser
from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.decode import read_image, read_label
from crossearth_jax.data.scaled import read_scaled
from crossearth_jax.data.tile_folder import tile_folder
from crossearth_jax.predict.scene import Reading, open_scene
from crossearth_jax.tiles import make
from crossearth_jax.tiles.journal import Notes
from crossearth_jax.tiles.make import make_tiles

pytestmark = pytest.mark.slow


def make_quietly(sources, labels, out, settings, **how):
    said = []
    found = make_tiles(sources, [labels], out, settings, tell=said.append, **how)
    return found, said


@pytest.fixture
def houses(tmp_path):
    """Polygons all over a scene."""
    places = [(40 * i, 40 * k) for i in range(7) for k in range(7)]
    shapes = [rect(x, y, x + 18, y + 22) for x, y in places]
    return polygons(tmp_path / "houses.gpkg", shapes, "EPSG:4326")


def everything(out):
    """Content of all files that are not hidden, by name."""
    files = (p for p in sorted(out.rglob("*")) if p.is_file())
    names = {p.relative_to(out).as_posix(): p.read_bytes() for p in files}
    return {name: data for name, data in names.items() if not name.startswith(".")}


def test_an_image_is_the_scene_scaled_as_predict_scales_it(tmp_path, houses):
    source = scene(tmp_path / "a.tif")
    found, _ = make_quietly([source], houses, tmp_path / "t", asked(stride=48))
    with open_scene(source, Reading((3, 2, 1), (0.0, 4000.0))) as opened:
        wanted, _ = opened.read_rows(0, 256)
    image = mosaic(tmp_path / "t", kind="images")
    assert np.array_equal(image, np.rint(wanted).transpose(2, 0, 1))
    assert found["scenes"] == {"bands": [3, 2, 1], "scale": [[0, 4000]] * 3, "gsd": 1.0}
    assert found["images"] == {"dtype": "uint8", "bands": [1, 2, 3], "scale": None}
    one = next((tmp_path / "t" / "train" / "images").iterdir())
    with rasterio.open(one) as tile, rasterio.open(source) as whole:
        left, top = map(int, one.stem.split("_")[1:3])
        assert tile.crs == whole.crs
        assert tile.transform.c == LEFT + left and tile.transform.f == TOP - top


def test_training_reads_the_tiles_and_the_classes(tmp_path, houses):
    make_quietly([scene(tmp_path / "a.tif")], houses, tmp_path / "t", asked())
    folder = tmp_path / "t" / "train"
    name = "a_64_0_128_64.tif"
    image = read_image(folder / "images" / name)
    label = read_label(folder / "labels" / name, indexed=True)
    with rasterio.open(folder / "images" / name) as file:
        assert np.array_equal(image, file.read().transpose(1, 2, 0))
    assert set(np.unique(label)) == {0, 1}
    classes = ClassSet.from_file(tmp_path / "t" / "classes.yaml")
    assert classes.names == ("background", "building")
    with Image.open(tmp_path / "t" / "contact_sheet.png") as sheet:
        assert sheet.width > 500


def test_another_pixel_size_is_what_predict_sees(tmp_path, houses):
    source = scene(tmp_path / "a.tif", 300, 280)
    settings = asked(size=100, gsd=1.3)
    make_quietly([source], houses, tmp_path / "t", settings)
    with open_scene(source, Reading((3, 2, 1), (0.0, 4000.0), gsd=1.3)) as opened:
        wanted, _ = opened.read_rows(0, opened.grid.height)
    height, width = wanted.shape[:2]
    image = mosaic(tmp_path / "t", height, width, "images")
    assert np.array_equal(image, np.rint(wanted).transpose(2, 0, 1))
    found = mosaic(tmp_path / "t", height, width)
    middle = (np.arange(width) + 0.5) * 280 / width
    assert np.array_equal(found[3] == 1, (middle % 40 < 18) & (middle < 258))
    assert manifest(tmp_path / "t")["scenes"]["gsd"] == pytest.approx(1.3, rel=0.01)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_tiles_may_keep_their_bits(tmp_path, houses, dtype):
    source = scene(tmp_path / "a.tif", dtype=dtype)
    settings = asked(keep_bits=True, scale=None, percentiles=(5.0, 95.0))
    found, _ = make_quietly([source], houses, tmp_path / "t", settings)
    with rasterio.open(source) as file:
        assert np.array_equal(
            mosaic(tmp_path / "t", kind="images"), file.read([3, 2, 1])
        )
    assert found["images"]["dtype"] == np.dtype(dtype).name
    assert found["images"]["scale"] == found["scenes"]["scale"]
    assert found["images"]["scale"][0] == pytest.approx([200, 3800], rel=0.02)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.uint32])
def test_values_of_every_type_are_scaled_alike(tmp_path, houses, dtype):
    values = np.linspace(-300 if dtype in (np.int16, np.float32) else 0, 255, 128 * 128)
    bands = np.stack([values.reshape(128, 128)] * 3).astype(dtype)
    source = write(tmp_path / "a.tif", bands, **GRID)
    settings = asked(bands=(1, 2, 3), scale=(10.0, 150.0))
    make_quietly([source], houses, tmp_path / "t", settings)
    image = mosaic(tmp_path / "t", 128, 128, "images")
    wanted = np.rint(((bands.astype(float) - 10) / 140 * 255).clip(0, 255))
    assert np.array_equal(image, wanted)


def test_one_scaling_for_all_scenes(tmp_path, houses):
    dark = write(tmp_path / "a.tif", np.full((3, 128, 128), 100, np.uint16), **GRID)
    light = write(tmp_path / "b.tif", np.full((3, 128, 128), 300, np.uint16), **GRID)
    settings = asked(scale=None, percentiles=(0.0, 100.0))
    found, _ = make_quietly([dark, light], houses, tmp_path / "t", settings)
    assert found["scenes"]["scale"] == [[100, 300]] * 3
    levels = {}
    for path in (tmp_path / "t" / "train" / "images").iterdir():
        levels.setdefault(path.name[0], set()).update(np.unique(read_image(path)))
    assert levels == {"a": {0}, "b": {255}}


def test_grey_scenes_and_8_bits_stay_as_they_are(tmp_path, houses):
    source = scene(tmp_path / "a.tif", bands=1, dtype=np.uint8)
    settings = asked(bands=None, scale=None)
    found, _ = make_quietly([source], houses, tmp_path / "t", settings)
    with rasterio.open(source) as file:
        assert np.array_equal(mosaic(tmp_path / "t", kind="images"), file.read())
    assert found["scenes"]["scale"] is None and found["scenes"]["bands"] == [1]
    assert found["images"]["bands"] == [1]


def test_splits_have_the_wanted_share_and_val_keeps_what_is_empty(tmp_path):
    labels = polygons(tmp_path / "l.gpkg", [rect(0, 0, 300, 40)])
    source = scene(tmp_path / "a.tif", 640, 640)
    settings = asked(split="blocks", val=0.3, keep_empty=0.0)
    found, said = make_quietly([source], labels, tmp_path / "t", settings)
    counts = found["sources"][0]["tiles"]
    tiles = tiles_in(tmp_path / "t")
    assert counts["train"] == sum(split == "train" for split, _, _ in tiles)
    empty = {split for (split, _, _), ids in tiles.items() if not (ids == 1).any()}
    assert empty == {"val"}
    skipped = found["sources"][0]["skipped_empty"]
    assert skipped and f"{skipped} empty skipped" in "".join(said)
    total = skipped + sum(counts.values())
    assert counts["val"] / total == pytest.approx(0.3, abs=0.05)


def test_scenes_of_the_same_ground_share_no_ground_between_splits(tmp_path, houses):
    first = scene(tmp_path / "a.tif")
    shifted = rasterio.Affine(1, 0, LEFT + 100, 0, -1, TOP - 70)
    second = scene(tmp_path / "b.tif", seed=1, transform=shifted)
    settings = asked(size=32, split="blocks")
    _, said = make_quietly([first, second], houses, tmp_path / "t", settings)
    assert "touch validation tiles of other scenes" in said[0]
    extents = {"train": [], "val": []}
    for path in sorted((tmp_path / "t").glob("*/labels/*.tif")):
        with rasterio.open(path) as file:
            extents[path.parts[-3]].append(file.bounds)
    assert extents["train"] and extents["val"]
    for a in extents["train"]:
        for b in extents["val"]:
            apart = a.right < b.left or b.right < a.left
            assert apart or a.top < b.bottom or b.top < a.bottom


def test_a_restart_is_as_one_go(tmp_path, houses, monkeypatch):
    source = scene(tmp_path / "a.tif", blockxsize=256, blockysize=16, tiled=True)
    settings = asked(split="blocks", keep_empty=0.5)
    make_quietly([source], houses, tmp_path / "one", settings)
    add, noted = Notes.add, []

    def stopped_after_three(self, tile):
        noted.append(tile)
        if len(noted) == 4:
            raise KeyboardInterrupt
        add(self, tile)

    monkeypatch.setattr(Notes, "add", stopped_after_three)
    with pytest.raises(KeyboardInterrupt):
        make_quietly([source], houses, tmp_path / "two", settings, workers=2)
    monkeypatch.undo()
    assert not (tmp_path / "two" / "manifest.json").exists()
    journal = next((tmp_path / "two" / ".tiles").glob("done*.jsonl"))
    journal.write_text(journal.read_text() + '{"split": "tra')  # cut off
    again = []

    def seen(self, tile):
        again.append(tile.key)
        add(self, tile)

    monkeypatch.setattr(Notes, "add", seen)
    make_quietly([source], houses, tmp_path / "two", settings, workers=2)
    assert len(again) < len(tiles_in(tmp_path / "one"))
    assert everything(tmp_path / "one") == everything(tmp_path / "two")
    _, said = make_quietly([source], houses, tmp_path / "two", settings)
    assert "complete, nothing to do" in "".join(said)


def test_parts_together_are_as_one_go(tmp_path, houses):
    sources = [scene(tmp_path / f"{name}.tif", seed=k) for k, name in enumerate("ab")]
    settings = asked(size=32, split="blocks")
    make_quietly(sources, houses, tmp_path / "one", settings)
    out = tmp_path / "two"
    found, said = make_quietly(sources, houses, out, settings, part=(1, 2))
    assert found is None and "left for other parts" in said[-1]
    assert not (out / "manifest.json").exists()
    found, _ = make_quietly(sources, houses, out, settings, part=(2, 2))
    assert found is not None
    assert everything(tmp_path / "one") == everything(out)


def test_a_folder_of_other_options_is_refused_with_what_differs(tmp_path, houses):
    source = scene(tmp_path / "a.tif")
    make_quietly([source], houses, tmp_path / "t", asked())
    before = everything(tmp_path / "t")
    with pytest.raises(ValueError, match=r"size 32 \(was 64\); stride 32 \(was 64\)"):
        make_quietly([source], houses, tmp_path / "t", asked(size=32))
    scene(tmp_path / "a.tif", seed=5)
    with pytest.raises(ValueError, match=r"files\.a\.identity"):
        make_quietly([source], houses, tmp_path / "t", asked())
    assert everything(tmp_path / "t") == before


def test_without_a_training_tile_nothing_is_left(tmp_path):
    labels = polygons(tmp_path / "l.gpkg", [rect(0, 0, 9, 9)])
    values = np.zeros((3, 256, 256), np.uint16)
    source = write(tmp_path / "a.tif", values, **GRID, nodata=0)
    with pytest.raises(ValueError, match="no training tile"):
        make_quietly([source], labels, tmp_path / "t", asked(bands=None))
    assert not (tmp_path / "t").exists()


def test_a_removed_tile_is_made_again(tmp_path, houses):
    source = scene(tmp_path / "a.tif")
    make_quietly([source], houses, tmp_path / "t", asked())
    before = everything(tmp_path / "t")
    (tmp_path / "t" / "train" / "labels" / "a_0_0_64_64.tif").unlink()
    make_quietly([source], houses, tmp_path / "t", asked())
    assert everything(tmp_path / "t") == before


def test_a_full_disk_leaves_no_half_tile(tmp_path, houses, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("crossearth_jax.tiles.cut.write_label", full)
    with pytest.raises(OSError, match="No space left"):
        make_quietly([scene(tmp_path / "a.tif")], houses, tmp_path / "t", asked())
    assert not tiles_in(tmp_path / "t") and not (tmp_path / "t/manifest.json").exists()


def test_scenes_of_one_name_get_their_folders(tmp_path, houses):
    for name in ("2019", "2020"):
        (tmp_path / name).mkdir()
    sources = [scene(tmp_path / name / "a.tif") for name in ("2019", "2020")]
    make_quietly(sources, houses, tmp_path / "t", asked())
    names = {p.name for p in (tmp_path / "t" / "train" / "images").iterdir()}
    assert {"2019.a_0_0_64_64.tif", "2020.a_0_0_64_64.tif"} <= names
    with pytest.raises(ValueError, match="same names"):
        make_quietly([sources[0], sources[0]], houses, tmp_path / "u", asked())


def test_striped_scenes_are_cut_as_tiled_ones(tmp_path, houses):
    striped = scene(tmp_path / "a.tif", tiled=False, blockysize=4)
    make_quietly([striped], houses, tmp_path / "one", asked(split="blocks"), workers=2)
    scene(tmp_path / "a.tif", tiled=True, blockxsize=32, blockysize=32)
    make_quietly([striped], houses, tmp_path / "two", asked(split="blocks"))
    one, two = (tiles_in(tmp_path / name, "images") for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[key], two[key]) for key in one)


def test_the_command_line_says_the_same():
    line = "a.tif --labels l.gpkg --out t --burn house --size 64 --bands 3,2,1"
    line += " --scale 0,4000 --split none --keep-empty 1"
    settings = asked_of(tiles_parser().parse_args(line.split()))
    assert settings == asked(burn="house")


def test_progress_of_nothing_is_silent(tmp_path, houses, capsys):
    source = scene(tmp_path / "a.tif")
    make_quietly([source], houses, tmp_path / "t", asked())
    capsys.readouterr()
    make.make_tiles([source], [houses], tmp_path / "t", asked())
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 2 and "complete" in out[1]


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_a_plain_loop_over_rasterio_gives_the_same_tiles(tmp_path):
    benchmark.write_scene(tmp_path, 1100)
    benchmark.plain_loop(tmp_path, tmp_path / "plain")
    benchmark.our_tiles(tmp_path, tmp_path / "ours", 2)
    for kind in ("images", "labels"):
        for path in (tmp_path / "plain" / kind).iterdir():
            left, top = map(int, path.stem.split("_"))
            name = f"scene_{left}_{top}_{left + 512}_{top + 512}.tif"
            with rasterio.open(path) as file:
                wanted, grid = file.read().astype(int), (file.crs, file.transform)
            with rasterio.open(tmp_path / "ours" / "train" / kind / name) as file:
                found = file.read().astype(int)
                assert (file.crs, file.transform) == grid
            # The loop scales in float32.
            assert np.abs(found - wanted).max() <= (kind == "images")
            assert (found != wanted).mean() < 1e-3


@pytest.mark.parametrize("keep_bits", [False, True])
@pytest.mark.parametrize(
    ("bands", "dtype"), [(3, np.uint16), (3, np.float32), (1, np.int16), (3, np.uint8)]
)
def test_training_sees_the_pixels_that_predict_sees(
    tmp_path, houses, bands, dtype, keep_bits
):
    source = scene(tmp_path / "a.tif", 128, 128, bands, dtype)
    scale = (20.0, 200.0) if dtype == np.uint8 else (200.0, 3000.0)
    settings = asked(bands=None, keep_bits=keep_bits, scale=scale)
    make_quietly([source], houses, tmp_path / "t", settings)
    folder = tile_folder(tmp_path / "t")
    numbers = tuple(3 * folder.scenes.bands)[:3]
    reading = Reading(numbers, folder.scenes.scale)
    with open_scene(source, reading) as opened:
        wanted, _ = opened.read_rows(0, 128)
    for path in (tmp_path / "t" / "train" / "images").iterdir():
        left, top = map(int, path.stem.split("_")[1:3])
        seen, _ = read_scaled(path, folder.tiles)
        assert np.array_equal(seen, wanted[top : top + 64, left : left + 64])
