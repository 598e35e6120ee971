from pathlib import Path

import numpy as np
import pytest
from outside import REALDATA, needs_realdata
from PIL import Image

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.datasets import FolderSource, Record, Source
from crossearth_jax.data.folders import find_pairs, parse_domain, parse_domains
from crossearth_jax.data.infer import infer_classes

TWO = ClassSet(("ground", "building"), ((0, 0, 0), (255, 0, 0)))


def save(array, path, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8), mode).save(path)
    return path


@pytest.fixture
def folders(tmp_path):
    """Twelve pairs: PNG RGB images, id labels 0/1."""
    rng = np.random.default_rng(0)
    for i in range(12):
        save(rng.integers(0, 256, (8, 10, 3)), tmp_path / f"images/t{i:02d}.png")
        save(rng.integers(0, 2, (8, 10)), tmp_path / f"labels/t{i:02d}.png")
    return tmp_path


def pairs_in(root):
    return find_pairs(root / "images", root / "labels")


def source_in(root, **kwargs):
    return FolderSource(pairs_in(root), kwargs.pop("classes", TWO), "ids", **kwargs)


# Pairing and domains


def test_pairs_are_sorted_and_side_files_passed_over(folders):
    for name in ("t00.png.aux.xml", ".DS_Store", "t01.pgw", "Thumbs.db"):
        (folders / "images" / name).write_text("x")
    pairs = pairs_in(folders)
    assert [p.name for p in pairs] == [f"t{i:02d}" for i in range(12)]
    assert all(p.image.stem == p.label.stem == p.name for p in pairs)


def test_image_and_label_may_have_other_suffixes(tmp_path):
    save(np.zeros((4, 4, 3)), tmp_path / "images/a.JPG")
    save(np.zeros((4, 4)), tmp_path / "labels/a.tiff")
    assert [p.name for p in pairs_in(tmp_path)] == ["a"]


def test_missing_and_empty_folders(folders):
    with pytest.raises(ValueError, match=r"nowhere: got no such folder"):
        find_pairs(folders / "nowhere", folders / "labels")
    (folders / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: got an empty folder"):
        find_pairs(folders / "images", folders / "empty")
    with pytest.raises(ValueError, match="one folder for images and labels"):
        find_pairs(folders / "images", folders / "images")


def test_partners_missing_on_both_sides_are_counted(folders):
    for name in ("labels/t03.png", "labels/t05.png", "images/t07.png"):
        (folders / name).unlink()
    with pytest.raises(ValueError) as error:
        pairs_in(folders)
    assert "2 images without label (e.g. t03, t05)" in str(error.value)
    assert "1 labels without image (e.g. t07)" in str(error.value)


def test_duplicate_stems_and_unknown_types(folders):
    save(np.zeros((8, 10, 3)), folders / "images/t00.jpg")
    with pytest.raises(ValueError, match=r"several files .e.g. 't00'"):
        pairs_in(folders)
    (folders / "images/t00.jpg").rename(folders / "images/t00.gif")
    with pytest.raises(ValueError, match=r"unknown type .e.g. t00.gif"):
        pairs_in(folders)


def test_domain_forms(folders):
    images, labels = folders / "images", folders / "labels"
    for text in (f"{images}:{labels}", str(folders)):
        domain = parse_domain(text)
        assert domain.name == folders.name
        assert domain.folders == ((images, labels),)
        assert len(domain.find_pairs()) == 12
    assert parse_domain(f"nepal={folders}").name == "nepal"


def test_domains_join_until_the_next_name():
    domains = parse_domains("a=X/i:X/l,Y/i:Y/l, b=Z/i:Z/l")
    assert [(d.name, len(d.folders)) for d in domains] == [("a", 2), ("b", 1)]
    assert domains[0].folders[1] == (Path("Y/i"), Path("Y/l"))
    assert parse_domain("P/images:P/labels,Q/images:Q/labels").name == "P+Q"
    with pytest.raises(ValueError, match="got 2 named domains"):
        parse_domain("a=X/i:X/l,b=Z/i:Z/l")
    with pytest.raises(ValueError, match="'a' twice"):
        parse_domains("a=X/i:X/l,b=Y/i:Y/l,a=Z/i:Z/l")


@pytest.mark.parametrize("text", ["", "a=", "X/i:", "X:Y:Z", "X/i:X/l,"])
def test_domain_nonsense(text):
    with pytest.raises(ValueError, match="expected IMAGES:LABELS"):
        parse_domains(text)


def test_a_folder_without_images_says_so(tmp_path):
    with pytest.raises(ValueError, match="without images/"):
        parse_domain(str(tmp_path))


def test_joined_folders_keep_names_apart(folders, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    save(np.zeros((4, 4, 3)), other / "images/t00.png")
    save(np.zeros((4, 4)), other / "labels/t00.png")
    names = [p.name for p in parse_domain(f"{folders},{other}").find_pairs()]
    assert len(set(names)) == 13
    assert {f"{folders.name}.t00", f"{other.name}.t00"} <= set(names)
    with pytest.raises(ValueError, match="names twice"):
        parse_domain(f"{folders},{folders}").find_pairs()


# Corrupt files


@pytest.mark.parametrize("keep", [20, 45, 100, 150])
def test_truncated_png(folders, keep):
    path = folders / "images/t04.png"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"t04.png: cannot be decoded"):
        source_in(folders)[4]


def test_size_mismatch(folders):
    save(np.zeros((8, 9)), folders / "labels/t02.png")
    with pytest.raises(ValueError, match=r"t02.png: got a label of 9 x 8.*10 x 8"):
        source_in(folders)[2]


def corrupt(folders, *numbers):
    for i in numbers:
        (folders / f"images/t{i:02d}.png").write_bytes(b"\x89PNG")


def test_skip_gives_ignored_placeholders_and_lists(folders):
    corrupt(folders, 3)
    save(np.full((8, 10), 9), folders / "labels/t05.png")
    source = source_in(folders, on_corrupt="skip")
    records = [source[i] for i in range(12)] + [source[3]]
    assert [r.name for r in records if not r.valid] == ["t03", "t05", "t03"]
    assert all((r.label == 255).all() for r in records if not r.valid)
    assert set(source.skipped) == {"t03", "t05"}
    assert "cannot be decoded" in source.skipped["t03"]
    assert "9 in 80 pixels" in source.skipped["t05"]


def test_skip_gives_up_at_three_of_twelve(folders):
    corrupt(folders, 1, 2, 4)
    source = source_in(folders, on_corrupt="skip")
    with pytest.raises(ValueError, match="3 unusable files of 12") as error:
        [source[i] for i in range(12)]
    assert "t04.png" in str(error.value)


def test_skip_does_not_train_on_nothing(tmp_path):
    save(np.zeros((4, 4)), tmp_path / "labels/t00.png")
    (tmp_path / "images").mkdir()
    corrupt(tmp_path, 0)
    with pytest.raises(ValueError, match="1 unusable files of 1"):
        source_in(tmp_path, on_corrupt="skip")[0]


def test_source_is_a_source(folders):
    source = source_in(folders)
    assert isinstance(source, Source) and len(source) == 12
    assert source.names[3] == source[3].name == "t03"
    with pytest.raises(IndexError):
        source[12]
    assert isinstance(source[0], Record) and source[0].valid
    with pytest.raises(ValueError, match="on_corrupt='ignore'"):
        source_in(folders, on_corrupt="ignore")


@needs_realdata("building")
@pytest.mark.parametrize(
    ("place", "count", "share"),
    [
        ("kampala_ug", 28, 0.292),
        ("catanduanes_ph", 16, 0.210),
        ("banepa_np", 48, 0.453),
    ],
)
def test_real_images(place, count, share):
    pairs = parse_domain(str(REALDATA / "building" / place)).find_pairs()
    source = FolderSource(pairs, infer_classes([p.label for p in pairs]))
    records = [source[i] for i in range(len(source))]
    assert len(records) == count and source.classes.names == ("class_0", "class_1")
    # What is transparent in an image is ignored in its label.
    ones = np.mean([(r.label == 1).mean() for r in records])
    assert ones == pytest.approx(share, abs=5e-4)
    assert all(r.image.shape == (*r.label.shape, 3) for r in records)
