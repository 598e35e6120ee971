import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import mini_potsdam
import mini_vaihingen
import numpy as np
import pytest
from mini_files import encoded, files_in, read, write_zip

from crossearth_jax.commands import prepare as prepare_command
from crossearth_jax.data.datasets import FolderSource
from crossearth_jax.data.folders import find_pairs
from crossearth_jax.data.known_classes import ISPRS
from crossearth_jax.data.prepare import potsdam, run, vaihingen
from crossearth_jax.data.prepare.run import prepare
from crossearth_jax.pixels.labels import IGNORE

POTSDAM = dataclasses.replace(potsdam.data_set(), tile=32)
VAIHINGEN = dataclasses.replace(vaihingen.DATA_SET, tile=32)


def contents(folder):
    """{relative path: bytes} of everything there, hidden files included."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def counts(manifests):
    return {domain: manifest["counts"] for domain, manifest in manifests.items()}


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    mini_potsdam.write_raw(folder, size=80, extra=True)
    return folder


@pytest.fixture(scope="module")
def prepared(raw, tmp_path_factory):
    """Potsdam prepared in this process."""
    out = tmp_path_factory.mktemp("out")
    return out, prepare(POTSDAM, raw, out)


def test_tiles_are_the_image_and_its_ids(prepared):
    out, manifests = prepared
    each = {"train": 4 * 9, "val": 2 * 9}
    assert counts(manifests) == {"potsdam_irrg": each, "potsdam_rgb": each}
    image, ids = mini_potsdam.pair((2, 13), 80)
    rgb = out / "potsdam_rgb/val"
    np.testing.assert_array_equal(
        read(rgb / "images/2_13_32_48_64_80.png"), image[48:80, 32:64]
    )
    expected = np.where(ids == 6, IGNORE, ids)
    np.testing.assert_array_equal(
        read(rgb / "labels/2_13_32_48_64_80.png"), expected[48:80, 32:64]
    )
    irrg = read(out / "potsdam_irrg/val/images/2_13_0_0_32_32.png")
    np.testing.assert_array_equal(irrg[:, :, 1], image[:32, :32, 0])  # red is second
    np.testing.assert_array_equal(irrg[:, :, 0], 255 - image[:32, :32, 2])


def test_what_is_written_trains(prepared):
    folder = prepared[0] / "potsdam_irrg/train"
    pairs = find_pairs(folder / "images", folder / "labels")
    source = FolderSource(pairs, ISPRS, "ids")
    assert len(source) == 36
    assert source[0].image.shape == (32, 32, 3)


def test_manifest_says_what_happened(prepared, raw):
    out, manifests = prepared
    manifest = json.loads((out / "potsdam_rgb/manifest.json").read_text())
    assert manifest == manifests["potsdam_rgb"]
    assert manifest["expected"] == {"train": 3456, "val": 2016}
    assert [s["path"] for s in manifest["sources"]] == [
        "2_Ortho_RGB.zip",
        "5_Labels_all_noBoundary.zip",
    ]
    assert [s["files_used"] for s in manifest["sources"]] == [6, 6]
    size = (raw / "2_Ortho_RGB.zip").stat().st_size
    assert manifest["sources"][0]["bytes"] == size
    assert len(manifest["sources"][0]["sha256"]) == 64
    pixels = np.zeros(256, int)
    for path in (out / "potsdam_rgb/val/labels").iterdir():
        pixels += np.bincount(read(path).reshape(-1), minlength=256)
    assert list(manifest["pixels"]["val"].values()) == [*pixels[:6], pixels[IGNORE]]
    assert list(manifest["pixels"]["val"])[2:4] == ["low vegetation", "tree"]
    assert sum(manifest["label_values"]["before"].values()) == 6 * 80 * 80
    assert sum(manifest["label_values"]["after"].values()) == 6 * 9 * 32 * 32
    assert "(0, 0, 255) → 1" in manifest["labels"]
    assert manifest["tool"].startswith("crossearth_jax ")
    sheet = read(out / "potsdam_rgb/contact_sheet.png")
    assert all((sheet == colour).all(2).any() for colour in ISPRS.palette)


def test_a_finished_run_does_nothing(prepared, raw, capsys, monkeypatch):
    out, manifests = prepared
    before = contents(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    monkeypatch.setattr(run, "write_item", None)
    assert prepare(POTSDAM, raw, out) == manifests
    assert contents(out) == before
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times
    shown = capsys.readouterr().out
    assert "potsdam_rgb: complete, nothing to do (36 train, 18 val)" in shown
    assert "not used: 2 image files (2_Ortho_RGB/2_Ortho_RGB/top_potsdam_9_9" in shown


def test_what_went_missing_is_written_again(prepared, raw, tmp_path, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(prepared[0], out)
    (out / "potsdam_rgb/val/labels/2_13_0_0_32_32.png").unlink()
    done = []
    write = run.write_item
    monkeypatch.setattr(
        run, "write_item", lambda job: done.append(job.item.name) or write(job)
    )
    prepare(POTSDAM, raw, out)
    assert done == ["2_13"]
    assert _but_journals(contents(out)) == _but_journals(contents(prepared[0]))


def test_strangers_and_other_settings_are_refused(prepared, raw, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(prepared[0], out)
    with pytest.raises(ValueError, match=r"potsdam_irrg: got tile 40, expected 32"):
        prepare(dataclasses.replace(POTSDAM, tile=40), raw, out)
    ignoring = dataclasses.replace(
        potsdam.data_set(lossy_labels="ignore"), tile=POTSDAM.tile
    )
    with pytest.raises(ValueError, match=r"got options.*ignore.*give another --out"):
        prepare(ignoring, raw, out)
    (out / "potsdam_irrg/val/images/mine.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"1 files that do not come.*mine\.png"):
        prepare(POTSDAM, raw, out)
    (out / "potsdam_irrg/.prepare.jsonl").unlink()  # another tool's folder
    with pytest.raises(ValueError, match="109 files that do not come"):
        prepare(POTSDAM, raw, out)


def test_another_raw_folder_is_said(prepared, tmp_path, capsys):
    raw, out = tmp_path / "raw", tmp_path / "out"
    shutil.copytree(prepared[0], out)
    mini_potsdam.write_raw(raw, size=80, zipped=False, bands=("rgb",))
    manifest = prepare(POTSDAM, raw, out)["potsdam_rgb"]
    shown = capsys.readouterr().out
    assert "raw files are not those of manifest.json" in shown
    assert "0 of 6 pairs differ in size" in shown
    assert "potsdam_irrg: not prepared" in shown
    assert manifest["sources"][0]["path"] == "2_Ortho_RGB.zip"


def _but_journals(files):
    """The journal's order is that of the work."""
    return {name: data for name, data in files.items() if ".jsonl" not in name}


# Interruptions, processes

SCRIPT = """
import dataclasses, sys, time
from crossearth_jax.data.prepare import potsdam, run

write = run.write_item
def slow(job):
    time.sleep(0.04)
    return write(job)

run.write_item = slow
data_set = dataclasses.replace(potsdam.data_set(), tile=32)
run.prepare(data_set, sys.argv[1], sys.argv[2])
"""


@pytest.mark.slow
def test_a_killed_run_continues(prepared, raw, tmp_path, capsys):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, raw, tmp_path], stdout=subprocess.DEVNULL
    )
    journal = tmp_path / "potsdam_irrg/.prepare.jsonl"
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") >= 3:
            break
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    lines = journal.read_bytes().count(b"\n")
    assert 3 <= lines < 7, "the kill came too early or too late"
    assert not (tmp_path / "potsdam_irrg/manifest.json").exists()
    # Also: a half-written journal line, and the temporary file of a half-written tile.
    with journal.open("a") as file:
        file.write('{"split": "tr')
    partial = tmp_path / "potsdam_irrg/train/images/.2_10_0_0_32_32.png.1.tmp"
    partial.write_bytes(b"half")
    capsys.readouterr()
    prepare(POTSDAM, raw, tmp_path)
    assert f"{lines - 1} of 6 pairs are there, continuing" in capsys.readouterr().out
    assert _but_journals(contents(tmp_path)) == _but_journals(contents(prepared[0]))
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.slow
def test_two_workers_write_the_same_bytes(prepared, raw, tmp_path):
    prepare(POTSDAM, raw, tmp_path, workers=2)
    assert contents(tmp_path) == contents(prepared[0])


def test_an_error_in_a_worker_names_the_file(tmp_path):
    mini_vaihingen.write_raw(tmp_path, size=40, wrong_colour=(1, 2, 3))
    with pytest.raises(ValueError, match=r"area1_noBoundary.*\(1, 2, 3\) in 6 pixels"):
        prepare(VAIHINGEN, tmp_path, tmp_path / "out", workers=1)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_archive(tmp_path):
    """Peak resident memory for 2 and for 10 pairs of 1000² pixels (6 MB raw)."""
    script = (
        "import dataclasses, resource, sys\n"
        "from crossearth_jax.data.prepare import potsdam, run\n"
        "data_set = dataclasses.replace(potsdam.data_set(), tile=500)\n"
        "run.prepare(data_set, sys.argv[1], sys.argv[2])\n"
        "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    flat = np.zeros((1000, 1000, 3), np.uint8)
    flat[:] = (255, 255, 255)
    data = encoded(flat, "tif")  # not compressed: 3 MB
    peaks = []
    for number in (2, 10):
        raw = tmp_path / str(number)
        areas = sorted(potsdam.TRAIN - potsdam.LOSSY_LABELS)[:number]
        for ending in ("RGB", "label_noBoundary"):
            names = (f"top_potsdam_{r}_{c}_{ending}.tif" for r, c in areas)
            write_zip(raw / f"{ending}.zip", dict.fromkeys(names, data))
        out = subprocess.run(
            [sys.executable, "-c", script, raw, raw / "out"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        peaks.append(int(out.split("peak")[1]) // 1024)
    assert peaks[1] - peaks[0] < 16, peaks  # MiB; eight more pairs are 48 MB raw


# The command


def test_command_prepares_and_reports_errors(tmp_path, capsys, monkeypatch):
    mini_vaihingen.write_raw(tmp_path / "raw", size=40, extra=True)
    monkeypatch.setitem(prepare_command.DATA_SETS, "vaihingen", VAIHINGEN)
    arguments = [f"--raw={tmp_path / 'raw'}", f"--out={tmp_path / 'out'}"]
    assert prepare_command.main(["vaihingen", *arguments]) == 0
    shown = capsys.readouterr().out
    assert "WARNING vaihingen/train: got 12 images, expected 344 (-332)" in shown
    assert "not used: 2 image files" in shown
    assert len(files_in(tmp_path / "out")) == 2 * (12 + 8)
    assert prepare_command.main(["rescuenet", *arguments]) == 1
    assert "none of them of RescueNet" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        prepare_command.main(["vaihingen", *arguments, "--workers=-1"])


def test_command_imports_no_jax():
    """Worker processes import the command line again."""
    check = (
        "import sys\n"
        "from crossearth_jax import cli\n"
        "from crossearth_jax.commands import prepare\n"
        "from crossearth_jax.data.prepare import write\n"
        "sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_packing_takes_every_split_once(prepared, raw, tmp_path, capsys):
    shutil.copytree(prepared[0] / "potsdam_rgb", tmp_path / "potsdam_rgb")
    rgb = dataclasses.replace(
        POTSDAM,
        find=lambda files: [i for i in POTSDAM.find(files) if "rgb" in i.domain],
    )
    for times in (2, 0):
        prepare(rgb, raw, tmp_path, pack=True)
        assert capsys.readouterr().out.count("packed: ") == times
    archives = sorted(path.name for path in tmp_path.glob("*/*.array_record"))
    assert archives == ["train.array_record", "val.array_record"]
