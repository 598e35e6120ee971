import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image

from crossearth_jax.data.datasets import (
    CASID,
    ClassSet,
    FolderSource,
    LabelEncoding,
    Record,
    Source,
    find_pairs,
    infer_classes,
    parse_domain,
    parse_domains,
)

REAL = Path(__file__).parents[3] / "shared" / "realdata" / "building"
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


def one_label(tmp_path, array, classes, encoding, name="a.png"):
    """The record of a single label array."""
    h, w = np.shape(array)[:2]
    save(np.zeros((h, w, 3)), tmp_path / "images/a.png")
    save(array, tmp_path / "labels" / name)
    return FolderSource(pairs_in(tmp_path), classes, encoding)[0].label


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


# Images


def image_of(tmp_path, write, name):
    path = tmp_path / "images" / name
    path.parent.mkdir(exist_ok=True)
    write(path)
    save(np.zeros((6, 7)), tmp_path / "labels/a.png")
    return FolderSource(pairs_in(tmp_path), TWO, "ids")[0].image


RGB = np.random.default_rng(1).integers(0, 256, (6, 7, 3), np.uint8)
RGBA = np.dstack([RGB, np.arange(42, dtype=np.uint8).reshape(6, 7)])
GREY = np.repeat(RGB[:, :, :1], 3, axis=2)


def palette_png(path):
    image = Image.fromarray(RGB[:, :, 0] % 2)
    image.putpalette([9, 8, 7, 50, 60, 70])
    image.save(path)


@pytest.mark.parametrize(
    ("name", "write", "expected"),
    [
        ("a.png", Image.fromarray(RGB).save, RGB),
        ("a.png", Image.fromarray(RGBA).save, RGB),
        ("a.tif", Image.fromarray(RGBA).save, RGB),
        ("a.png", Image.fromarray(RGB[:, :, 0]).save, GREY),
        ("a.png", Image.fromarray(RGBA[:, :, ::3].copy(), "LA").save, GREY),
        (
            "a.png",
            palette_png,
            np.array([[9, 8, 7], [50, 60, 70]])[RGB[:, :, 0] % 2],
        ),
        (
            "a.tif",
            lambda path: tifffile.imwrite(
                path, RGB.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"
            ),
            RGB,
        ),
        (
            "a.tif",
            lambda path: tifffile.imwrite(
                path, RGBA, photometric="rgb", extrasamples=["unspecified"]
            ),
            RGB,
        ),
    ],
)
def test_image_modes(tmp_path, name, write, expected):
    image = image_of(tmp_path, write, name)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, expected)


def test_jpeg_named_tif(tmp_path):
    smooth = np.broadcast_to(np.arange(0, 70, 10)[None, :, None], (6, 7, 3))
    jpeg = Image.fromarray(smooth.astype(np.uint8))
    image = image_of(tmp_path, lambda p: jpeg.save(p, format="JPEG"), "a.tif")
    assert np.abs(image.astype(int) - smooth).max() < 12


DEEP = RGB.astype(np.uint16) * 257


def cog_like(path):
    """A page with an overview, which is no second page."""
    with tifffile.TiffWriter(path) as file:
        file.write(RGB, photometric="rgb", subfiletype=0)
        file.write(RGB[::2, ::2], photometric="rgb", subfiletype=1)


def deep_png(path):
    import cv2

    cv2.imwrite(str(path), DEEP)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.png", deep_png, "16 bits a channel.*scale"),
        ("a.tif", lambda p: tifffile.imwrite(p, DEEP), "16 bits a channel.*scale"),
        ("a.tif", lambda p: tifffile.imwrite(p, DEEP[:, :, 0]), "uint16.*scale"),
        (
            "a.tif",
            lambda p: tifffile.imwrite(p, RGB / np.float32(255), photometric="rgb"),
            "float32 pixels",
        ),
        (
            "a.tif",
            lambda p: tifffile.imwrite(
                p,
                np.dstack([RGBA, RGB]),
                photometric="minisblack",
                planarconfig="contig",
            ),
            "7 channels",
        ),
        (
            "a.tif",
            lambda p: tifffile.imwrite(
                p, np.stack([GREY[:, :, 0]] * 3), photometric="minisblack"
            ),
            "3 pages",
        ),
        ("a.jpg", lambda p: Image.new("CMYK", (7, 6)).save(p), "CMYK"),
        ("a.png", lambda p: p.touch(), r"empty file \(0 bytes\)"),
        ("a.png", lambda p: p.write_text("hello"), "cannot be decoded"),
        ("a.tif", lambda p: p.write_bytes(b"II*\0hello"), "cannot be decoded"),
    ],
)
def test_unusable_images_name_the_file(tmp_path, name, write, message):
    with pytest.raises(ValueError, match=message) as error:
        image_of(tmp_path, write, name)
    assert str(tmp_path / "images" / name) in str(error.value)


def test_overviews_are_no_pages(tmp_path):
    np.testing.assert_array_equal(image_of(tmp_path, cog_like, "a.tif"), RGB)


@pytest.mark.parametrize("keep", [20, 45, 100, 150])
def test_truncated_png(folders, keep):
    path = folders / "images/t04.png"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"t04.png: cannot be decoded"):
        source_in(folders)[4]


# Labels


def test_ids_and_ignore(tmp_path):
    raw = np.array([[0, 1, 255], [1, 1, 0]])
    np.testing.assert_array_equal(one_label(tmp_path, raw, TWO, "ids"), raw)


def test_ids_of_other_depths(tmp_path):
    raw = np.array([[0, 1, 255], [1, 1, 0]])
    save(np.zeros((2, 3, 3)), tmp_path / "images/a.png")
    (tmp_path / "labels").mkdir()
    for stored in (raw.astype(np.uint16), raw.astype(np.int32)):
        tifffile.imwrite(tmp_path / "labels/a.tif", stored)
        label = FolderSource(pairs_in(tmp_path), TWO, "ids")[0].label
        assert label.dtype == np.uint8
        np.testing.assert_array_equal(label, raw)


def test_palette_png_ids_are_its_indices(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8))
    image.putpalette([200, 0, 0, 0, 200, 0])
    save(np.zeros((2, 2, 3)), tmp_path / "images/a.png")
    (tmp_path / "labels").mkdir()
    image.save(tmp_path / "labels/a.png")
    pairs = pairs_in(tmp_path)
    np.testing.assert_array_equal(
        FolderSource(pairs, TWO, "ids")[0].label, [[0, 1], [1, 0]]
    )
    # The same file, read by its colours.
    swapped = ClassSet(("a", "b"), ((0, 200, 0), (200, 0, 0)))
    np.testing.assert_array_equal(
        FolderSource(pairs, swapped, "colours")[0].label, [[1, 0], [0, 1]]
    )


@pytest.mark.parametrize("encoding", ["ids", "mask255"])
def test_bit_masks_read_either_way(tmp_path, encoding):
    bits = np.array([[True, False], [False, True]])
    save(np.zeros((2, 2, 3)), tmp_path / "images/a.png")
    (tmp_path / "labels").mkdir()
    Image.fromarray(bits).save(tmp_path / "labels/a.png")
    label = FolderSource(pairs_in(tmp_path), TWO, encoding)[0].label
    np.testing.assert_array_equal(label, bits)


@pytest.mark.parametrize("channels", [None, 3])
def test_mask255(tmp_path, channels):
    mask = np.array([[0, 255], [255, 0]])
    stored = mask if channels is None else np.repeat(mask[:, :, None], 3, axis=2)
    label = one_label(tmp_path, stored, TWO, "mask255")
    np.testing.assert_array_equal(label, [[0, 1], [1, 0]])


def test_mask255_is_not_taken_for_anything_else(tmp_path):
    with pytest.raises(ValueError, match=r"1 in 2 pixels.*expected mask255 0, 255"):
        one_label(tmp_path, [[0, 1], [1, 255]], TWO, "mask255")
    with pytest.raises(ValueError, match="mask255 for 5 classes"):
        one_label(tmp_path, [[0, 255]], CASID, "mask255")


def test_colours(tmp_path):
    ids = np.array([[0, 1, 2], [3, 4, 0]])
    painted = np.array(CASID.palette)[ids]
    np.testing.assert_array_equal(one_label(tmp_path, painted, CASID, "colours"), ids)
    painted[1, 2] = (1, 2, 3)
    with pytest.raises(ValueError) as error:
        one_label(tmp_path, painted, CASID, "colours")
    assert "(1, 2, 3) in 1 pixels" in str(error.value)
    assert "a.png" in str(error.value)
    with pytest.raises(ValueError, match=r"colour label.*data.encoding=colours"):
        one_label(tmp_path, painted, CASID, "ids")


def test_a_grey_picture_may_hold_colours(tmp_path):
    black_white = ClassSet(("a", "b"), ((0, 0, 0), (255, 255, 255)))
    label = one_label(tmp_path, [[0, 255]], black_white, "colours")
    np.testing.assert_array_equal(label, [[0, 1]])


def test_value_outside_the_classes(tmp_path):
    with pytest.raises(ValueError) as error:
        one_label(tmp_path, [[0, 7, 7], [1, 9, 7]], TWO, "ids")
    assert str(tmp_path / "labels/a.png") in str(error.value)
    assert "7 in 3 pixels, 9 in 1 pixels" in str(error.value)
    assert "2 classes" in str(error.value)


def test_id_mapping_and_ignore(tmp_path):
    encoding = LabelEncoding("ids", ignore=0, ids=((1, 0), (2, 1), (300, 1)))
    label = one_label(tmp_path, [[0, 1, 2]], TWO, encoding)
    np.testing.assert_array_equal(label, [[255, 0, 1]])
    with pytest.raises(ValueError, match="255 in 1 pixels"):
        one_label(tmp_path, [[0, 255, 2]], TWO, encoding)


def test_size_mismatch(folders):
    save(np.zeros((8, 9)), folders / "labels/t02.png")
    with pytest.raises(ValueError, match=r"t02.png: got a label of 9 x 8.*10 x 8"):
        source_in(folders)[2]


def test_encoding_must_be_said(folders):
    with pytest.raises(ValueError, match="no label encoding"):
        FolderSource(pairs_in(folders), TWO)
    with pytest.raises(ValueError, match=r"data.encoding='rgb'"):
        FolderSource(pairs_in(folders), TWO, "rgb")


# Class files

FILE = {
    "classes": [
        {"name": "ground", "color": [0, 0, 0]},
        {"name": "house", "color": [255, 0, 0]},
    ],
    "encoding": "ids",
}


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_class_file(tmp_path, suffix):
    path = tmp_path / f"classes{suffix}"
    content = FILE | {"ids": {"3": "house", "1": 0}, "ignore": 0}
    dumps = json.dumps if suffix == ".json" else yaml.safe_dump
    path.write_text(dumps(content))
    classes = ClassSet.from_file(path)
    assert classes.names == ("ground", "house")
    assert classes.palette == ((0, 0, 0), (255, 0, 0))
    assert classes.encoding == LabelEncoding("ids", 0, ((1, 0), (3, 1)))


def test_class_file_encoding_is_used(tmp_path):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(FILE | {"encoding": "mask255"}))
    label = one_label(tmp_path, [[0, 255]], ClassSet.from_file(path), None)
    np.testing.assert_array_equal(label, [[0, 1]])
    path.write_text(
        json.dumps(FILE | {"encoding": "colours", "ignore": [255, 255, 255]})
    )
    painted = [[[0, 0, 0], [255, 255, 255], [255, 0, 0]]]
    label = one_label(tmp_path, painted, ClassSet.from_file(path), None)
    np.testing.assert_array_equal(label, [[0, 255, 1]])


def test_naming_the_same_encoding_keeps_the_details_of_the_file(tmp_path):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(FILE | {"ids": {"1": "ground", "2": "house"}}))
    label = one_label(tmp_path, [[1, 2]], ClassSet.from_file(path), "ids")
    np.testing.assert_array_equal(label, [[0, 1]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoding": "rgb"}, "encoding 'rgb'"),
        ({"encoding": None}, "encoding None"),
        ({"classes": []}, "0 classes"),
        ({"classes": None}, "expected `classes`"),
        ({"classes": [{"name": "a"}]}, "name, color"),
        ({"classes": FILE["classes"][:1] * 2}, "'ground' twice"),
        ({"ids": {"1": "tree"}}, "1: tree"),
        ({"ids": {"x": "house"}}, "'x', expected an integer"),
        ({"ignore": 1}, "ignore 1, which also means class 'house'"),
        ({"ignore": [1, 2, 3]}, "expected a number"),
        ({"encoding": "mask255", "ids": {"0": 0}}, "with ids only"),
        ({"labels": 1}, "unknown key.s. labels"),
        (
            {"classes": [{"name": "a", "color": [0, 0, 256]}, {"name": "b"}]},
            "three integers",
        ),
    ],
)
def test_class_file_errors_name_the_file(tmp_path, change, message):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(FILE | change))
    with pytest.raises(ValueError, match=message) as error:
        ClassSet.from_file(path)
    assert str(path) in str(error.value)


def test_unreadable_class_files(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        ClassSet.from_file(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("classes: [")
    with pytest.raises(ValueError, match=r"broken.yaml: not valid"):
        ClassSet.from_file(tmp_path / "broken.yaml")


def test_casid_is_the_benchmarks():
    assert CASID.names == ("background", "building", "forest", "road", "water")
    assert CASID.palette[2] == (85, 255, 0) and CASID.palette[4] == (0, 112, 255)


# Inference


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


# Corrupt files


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


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/realdata")
@pytest.mark.parametrize(
    ("place", "count", "share"),
    [
        ("kampala_ug", 28, 0.292),
        ("catanduanes_ph", 16, 0.210),
        ("banepa_np", 48, 0.453),
    ],
)
def test_real_images(place, count, share):
    pairs = parse_domain(str(REAL / place)).find_pairs()
    source = FolderSource(pairs, infer_classes([p.label for p in pairs]))
    records = [source[i] for i in range(len(source))]
    assert len(records) == count and source.classes.names == ("class_0", "class_1")
    assert np.mean([r.label.mean() for r in records]) == pytest.approx(share, abs=5e-4)
    assert all(r.image.shape == (*r.label.shape, 3) for r in records)
