"""Runs of the tiny configuration in processes of their own, and what is left of them.

All start from the command line that users give, and share compiled programs.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp

ROOT = Path(__file__).parents[2]
EVERY = 3  # steps between checkpoints
PATIENCE = 900.0  # seconds for anything to happen
POLL = 0.002
IMAGES = 2  # of a step of the tiny configuration


class Failed(Exception):
    """Something did not come out as promised."""


@dataclass(frozen=True)
class Started:
    """A process and where it writes."""

    process: subprocess.Popen
    workdir: Path
    output: Path

    def said(self) -> str:
        """All its output so far."""
        return self.output.read_text(errors="replace")

    def wait_until(self, condition: Callable[[], bool]) -> bool:
        """Waits for a condition; False if the process ended before."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self.process.poll() is not None:
                return False
            if time.monotonic() > deadline:
                self.kill()
                raise Failed(f"nothing happened for {PATIENCE} s:\n{self.said()}")
            time.sleep(POLL)
        return True

    def ended(self, seconds: float = PATIENCE) -> int:
        """Its exit status (negative: the signal), waiting for it."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"did not end within {seconds} s:\n{self.said()}") from None

    def finish(self) -> None:
        """Waits for an ordinary end."""
        if self.ended() != 0:
            raise Failed(f"exit {self.process.returncode}:\n{self.said()}")

    def send(self, number: int) -> None:
        """A signal to the process alone."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True)
class Runs:
    """Starts runs of one length in one folder.

    Attributes:
      folder: for workdirs, outputs and compiled programs.
      steps: of a run.
      options: more flags.
      program: what Python is given to run; the default is the training command.
      compiled: where compiled programs are shared, None for a place in `folder`.
    """

    folder: Path
    steps: int
    options: Sequence[str] = ()
    program: Sequence[str] = ("-m", "crossearth_jax.main")
    compiled: Path | None = None

    def start(
        self, name: str, *more: str, devices: int = 1, workdir: Path | None = None
    ) -> Started:
        """Starts or resumes the run `name`."""
        workdir = workdir or self.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            *(sys.executable, *self.program),
            *("--config", str(ROOT / "tests" / "tiny.py"), "--workdir", str(workdir)),
            f"--config.train.steps={self.steps}",
            f"--config.train.checkpoint_every={EVERY}",
            "--config.style.probability=0.5",
            "--config.style.per_image=True",
            *self.options,
            *more,
        ]
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(self.compiled or self.folder / "compiled"),
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        }
        number = len(list(self.folder.glob(f"{name}.*.txt")))
        output = self.folder / f"{name}.{number}.txt"
        with output.open("wb") as file:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=file, stderr=file
            )
        return Started(process, workdir, output)

    def start_hosts(self, name: str, count: int = 2) -> list[Started]:
        """Starts one run on several hosts, which are processes of one device here."""
        flags = (f"--coordinator={free_address()}", f"--hosts={count}")
        workdir = self.folder / name
        return [
            self.start(f"{name}-host{i}", *flags, f"--host={i}", workdir=workdir)
            for i in range(count)
        ]

    def difference(self, workdir: Path, reference: Path) -> str | None:
        """What a finished run has other than an undisturbed one, None if nothing."""
        if lines(workdir) != lines(reference):
            return "other losses in metrics.jsonl"
        (step, got), (_, wanted) = final_state(workdir), final_state(reference)
        if step != self.steps or got.keys() != wanted.keys():
            return f"ended at step {step}"
        for path, array in wanted.items():
            # Bytes, so that even the sign of a zero counts.
            if np.asarray(got[path]).tobytes() != np.asarray(array).tobytes():
                return f"another {path}"
        reports = [
            json.loads((w / "report.json").read_text()) for w in (workdir, reference)
        ]
        if reports[0] != reports[1]:
            return "another report"
        # A first checkpoint that was killed before its seal is kept under another name:
        # it could also be one that was copied without its seal.
        left = {*workdir.rglob("*tmp*"), *workdir.rglob("damaged_*")}
        left -= {workdir / "checkpoints" / f"damaged_{EVERY}"}
        return f"left behind {left}" if left else None


def free_address() -> str:
    """HOST:PORT of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def lines(workdir: Path) -> list[str]:
    """Complete lines of metrics.jsonl: floats with every bit."""
    path = workdir / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()


def last_step(workdir: Path) -> int:
    """The last step that was logged."""
    logged = lines(workdir)
    return json.loads(logged[-1])["step"] if logged else 0


def checkpoints(workdir: Path) -> dict[int, bool]:
    """Steps on disk, and whether they are sealed."""
    found: dict[int, bool] = {}
    if (workdir / "checkpoints").is_dir():
        for path in (workdir / "checkpoints").iterdir():
            if path.name.isdigit():
                found[int(path.name)] = (path / "seal.json").exists()
    return found


def newest_sealed(workdir: Path) -> int:
    """0 if there is none."""
    return max((s for s, sealed in checkpoints(workdir).items() if sealed), default=0)


def saving(workdir: Path) -> bool:
    """Whether Orbax is writing a step."""
    folder = workdir / "checkpoints"
    return any(".orbax-checkpoint-tmp" in name for name in _names(folder))


def _names(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []


def final_state(workdir: Path) -> tuple[int, dict[str, np.ndarray]]:
    """Step and all arrays of the newest checkpoint, read without the package."""
    folder = (workdir / "checkpoints").absolute()
    handler = ocp.PyTreeCheckpointHandler()
    with closing(ocp.CheckpointManager(folder, item_handlers=handler)) as manager:
        step = manager.latest_step()
        names = list(manager.item_metadata(step))
        # As NumPy arrays, whatever devices they were saved from.
        on_host = ocp.RestoreArgs(restore_type=np.ndarray)
        arguments = ocp.args.PyTreeRestore(
            item=dict.fromkeys(names, 0), restore_args=dict.fromkeys(names, on_host)
        )
        return step, manager.restore(step, args=arguments)


def seconds_of_step(started: Started) -> float:
    """Median of what the run printed."""
    found = [float(x) for x in re.findall(r"([\d.e+]+) img/s", started.said())]
    return IMAGES / float(np.median(found)) if found else float("nan")


def kill_all(started: Sequence[Started]) -> None:
    """SIGKILL to several processes at once."""
    for one in started:
        one.process.send_signal(signal.SIGKILL)
    for one in started:
        one.process.wait()
