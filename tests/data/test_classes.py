import json

import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image

from crossearth_jax.data.classes import ClassSet, LabelEncoding
from crossearth_jax.data.datasets import FolderSource
from crossearth_jax.data.folders import find_pairs
from crossearth_jax.data.known_classes import CASID

TWO = ClassSet(("ground", "building"), ((0, 0, 0), (255, 0, 0)))


def save(array, path, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8), mode).save(path)
    return path


def pairs_in(root):
    return find_pairs(root / "images", root / "labels")


def one_label(tmp_path, array, classes, encoding, name="a.png"):
    """The record of a single label array."""
    h, w = np.shape(array)[:2]
    save(np.zeros((h, w, 3)), tmp_path / "images/a.png")
    save(array, tmp_path / "labels" / name)
    return FolderSource(pairs_in(tmp_path), classes, encoding)[0].label


# Labels


def test_ids_and_ignore(tmp_path):
    raw = np.array([[0, 1, 255], [1, 1, 0]])
    np.testing.assert_array_equal(one_label(tmp_path, raw, TWO, "ids"), raw)


def test_ids_of_other_depths(tmp_path):
    raw = np.array([[0, 1, 255], [1, 1, 0]])
    save(np.zeros((2, 3, 3)), tmp_path / "images/a.png")
    (tmp_path / "labels").mkdir()
    for stored in (raw.astype(np.uint16), raw.astype(np.int32)):
        tifffile.imwrite(tmp_path / "labels/a.tif", stored)
        label = FolderSource(pairs_in(tmp_path), TWO, "ids")[0].label
        assert label.dtype == np.uint8
        np.testing.assert_array_equal(label, raw)


def test_palette_png_ids_are_its_indices(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8))
    image.putpalette([200, 0, 0, 0, 200, 0])
    save(np.zeros((2, 2, 3)), tmp_path / "images/a.png")
    (tmp_path / "labels").mkdir()
    image.save(tmp_path / "labels/a.png")
    pairs = pairs_in(tmp_path)
    np.testing.assert_array_equal(
        FolderSource(pairs, TWO, "ids")[0].label, [[0, 1], [1, 0]]
    )
    # The same file, read by its colours.
    swapped = ClassSet(("a", "b"), ((0, 200, 0), (200, 0, 0)))
    np.testing.assert_array_equal(
        FolderSource(pairs, swapped, "colours")[0].label, [[1, 0], [0, 1]]
    )


@pytest.mark.parametrize("encoding", ["ids", "mask255"])
def test_bit_masks_read_either_way(tmp_path, encoding):
    bits = np.array([[True, False], [False, True]])
    save(np.zeros((2, 2, 3)), tmp_path / "images/a.png")
    (tmp_path / "labels").mkdir()
    Image.fromarray(bits).save(tmp_path / "labels/a.png")
    label = FolderSource(pairs_in(tmp_path), TWO, encoding)[0].label
    np.testing.assert_array_equal(label, bits)


@pytest.mark.parametrize("channels", [None, 3])
def test_mask255(tmp_path, channels):
    mask = np.array([[0, 255], [255, 0]])
    stored = mask if channels is None else np.repeat(mask[:, :, None], 3, axis=2)
    label = one_label(tmp_path, stored, TWO, "mask255")
    np.testing.assert_array_equal(label, [[0, 1], [1, 0]])


def test_mask255_is_not_taken_for_anything_else(tmp_path):
    with pytest.raises(ValueError, match=r"1 in 2 pixels.*expected mask255 0, 255"):
        one_label(tmp_path, [[0, 1], [1, 255]], TWO, "mask255")
    with pytest.raises(ValueError, match="mask255 for 5 classes"):
        one_label(tmp_path, [[0, 255]], CASID, "mask255")


def test_colours(tmp_path):
    ids = np.array([[0, 1, 2], [3, 4, 0]])
    painted = np.array(CASID.palette)[ids]
    np.testing.assert_array_equal(one_label(tmp_path, painted, CASID, "colours"), ids)
    painted[1, 2] = (1, 2, 3)
    with pytest.raises(ValueError) as error:
        one_label(tmp_path, painted, CASID, "colours")
    assert "(1, 2, 3) in 1 pixels" in str(error.value)
    assert "a.png" in str(error.value)
    with pytest.raises(ValueError, match=r"colour label.*data.encoding=colours"):
        one_label(tmp_path, painted, CASID, "ids")


def test_a_grey_picture_may_hold_colours(tmp_path):
    black_white = ClassSet(("a", "b"), ((0, 0, 0), (255, 255, 255)))
    label = one_label(tmp_path, [[0, 255]], black_white, "colours")
    np.testing.assert_array_equal(label, [[0, 1]])


def test_value_outside_the_classes(tmp_path):
    with pytest.raises(ValueError) as error:
        one_label(tmp_path, [[0, 7, 7], [1, 9, 7]], TWO, "ids")
    assert str(tmp_path / "labels/a.png") in str(error.value)
    assert "7 in 3 pixels, 9 in 1 pixels" in str(error.value)
    assert "2 classes" in str(error.value)


def test_id_mapping_and_ignore(tmp_path):
    encoding = LabelEncoding("ids", ignore=0, ids=((1, 0), (2, 1), (300, 1)))
    label = one_label(tmp_path, [[0, 1, 2]], TWO, encoding)
    np.testing.assert_array_equal(label, [[255, 0, 1]])
    with pytest.raises(ValueError, match="255 in 1 pixels"):
        one_label(tmp_path, [[0, 255, 2]], TWO, encoding)


def test_encoding_must_be_said(tmp_path):
    with pytest.raises(ValueError, match="no label encoding"):
        one_label(tmp_path, [[0, 1]], TWO, None)
    with pytest.raises(ValueError, match=r"data.encoding='rgb'"):
        one_label(tmp_path, [[0, 1]], TWO, "rgb")


# Class files

FILE = {
    "classes": [
        {"name": "ground", "color": [0, 0, 0]},
        {"name": "house", "color": [255, 0, 0]},
    ],
    "encoding": "ids",
}


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_class_file(tmp_path, suffix):
    path = tmp_path / f"classes{suffix}"
    content = FILE | {"ids": {"3": "house", "1": 0}, "ignore": 0}
    dumps = json.dumps if suffix == ".json" else yaml.safe_dump
    path.write_text(dumps(content))
    classes = ClassSet.from_file(path)
    assert classes.names == ("ground", "house")
    assert classes.palette == ((0, 0, 0), (255, 0, 0))
    assert classes.encoding == LabelEncoding("ids", 0, ((1, 0), (3, 1)))


def test_class_file_encoding_is_used(tmp_path):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(FILE | {"encoding": "mask255"}))
    label = one_label(tmp_path, [[0, 255]], ClassSet.from_file(path), None)
    np.testing.assert_array_equal(label, [[0, 1]])
    path.write_text(
        json.dumps(FILE | {"encoding": "colours", "ignore": [255, 255, 255]})
    )
    painted = [[[0, 0, 0], [255, 255, 255], [255, 0, 0]]]
    label = one_label(tmp_path, painted, ClassSet.from_file(path), None)
    np.testing.assert_array_equal(label, [[0, 255, 1]])


def test_naming_the_same_encoding_keeps_the_details_of_the_file(tmp_path):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(FILE | {"ids": {"1": "ground", "2": "house"}}))
    label = one_label(tmp_path, [[1, 2]], ClassSet.from_file(path), "ids")
    np.testing.assert_array_equal(label, [[0, 1]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoding": "rgb"}, "encoding 'rgb'"),
        ({"encoding": None}, "encoding None"),
        ({"classes": []}, "0 classes"),
        ({"classes": None}, "expected `classes`"),
        ({"classes": [{"name": "a"}]}, "name, color"),
        ({"classes": FILE["classes"][:1] * 2}, "'ground' twice"),
        ({"ids": {"1": "tree"}}, r"ids\.1: got ids entry 'tree'"),
        ({"ids": {"x": "house"}}, "'x', expected an integer"),
        ({"ignore": 1}, "ignore 1, which also means class 'house'"),
        ({"ignore": [1, 2, 3]}, "ignore 1, which also means class 'house'"),
        ({"encoding": "mask255", "ids": {"0": 0}}, "with ids only"),
        ({"labels": 1}, "unknown key.s. 'labels'"),
        (
            {"classes": [{"name": "a", "color": [0, 0, 256]}, {"name": "b"}]},
            "three integers",
        ),
    ],
)
def test_class_file_errors_name_the_file(tmp_path, change, message):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(FILE | change))
    with pytest.raises(ValueError, match=message) as error:
        ClassSet.from_file(path)
    assert str(path) in str(error.value)


def test_unreadable_class_files(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        ClassSet.from_file(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("classes: [")
    with pytest.raises(ValueError, match=r"broken.yaml: not valid"):
        ClassSet.from_file(tmp_path / "broken.yaml")


def test_class_files_name_what_else_is_scored(tmp_path):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(FILE))
    plain = ClassSet.from_file(path)
    assert (plain.foreground, plain.clutter) == (None, None)
    path.write_text(json.dumps(FILE | {"clutter": plain.names[1]}))
    assert ClassSet.from_file(path).clutter == 1
    path.write_text(json.dumps(FILE | {"foreground": "nothing"}))
    with pytest.raises(ValueError, match="got foreground 'nothing', expected one of"):
        ClassSet.from_file(path)
    with pytest.raises(ValueError, match="got clutter class 2, expected an id from 0"):
        ClassSet(TWO.names, TWO.palette, clutter=2)


def test_casid_is_the_benchmarks():
    assert CASID.names == ("background", "building", "forest", "road", "water")
    assert CASID.palette[2] == (85, 255, 0) and CASID.palette[4] == (0, 112, 255)
