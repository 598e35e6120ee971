"""Several hosts as one run: in one process, and two over loopback."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks.reliability.runs import free_address
from crossearth_jax import config, train
from crossearth_jax.run.best import find_step
from crossearth_jax.system import hosts
from crossearth_jax.system.sharding import shard_batch

ROOT = Path(__file__).parents[2]
CLUSTER = (
    *("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "JAX_COORDINATOR_ADDRESS"),
    *("TPU_WORKER_HOSTNAMES", "TPU_PROCESS_ADDRESSES", "MEGASCALE_COORDINATOR_ADDRESS"),
)


# One process


@pytest.mark.parametrize(
    ("environment", "several"),
    [
        ({}, False),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "8"}, False),  # in sbatch
        ({"SLURM_STEP_NUM_TASKS": "8"}, True),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        ({"TPU_WORKER_HOSTNAMES": "a.svc,b.svc"}, True),
        ({"TPU_PROCESS_ADDRESSES": "a:8476,b:8476"}, True),
        ({"MEGASCALE_COORDINATOR_ADDRESS": "a"}, True),
        ({"JAX_COORDINATOR_ADDRESS": "a:1"}, True),
    ],
)
def test_clusters_are_noticed(monkeypatch, environment, several):
    for name in CLUSTER:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert hosts.expected() == several


@pytest.mark.parametrize("given", [("a:1", None, None), (None, 2, 0), ("a:1", 2, None)])
def test_joining_needs_all_flags_or_none(given):
    with pytest.raises(ValueError, match="all three or none"):
        hosts.join(*given)


@pytest.mark.parametrize(
    ("given", "said"),
    [(("127.0.0.1:1", 2, 2), "--host=2"), (("127.0.0.1", 2, 0), "HOST:PORT")],
)
def test_flags_that_cannot_be_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        hosts.join(*given)


def test_one_process_answers_at_once():
    value = {"a": np.arange(3)}
    assert hosts.is_first()
    assert hosts.gather(value) == [value]
    assert hosts.from_first(value) is value
    hosts.check_agreement({"configuration": "x"})
    hosts.wait_for_all()


def test_one_process_raises_as_ever():
    with pytest.raises(KeyError), hosts.leave_together():
        raise KeyError("a")


def test_disagreement_names_fact_and_host(monkeypatch):
    theirs = {"configuration": "other", "data": "same"}
    monkeypatch.setattr(hosts, "gather", lambda own: [own, own, theirs])
    with pytest.raises(ValueError, match="host 2 with another configuration than"):
        hosts.check_agreement({"configuration": "x", "data": "same"})


def test_several_hosts_end_at_once_on_an_error(monkeypatch):
    ended = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(os, "_exit", ended.append)
    with hosts.leave_together():
        raise RuntimeError("broken")
    with hosts.leave_together():
        raise SystemExit("error: in one line")
    assert ended == [hosts.FAILED] * 2
    with pytest.raises(SystemExit), hosts.leave_together():
        raise SystemExit(0)
    assert len(ended) == 2


def test_a_batch_of_another_size_is_refused():
    mesh = jax.make_mesh((1, 1), ("data", "fsdp"))
    with pytest.raises(ValueError, match="shape"):
        shard_batch({"image": np.zeros((3, 2, 2))}, 4, mesh)


# Two processes

REMOTE = 'shift; bash -c "$1"'  # what ssh does, on this machine
STEPS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hosts")


def environment(folder: Path, **more: str) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if k not in CLUSTER}
    return inherited | {
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        **more,
    }


def arguments(workdir: Path) -> list[str]:
    return [
        *("--config", str(ROOT / "tests" / "tiny.py"), "--workdir", str(workdir)),
        f"--config.train.steps={STEPS}",
        "--config.style.probability=0.5",
        "--config.mim.enabled=False",  # compiles in less time
        "--config.gse.enabled=False",
        "--config.data.eval_scenes=3",  # not as many for one host as for the other
    ]


@pytest.fixture(scope="module")
def two_hosts(folder):
    """The output of every host of a run that docs/launch/ssh.sh starts."""
    remote = folder / "remote"
    remote.write_text(f"#!/bin/bash\n{REMOTE}\n")
    remote.chmod(0o755)
    command = environment(
        folder,
        SSH=str(remote),
        HOSTS="127.0.0.1 localhost",
        PORT=free_address().rpartition(":")[2],
        PYTHON=sys.executable,
        WORKDIR=str(folder / "two"),
    )
    flags = arguments(folder / "two")[:2] + arguments(folder / "two")[4:]
    flags += ["--config.eval.every=2", "--config.train.keep_best"]
    done = subprocess.run(
        ["bash", str(ROOT / "docs" / "launch" / "ssh.sh"), *flags],
        cwd=ROOT,
        env=command,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split(": ", 1) for line in done.stdout.splitlines()]
    return [
        "\n".join(text for name, text in lines if name == host)
        for host in ("127.0.0.1", "localhost")
    ]


def read_metrics(workdir: Path) -> list[dict[str, float]]:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def read_report(workdir: Path) -> dict:
    return json.loads((workdir / "report.json").read_text())


@pytest.mark.slow
def test_only_the_first_host_prints_and_writes(two_hosts, folder):
    first, second = two_hosts
    assert "2 x cpu, 2 host(s)" in first
    assert f"step {STEPS}/{STEPS}" in first
    assert "mIoU" in first
    spoken = [line for line in second.splitlines() if not line.startswith("[Gloo]")]
    assert not spoken
    (start,) = json.loads((folder / "two" / "provenance.json").read_text())
    assert start["hosts"] == 2
    assert len(list((folder / "two" / "tensorboard").iterdir())) == 1
    assert not list((folder / "two").rglob("*.tmp"))


@pytest.mark.slow
def test_losses_are_those_of_one_process_with_two_devices(two_hosts, folder):
    got = [line for line in read_metrics(folder / "two") if "loss" in line]
    log = folder / "one" / "metrics.jsonl"
    alone = subprocess.Popen(
        [sys.executable, "-m", "crossearth_jax.main", *arguments(folder / "one")],
        cwd=ROOT,
        env=environment(folder, XLA_FLAGS="--xla_force_host_platform_device_count=2"),
        stdout=subprocess.DEVNULL,
    )
    with alone:
        deadline = time.monotonic() + 400
        while not log.exists() or log.read_text().count("\n") < STEPS:
            assert alone.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        alone.kill()  # its scores are not needed
    expected = read_metrics(folder / "one")
    assert len(got) == len(expected) == STEPS
    for ours, theirs in zip(got, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-5)
    assert {entry["styled"] for entry in got} == {0.0, 1.0}


@pytest.mark.slow
def test_scores_are_exactly_those_of_one_process(two_hosts, folder, quick_compile):
    alone = folder / "alone"
    shutil.copytree(folder / "two", alone)
    (alone / "report.json").unlink()
    train.evaluate_run(config.load(alone / "config.json"), alone)
    got, expected = read_report(folder / "two"), read_report(alone)
    assert len(expected["domains"]) == 4
    for name, domain in expected["domains"].items():
        assert got["domains"][name]["confusion"] == domain["confusion"], name
    assert got == expected
    midway = [line for line in read_metrics(folder / "two") if "sub/mIoU" in line]
    assert [line["step"] for line in midway] == [2, STEPS]
    assert midway[-1]["sub/mIoU"] == got["domains"]["sub"]["mIoU"]
    best = max(midway, key=lambda line: (line["sub/mIoU"], -line["step"]))
    assert find_step(folder / "two" / "checkpoints", "best") == best["step"]
    pictures = sorted(p.name for p in (folder / "two" / "pictures").iterdir())
    assert pictures == sorted(p.name for p in (alone / "pictures").iterdir())


@pytest.mark.slow
def test_hosts_that_differ_end_with_the_reason(folder):
    address = free_address()
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "crossearth_jax.main"),
                *arguments(folder / "differ"),
                *("--coordinator", address, "--hosts", "2"),
                *("--host", str(i), f"--config.train.seed={i}"),
            ],
            cwd=ROOT,
            env=environment(folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=400)
        assert process.returncode == hosts.FAILED, errors
        named = "configuration, data, initial weights"  # all follow from the seed
        assert f"got host 1 with another {named} than host 0" in errors
        assert "start all with one command line" in errors
    assert not (folder / "differ" / "metrics.jsonl").exists()
