"""metrics.jsonl and TensorBoard events: resumed, cut, and on a full disk."""

import json
import re
import resource
import shutil
import struct
import time

import pytest
from tensorboardX.proto.event_pb2 import Event

from crossearth_jax.run.log import RunLog, _clock

PAD = 0.123456789


def write(log, step):
    log.write(step, {"loss": step + PAD, "seg": 1.0}, rate=1e-3)


def logged(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def records(data):
    """Events of one file up to the first that is cut."""
    at = 0
    while at + 12 <= len(data):
        (size,) = struct.unpack_from("<Q", data, at)
        if at + 12 + size + 4 > len(data):
            return
        yield Event.FromString(data[at + 12 : at + 12 + size])
        at += 12 + size + 4  # length, its checksum, content, its checksum


def events(folder):
    """(step, loss) of every event that can be read, in all files."""
    found = []
    for path in sorted((folder / "tensorboard").iterdir()):
        for event in records(path.read_bytes()):
            for value in event.summary.value:
                if value.tag == "loss":
                    found.append((event.step, round(value.simple_value - PAD)))
    return found


def test_lines_after_the_last_checkpoint_are_dropped(tmp_path):
    with RunLog(tmp_path, 0, 9) as log:
        for step in (1, 2, 3):
            write(log, step)
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        # A power cut leaves anything, a kill a part of a line.
        file.write(b'\xff\x00\x80\n[]\n"step"\n{"step": null}\n{"step": 4, "lo')
    with RunLog(tmp_path, 2, 9) as log:
        write(log, 3)
    assert logged(tmp_path) == [1, 2, 3]


def test_a_full_disk_delays_lines_and_loses_only_events(tmp_path, caplog):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with RunLog(tmp_path, 0, 200) as log:
        write(log, 1)
        size = (tmp_path / "metrics.jsonl").stat().st_size
        try:
            # The disk is full in the middle of the third line.
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(2.5 * size), hard))
            for step in range(2, 100):
                write(log, step)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "step 3 is not logged yet" in caplog.text
        write(log, 100)
    assert logged(tmp_path) == [*range(1, 101)]
    found = events(tmp_path)
    assert found[0] == (1, 1)
    assert found[-1] == (100, 100)


LINE = re.compile(
    r"step (\d+)/9  loss \S+  seg 1\.000  lr 1\.0e-3  "
    r"(?:[\d.e+]+ img/s  )?\d+\.\d GB(?:  ETA \d+:\d\d)?"
)


@pytest.mark.parametrize("terminal", [False, True])
def test_lines_say_rate_memory_and_the_time_to_the_end(
    tmp_path, capsys, monkeypatch, terminal
):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "200")
    with RunLog(tmp_path, 0, 9, images=4) as log:
        time.sleep(0.5)  # the first step is not in the rate
        write(log, 1)
        time.sleep(0.1)
        write(log, 3)
    found = list(LINE.finditer(capsys.readouterr().out))
    assert [match.group(1) for match in found] == ["1", "3"]
    first, second = (match.group() for match in found)
    assert "img/s" not in first and "ETA" not in first
    rate = float(re.search(r"([\d.]+) img/s", second).group(1))
    assert 16 < rate < 81  # 80, or less on a busy machine
    assert re.search(r"ETA 0:0\d", second)


def test_a_workdir_that_is_gone_stays_gone(tmp_path, caplog):
    (tmp_path / "run").mkdir()
    with RunLog(tmp_path / "run", 0, 9) as log:
        shutil.rmtree(tmp_path / "run")
        write(log, 1)
        assert not (tmp_path / "run").exists()
    assert "step 1 is not logged yet" in caplog.text


def test_clocks():
    assert [_clock(s) for s in (0, 9.6, 372, 7572)] == [
        "0:00",
        "0:10",
        "6:12",
        "2:06:12",
    ]
