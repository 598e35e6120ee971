import numpy as np
import pytest
from mini_deepglobe import TRAIN, write_raw
from mini_files import counts, encoded, files_in, labelled, read, truncate

from crossearth_jax.data.prepare.deepglobe import DATA_SET
from crossearth_jax.data.prepare.raw import RawFiles
from crossearth_jax.data.prepare.run import prepare


def found(folder, **odd):
    write_raw(folder, size=16, **odd)
    return DATA_SET.find(RawFiles(folder))


@pytest.mark.parametrize("zipped", [True, False])
def test_only_train_has_masks(tmp_path, zipped):
    items = found(tmp_path, zipped=zipped, extra=True)
    assert counts(items) == {("deepglobe", "train"): len(TRAIN)}
    assert {item.name for item in items} == {str(number) for number in TRAIN}
    for item in items:
        assert item.label.name == item.image.name.replace("_sat.jpg", "_mask.png")


def test_road_from_128_on(tmp_path):
    item = next(i for i in found(tmp_path) if i.name == "104")
    raw = item.label.label(indexed=DATA_SET.code.indexed)
    assert len(np.unique(raw)) == 8  # not purely 0 and 255
    np.testing.assert_array_equal(DATA_SET.code.encode(raw), labelled(104, 2, 16)[1])
    edge = np.array([[0, 127, 128, 255]], np.uint8)
    np.testing.assert_array_equal(DATA_SET.code.encode(edge), [[0, 0, 1, 1]])


def test_ids_are_not_taken_for_masks():
    with pytest.raises(ValueError, match="ids already"):
        DATA_SET.code.encode(np.array([[0, 1]], np.uint8))


def test_land_cover_labels_are_refused():
    colours = np.zeros((2, 2, 3), np.uint8)
    colours[0, 0] = 0, 255, 255
    with pytest.raises(ValueError, match="colour label"):
        DATA_SET.code.encode(colours)


def test_a_few_coloured_pixels_follow_the_threshold(tmp_path, capsys):
    write_raw(tmp_path / "raw", size=16, zipped=False)
    path = tmp_path / "raw/train/104_mask.png"
    mask = read(path).copy()
    mask[0, 0], mask[0, 1] = (255, 250, 250), (100, 130, 130)
    path.write_bytes(encoded(mask, "png"))
    manifests = prepare(DATA_SET, tmp_path / "raw", tmp_path / "out")
    label = read(tmp_path / "out/deepglobe/train/labels/104.png")
    truth = labelled(104, 2, 16)[1]
    truth[0, :2] = 1, 0
    np.testing.assert_array_equal(label, truth)
    values = manifests["deepglobe"]["label_values"]["before"]
    assert values["< 128, not grey"] == values[">= 128, not grey"] == 1
    assert sum(values.values()) == 3 * 16 * 16
    assert "2 mask pixels are not grey" in capsys.readouterr().out


def test_missing_mask_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"without label .*100034_sat\.jpg"):
        found(tmp_path, without_mask=100034)


def test_truncated_archive_is_named(tmp_path):
    write_raw(tmp_path, size=16)
    truncate(tmp_path / "archive.zip")
    with pytest.raises(ValueError, match=r"archive\.zip.*not a whole zip"):
        RawFiles(tmp_path)


def test_prepared(tmp_path, capsys):
    write_raw(tmp_path / "raw", size=16, extra=True)
    manifests = prepare(DATA_SET, tmp_path / "raw", tmp_path / "out")
    assert "not used: 3 image files" in capsys.readouterr().out  # valid, test, preview
    assert manifests["deepglobe"]["counts"] == {"train": 3}
    assert manifests["deepglobe"]["labels"] == "mask, from 128 on → 1, below → 0"
    train = tmp_path / "out/deepglobe"
    assert files_in(train) == {
        f"train/{file}"
        for number in TRAIN
        for file in (f"images/{number}.jpg", f"labels/{number}.png")
    }
    for number in TRAIN:
        label = read(train / f"train/labels/{number}.png")
        np.testing.assert_array_equal(label, labelled(number, 2, 16)[1])


def test_label_of_another_size_is_refused(tmp_path):
    write_raw(tmp_path / "raw", size=16, wrong_size=True)
    with pytest.raises(ValueError, match=r"104_mask\.png.*16 x 14 .* image of 16 x 16"):
        prepare(DATA_SET, tmp_path / "raw", tmp_path / "out")
