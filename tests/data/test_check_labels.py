"""All label values are looked at before the first step, once for each file."""

import os

import numpy as np
import pytest
from PIL import Image

from crossearth_jax.data import check_labels as module
from crossearth_jax.data.check_labels import check_labels, class_pixels
from crossearth_jax.data.classes import ClassSet, LabelEncoding
from crossearth_jax.data.datasets import FolderSource
from crossearth_jax.data.folders import Pair

CLASSES = ClassSet(("ground", "roof", "road"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
IDS = LabelEncoding("ids", ignore=255)


def write(path, values, palette=None):
    image = Image.fromarray(np.asarray(values, np.uint8))
    if palette is not None:
        image.putpalette(palette)
    image.save(path)


@pytest.fixture
def source(tmp_path):
    """Six labels; no images are needed."""
    for i in range(6):
        write(tmp_path / f"{i}.png", [[0, 1, 2, 255]] * 3)
    return made(tmp_path)


def made(folder, encoding=IDS, count=6, **settings):
    paths = [folder / f"{i}.png" for i in range(count)]
    pairs = [Pair(path, path, path.stem) for path in paths]
    return FolderSource(pairs, CLASSES, encoding, **settings)


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Checks sources; gives the names of the files that were decoded for it."""
    real, decoded = module.read_label_and_mask, []

    def read(path, **more):
        decoded.append(path.name)
        return real(path, **more)

    def run(*sources, **more):
        decoded.clear()
        check_labels(sources, cache=tmp_path / "cache", **more)
        return sorted(decoded)

    monkeypatch.setattr(module, "read_label_and_mask", read)
    return run


ALL = [f"{i}.png" for i in range(6)]


def test_good_labels_pass(source, check, tmp_path):
    check(source, source)
    assert len(list((tmp_path / "cache").iterdir())) == 1  # of their one folder


def test_a_bad_value_anywhere_is_found(source, check, tmp_path, caplog):
    other = tmp_path / "other"
    other.mkdir()
    write(other / "0.png", [[0, 9, 9]])
    with pytest.raises(ValueError, match=r"other/0\.png: got label value 9 in 2 pix"):
        check(source, made(other, count=1))
    write(tmp_path / "3.png", [[7]])
    with pytest.raises(ValueError, match="got 2 unusable files of 7 pairs") as error:
        check(source, made(other, count=1))
    assert "3.png: got label value 7" in str(error.value)
    check(source, on_corrupt="skip")
    assert "these are skipped" in caplog.text


def test_a_cut_label_is_found(source, check, tmp_path):
    whole = (tmp_path / "4.png").read_bytes()
    (tmp_path / "4.png").write_bytes(whole[:50])
    with pytest.raises(ValueError, match=r"4\.png: cannot be decoded"):
        check(source)


def test_files_are_read_once_for_each_version(source, check, tmp_path):
    assert check(source) == ALL
    assert check(source) == []
    os.utime(tmp_path / "1.png", ns=(1, 1))
    write(tmp_path / "2.png", [[0, 1]])
    assert check(source) == ["1.png", "2.png"]
    # What is known of a file says as much about another meaning of its values.
    fewer = ClassSet(("ground", "roof"), ((0, 0, 0), (1, 1, 1)))
    other = FolderSource(source.pairs, fewer, IDS)
    with pytest.raises(ValueError, match=r"got 5 unus.*\n.*0\.png: .*value 2"):
        check(other)
    # Their colours are not known yet.
    assert check(made(tmp_path, LabelEncoding("colours", ignore=(255,) * 3))) == ALL


def counted(source, folder, **more):
    return class_pixels(source, check_labels([source], cache=folder / "cache", **more))


def test_pixels_of_classes_are_counted_and_kept(source, check, tmp_path):
    write(tmp_path / "2.png", [[1, 1, 255]])
    expected = np.full((6, 3), 3)
    expected[2] = 0, 2, 0
    for _ in range(2):  # the second time from what is kept
        np.testing.assert_array_equal(counted(source, tmp_path), expected)
    assert check(source) == []
    write(tmp_path / "4.png", [[9]])
    found = counted(source, tmp_path, on_corrupt="skip")
    assert not found[4].any() and found[5].sum() == 9


def test_pixels_that_a_label_marks_count_where_they_are_of_the_class(tmp_path):
    image = Image.fromarray(np.array([[0, 0, 1]], np.uint8))
    image.save(tmp_path / "0.png", transparency=0)
    for choice, expected in (("ignore", [0, 1, 0]), ("class", [2, 1, 0])):
        source = made(tmp_path, count=1, label_nodata=choice)
        np.testing.assert_array_equal(counted(source, tmp_path), [expected])


@pytest.mark.parametrize(
    "content", ["", "[]", '{"format": 2, "files": {"ids 0.png": 3}}']
)
def test_a_broken_cache_is_a_slower_start(source, check, tmp_path, content):
    check(source)
    (file,) = (tmp_path / "cache").iterdir()
    file.write_text(content)
    assert set(check(source)) >= set(ALL[:1])
    (tmp_path / "cache" / file.name).unlink()
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_text("in the way")
    assert check(source) == ALL


def test_colour_tables_of_single_files_are_refused(check, tmp_path):
    """`[0,0,0, 2,2,2]` in one file, `[0,0,0, 1,1,1, 2,2,2]` in the others."""
    for i in range(3):
        write(tmp_path / f"{i}.png", [[0, 1, 2]], [0, 0, 0, 1, 1, 1, 2, 2, 2])
    write(tmp_path / "3.png", [[0, 1]], [0, 0, 0, 2, 2, 2])
    said = r"3\.png: index 1 has color \(2, 2, 2\), but \(1, 1, 1\) in .*/0\.png"
    with pytest.raises(ValueError, match=said):
        check(made(tmp_path, count=4))
    assert check(made(tmp_path, count=3)) == []
    assert check(made(tmp_path, "colours", count=4)) == ALL[:4]


def test_two_domains_may_have_colours_of_their_own(check, tmp_path):
    for name, palette in (("a", [0, 0, 0, 9, 9, 9]), ("b", [0, 0, 0, 5, 5, 5])):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "0.png", [[0, 1]], palette)
    one, two = made(tmp_path / "a", count=1), made(tmp_path / "b", count=1)
    assert check(one, two) == ["0.png", "0.png"]
    joined = FolderSource([*one.pairs, *two.pairs], CLASSES, IDS)
    with pytest.raises(ValueError, match=r"index 1 has color \(5, 5, 5\)"):
        check(joined)


def test_hosts_hear_of_each_others_labels(source, check, tmp_path, monkeypatch):
    write(tmp_path / "3.png", [[7]])
    parts = []
    monkeypatch.setattr(module.hosts, "gather", lambda own: parts.append(own) or [own])
    assert check(source, host=0, host_count=2) == ["0.png", "2.png", "4.png"]
    with pytest.raises(ValueError, match=r"3\.png"):
        check(source, host=1, host_count=2)
    monkeypatch.setattr(module.hosts, "gather", lambda own: [own, parts[1]])
    with pytest.raises(ValueError, match=r"3\.png"):
        check(source, host=0, host_count=2)
