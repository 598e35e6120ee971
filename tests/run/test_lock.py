"""One training a workdir; who holds it is told from who is gone."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossearth_jax.run import lock
from crossearth_jax.run.lock import Gone, WorkdirLock

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from crossearth_jax.run.lock import WorkdirLock
with WorkdirLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
QUICK = {"beat_s": 0.05, "silence_s": 0.5}


@pytest.fixture
def holder(tmp_path):
    """Another process that holds `tmp_path/run`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_run_is_refused_until_the_first_is_gone(holder, tmp_path):
    workdir = tmp_path / "run"
    said = rf"--workdir {workdir}, in which process {holder.pid} on .*another --workdir"
    with pytest.raises(ValueError, match=said) as error, WorkdirLock(workdir):
        pass
    assert len(str(error.value).splitlines()) == 1
    holder.kill()
    holder.wait()
    assert (workdir / lock.NAME).exists()  # it could not clear up
    with WorkdirLock(workdir) as held:
        held.check()
    assert not workdir.exists() or not (workdir / lock.NAME).exists()


def test_a_run_that_writes_nothing_leaves_nothing(tmp_path):
    with WorkdirLock(tmp_path / "a" / "b"):
        assert json.loads((tmp_path / "a" / "b" / lock.NAME).read_bytes())["pid"]
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine").mkdir()
    with WorkdirLock(tmp_path / "mine" / "b"):
        (tmp_path / "mine" / "b" / "kept").touch()
    assert [p.name for p in (tmp_path / "mine" / "b").iterdir()] == ["kept"]


@pytest.fixture
def left(tmp_path, monkeypatch):
    """Writes the file of another holder, on a disk with or without locks."""

    def write(locks: str, **owner):
        monkeypatch.setattr(lock, "_lock", lambda file: locks)
        workdir = tmp_path / "run"
        workdir.mkdir()
        (workdir / lock.NAME).write_text(json.dumps(lock.this_process() | owner))
        return workdir

    return write


def refused(workdir):
    try:
        with WorkdirLock(workdir, **QUICK):
            return False
    except ValueError:
        return True


def test_without_locks_a_living_process_is_known_by_its_start(left):
    assert refused(left(lock._NO_LOCKS))


@pytest.mark.parametrize(
    "owner",
    [
        {"started": "1"},  # the number was given to this process later
        {"pid": 2**22 + 1},  # there is none
        {"boot": "before"},  # the machine was restarted
        {"boot": "another machine", "host": "same-name"},  # and it is silent
        {"space": "another container"},
    ],
)
def test_without_locks_who_is_gone_does_not_block(left, owner, caplog):
    assert not refused(left(lock._NO_LOCKS, **owner))
    elsewhere = "space" in owner or owner.get("boot") == "another machine"
    assert not elsewhere or "for a sign of life" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("locks", [lock._NO_LOCKS, lock._LOCKED])
def test_a_sign_of_life_from_another_machine_blocks(left, locks):
    """Some network disks keep locks to one machine."""
    workdir = left(locks, boot="another machine")
    beats = f"""
import os, time
for _ in range(40):
    os.utime({str(workdir / lock.NAME)!r})
    time.sleep(0.05)
"""
    other = subprocess.Popen([sys.executable, "-c", beats])
    time.sleep(0.3)
    assert refused(workdir)
    other.wait()
    assert not refused(workdir)


def test_locks_decide_among_containers_of_one_machine(left):
    assert not refused(left(lock._LOCKED, space="another container"))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
def test_a_file_that_says_nothing_does_not_block(tmp_path, content):
    (tmp_path / lock.NAME).write_text(content)
    with WorkdirLock(tmp_path):
        owner = json.loads((tmp_path / lock.NAME).read_text())
        assert owner["pid"] == os.getpid()


@pytest.mark.parametrize("how", ["deleted", "moved", "replaced"])
def test_a_workdir_that_is_gone_is_noticed(tmp_path, how):
    workdir = tmp_path / "run"
    with WorkdirLock(workdir, **QUICK) as held:
        held.check()
        if how == "moved":
            workdir.rename(tmp_path / "elsewhere")
        else:
            shutil.rmtree(workdir)
        if how == "replaced":
            workdir.mkdir()
            (workdir / lock.NAME).touch()
        with pytest.raises(Gone, match=f"the workdir {workdir} is gone"):
            held.check()
    assert (workdir / lock.NAME).exists() == (how == "replaced")


def test_the_heartbeat_changes_the_file(tmp_path):
    with WorkdirLock(tmp_path, **QUICK):
        os.utime(tmp_path / lock.NAME, (1, 1))
        deadline = time.monotonic() + 10
        while (tmp_path / lock.NAME).stat().st_mtime == 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
