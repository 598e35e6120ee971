import numpy as np
import pytest
from mini_files import counts, encoded, files_in, read, truncate, write_folder
from mini_whu_building import AERIAL, SATELLITE, pair, write_raw

from crossearth_jax.data.prepare.raw import RawFiles
from crossearth_jax.data.prepare.run import prepare
from crossearth_jax.data.prepare.whu_building import DATA_SET

AERIAL_COUNTS = {
    ("whu_aerial", "train"): 3,
    ("whu_aerial", "val"): 2,
    ("whu_aerial", "test"): 2,
}
# Tiles without a building lie in train_no and test_no.
SATELLITE_COUNTS = {("whu_satellite", "train"): 3, ("whu_satellite", "test"): 2}


def found(folder, **odd):
    write_raw(folder, size=16, **odd)
    return DATA_SET.find(RawFiles(folder))


@pytest.mark.parametrize("zipped", [True, False])
def test_two_archives_are_two_domains(tmp_path, zipped):
    items = found(tmp_path, zipped=zipped, extra=True)
    assert counts(items) == AERIAL_COUNTS | SATELLITE_COUNTS
    assert set(counts(items)) == set(DATA_SET.expected)
    for item in items:
        assert item.label.name == item.image.name.replace("/image/", "/label/")


@pytest.mark.parametrize("part", ["aerial", "satellite"])
def test_either_archive_alone(tmp_path, part):
    other = {"aerial": "satellite", "satellite": "aerial"}[part]
    expected = {"aerial": AERIAL_COUNTS, "satellite": SATELLITE_COUNTS}[part]
    assert counts(found(tmp_path, **{other: False})) == expected


def test_folders_named_otherwise(tmp_path):
    image, mask = (encoded(a, "tif") for a in pair(0, 16))
    files = {
        "WHU/Aerial/train/Image/0.TIF": image,
        "WHU/Aerial/train/Mask/0.tif": mask,
        "WHU/Satellite II/test_all/image/0.tif": image,
        "WHU/Satellite II/test_all/label/0.tif": mask,
        "Satellite dataset \u2160 (global cities)/train/image/7.tif": image,
    }
    write_folder(tmp_path, files)
    items = DATA_SET.find(RawFiles(tmp_path))
    assert counts(items) == {("whu_aerial", "train"): 1, ("whu_satellite", "test"): 1}


def test_equal_names_with_and_without_buildings(tmp_path):
    """`train` and `train_no` may number their tiles alike."""
    image, mask = (encoded(a, "tif") for a in pair(0, 16))
    root, files = "Satellite dataset II (East Asia)", {}
    for folder in ("train", "train_no"):
        files[f"{root}/{folder}/image/0.tif"] = image
        files[f"{root}/{folder}/label/0.tif"] = mask
    files[f"{root}/train_no/image/1.tif"] = image
    files[f"{root}/train_no/label/1.tif"] = mask
    write_folder(tmp_path, files)
    items = DATA_SET.find(RawFiles(tmp_path))
    assert sorted(item.name for item in items) == ["0", "0_no", "1"]
    for item in items:
        assert item.image.name.replace("image", "label") == item.label.name


def test_png_copies_are_read_where_there_is_no_tiff(tmp_path):
    image, mask = (encoded(a, "png") for a in pair(0, 16))
    tiff = encoded(pair(0, 16)[0], "tif")
    files = {
        "Aerial/train/image/0.png": image,
        "Aerial/train/label/0.png": mask,
        "Aerial/val/image/0.tif": tiff,
        "Aerial/val/image/preview.png": image,
        "Aerial/val/label/0.png": mask,
    }
    write_folder(tmp_path, files)
    items = DATA_SET.find(RawFiles(tmp_path))
    found = {item.split: (item.image.suffix, item.label.suffix) for item in items}
    assert found == {"train": (".png", ".png"), "val": (".tif", ".png")}
    assert len(items) == 2


def test_tile_of_neither_is_refused(tmp_path):
    write_folder(tmp_path, {"whu/train/image/0.tif": b"x"})
    with pytest.raises(ValueError, match="aerial or satellite"):
        DATA_SET.find(RawFiles(tmp_path))


def test_masks_become_ids(tmp_path):
    for item in found(tmp_path):
        raw = item.label.label(indexed=DATA_SET.code.indexed)
        np.testing.assert_array_equal(DATA_SET.code.encode(raw), raw // 255)
        assert set(np.unique(raw)) == ({0} if "_no" in item.label.name else {0, 255})


def test_ids_are_not_taken_for_masks(tmp_path):
    items = found(tmp_path, satellite=False, wrong_value=1)
    item = next(i for i in items if (i.split, i.name) == ("train", "1"))
    with pytest.raises(ValueError, match="1 in 6 pixels, expected 0, 255"):
        DATA_SET.code.encode(item.label.label(indexed=False))


def test_missing_label_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"without label .*test_no/image/3\.tif"):
        found(tmp_path, without_label=("test_no", 3))


@pytest.mark.parametrize("archive", [AERIAL, SATELLITE])
def test_truncated_archive_is_named(tmp_path, archive):
    write_raw(tmp_path, size=16)
    truncate(tmp_path / archive)
    with pytest.raises(ValueError, match="not a whole zip") as error:
        RawFiles(tmp_path)
    assert archive in str(error.value)


def test_prepared(tmp_path, capsys):
    write_raw(tmp_path / "raw", size=16, extra=True)
    manifests = prepare(DATA_SET, tmp_path / "raw", tmp_path / "out")
    out = capsys.readouterr().out
    assert "not used: 3 image files" in out  # notes.tif and the uncut scene
    assert "WARNING whu_satellite/train: got 3 images, expected 13662" in out
    assert manifests["whu_satellite"]["counts"] == {"train": 3, "test": 2}
    assert files_in(tmp_path / "out/whu_satellite") == {
        *(f"train/images/{i}.tif" for i in (0, 1, 2)),
        *(f"train/labels/{i}.png" for i in (0, 1, 2)),
        *(f"test/images/{i}.tif" for i in (3, 4)),
        *(f"test/labels/{i}.png" for i in (3, 4)),
    }
    for number, buildings in ((1, True), (2, False)):
        image, mask = pair(number, 16, buildings=buildings)
        train = tmp_path / "out/whu_satellite/train"
        np.testing.assert_array_equal(read(train / f"images/{number}.tif"), image)
        np.testing.assert_array_equal(read(train / f"labels/{number}.png"), mask // 255)
