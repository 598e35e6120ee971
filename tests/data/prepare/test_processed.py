"""Copies that CrossEarth's authors and mmsegmentation's converters made."""

import mini_loveda
import numpy as np
import pytest
from mini_files import counts, encoded, labelled, read, write_folder
from mini_rescuenet import write_raw as write_rescuenet
from PIL import Image

from crossearth_jax.commands.prepare import DATA_SETS
from crossearth_jax.data.prepare import potsdam
from crossearth_jax.data.prepare.items import IdMap, Mask
from crossearth_jax.data.prepare.processed import (
    CROSSEARTH,
    LOVEDA_RURAL,
    LOVEDA_URBAN,
    MMSEG,
    origins,
    processed,
)
from crossearth_jax.data.prepare.raw import RawFiles
from crossearth_jax.data.prepare.run import find_items, prepare
from crossearth_jax.pixels.labels import IGNORE


def tile(seed, classes, *, first=0):
    image, ids = labelled(seed, classes, 16)
    return encoded(image, "png"), encoded(ids + first, "png")


def write_img_ann(root, names, classes, *, first=0):
    files = {}
    for seed, name in enumerate(names):
        image, label = tile(seed, classes, first=first)
        files |= {f"img_dir/{name}.png": image, f"ann_dir/{name}.png": label}
    write_folder(root, files)


def of(name, origin=CROSSEARTH):
    return processed(DATA_SETS[name], origin)


def test_every_set_has_its_origins():
    for name, data_set in DATA_SETS.items():
        assert origins(name)[0] == "published"
        for origin in origins(name):
            assert processed(data_set, origin).name == name


@pytest.mark.parametrize("origin", [CROSSEARTH, MMSEG])
def test_img_dir_and_ann_dir_of_potsdam(tmp_path, origin, capsys):
    names = ("train/2_10_0_0_512_512", "val/2_13_0_0_512_512")
    for bands in ("Potsdam/IRRG", "potsdam_rgb"):
        write_img_ann(tmp_path / "raw" / bands, names, 7)  # 0 is the boundary
    manifests = prepare(of("potsdam", origin), tmp_path / "raw", tmp_path / "out")
    assert set(manifests) == {"potsdam_irrg", "potsdam_rgb"}
    manifest = manifests["potsdam_rgb"]
    assert manifest["counts"] == {"train": 1, "val": 1}
    assert manifest["options"] == {"from": origin} and manifest["tile"] is None
    written = tmp_path / "out/potsdam_rgb/val/labels/2_13_0_0_512_512.png"
    truth = labelled(1, 7, 16)[1].astype(int) - 1
    np.testing.assert_array_equal(read(written), np.where(truth < 0, IGNORE, truth))
    assert "WARNING potsdam_rgb/train: got 1 images, expected 3456" in (
        capsys.readouterr().out
    )


def test_tiles_that_may_be_of_either_band_are_refused(tmp_path):
    write_img_ann(tmp_path / "potsdam", ["val/2_13_0_0_512_512"], 7)
    with pytest.raises(ValueError, match=r"may be RGB or IR-R-G.*'rgb' or 'irrg'"):
        find_items(of("potsdam"), RawFiles(tmp_path))
    with pytest.raises(ValueError, match="--classes 5 with --from mmseg"):
        processed(potsdam.data_set(5), MMSEG)


def test_img_dir_of_vaihingen_and_loveda(tmp_path):
    write_img_ann(tmp_path / "v", ["val/area2_0_0_512_512", "train/area1_0_0_5_5"], 7)
    items = find_items(of("vaihingen"), RawFiles(tmp_path / "v"))
    assert counts(items) == {("vaihingen", "train"): 1, ("vaihingen", "val"): 1}
    numbers = ("train/0", "train/1365", "train/1366", "val/2522", "val/4190")
    write_img_ann(tmp_path / "l", numbers, 8)
    items = find_items(of("loveda", MMSEG), RawFiles(tmp_path / "l"))
    assert counts(items) == {
        ("loveda_rural", "train"): 2,
        ("loveda_urban", "train"): 1,
        ("loveda_rural", "val"): 1,
        ("loveda_urban", "val"): 1,
    }
    mini_loveda.write_raw(tmp_path / "as_published")
    files = RawFiles(tmp_path / "as_published")
    assert find_items(of("loveda"), files) == find_items(DATA_SETS["loveda"], files)
    write_img_ann(tmp_path / "l", ["val/7"], 8)
    with pytest.raises(ValueError, match="got number 7 in val"):
        find_items(of("loveda", MMSEG), RawFiles(tmp_path / "l"))


def test_the_numbers_of_loveda_give_the_published_counts():
    for scene, numbers in (("urban", LOVEDA_URBAN), ("rural", LOVEDA_RURAL)):
        for split, those in numbers.items():
            expected = DATA_SETS["loveda"].expected[f"loveda_{scene}", split]
            assert len(those) == expected


def test_rescuenet_with_ids_from_1(tmp_path):
    write_rescuenet(tmp_path / "raw", zipped=False, splits=("val",))
    for path in (tmp_path / "raw").rglob("*_lab.png"):
        Image.fromarray(read(path) % 6).save(path)
    prepare(of("rescuenet"), tmp_path / "raw", tmp_path / "out")
    for path in (tmp_path / "raw").rglob("*_lab.png"):
        name = path.name.replace("_lab", "")
        ids = read(tmp_path / "out/rescuenet/val/labels" / name)
        np.testing.assert_array_equal(ids.astype(np.uint8), read(path) - np.uint8(1))


@pytest.mark.parametrize("white", [1, 255])
def test_masks_of_0_and_1(tmp_path, white):
    image, ids = labelled(3, 2, 16)
    tif, mask = encoded(image, "tif"), encoded(ids * white, "tif")
    files = {
        "WHU_aerial/train/image/1.tif": tif,
        "WHU_aerial/train/label2/1.tif": mask,
        "WHU_aerial/train/label/1.tif": encoded(255 - ids, "tif"),
        "WHU_satellite/test_all/image/1.tif": tif,
        "WHU_satellite/test_all/label/1.tif": mask,
    }
    write_folder(tmp_path / "whu", files)
    data_set = of("whu_building")
    items = find_items(data_set, RawFiles(tmp_path / "whu"))
    assert {i.label.name.split("/")[2] for i in items} == {"label2", "label"}
    assert {i.domain for i in items} == {"whu_aerial", "whu_satellite"}
    code = data_set.code(items)
    assert code == Mask(white=white)
    for item in items:
        np.testing.assert_array_equal(code.encode(item.label.label(indexed=False)), ids)
    new = {"test/a.tiff": tif, "test_labels_new/a.tif": mask, "test_labels/a.tif": tif}
    write_folder(tmp_path / "massachusetts", new)
    (item,) = find_items(of("massachusetts"), RawFiles(tmp_path / "massachusetts"))
    assert item.label.name == "test_labels_new/a.tif"
    road = {"train/7_sat.jpg": encoded(image, "jpg")}
    road["train/7_mask.png"] = encoded(ids * white, "png")
    write_folder(tmp_path / "deepglobe", road)
    items = find_items(of("deepglobe"), RawFiles(tmp_path / "deepglobe"))
    code = of("deepglobe").code(items)
    assert code == (Mask(white=1) if white == 1 else Mask(threshold=128))
    label = items[0].label.label(indexed=False)
    np.testing.assert_array_equal(code.encode(label), ids)


def test_labels_of_the_copies_are_checked_too():
    code = of("potsdam").code
    assert isinstance(code, IdMap)
    with pytest.raises(ValueError, match="7 in 1 pixels"):
        code.encode(np.array([[7]], np.uint8))
