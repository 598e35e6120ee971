"""`crossearth prepare torchgeo`, on a stand-in of the data sets' shape."""

import sys
from types import ModuleType

import numpy as np
import pytest
from labelled import manifest

from crossearth_jax.commands.prepare import main
from crossearth_jax.data.classes import ClassSet


class LandCover:
    """As TorchGeo's data sets: images [C, H, W] as floats, masks [1, H, W]."""

    classes = ("Background", "Building", "Woodland")
    top = 255

    def __init__(self, root, split="train", transforms=None, download=False, area="a"):
        if split not in ("train", "val"):
            raise AssertionError("split")
        self.rng = np.random.default_rng(0)
        self.length = 5 if split == "train" else 2

    def __len__(self):
        return self.length

    def __getitem__(self, number):
        rng = np.random.default_rng(number)
        image = rng.integers(0, self.top + 1, (4, 32, 40)).astype(np.float32)
        return {"image": image, "mask": rng.integers(0, 3, (1, 32, 40))}


class Deep(LandCover):
    classes = None
    top = 4000


class Scores(LandCover):
    def __getitem__(self, number):
        return {"image": np.zeros((3, 8, 8)), "label": 1}


@pytest.fixture(autouse=True)
def torchgeo(monkeypatch):
    module = ModuleType("torchgeo.datasets")
    for kind in (LandCover, Deep, Scores):
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "torchgeo", ModuleType("torchgeo"))
    monkeypatch.setitem(sys.modules, "torchgeo.datasets", module)


def exported(out, name="LandCover", *more):
    line = ["torchgeo", "--dataset", name, "--raw", "raw", "--out", str(out), *more]
    return main(line)


def test_images_labels_classes_and_manifest(tmp_path):
    assert exported(tmp_path / "t", "LandCover", "--bands", "2,1,0") == 0
    images, labels = (tiles(tmp_path / "t", kind) for kind in ("images", "labels"))
    assert len(images) == 7
    sample = LandCover("raw")[3]
    assert np.array_equal(images["train", "000003"], sample["image"][[2, 1, 0]])
    assert np.array_equal(labels["train", "000003"], sample["mask"])
    found = manifest(tmp_path / "t")
    assert found["scenes"] == {"bands": [3, 2, 1], "scale": None, "gsd": None}
    assert sum(found["pixels"]["train"].values()) == 5 * 32 * 40
    classes = ClassSet.from_file(tmp_path / "t" / "classes.yaml")
    assert classes.names == LandCover.classes


def tiles(out, kind):
    import tifffile

    found = {}
    for path in sorted(out.glob(f"*/{kind}/*.tif")):
        values = tifffile.imread(path)
        bands = values[None] if values.ndim == 2 else np.moveaxis(values, 2, 0)
        found[path.parts[-3], path.stem] = bands
    return found


def test_values_are_scaled_and_classes_numbered(tmp_path, capsys):
    assert exported(tmp_path / "t", "Deep") == 1
    assert "pass --scale LOW,HIGH" in capsys.readouterr().err
    assert not (tmp_path / "t").exists()
    line = ("--scale", "0,4000", "--first", "1", "--split", "train")
    assert exported(tmp_path / "t", "Deep", *line) == 0
    sample = Deep("raw")[0]
    images, labels = (tiles(tmp_path / "t", kind) for kind in ("images", "labels"))
    wanted = np.rint(sample["image"][:3] / 4000 * 255)
    assert np.array_equal(images["train", "000000"], wanted)
    ids = np.where(sample["mask"] == 0, 255, sample["mask"] - 1)
    assert np.array_equal(labels["train", "000000"], ids)
    assert manifest(tmp_path / "t")["classes"] == ["class_0", "class_1"]
    assert not (tmp_path / "t" / "val").exists()


def test_it_goes_on_where_it_stopped(tmp_path, monkeypatch):
    assert exported(tmp_path / "one") == 0
    read = LandCover.__getitem__

    def stopped(self, number):
        if number == 3:
            raise KeyboardInterrupt
        return read(self, number)

    monkeypatch.setattr(LandCover, "__getitem__", stopped)
    assert exported(tmp_path / "two") == 130
    monkeypatch.setattr(LandCover, "__getitem__", read)
    assert exported(tmp_path / "two") == 0
    names = ("manifest.json", "train/images/000004.tif", "train/labels/000004.tif")
    for name in names:
        one, two = ((tmp_path / k / name).read_bytes() for k in ("one", "two"))
        assert one == two


@pytest.mark.parametrize(
    ("name", "line", "says"),
    [
        ("Nothing", (), "expected a class of torchgeo.datasets"),
        ("LandCover", ("--split", "train=big"), "cannot be opened"),
        ("LandCover", ("--set", "place=3"), "root, split, transforms, download, area"),
        ("LandCover", ("--bands", "0,1,7"), "it has 4 bands"),
        ("LandCover", ("--first", "-1"), "got the mask values 2"),
        ("Scores", (), "'image', 'label'"),
    ],
)
def test_what_cannot_be_exported_is_one_line(tmp_path, capsys, name, line, says):
    assert exported(tmp_path / "t", name, *line) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "t").exists()
