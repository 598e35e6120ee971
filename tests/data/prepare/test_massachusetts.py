import numpy as np
import pytest
from mini_files import counts, files_in, read, truncate
from mini_massachusetts import NAMES, write_raw

from crossearth_jax.data.prepare.massachusetts import DATA_SET
from crossearth_jax.data.prepare.raw import RawFiles
from crossearth_jax.data.prepare.run import prepare

ALL = {("massachusetts", s): n for s, n in (("train", 3), ("val", 1), ("test", 2))}


def found(folder, **odd):
    write_raw(folder, size=16, **odd)
    return DATA_SET.find(RawFiles(folder))


@pytest.mark.parametrize("original", [True, False])
@pytest.mark.parametrize("zipped", [True, False])
def test_both_layouts(tmp_path, zipped, original):
    items = found(tmp_path, zipped=zipped, original=original, extra=True)
    assert counts(items) == ALL
    assert set(ALL) == set(DATA_SET.expected)
    for item in items:
        assert item.image.suffix == ".tiff" and item.label.suffix == ".tif"
        folder = "/map/" if original else f"/{item.split}_labels/"
        assert item.label.name.endswith(f"{item.name}.tif")
        assert folder in f"/{item.label.name}"


def test_masks_become_ids_of_whole_scenes(tmp_path):
    assert DATA_SET.tile is None
    for item in found(tmp_path):
        raw = item.label.label(indexed=DATA_SET.code.indexed)
        assert set(np.unique(raw)) == {0, 255}
        np.testing.assert_array_equal(DATA_SET.code.encode(raw), raw // 255)


def test_grey_value_is_counted(tmp_path):
    items = {(i.split, i.name): i for i in found(tmp_path, wrong_value=200)}
    item = items["train", "10078660_15"]
    with pytest.raises(ValueError, match="200 in 4 pixels, expected 0, 255"):
        DATA_SET.code.encode(item.label.label(indexed=False))


def test_missing_label_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"without label .*test/10528735_15\.tiff"):
        found(tmp_path, without_label=("test", "10528735_15"))


def test_truncated_archive_is_named(tmp_path):
    write_raw(tmp_path, size=16)
    truncate(tmp_path / "archive.zip")
    with pytest.raises(ValueError, match=r"archive\.zip.*not a whole zip"):
        RawFiles(tmp_path)


def test_prepared(tmp_path, capsys):
    write_raw(tmp_path / "raw", size=16, extra=True)
    manifests = prepare(DATA_SET, tmp_path / "raw", tmp_path / "out")
    out = capsys.readouterr().out
    assert "WARNING massachusetts/test: got 2 images, expected 49" in out
    assert manifests["massachusetts"]["counts"] == {"test": 2, "train": 3, "val": 1}
    assert files_in(tmp_path / "out/massachusetts") == {
        f"{split}/{file}"
        for split, names in NAMES.items()
        for name in names
        for file in (f"images/{name}.tiff", f"labels/{name}.png")
    }
    label = read(tmp_path / "out/massachusetts/val/labels/10228690_15.png")
    assert label.shape == (16, 16) and set(np.unique(label)) == {0, 1}
