import zipfile

import numpy as np
import pytest
from mini_files import encoded, truncate, write_zip

from crossearth_jax.data.prepare import potsdam
from crossearth_jax.data.prepare.items import (
    IdMap,
    Mask,
    Palette,
    keyed,
    paired,
)
from crossearth_jax.data.prepare.raw import RawFiles
from crossearth_jax.data.prepare.tiles import (
    origins,
    tile_corners,
    tile_name,
)
from crossearth_jax.data.prepare.vaihingen import DATA_SET, TRAIN, VAL

# Width and height of the 33 areas.
VAIHINGEN = {
    1: (1919, 2569),
    2: (2428, 2767),
    3: (2006, 3007),
    **dict.fromkeys((4, 5, 6, 7, 8, 10), (1887, 2557)),
    11: (1893, 2566),
    12: (1922, 2575),
    13: (2818, 2558),
    **dict.fromkeys((14, 15, 16), (1919, 2565)),
    17: (2336, 1281),
    20: (1866, 2315),
    **dict.fromkeys((21, 22, 23, 24), (1903, 2546)),
    26: (2995, 1783),
    27: (1917, 3313),
    28: (1917, 2567),
    29: (1917, 2563),
    30: (1934, 2563),
    **dict.fromkeys((31, 32), (1980, 2555)),
    33: (1581, 2555),
    34: (1388, 2555),
    35: (2805, 1884),
    37: (1996, 1995),
    38: (3816, 2550),
}


def test_origins_cover_the_side_and_stay_inside():
    assert origins(6000, 512) == (*range(0, 5121, 512), 5488)
    assert origins(5000, 1024) == (0, 1024, 2048, 3072, 3976)
    assert origins(512, 512) == (0,)
    assert origins(1024, 512) == (0, 512)
    for size in range(16, 70):
        starts = origins(size, 16)
        assert len(set(starts)) == len(starts) == -(-size // 16)
        assert set().union(*(range(s, s + 16) for s in starts)) == set(range(size))
    with pytest.raises(ValueError, match="got a side of 511"):
        origins(511, 512)


def test_tile_counts_of_the_isprs_sets():
    assert len(tile_corners(6000, 6000, 512)) == potsdam.TILES == 144
    assert (len(potsdam.TRAIN), len(potsdam.VAL)) == (24, 14)
    assert not potsdam.TRAIN & potsdam.VAL
    expected = potsdam.data_set().expected
    assert expected["potsdam_irrg", "train"] == 24 * 144 == 3456
    assert expected["potsdam_rgb", "val"] == 14 * 144 == 2016
    assert len(tile_corners(5000, 5000, 1024)) == 25
    assert TRAIN | VAL == set(VAIHINGEN) and not TRAIN & VAL
    for split, areas in (("train", TRAIN), ("val", VAL)):
        tiles = (len(tile_corners(h, w, 512)) for a in areas for w, h in [VAIHINGEN[a]])
        assert sum(tiles) == DATA_SET.expected["vaihingen", split]


def test_tiles_are_named_by_their_corners():
    assert tile_corners(10, 20, 10) == [(0, 0), (0, 10)]
    assert tile_name("2_10", 512, 5488, 512) == "2_10_5488_512_6000_1024"


# Label codes


def test_palette_refuses_rounds_or_ignores_other_colours():
    colours = {(0, 0, 0): 255, (255, 255, 0): 4}
    raw = np.zeros((2, 3, 3), np.uint8)
    raw[0], raw[1, 0] = (255, 255, 0), (252, 250, 3)
    with pytest.raises(ValueError, match=r"\(252, 250, 3\) in 1 pixels, expected"):
        Palette(colours).encode(raw)
    np.testing.assert_array_equal(
        Palette(colours, "round").encode(raw), [[4] * 3, [4, 255, 255]]
    )
    ids, counts = Palette(colours, "ignore").encode_counted(raw)
    np.testing.assert_array_equal(ids, [[4] * 3, [255] * 3])
    assert counts == {"(0, 0, 0)": 2, "(255, 255, 0)": 3, "others": 1}
    raw[0, 0] = (255, 0, 255)  # no colour is near
    with pytest.raises(ValueError, match=r"\(255, 0, 255\)"):
        Palette(colours, "round").encode(raw)


def test_grey_labels_are_colours_of_a_palette_too():
    colours = {(0, 0, 0): 255, (255, 255, 255): 0}
    raw = np.array([[0, 255]], np.uint8)
    np.testing.assert_array_equal(Palette(colours).encode(raw), [[255, 0]])


def test_id_map_names_value_and_count():
    code = IdMap({0: 255, 1: 0, 2: 1})
    ids, counts = code.encode_counted(np.array([[0, 1, 2, 2]], np.uint8))
    np.testing.assert_array_equal(ids, [[255, 0, 1, 1]])
    assert ids.dtype == np.uint8
    assert counts == {"0": 1, "1": 1, "2": 2}
    with pytest.raises(ValueError, match="3 in 2 pixels, expected 0, 1, 2"):
        code.encode(np.array([[3, 3, 0]], np.uint8))
    with pytest.raises(ValueError, match="0/255 mask is not a label of ids"):
        code.encode(np.array([[0, 255]], np.uint8))
    with pytest.raises(ValueError, match="colour label"):
        code.encode(np.zeros((1, 1, 3), np.uint8))


def test_masks_are_never_ids_nor_ids_masks():
    raw = np.array([[0, 255]], np.uint8)
    np.testing.assert_array_equal(Mask().encode(raw), [[0, 1]])
    np.testing.assert_array_equal(Mask(white=1).encode(raw // 255), [[0, 1]])
    with pytest.raises(ValueError, match=r"1 in 1 pixels.*label of ids"):
        Mask().encode(raw // 255)
    with pytest.raises(ValueError, match="255 in 1 pixels"):
        Mask(white=1).encode(raw)
    with pytest.raises(ValueError, match="254 in 1 pixels"):
        Mask().encode(raw - raw // 255)
    with pytest.raises(ValueError, match="ids already"):
        Mask(threshold=128).encode(raw // 255)
    grey = np.array([[0, 127, 128, 250]], np.uint8)
    np.testing.assert_array_equal(Mask(threshold=128).encode(grey), [[0, 0, 1, 1]])


# Raw files


def test_members_of_archives_and_folders_look_alike(tmp_path):
    (tmp_path / "deep/Train/a").mkdir(parents=True)
    (tmp_path / "deep/Train/a/1.PNG").write_bytes(b"one")
    (tmp_path / "deep/.DS_Store").write_bytes(b"x")
    (tmp_path / "deep/1.tfw").write_bytes(b"x")
    write_zip(
        tmp_path / "Train.zip",
        {"a/1.png": b"one", "__MACOSX/a/._1.png": b"x", "a/1.png.aux.xml": b"x"},
    )
    files = RawFiles(tmp_path)
    assert [m.name for m in files.members] == ["Train/a/1.png", "deep/Train/a/1.PNG"]
    assert [m.read() for m in files.members] == [b"one"] * 2
    assert [bool(m.file()) for m in files.members] == [False, True]
    found = files.match(r"train/a/(\d+)\.png")
    assert [match[1] for _, match in found] == ["1", "1"]
    assert not files.match(r"rain/a/(\d+)\.png")  # whole folder names only
    assert keyed([(m[1], member) for member, m in found])["1"].file()


def test_two_files_for_one_place_are_refused(tmp_path):
    for folder, data in (("a", b"1"), ("b", b"2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.png").write_bytes(data)
    members = RawFiles(tmp_path).members
    with pytest.raises(ValueError, match=r"two files for 'x'.*a/x\.png.*b/x\.png"):
        keyed([("x", member) for member in members])


def test_missing_partners_are_named(tmp_path):
    write_zip(tmp_path / "a.zip", {"i/1.png": b"1", "i/2.png": b"1", "l/1.png": b"1"})
    files = RawFiles(tmp_path)
    images = [(m[1], member) for member, m in files.match(r"i/(\d)\.png")]
    labels = [(m[1], member) for member, m in files.match(r"l/(\d)\.png")]
    with pytest.raises(ValueError, match=r"1 image\(s\) without label.*i/2\.png"):
        paired(images, labels)


def test_broken_archives_are_named(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        RawFiles(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="without files"):
        RawFiles(tmp_path)
    place = tmp_path / "Train.zip"
    write_zip(place, {"a.png": encoded(np.zeros((8, 8)), "png")})
    whole = place.read_bytes()
    truncate(place)
    with pytest.raises(ValueError, match=r"Train\.zip.*not a whole zip.*again"):
        RawFiles(tmp_path)
    other = tmp_path / "sub"
    other.mkdir()
    spot = whole.index(b"IHDR")
    (other / "Train.zip").write_bytes(whole[:spot] + b"XXXX" + whole[spot + 4 :])
    (member,) = RawFiles(other).members
    with pytest.raises(ValueError, match=r"a\.png.*damaged archive"):
        member.read()


def test_an_archive_that_changes_under_its_name_is_read_anew(tmp_path):
    """Tests, notebooks: one process, the same path, another file."""
    for data in (b"first", b"second, longer"):
        write_zip(tmp_path / "a.zip", {"x.png": data})
        (member,) = RawFiles(tmp_path).members
        assert member.read() == data


def test_packing_methods_python_lacks_are_said(tmp_path):
    place = tmp_path / "a.zip"
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("x.png", b"1")
    data = bytearray(place.read_bytes())
    for signature, offset in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        data[data.index(signature) + offset] = 9  # Deflate64, as Windows writes
    place.write_bytes(data)
    (member,) = RawFiles(tmp_path).members
    with pytest.raises(ValueError, match=r"Python cannot read.*extract it"):
        member.read()
