import numpy as np
import pytest
from PIL import Image

from crossearth_jax.data.classes import LabelEncoding
from crossearth_jax.data.infer import infer_classes


def save(array, path, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8), mode).save(path)
    return path


def test_inference_prints_what_it_saw(tmp_path, capsys):
    paths = [
        save([[0, 1, 1, 1]], tmp_path / "a.png"),
        save([[2, 255, 0, 0]], tmp_path / "b.png"),
    ]
    classes = infer_classes(paths)
    assert len(classes.names) == 3 and len(set(classes.palette)) == 3
    assert classes.encoding == LabelEncoding("ids", ignore=255)
    table = capsys.readouterr().out
    assert "2 of 2 files" in table
    assert "37.500%" in table and "12.500%" in table and "255" in table


def test_inference_reads_a_spread_sample(tmp_path, capsys):
    paths = [save([[0, i % 2]], tmp_path / f"{i}.png") for i in range(11)]
    infer_classes(paths, sample=4)
    assert "4 of 11 files" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[[0, 255]]], "data.encoding=mask255"),
        ([[[[255, 0, 0], [0, 0, 0]]]], "data.encoding=colours"),
        ([[[0, 2]]], "without gaps"),
        ([[[1, 2]]], "without gaps"),
        ([[[0, 0]]], "2 to 50 classes"),
        ([[[255, 255]]], "2 to 50 classes"),
        ([[list(range(60))]], "2 to 50 classes"),
    ],
)
def test_inference_refuses_what_has_two_readings(tmp_path, labels, message):
    paths = [save(a, tmp_path / f"{i}.png") for i, a in enumerate(labels)]
    with pytest.raises(ValueError, match=message):
        infer_classes(paths)


def test_inference_refuses_jpeg_and_shuffled_palettes(tmp_path):
    save(np.full((8, 8), [0, 1] * 4), tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="JPEG"):
        infer_classes([tmp_path / "a.jpg"])
    for name, table in (("p", [9, 9, 9, 0, 0, 0]), ("q", [0, 0, 0, 9, 9, 9])):
        image = Image.fromarray(np.array([[0, 1]], np.uint8))
        image.putpalette(table)
        image.save(tmp_path / f"{name}.png")
    with pytest.raises(ValueError, match=r"q.png: index 0 has color \(0, 0, 0\)"):
        infer_classes([tmp_path / "p.png", tmp_path / "q.png"])
