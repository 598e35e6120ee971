"""Downloads as they are distributed: archives in archives, tar, other formats."""

import io
import tarfile
import zipfile
from dataclasses import replace

import mini_loveda
import mini_potsdam
import mini_vaihingen
import numpy as np
import pytest
from mini_files import counts, encoded, labelled, write_folder, write_zip

from crossearth_jax.data.prepare import archive, loveda, potsdam, raw, vaihingen
from crossearth_jax.data.prepare.raw import RawFiles
from crossearth_jax.data.prepare.run import find_items, prepare

POTSDAM = replace(potsdam.data_set(), tile=16)
VAIHINGEN = replace(vaihingen.DATA_SET, tile=16)


def zipped(files, method=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return stream.getvalue()


def in_one(folder, place, root, method=zipfile.ZIP_STORED):
    """All zips of a folder in one, beside what else is in the official archive."""
    inner = {f"{root}/{p.name}": p.read_bytes() for p in sorted(folder.rglob("*.zip"))}
    inner[f"{root}/1_DSM.rar"] = b"Rar!"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(zipped(inner, method))


def pictures(folder):
    paths = sorted(p for p in folder.rglob("*.png") if p.parent.name != folder.name)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}


def test_official_archives_are_read_as_they_are(tmp_path, monkeypatch):
    """The same bytes from the inner archives, from the outer, and from a tar of it."""
    one = tmp_path / "one"
    mini_potsdam.write_raw(one, size=16, areas=((2, 10), (2, 13)))
    participants = one / "5_Labels_for_participants_no_Boundary.zip"
    name = "top_potsdam_2_10_label_noBoundary.tif"
    write_zip(participants, {name: encoded(np.zeros((16, 16, 3)), "tif")})
    prepare(POTSDAM, one, tmp_path / "out/one")
    monkeypatch.setattr(archive, "IN_MEMORY", 2**10)
    for kind in ("stored", "deflated", "tar", "tgz"):
        place = tmp_path / kind / "Potsdam.zip"
        method = zipfile.ZIP_DEFLATED if kind == "deflated" else zipfile.ZIP_STORED
        in_one(one, place, "Potsdam", method)
        if kind.startswith("t"):
            inner = place.rename(tmp_path / f"{kind}.zip")
            ending = {"tar": "tar", "tgz": "tar.gz"}[kind]
            how = {"tar": "w", "tgz": "w:gz"}[kind]
            with tarfile.open(place.with_name(f"Potsdam.{ending}"), how) as made:
                made.add(inner, "./Potsdam.zip")
        manifests = prepare(POTSDAM, place.parent, tmp_path / "out" / kind)
        (source,) = manifests["potsdam_rgb"]["sources"]
        assert source["path"].startswith("Potsdam.") and source["files_used"] == 4
        assert manifests["potsdam_rgb"]["counts"] == {"train": 1, "val": 1}
        expected = pictures(tmp_path / "out/one")
        assert expected and pictures(tmp_path / "out" / kind) == expected


def test_official_vaihingen(tmp_path):
    one = tmp_path / "one"
    mini_vaihingen.write_raw(one, size=16)
    eroded = next(one.rglob("*eroded_COMPLETE.zip"))
    some = "ISPRS_semantic_labeling_Vaihingen_ground_truth_eroded_for_participants.zip"
    (one / some).write_bytes(eroded.read_bytes())
    in_one(one, tmp_path / "all/Vaihingen.zip", "Vaihingen")
    items = find_items(VAIHINGEN, RawFiles(tmp_path / "all"))
    assert counts(items) == {("vaihingen", "train"): 3, ("vaihingen", "val"): 2}
    assert all("COMPLETE" in item.label.name for item in items)
    assert "Vaihingen.zip [Vaihingen/ISPRS" in str(items[0].label)
    eroded.unlink()  # what participants got stands in for it
    items = find_items(VAIHINGEN, RawFiles(one))
    assert all("participants" in item.label.name for item in items)


def test_large_and_encrypted_inner_archives(tmp_path, monkeypatch):
    """13 GB have 64-bit records, here forced on small ones."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    whole = zipped({"P/in.zip": zipped({"a.png": b"x" * 50})})
    assert b"PK\6\6" in whole
    write_folder(tmp_path / "a", {"my.test.zip": whole})
    (member,) = RawFiles(tmp_path / "a").members
    assert (member.name, member.read()) == ("my.test/P/in/a.png", b"x" * 50)
    locked = bytearray(whole)
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        find = locked.index if signature == b"PK\3\4" else locked.rindex
        locked[find(signature) + offset] |= 1
    write_folder(tmp_path / "b", {"my.test.zip": bytes(locked)})
    with pytest.raises(ValueError, match=r"P/in\.zip.*encrypted.*another tool"):
        RawFiles(tmp_path / "b")


def test_extracted_archives_beside_the_outer_one_are_no_second_copy(tmp_path):
    mini_potsdam.write_raw(tmp_path, size=16, areas=((2, 10),), bands=("rgb",))
    in_one(tmp_path, tmp_path / "Potsdam.zip", "Potsdam")
    (item,) = find_items(POTSDAM, RawFiles(tmp_path))
    assert item.image.depth == item.label.depth == 1


def test_four_bands_hold_both_domains(tmp_path):
    """`4_Ortho_RGBIR.zip` gives the pixels of the other two archives."""
    area = ((2, 13),)
    mini_potsdam.write_raw(tmp_path / "a", size=16, areas=area)
    mini_potsdam.write_raw(tmp_path / "b", size=16, areas=area, bands=())
    rgb = mini_potsdam.pair((2, 13), 16)[0]
    four = np.dstack([rgb, 255 - rgb[:, :, 2]])
    four[:4, :4, 3] = 0  # no transparency
    import tifffile

    for extra in ("unspecified", "unassalpha"):
        stream = io.BytesIO()
        tifffile.imwrite(stream, four, photometric="rgb", extrasamples=[extra])
        name = "4_Ortho_RGBIR/top_potsdam_2_13_RGBIR.tif"
        write_zip(tmp_path / "b/4_Ortho_RGBIR.zip", {name: stream.getvalue()})
        found = {i.domain: i for i in find_items(POTSDAM, RawFiles(tmp_path / "b"))}
        assert set(found) == {"potsdam_rgb", "potsdam_irrg"}
        np.testing.assert_array_equal(_image(found["potsdam_rgb"]), rgb)
        irrg = np.dstack([four[:, :, 3], rgb[:, :, :2]])
        np.testing.assert_array_equal(_image(found["potsdam_irrg"]), irrg)
    write_zip(tmp_path / "b/4_Ortho_RGBIR.zip", {name: encoded(rgb, "tif")})
    with pytest.raises(ValueError, match=r"got 3 band\(s\).*expected at least 4"):
        prepare(POTSDAM, tmp_path / "b", tmp_path / "out")


def _image(item):
    return item.image.image(item.bands)


def test_tar_is_read_without_links(tmp_path):
    mini_loveda.write_raw(tmp_path / "plain", zipped=False)
    with tarfile.open(tmp_path / "all.tar.xz", "w:xz") as made:
        made.add(tmp_path / "plain", ".")
        link = tarfile.TarInfo("./Train/Urban/images_png/9999.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        made.addfile(link)
    plain = find_items(loveda.DATA_SET, RawFiles(tmp_path / "plain"))
    (tmp_path / "tar").mkdir()
    (tmp_path / "all.tar.xz").rename(tmp_path / "tar/all.tar.xz")
    items = find_items(loveda.DATA_SET, RawFiles(tmp_path / "tar"))
    assert [i.name for i in items] == [i.name for i in plain]
    assert items[-1].image.read() == plain[-1].image.read()


# What is refused


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.rar", "a.rar is a RAR archive, which is not read: extract it with 7-Zip"),
        ("b.7z", "b.7z is a 7z archive"),
        ("b.7z.001", "part of a split 7z archive.*7z x FILE` on the first"),
        ("c.z01", "part of a split zip archive.*zip -s 0"),
        ("c.zip.002", r"part of a split zip archive.*cat NAME\.zip\.\* >"),
        ("train-00000-of-00003.parquet", "a Parquet table.*original archives"),
    ],
)
def test_formats_are_named(tmp_path, name, said):
    write_folder(tmp_path / "a", {name: b"x"})
    with pytest.raises(ValueError, match=f"none of them of LoveDA.*{said}"):
        prepare(loveda.DATA_SET, tmp_path / "a", tmp_path / "out")
    # Also where only the labels are in it.
    picture = encoded(labelled(0, 3, 8)[0], "png")
    write_folder(tmp_path / "b", {name: b"x", "Val/Urban/images_png/1.png": picture})
    with pytest.raises(ValueError, match=f"image.s. without label.*{said}"):
        prepare(loveda.DATA_SET, tmp_path / "b", tmp_path / "out")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"Val.zip": b"x" * 99, "Val.z01": b"x"}, "last of 2 parts of a split zip"),
        ({"Val.zip": b"<!DOCTYPE html><html>"}, "got a web page.*with a browser"),
        ({"Val.zip": b"Rar!\x1a\x07" + b"x" * 99}, "got a RAR archive.*7-Zip"),
        (
            {"Val.zip": zipped({"in.zip": b"x" * 99})},
            r"Val.zip \[in.zip\].*not a whole",
        ),
        ({"my.test.zip": b"x" * 99}, "not a whole zip archive"),
        ({"Val.tar": b"x" * 9999}, "not a whole tar archive"),
        ({"Val.tar.gz": b"\x1f\x8b" + b"x" * 99}, "not a whole tar archive"),
        ({"Val.tar.gz": b""}, "not a whole tar archive"),
    ],
)
def test_what_is_no_archive_is_told_apart(tmp_path, files, said):
    write_folder(tmp_path, files)
    with pytest.raises(ValueError, match=said):
        RawFiles(tmp_path)


def test_nested_bombs_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    zeros = zipped({"in.zip": bytes(2**22)}, zipfile.ZIP_DEFLATED)
    write_folder(tmp_path / "a", {"Val.zip": zeros})
    monkeypatch.setattr(archive, "IN_MEMORY", 2**10)
    with pytest.raises(ValueError, match="it grows from"):
        RawFiles(tmp_path / "a")
    with tarfile.open(tmp_path / "Val.tar.gz", "w:gz") as made:
        info = tarfile.TarInfo("a.png")
        info.size = 2**22
        made.addfile(info, io.BytesIO(bytes(2**22)))
    (tmp_path / "b").mkdir()
    (tmp_path / "Val.tar.gz").rename(tmp_path / "b/Val.tar.gz")
    with pytest.raises(ValueError, match="it grows beyond"):
        RawFiles(tmp_path / "b")
    deep = b"x"
    for _ in range(4):
        deep = zipped({"in.zip": deep})
    write_folder(tmp_path / "c", {"Val.zip": deep})
    with pytest.raises(ValueError, match="more than 3 in one another"):
        RawFiles(tmp_path / "c")
    many = zipped({f"{i}.zip": zipped({"a.png": b"x"}) for i in range(31)})
    write_folder(tmp_path / "d", {"Val.zip": many})
    with pytest.raises(ValueError, match="more than 30 archives"):
        RawFiles(tmp_path / "d")


def test_stored_archives_that_lie_about_their_place(tmp_path):
    whole = bytearray(zipped({"in.zip": zipped({"a.png": b"x" * 50})}))
    at = whole.rindex(b"PK\1\2")
    for offset in (20, 24):  # sizes in the table of contents
        whole[at + offset : at + offset + 4] = (10**6).to_bytes(4, "little")
    write_folder(tmp_path, {"Val.zip": bytes(whole)})
    with pytest.raises(ValueError, match="ends within a member"):
        RawFiles(tmp_path)


def test_a_member_without_a_name_is_skipped(tmp_path):
    whole = zipped({"x": b"1", "a.png": b"2"}).replace(b"x", b"\0")
    write_folder(tmp_path, {"Val.zip": zipped({"in.zip": whole})})
    (member,) = RawFiles(tmp_path).members
    assert (member.name, member.read()) == ("Val/in/a.png", b"2")


def test_members_are_bounded_in_tar_and_nested_archives(tmp_path, monkeypatch):
    monkeypatch.setattr(raw, "MAX_MEMBER", 10)
    write_folder(tmp_path, {"V.zip": zipped({"in.zip": zipped({"a.png": b"x" * 11})})})
    with tarfile.open(tmp_path / "T.tar", "w") as made:
        info = tarfile.TarInfo("a.png")
        info.size = 11
        made.addfile(info, io.BytesIO(b"x" * 11))
    members = RawFiles(tmp_path).members
    assert len(members) == 2
    for member in members:
        with pytest.raises(ValueError, match="got 11 bytes, expected at most 10"):
            member.read()
