from collections import Counter

import numpy as np
import pytest
from mini_files import counts, files_in, read, truncate
from mini_loveda import mask, write_raw
from outside import REALDATA, needs_realdata
from PIL import Image

from crossearth_jax.data.prepare.loveda import DATA_SET
from crossearth_jax.data.prepare.raw import RawFiles
from crossearth_jax.data.prepare.run import prepare

SAMPLES = "samples/loveda/ann"
ALL = {
    ("loveda_rural", "train"): 3,
    ("loveda_urban", "train"): 2,
    ("loveda_rural", "val"): 2,
    ("loveda_urban", "val"): 1,
}


def found(folder, **odd):
    write_raw(folder, size=16, **odd)
    return DATA_SET.find(RawFiles(folder))


@pytest.mark.parametrize("zipped", [True, False])
def test_scenes_become_domains(tmp_path, zipped):
    items = found(tmp_path, zipped=zipped, extra=True, test_set=True)
    assert counts(items) == ALL
    assert set(ALL) == set(DATA_SET.expected)
    for item in items:
        image, label = item.image.name, item.label.name
        assert label == image.replace("images_png", "masks_png")
        assert item.domain.removeprefix("loveda_") in image.lower()


def test_archives_beside_their_extracted_folders_count_once(tmp_path):
    write_raw(tmp_path, size=16, zipped=False)
    items = found(tmp_path)
    assert counts(items) == ALL
    assert all(item.image.file() for item in items)


def test_no_data_is_ignored_and_classes_start_at_0(tmp_path):
    item = next(i for i in found(tmp_path) if i.name == "1366")
    ids = DATA_SET.code.encode(item.label.label(indexed=DATA_SET.code.indexed))
    raw = mask(1366, 16)
    assert set(np.unique(raw)) == set(range(8))
    np.testing.assert_array_equal(ids[raw == 0], 255)
    np.testing.assert_array_equal(ids[raw > 0], raw[raw > 0] - 1)


def test_missing_mask_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"1 image\(s\) without label.*1367\.png"):
        found(tmp_path, without_mask=1367)


@pytest.mark.parametrize("value", [8, 255])
def test_unknown_value_is_counted(tmp_path, value):
    item = next(i for i in found(tmp_path, wrong_value=value) if i.name == "0")
    with pytest.raises(ValueError, match=f"{value} in 6 pixels"):
        DATA_SET.code.encode(item.label.label(indexed=True))


def test_truncated_archive_is_named(tmp_path):
    write_raw(tmp_path, size=16)
    truncate(tmp_path / "Val.zip")
    with pytest.raises(ValueError, match=r"Val\.zip.*not a whole zip"):
        RawFiles(tmp_path)


@needs_realdata(SAMPLES)
def test_real_masks_hold_known_values():
    seen = Counter()
    for path in sorted((REALDATA / SAMPLES).glob("*.png")):
        raw = np.asarray(Image.open(path))
        ids = DATA_SET.code.encode(raw)
        np.testing.assert_array_equal(ids, np.where(raw == 0, 255, raw - 1))
        seen.update(np.unique(ids).tolist())
    assert len(seen) > 2 and set(seen) <= {*range(7), 255}


def test_prepared(tmp_path, capsys):
    write_raw(tmp_path / "raw", size=16, extra=True, test_set=True)
    manifests = prepare(DATA_SET, tmp_path / "raw", tmp_path / "out")
    out = capsys.readouterr().out
    assert "not used: 2 image files (Test/Test/" in out
    assert "WARNING loveda_rural/train: got 3 images, expected 1366 (-1363)" in out
    assert manifests["loveda_urban"]["counts"] == {"train": 2, "val": 1}
    assert manifests["loveda_urban"]["labels"].startswith("ids 0 → 255, 1 → 0, 2 → 1")
    assert files_in(tmp_path / "out/loveda_urban") == {
        f"{split}/{kind}/{name}.png"
        for split, name in (("train", 1366), ("train", 1367), ("val", 3514))
        for kind in ("images", "labels")
    }
    label = read(tmp_path / "out/loveda_urban/val/labels/3514.png")
    raw = mask(3514, 16)
    np.testing.assert_array_equal(label, np.where(raw == 0, 255, raw - 1))


def test_wrong_value_stops_and_names_the_file(tmp_path):
    write_raw(tmp_path / "raw", size=16, wrong_value=9)
    with pytest.raises(ValueError, match=r"Train\.zip .*masks_png/0\.png.*9 in 6"):
        prepare(DATA_SET, tmp_path / "raw", tmp_path / "out")
    assert not (tmp_path / "out/loveda_rural/manifest.json").exists()
