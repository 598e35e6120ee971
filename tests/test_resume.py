"""SIGKILL at any step, the same command again: bitwise the uninterrupted run."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

ROOT = Path(__file__).parents[1]
STEPS = 12


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """The command line; all runs share compiled programs, as the default cache does."""
    folder = tmp_path_factory.mktemp("resume")
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    arguments = [
        *(sys.executable, "-m", "crossearth_jax.main"),
        *("--config", str(ROOT / "tests" / "tiny.py")),
        f"--config.train.steps={STEPS}",
        "--config.train.checkpoint_every=3",
        "--config.style.probability=0.5",
        "--config.style.per_image=True",
        "--config.data.eval_scenes=1",
    ]

    def start(name: str) -> tuple[subprocess.Popen, Path]:
        process = subprocess.Popen(
            [*arguments, "--workdir", str(folder / name)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        return process, folder / name

    return start


def lines(workdir: Path) -> list[str]:
    path = workdir / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors


def parameters(workdir: Path) -> tuple[int, dict[str, np.ndarray]]:
    folder = (workdir / "checkpoints").absolute()
    with closing(ocp.CheckpointManager(folder)) as manager:
        step = manager.latest_step()
        return step, manager.restore(step, args=ocp.args.StandardRestore())


def test_killed_run_goes_on_bitwise(command):
    whole, whole_dir = command("whole")
    finish(whole)
    expected = lines(whole_dir)
    assert [json.loads(line)["step"] for line in expected] == [*range(1, STEPS + 1)]

    killed, workdir = command("killed")
    deadline = time.monotonic() + 300
    # Past the first checkpoint, and not on one: steps after it run a second time.
    while len(lines(workdir)) < 5 and killed.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not (workdir / "report.json").exists()
    before = lines(workdir)
    assert 5 <= len(before) < STEPS, "killed too late to test anything"

    again, _ = command("killed")
    finish(again)
    # Metrics are written with every bit: equal text is equal floats.
    assert lines(workdir) == expected
    (step, got), (_, wanted) = parameters(workdir), parameters(whole_dir)
    assert step == STEPS
    assert got.keys() == wanted.keys()
    for path in wanted:
        assert np.array_equal(got[path], wanted[path]), path
    reports = [
        json.loads((w / "report.json").read_text()) for w in (workdir, whole_dir)
    ]
    assert reports[0] == reports[1]
    assert not list(workdir.rglob("*tmp*"))
