from dataclasses import replace

import numpy as np
import pytest
from mini_casid import ENCODINGS, PALETTE, write_raw
from mini_files import (
    counts,
    encoded,
    files_in,
    labelled,
    read,
    truncate,
    write_folder,
)

from crossearth_jax.data.prepare.casid import (
    DATA_SET,
    FROM_0,
    FROM_1,
    label_code,
)
from crossearth_jax.data.prepare.items import Palette
from crossearth_jax.data.prepare.raw import RawFiles
from crossearth_jax.data.prepare.run import prepare
from crossearth_jax.data.prepare.tiles import tile_corners

TRAIN = {("sub", "train"): 2, ("tem", "train"): 2, ("tms", "train"): 1}
TEST = {(climate, "test"): 1 for climate in ("sub", "tem", "tms", "trf")}
ALL = TRAIN | TEST | {("trf", "train"): 1}


def found(folder, **odd):
    write_raw(folder, size=8, **odd)
    return DATA_SET.find(RawFiles(folder))


@pytest.mark.parametrize("layout", ["splits", "regions"])
@pytest.mark.parametrize("zipped", [True, False])
def test_climates_are_domains(tmp_path, zipped, layout):
    items = found(tmp_path, zipped=zipped, layout=layout, extra=True)
    assert counts(items) == ALL
    assert set(ALL) == set(DATA_SET.expected)
    for item in items:
        assert item.image.name.endswith(f"/{item.name}.png")
        assert item.label.name.endswith(f"/{item.name}-label.png")


@pytest.mark.parametrize(
    "folder",
    [
        "SUBMS/train",
        "CASID/Subtropical Monsoon Climate/Train",
        "subtropical_monsoon/region03/all_train",
        "train/Sub",
    ],
)
def test_spellings_of_folders(tmp_path, folder):
    files = {f"{folder}/images/a.png": b"x", f"{folder}/labels/a.png": b"x"}
    write_folder(tmp_path, files)
    assert counts(DATA_SET.find(RawFiles(tmp_path))) == {("sub", "train"): 1}


def test_label_id_stands_before_label(tmp_path):
    names = ("image/a.png", "label/a-label.png", "label_id/a-label.png")
    write_folder(tmp_path, {f"TroMs/all_test/{name}": b"x" for name in names})
    (item,) = DATA_SET.find(RawFiles(tmp_path))
    assert item.label.name == "TroMs/all_test/label_id/a-label.png"


def test_image_in_no_split_is_refused(tmp_path):
    write_folder(tmp_path, {"tropical_rainforest/region01/a.png": b"x"})
    with pytest.raises(ValueError, match="neither a train nor a test"):
        DATA_SET.find(RawFiles(tmp_path))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encoding_is_found_out(tmp_path, encoding):
    items = found(tmp_path, encoding=encoding)
    code = DATA_SET.code(items)
    expected = {"ids": FROM_0, "ids from 1": FROM_1}
    assert (
        isinstance(code, Palette)
        if encoding == "palette"
        else (code == expected[encoding])
    )
    first = next(i for i in items if (i.domain, i.split) == ("sub", "train"))
    ids = code.encode(first.label.label(indexed=code.indexed))
    np.testing.assert_array_equal(ids, labelled(0, 5, 8)[1])


def codes_of(folder, labels):
    """The code found for labels of one row each, in this order."""
    files = {}
    for i, label in enumerate(labels):
        files[f"Sub/train/{i}-label.png"] = encoded([label], "png")
        files[f"Sub/train/{i}.png"] = encoded(np.zeros((1, 2, 3)), "png")
    write_folder(folder, files)
    return label_code(DATA_SET.find(RawFiles(folder)))


def test_all_labels_are_asked_until_one_tells(tmp_path):
    assert codes_of(tmp_path / "a", [[1, 2], [3, 4], [5, 1]]) == FROM_1
    assert codes_of(tmp_path / "b", [[1, 2], [3, 4], [0, 1]]) == FROM_0
    assert codes_of(tmp_path / "c", [[0, 0]]) == FROM_0


def test_black_label_may_be_a_palettes(tmp_path):
    black, forest = np.zeros((4, 4, 3)), np.full((4, 4, 3), PALETTE[2])
    for name, label in (("a", black), ("b", forest)):
        files = {f"{name}.png": encoded(black, "png")}
        files[f"{name}-label.png"] = encoded(label, "png")
        write_folder(tmp_path / "Sub/train", files)
    items = DATA_SET.find(RawFiles(tmp_path))
    code = label_code(items)
    assert isinstance(code, Palette)
    ids = [code.encode(item.label.label(indexed=code.indexed)) for item in items]
    assert (ids[0] == 0).all() and (ids[1] == 2).all()


def test_0_and_5_contradict(tmp_path):
    with pytest.raises(ValueError, match="ids 0 and 5 in one label"):
        codes_of(tmp_path / "a", [[0, 5]])
    with pytest.raises(ValueError, match="without a 0 or a 5"):
        codes_of(tmp_path / "b", [[1, 2], [3, 4]])
    assert codes_of(tmp_path / "c", [[0, 1], [5, 1]]) == FROM_0
    with pytest.raises(ValueError, match="5 in 1 pixels, expected 0, 1, 2, 3, 4"):
        FROM_0.encode(np.array([[5, 1]], np.uint8))


@pytest.mark.parametrize(("encoding", "value"), [("ids", 7), ("ids from 1", 6)])
def test_unknown_value_is_counted(tmp_path, encoding, value):
    items = found(tmp_path, encoding=encoding, wrong_value=value - (encoding != "ids"))
    code = DATA_SET.code(items)
    first = next(i for i in items if i.name == "region00_near_sub_000")
    with pytest.raises(ValueError, match=f"{value} in 4 pixels"):
        code.encode(first.label.label(indexed=True))


def test_unknown_colour_is_counted():
    label = np.zeros((2, 2, 3), np.uint8)
    label[0, 1] = 85, 254, 0
    code = Palette({tuple(c): k for k, c in enumerate(PALETTE.tolist())})
    with pytest.raises(ValueError, match=r"\(85, 254, 0\) in 1 pixels"):
        code.encode(label)


def test_an_incomplete_climate_is_skipped(tmp_path, capsys):
    items = found(tmp_path / "a", without_label="sub")
    assert {i.domain for i in items} == {"tem", "tms", "trf"}
    shown = capsys.readouterr().out
    assert "WARNING skipped sub: got 1 image(s) without label" in shown
    assert "region00_near_sub_000.png" in shown and "drive.google" not in shown
    with pytest.raises(ValueError, match=r"without label .*_near_tem_000\.png"):
        found(tmp_path / "b", without_label="tem", climates=("tem",))


@pytest.mark.parametrize(
    "place",
    [
        "TemMs/all_test/image",
        "TemMs_all_test",
        "temms-test-images-fixed/new",
        "all_test/image",  # the names of its images tell the climate
        "download (1)",
    ],
)
def test_the_climate_without_images_and_its_fix(tmp_path, capsys, place):
    """CAISD.zip has no images in TemMs/all_test; its authors posted them apart."""
    write_raw(tmp_path, size=8, zipped=False)
    (image,) = (tmp_path / "TemMs/all_test/image").iterdir()
    picture = image.read_bytes()
    image.unlink()
    items = DATA_SET.find(RawFiles(tmp_path))
    assert {i.domain for i in items} == {"sub", "tms", "trf"}
    shown = capsys.readouterr().out
    assert "WARNING skipped tem: got 1 label(s) without image" in shown
    assert "1TBzszefsrtUVZ8aRXWOTS_8YVf-GcL6s" in shown and "8kqp" in shown
    write_folder(tmp_path, {f"{place}/{image.name}": picture})
    assert counts(DATA_SET.find(RawFiles(tmp_path))) == ALL
    assert "WARNING" not in capsys.readouterr().out


def test_long_names_of_folders_cost_nothing(tmp_path):
    write_folder(tmp_path, {f"{'all' * 80}x/a.png": b"x"})
    assert not DATA_SET.find(RawFiles(tmp_path))


def test_truncated_archive_is_named(tmp_path):
    write_raw(tmp_path, size=8)
    truncate(tmp_path / "TroRf.zip")
    with pytest.raises(ValueError, match=r"TroRf\.zip.*not a whole zip"):
        RawFiles(tmp_path)


def test_25_tiles_an_image_give_the_papers_counts():
    assert len(tile_corners(5000, 5000, DATA_SET.tile)) == 25
    assert len(tile_corners(1024, 1024, DATA_SET.tile)) == 1  # CrossEarth's copy is cut
    assert sum(DATA_SET.expected.values()) == 25 * 980
    assert all(count % 25 == 0 for count in DATA_SET.expected.values())


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_prepared(tmp_path, capsys, encoding):
    odd = {"extra": True, "climates": ("sub", "tms")}
    write_raw(tmp_path / "raw", size=20, encoding=encoding, **odd)
    tiled = replace(DATA_SET, tile=8)
    manifests = prepare(tiled, tmp_path / "raw", tmp_path / "out")
    said = {"palette": "colours (0, 0, 0) → 0", "ids": "ids 0 → 0, 1 → 1"}
    said = said.get(encoding, "ids 1 → 0, 2 → 1")
    assert manifests["sub"]["labels"].startswith(said)
    assert f"labels: {said}" in capsys.readouterr().out
    assert {d: m["counts"] for d, m in manifests.items()} == {
        "sub": {"test": 9, "train": 18},
        "tms": {"test": 9, "train": 9},
    }
    image, ids = labelled(2, 5, 20)
    test = tmp_path / "out/sub/test"
    assert len(files_in(test.parent)) == 2 * 27
    for y in (0, 8, 12):  # the last row and column are shifted to the edge
        for x in (0, 8, 12):
            name = f"region00_near_sub_002_{x}_{y}_{x + 8}_{y + 8}.png"
            here = np.s_[y : y + 8, x : x + 8]
            np.testing.assert_array_equal(read(test / "images" / name), image[here])
            np.testing.assert_array_equal(read(test / "labels" / name), ids[here])


def test_labels_that_contradict_each_other_stop(tmp_path):
    write_raw(tmp_path / "raw", size=8, climates=("sub",))
    write_raw(tmp_path / "raw", size=8, climates=("tem",), encoding="ids from 1")
    with pytest.raises(ValueError, match=r"TemMs.*got label value 5 in"):
        prepare(replace(DATA_SET, tile=8), tmp_path / "raw", tmp_path / "out")
