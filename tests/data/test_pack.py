import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from noise_pairs import write_pairs

from crossearth_jax.build_data import build_data
from crossearth_jax.config import default
from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.datasets import FolderSource
from crossearth_jax.data.folders import parse_domain
from crossearth_jax.data.infer import infer_classes
from crossearth_jax.data.pack import pack_split
from crossearth_jax.data.packed import packed_files
from crossearth_jax.run_settings import read_settings

TWO = ClassSet(("ground", "building"), ((0, 0, 0), (255, 0, 0)))


@pytest.fixture
def split(tmp_path):
    """Twelve pairs, one of them a JPEG with a TIFF label."""
    folder = write_pairs(tmp_path / "sub" / "train", (20, 30), odd=3)
    (folder / "images/t01.png.aux.xml").write_text("x")
    return folder


def read_all(text, **kwargs):
    source = FolderSource(parse_domain(text).find_pairs(), TWO, "ids", **kwargs)
    return source, [source[i] for i in range(len(source))]


def test_packed_and_loose_files_are_the_same_records(split):
    loose, expected = read_all(str(split))
    labels = [pair.label for pair in parse_domain(str(split)).find_pairs()]
    archive = pack_split(split)
    assert archive == split.parent / "train.array_record"
    packed, records = read_all(str(archive))
    assert packed.names == loose.names
    assert packed.fingerprint() == loose.fingerprint()
    for a, b in zip(records, expected, strict=True):
        assert a.name == b.name and a.valid
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.label, b.label)
    packed_labels = [pair.label for pair in parse_domain(str(archive)).find_pairs()]
    assert infer_classes(packed_labels) == infer_classes(labels)
    for (image, _), pair in zip(
        packed_files(archive), parse_domain(str(split)).find_pairs(), strict=True
    ):
        assert image.read_bytes() == pair.image.read_bytes()
        assert image.suffix == pair.image.suffix
        assert str(image) == f"{archive}/images/{pair.image.name}"
        assert pickle.loads(pickle.dumps(image)).read_bytes() == image.read_bytes()


def test_packing_is_deterministic_and_leaves_nothing_else(split):
    first = pack_split(split).read_bytes()
    assert pack_split(split).read_bytes() == first
    assert {p.name for p in split.parent.iterdir()} == {"train", "train.array_record"}


def test_the_archive_is_read_where_it_is_named_or_the_images_are_gone(split):
    archive = pack_split(split)
    folders = parse_domain(str(split)).folders
    assert folders == ((split / "images", split / "labels"),)
    assert parse_domain(str(archive)).folders == ((archive,),)
    (split / "images").rename(split / "elsewhere")
    assert parse_domain(f"{split}/").folders == ((archive,),)
    split.rename(split.parent / "old")
    domain = parse_domain(str(split))
    assert domain.folders == ((archive,),) and domain.name == "train"
    assert len(domain.find_pairs()) == 12
    joined = parse_domain(
        f"{split},{split.parent}/old/elsewhere:{split.parent}/old/labels"
    )
    assert len(joined.find_pairs()) == 24


def test_packing_again_is_seen(split):
    archive = pack_split(split)
    read_all(str(archive))
    (split / "images/t00.png").unlink()
    (split / "labels/t00.png").unlink()
    pack_split(split)
    packed, records = read_all(str(archive))
    assert len(packed) == 11 and records[0].name == "t01"
    np.testing.assert_array_equal(records[0].image, read_all(str(split))[1][0].image)


def test_unusable_files_are_not_packed(split):
    (split / "images/t04.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"t04.png.*0 bytes"):
        pack_split(split)
    assert [p.name for p in split.parent.iterdir()] == ["train"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path, data: path.write_bytes(data[: len(data) // 2]),
        lambda path, data: path.write_bytes(b""),
        lambda path, data: path.write_bytes(b"hello" * 30_000),
        lambda path, data: path.unlink(),
    ],
)
def test_a_damaged_archive_is_named(split, damage):
    archive = pack_split(split)
    damage(archive, archive.read_bytes())
    with pytest.raises(ValueError, match=r"train.array_record: cannot be read as a"):
        parse_domain(str(archive)).find_pairs()


def test_without_the_library_one_line_tells_what_to_do(split, monkeypatch):
    archive = pack_split(split)
    name = "array_record.python.array_record_module"
    monkeypatch.setitem(sys.modules, name, None)  # as on Windows
    message = r"got no array_record .* packed splits: pip install array_record"
    with pytest.raises(ImportError, match=message):
        packed_files(archive)
    with pytest.raises(ImportError, match=message):
        pack_split(split)
    assert len(parse_domain(str(split)).find_pairs()) == 12  # folders need none


def test_an_archive_of_another_kind_is_refused(tmp_path):
    from array_record.python.array_record_module import ArrayRecordWriter

    path = tmp_path / "other.array_record"
    writer = ArrayRecordWriter(str(path), "group_size:1")
    writer.write(json.dumps({"format": "cats 2", "files": []}).encode())
    writer.close()
    with pytest.raises(ValueError, match="its index says 'cats 2'"):
        packed_files(path)


def test_a_flipped_byte_is_found_and_only_its_record_lost(split):
    archive = pack_split(split)
    data = bytearray(archive.read_bytes())
    inside = data.index(packed_files(archive)[5][0].read_bytes()) + 500
    data[inside] ^= 1
    archive.write_bytes(data)
    with pytest.raises(ValueError, match=r"images/t05.png: cannot be read \(damaged"):
        read_all(str(archive))
    _, records = read_all(str(archive), on_corrupt="skip")
    assert [r.name for r in records if not r.valid] == ["t05"]


def test_a_run_reads_packed_splits_below_its_root(split):
    config = default()
    config.data.kind = "folder"
    config.data.root = str(split.parent.parent)
    config.data.train = "{root}/sub/train"
    config.data.unseen = "away={root}/sub/train.array_record"
    pack_split(split)
    loose = build_data(read_settings(config).data)
    assert isinstance(parse_domain(str(split)).find_pairs()[0].image, Path)
    fingerprint, image = loose.train.fingerprint(), loose.train[3].image
    split.rename(split.parent / "old")
    packed = build_data(read_settings(config).data)
    assert packed.classes == loose.classes
    assert packed.train.fingerprint() == fingerprint
    for source in (packed.train, packed.domains[0].source):
        np.testing.assert_array_equal(source[3].image, image)
