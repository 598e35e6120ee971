import dataclasses

import mini_potsdam
import mini_rescuenet
import mini_vaihingen
import numpy as np
import pytest
from mini_files import counts, read, truncate
from outside import REALDATA, needs_realdata
from PIL import Image

from crossearth_jax.data.known_classes import ISPRS
from crossearth_jax.data.prepare import potsdam, rescuenet, vaihingen
from crossearth_jax.data.prepare.items import IdMap, Palette
from crossearth_jax.data.prepare.raw import RawFiles
from crossearth_jax.data.prepare.run import prepare
from crossearth_jax.pixels.labels import IGNORE

SAMPLES = REALDATA / "samples"


def find(data_set, folder):
    return data_set.find(RawFiles(folder))


def ids_of(item, data_set):
    code = item.code or data_set.code
    return code.encode(item.label.label(indexed=code.indexed))


# Potsdam


@pytest.mark.parametrize("zipped", [True, False])
def test_potsdam_areas_become_two_domains(tmp_path, zipped):
    mini_potsdam.write_raw(tmp_path, size=16, zipped=zipped, extra=True)
    items = find(potsdam.data_set(), tmp_path)
    assert counts(items) == {
        (f"potsdam_{bands}", split): number
        for bands in ("irrg", "rgb")
        for split, number in (("train", 4), ("val", 2))
    }
    assert all(
        item.domain.removeprefix("potsdam_").upper() in item.image.name
        for item in items
    )


@pytest.mark.parametrize("bands", ["irrg", "rgb"])
def test_one_archive_of_potsdam_is_enough(tmp_path, bands):
    mini_potsdam.write_raw(tmp_path, size=16, bands=(bands,))
    items = find(potsdam.data_set(), tmp_path)
    assert {item.domain for item in items} == {f"potsdam_{bands}"}


def test_names_with_leading_zeros_are_the_same_areas(tmp_path):
    mini_potsdam.write_raw(tmp_path, size=16, bands=("rgb",), zipped=False)
    label = tmp_path / "top_potsdam_6_7_label_noBoundary.tif"
    label.rename(tmp_path / "top_potsdam_06_07_label_noBoundary.TIF")
    names = [item.name for item in find(potsdam.data_set(), tmp_path)]
    assert names == ["2_10", "2_13", "4_12", "5_15", "6_7", "7_12"]


def test_lossy_labels_of_the_release_are_mended_or_ignored(tmp_path):
    mini_potsdam.write_raw(tmp_path, size=40, bands=("rgb",))
    for how in ("round", "ignore"):
        data_set = potsdam.data_set(lossy_labels=how)
        for item in find(data_set, tmp_path):
            area = tuple(map(int, item.name.split("_")))
            truth = mini_potsdam.pair(area, 40)[1]
            truth[truth == 6] = IGNORE
            if how == "ignore" and area == (4, 12):
                truth[:] = IGNORE
            if how == "ignore" and area == (6, 7):
                truth[truth == 4] = IGNORE
            np.testing.assert_array_equal(ids_of(item, data_set), truth, item.name)


@pytest.mark.parametrize("low_vegetation", ["ignore", "vegetation"])
def test_five_classes(tmp_path, low_vegetation):
    mini_potsdam.write_raw(tmp_path, size=40, bands=("irrg",), areas=((2, 10),))
    data_set = potsdam.data_set(5, low_vegetation)
    (item,) = find(data_set, tmp_path)
    assert item.domain == "potsdam5_irrg"
    low = IGNORE if low_vegetation == "ignore" else 2
    six = mini_potsdam.pair((2, 10), 40)[1]
    expected = np.array([0, 1, low, 2, 3, 4, IGNORE])[six]
    np.testing.assert_array_equal(ids_of(item, data_set), expected)
    assert data_set.classes.names[2] == "vegetation"


def test_potsdam_refuses(tmp_path):
    mini_potsdam.write_raw(tmp_path / "a", size=16, without_label=(7, 12))
    with pytest.raises(ValueError, match=r"1 image\(s\) without label.*7_12_IRRG"):
        find(potsdam.data_set(), tmp_path / "a")
    mini_potsdam.write_raw(tmp_path / "b", size=16, boundaries=True)
    with pytest.raises(ValueError, match=r"with object boundaries.*noBoundary\.zip"):
        find(potsdam.data_set(), tmp_path / "b")
    mini_potsdam.write_raw(tmp_path / "c", size=16, wrong_colour=(0, 255, 254))
    with pytest.raises(
        ValueError, match=r"2_10_label_noBoundary.*\(0, 255, 254\) in 6 pixels"
    ):
        data_set = dataclasses.replace(potsdam.data_set(), tile=16)
        prepare(data_set, tmp_path / "c", tmp_path / "out")
    truncate(tmp_path / "b/2_Ortho_RGB.zip")
    with pytest.raises(ValueError, match=r"2_Ortho_RGB\.zip.*download it again"):
        RawFiles(tmp_path / "b")


# Vaihingen


@pytest.mark.parametrize("zipped", [True, False])
def test_vaihingen(tmp_path, zipped):
    mini_vaihingen.write_raw(tmp_path, size=40, zipped=zipped, extra=True)
    items = find(vaihingen.DATA_SET, tmp_path)
    assert counts(items) == {("vaihingen", "train"): 3, ("vaihingen", "val"): 2}
    for item in items:
        truth = mini_vaihingen.pair(int(item.name.removeprefix("area")), 40)[1]
        truth[truth == 6] = IGNORE
        np.testing.assert_array_equal(ids_of(item, vaihingen.DATA_SET), truth)


def test_vaihingen_refuses(tmp_path):
    mini_vaihingen.write_raw(tmp_path / "a", size=16, without_label=38)
    with pytest.raises(ValueError, match=r"without label.*area38\.tif"):
        find(vaihingen.DATA_SET, tmp_path / "a")
    # The labels with boundaries have the names of the images.
    mini_vaihingen.write_raw(tmp_path / "b", size=16, eroded=False)
    with pytest.raises(ValueError, match="eroded_COMPLETE"):
        find(vaihingen.DATA_SET, tmp_path / "b")


# RescueNet


def test_rescuenet_images_stay_whole_and_labels_are_encoded(tmp_path):
    mini_rescuenet.write_raw(tmp_path, zipped=False, extra=True)
    out = tmp_path / "out"
    manifest = prepare(rescuenet.DATA_SET, tmp_path, out)["rescuenet"]
    assert manifest["counts"] == {"test": 1, "train": 3, "val": 2}
    image = out / "rescuenet/val/images/10794.jpg"
    raw = tmp_path / "RescueNet/val/val-org-img/10794.jpg"
    assert image.samefile(raw)  # a hard link, no second copy
    ids = read(out / "rescuenet/val/labels/10794.png")
    truth = mini_rescuenet.ids(10794, 64)[-48:]
    names = ["clutter"] * 2 + ["building"] * 4 + ["car"] + ["surface"] * 2
    names += ["vegetation", "clutter"]
    places = [rescuenet.DATA_SET.classes.names.index(name) for name in names]
    np.testing.assert_array_equal(ids, np.array(places)[truth])


def test_rescuenet_from_an_archive_gives_the_same(tmp_path):
    for zipped in (True, False):
        mini_rescuenet.write_raw(tmp_path / str(zipped), zipped=zipped, splits=("val",))
        prepare(rescuenet.DATA_SET, tmp_path / str(zipped), tmp_path / f"out{zipped}")
    for kind in ("images/10801.jpg", "labels/10801.png"):
        one, other = (tmp_path / f"out{z}/rescuenet/val" / kind for z in (True, False))
        assert one.read_bytes() == other.read_bytes()


def test_rescuenet_refuses(tmp_path):
    mini_rescuenet.write_raw(tmp_path / "a", twelve_classes=True)
    with pytest.raises(ValueError, match=r"id 11.*only the 12-class release"):
        prepare(rescuenet.DATA_SET, tmp_path / "a", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    mini_rescuenet.write_raw(tmp_path / "b", wrong_value=37)
    with pytest.raises(ValueError, match=r"10778_lab\.png.*37 in 6 pixels"):
        prepare(rescuenet.DATA_SET, tmp_path / "b", tmp_path / "out")
    mini_rescuenet.write_raw(tmp_path / "c", without_label=10801)
    with pytest.raises(ValueError, match=r"without label.*10801\.jpg"):
        find(rescuenet.DATA_SET, tmp_path / "c")
    mini_rescuenet.write_raw(tmp_path / "d", root="FloodNet-Supervised_v1.0")
    with pytest.raises(ValueError, match="got FloodNet"):
        find(rescuenet.DATA_SET, tmp_path / "d")


def processed_rescuenet(folder):
    """CrossEarth's copy: the same folders, ids 1 to 5."""
    mini_rescuenet.write_raw(folder, zipped=False)
    for path in folder.rglob("*_lab.png"):
        Image.fromarray(read(path) % 5 + 1).save(path)


def test_rescuenet_with_other_ids_is_refused(tmp_path):
    processed_rescuenet(tmp_path / "raw")
    with pytest.raises(ValueError, match=r"no id above 5 in 6 labels.*--from cross"):
        prepare(rescuenet.DATA_SET, tmp_path / "raw", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_classes_without_a_pixel_are_warned_of(tmp_path, capsys):
    mini_rescuenet.write_raw(tmp_path / "raw", zipped=False)
    prepare(rescuenet.DATA_SET, tmp_path / "raw", tmp_path / "out")
    assert "NO PIXEL" not in capsys.readouterr().out
    for path in (tmp_path / "raw").rglob("*_lab.png"):
        values = read(path)
        Image.fromarray(np.where(values >= 6, 9, values)).save(path)
    prepare(rescuenet.DATA_SET, tmp_path / "raw", tmp_path / "again")
    shown = capsys.readouterr().out
    assert "WARNING rescuenet: NO PIXEL of surface, car in 6 labels" in shown


# Real tiles, in mmsegmentation's encoding: 0 boundary, then the classes from 1 on


@needs_realdata("samples")
@pytest.mark.parametrize(
    ("name", "bands", "bright", "dark"),
    [  # roofs are red; plants reflect infrared
        ("potsdam", (0, 2), ("building",), ("surface", "low vegetation", "tree")),
        ("vaihingen", (0, 1), ("low vegetation", "tree"), ("surface", "building")),
    ],
)
def test_real_tiles_have_documented_classes(name, bands, bright, dark):
    code = IdMap({0: IGNORE} | {k + 1: k for k in range(6)})
    (path,) = (SAMPLES / name / "ann").glob("*.png")
    image = read(SAMPLES / name / "img" / path.name).astype(float)
    ids = code.encode(read(path))
    # The same tile as the release has it, in colours.
    colours = np.array([*ISPRS.palette, (0, 0, 0)], np.uint8)
    coloured = colours[np.where(ids == IGNORE, 6, ids)]
    np.testing.assert_array_equal(Palette(potsdam.SIX_CLASSES).encode(coloured), ids)
    # What the classes look like.
    index = image[:, :, bands[0]] - image[:, :, bands[1]]
    for k in map(ISPRS.names.index, bright):
        for other in map(ISPRS.names.index, dark):
            assert index[ids == k].mean() > index[ids == other].mean() + 15
