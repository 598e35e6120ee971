"""metrics.jsonl and TensorBoard events: resumed, cut, and on a full disk."""

import io
import json
import re
import resource
import shutil
import struct
import time

import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from crossearth_jax.run.log import RunLog, _clock
from crossearth_jax.run.loggers.fan_out import FanOut
from crossearth_jax.run.loggers.protocol import RunFacts
from crossearth_jax.run.metrics import by_step
from crossearth_jax.system.read_json import read_json_lines

PAD = 0.123456789


def write(log, step):
    log.write(step, {"loss": step + PAD, "seg": 1.0}, rate=1e-3)


def tensorboard(folder, start=0):
    loggers = FanOut(("tensorboard",))
    loggers.start(RunFacts("tiny", folder, start, {}, {}))
    return loggers


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


def values(folder):
    """(step, value) of every event that can be read, in all files."""
    for path in sorted((folder / "tensorboard").iterdir()):
        for event in records(path.read_bytes()):
            yield from ((event.step, value) for value in event.summary.value)


def events(folder):
    """(step, loss) of them."""
    losses = [(step, v) for step, v in values(folder) if v.tag == "loss"]
    return sorted((step, round(v.simple_value - PAD)) for step, v in losses)


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
    with (
        tensorboard(tmp_path) as loggers,
        RunLog(tmp_path, 0, 200, loggers=loggers) as log,
    ):
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
        assert caplog.text.count("tensorboard failed (OSError") == 1
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
    loggers = tensorboard(tmp_path / "run")
    with RunLog(tmp_path / "run", 0, 9, loggers=loggers) as log:
        shutil.rmtree(tmp_path / "run")
        write(log, 1)
        assert not (tmp_path / "run").exists()
    assert "tensorboard failed (FileNotFoundError" in caplog.text


SCORES = {"sub/mIoU": 0.5, "sub/IoU/road": 0.25}


def test_the_time_of_scores_is_in_no_rate_but_in_the_time_to_the_end(tmp_path, capsys):
    with RunLog(tmp_path, 0, 9, images=4, scorings=3) as log:
        write(log, 1)
        time.sleep(0.1)
        with log.aside():
            time.sleep(1.2)
            log.write_scores(2, SCORES, "mIoU in %: sub (source) 50.0")
        write(log, 3)
    _, scored, last = capsys.readouterr().out.splitlines()
    assert scored == "step 2/9  mIoU in %: sub (source) 50.0  scored in 0:01"
    rate = float(re.search(r"([\d.]+) img/s", last).group(1))
    assert 16 < rate < 81  # 80, or less on a busy machine
    assert re.search(r"ETA 0:0[23]", last)  # two more scores of 1.2 s


def test_scores_have_lines_of_their_own_and_are_known_again(tmp_path):
    picture = Image.new("RGB", (8, 6), (200, 10, 10))
    with (
        tensorboard(tmp_path) as loggers,
        RunLog(tmp_path, 0, 9, loggers=loggers) as log,
    ):
        write(log, 2)
        assert not log.start_was_scored()
        with log.aside():
            log.write_scores(2, SCORES, "")
            loggers.pictures(2, {"sub/1": picture})
    lines = read_json_lines(tmp_path / "metrics.jsonl")
    assert lines[1] == {"step": 2, **SCORES}
    assert by_step(lines)[2] == {**lines[0], **SCORES}
    for start, scored in ((2, True), (1, False)):
        with RunLog(tmp_path, start, 9) as log:
            assert log.start_was_scored() == scored
    found = {value.tag: value for step, value in values(tmp_path) if step == 2}
    assert found["sub/IoU/road"].simple_value == 0.25
    shown = Image.open(io.BytesIO(found["sub/1"].image.encoded_image_string))
    assert (shown.size, shown.getpixel((0, 0))) == ((8, 6), (200, 10, 10))


def test_clocks():
    assert [_clock(s) for s in (0, 9.6, 372, 7572)] == [
        "0:00",
        "0:10",
        "6:12",
        "2:06:12",
    ]
