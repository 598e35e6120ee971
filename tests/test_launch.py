"""The launch recipes: syntax, fields, flags, and what they do with stand-ins."""

import importlib.util
import os
import re
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from ml_collections import ConfigDict

from crossearth_jax import main
from crossearth_jax.commands.predict_options import predict_parser
from crossearth_jax.config import default

FOLDER = Path(__file__).parents[1] / "docs" / "launch"
SCRIPTS = ("slurm.sbatch", "ssh.sh", "until-finished.sh", "predict-slurm.sbatch")
MANIFESTS = ("gke-tpu.yaml", "k8s-gpu.yaml")
OTHERS = ("predict-k8s.yaml", "predict-ray.yaml")  # see test_launch_predict
# Options of Slurm and its srun that the recipes and their page speak of.
FOREIGN = {
    *("job-name", "nodes", "ntasks-per-node", "gpus-per-node", "gpus-per-task"),
    *("gpu-bind", "cpus-per-task", "time", "signal", "requeue", "open-mode"),
    *("output", "kill-on-bad-exit", "array", "ntasks", "gpus"),
    *("head", "address"),  # of `ray start`
    "target",  # of `docker build`
}

HELP = main._parser(main.MODULE, None).format_help() + predict_parser().format_help()
FLAGS = set(re.findall(r"--[\w-]+", HELP))


@pytest.fixture
def stand_ins(tmp_path):
    """Makes commands of given names and bash text; returns the environment."""

    def make(**commands: str) -> dict[str, str]:
        for name, text in commands.items():
            path = tmp_path / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"#!/bin/bash\n{text}\n")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}

    return make


def run(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", str(FOLDER / name), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def pod(name: str) -> tuple[dict, dict, dict]:
    """The Job of a manifest, its pod and its container."""
    manifest = yaml.safe_load((FOLDER / name).read_text())
    assert manifest["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    assert manifest["kind"] == "JobSet"
    assert manifest["spec"]["failurePolicy"]["maxRestarts"] > 0
    (replicated,) = manifest["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    return job, job["template"]["spec"], container


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_valid_bash(name):
    checked = subprocess.run(["bash", "-n", str(FOLDER / name)], capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, b"")


def is_known(flag: str) -> bool:
    head, _, key = flag.partition(".")
    if head != "config" or not key:
        return flag in FOREIGN or f"--{flag}" in FLAGS
    value = default()
    for part in key.split("."):
        if part not in value:
            return False
        value = value[part]
    return True


def test_every_flag_exists():
    paths = sorted(FOLDER.iterdir())
    assert {p.name for p in paths} == {*SCRIPTS, *MANIFESTS, *OTHERS, "README.md"}
    seen = set()
    for path in paths:
        found = re.findall(r"(?<![\w-])--([a-z][\w.-]*\w)", path.read_text())
        unknown = [flag for flag in found if not is_known(flag)]
        assert not unknown, path.name
        seen.update(found)
    assert {"config.train.batch_size", "coordinator", "workdir", "distributed"} <= seen


def get_config(value: str) -> ConfigDict:
    """What --config FILE:ARGUMENT gives."""
    file, _, argument = value.partition(":")
    spec = importlib.util.spec_from_file_location("launched", FOLDER.parents[1] / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(argument)


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_fit_together(name):
    job, spec, container = pod(name)
    assert job["completionMode"] == "Indexed"
    assert job["parallelism"] == job["completions"] > 1
    assert job["backoffLimit"] == 0
    assert spec["restartPolicy"] == "Never"
    assert spec["terminationGracePeriodSeconds"] >= 60
    limits = container["resources"]["limits"]
    assert limits == container["resources"]["requests"]
    (chips,) = limits.values()
    arguments = dict(a.removeprefix("--").split("=", 1) for a in container["args"])
    config = get_config(arguments["config"])
    given = {k: int(v) if v.isdigit() else v for k, v in arguments.items()}
    config.update_from_flattened_dict(  # raises for a value of another type
        {k: v for k, v in given.items() if k.startswith("config.")}, "config."
    )
    assert int(arguments["config.train.batch_size"]) % (chips * job["parallelism"]) == 0
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    assert mounts.keys() == {v["name"] for v in spec["volumes"]}
    assert arguments["workdir"].startswith(mounts["shared"])
    script = Path(container["command"][1])
    assert (FOLDER.parents[1] / script).is_file()


def test_tpu_slice_has_the_hosts_of_its_topology():
    job, spec, container = pod("gke-tpu.yaml")
    selector = spec["nodeSelector"]
    assert "cloud.google.com/gke-tpu-accelerator" in selector
    rows, columns = selector["cloud.google.com/gke-tpu-topology"].split("x")
    per_host = container["resources"]["limits"]["google.com/tpu"]
    assert int(rows) * int(columns) == per_host * job["parallelism"]


def test_gpu_pods_name_the_first_of_them():
    manifest = yaml.safe_load((FOLDER / "k8s-gpu.yaml").read_text())
    job, _, container = pod("k8s-gpu.yaml")
    name = manifest["metadata"]["name"]
    replicated = manifest["spec"]["replicatedJobs"][0]["name"]
    arguments = dict(a.removeprefix("--").split("=", 1) for a in container["args"])
    first = arguments["coordinator"].partition(":")[0]
    assert first == f"{name}-{replicated}-0-0.{name}"
    assert int(arguments["hosts"]) == job["parallelism"]
    assert arguments["host"] == "$(JOB_COMPLETION_INDEX)"


@pytest.mark.parametrize(
    ("report", "restarts", "requeued", "status"),
    [(True, 0, False, 0), (False, 0, True, 0), (False, 50, False, 1)],
)
def test_slurm_goes_on_until_there_is_a_report(
    stand_ins, tmp_path, report, restarts, requeued, status
):
    environment = stand_ins(
        srun=f'echo "$@" > {tmp_path}/srun',
        scontrol=f'echo "$@" > {tmp_path}/scontrol',
    )
    workdir = tmp_path / "a run"
    workdir.mkdir()
    if report:
        (workdir / "report.json").touch()
    environment |= {"WORKDIR": str(workdir), "SLURM_JOB_ID": "7"}
    environment |= {"SLURM_RESTART_COUNT": str(restarts)}
    done = run("slurm.sbatch", "--config", "configs/demo.py", **environment)
    assert done.returncode == status, done.stderr
    asked = (tmp_path / "srun").read_text()
    assert f"--workdir {workdir} --config configs/demo.py" in asked
    assert (tmp_path / "scontrol").exists() == requeued
    if requeued:
        assert (tmp_path / "scontrol").read_text() == "requeue 7\n"


def test_slurm_ends_with_the_error_of_a_task(stand_ins, tmp_path):
    environment = stand_ins(srun="exit 17", scontrol=f"touch {tmp_path}/scontrol")
    environment |= {"WORKDIR": str(tmp_path), "SLURM_JOB_ID": "7"}
    assert run("slurm.sbatch", **environment).returncode == 17
    assert not (tmp_path / "scontrol").exists()


@pytest.mark.parametrize(
    ("python", "status"),
    [("touch '{}/report.json'", 0), ("exit 0", 75), ("exit 17", 17)],
)
def test_container_ends_with_0_only_when_finished(stand_ins, tmp_path, python, status):
    environment = stand_ins(trainer=python.format(tmp_path)) | {"PYTHON": "trainer"}
    argument = f"--workdir={tmp_path}"
    done = run("until-finished.sh", "--config=x.py", argument, **environment)
    assert done.returncode == status, done.stderr


def test_container_passes_signals_on(stand_ins, tmp_path):
    trainer = (
        f"trap 'echo saved; exit 0' TERM; touch {tmp_path}/up; while :; do :; done"
    )
    environment = stand_ins(trainer=trainer) | {"PYTHON": "trainer"}
    process = subprocess.Popen(
        ["bash", str(FOLDER / "until-finished.sh"), f"--workdir={tmp_path}"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 20
    while not (tmp_path / "up").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert (output, process.returncode) == ("saved\n", 75)


def test_container_without_workdir_says_so():
    done = run("until-finished.sh", "--config=x.py", **os.environ)
    assert done.returncode != 0
    assert "--workdir" in done.stderr


SSH = 'host=$1; shift; bash -c "$1"'  # what ssh does: a shell reads the words again


def test_ssh_gives_every_host_its_number(stand_ins, tmp_path):
    trainer = f"printf '%s\\n' \"$PWD\" \"$@\" > {tmp_path}/$$; [[ $* != *'host 1'* ]]"
    environment = stand_ins(remote=SSH, trainer=trainer)
    environment |= {"SSH": "remote", "PYTHON": "trainer", "HOSTS": "alpha beta gamma"}
    environment |= {"FOLDER": str(tmp_path), "WORKDIR": f"{tmp_path}/it's a run"}
    done = run("ssh.sh", "--config", "configs/demo.py:a b", **environment)
    assert done.returncode == 1  # host 1 failed
    calls = {}
    for path in tmp_path.iterdir():
        if path.name.isdigit():
            folder, *words = path.read_text().splitlines()
            calls[words[words.index("--host") + 1]] = folder, words
    assert calls.keys() == {"0", "1", "2"}
    for number, (folder, words) in calls.items():
        assert folder == str(tmp_path)
        assert words == [
            *("-m", "crossearth_jax.main", "--workdir", f"{tmp_path}/it's a run"),
            *("--coordinator", "alpha:29500", "--hosts", "3", "--host", number),
            *("--config", "configs/demo.py:a b"),
        ]


def test_ssh_stops_the_first_host_and_waits(stand_ins, tmp_path):
    trainer = (
        f"touch {tmp_path}/up-$$; trap 'touch {tmp_path}/told' TERM; echo here;"
        f"until [[ -e {tmp_path}/told ]]; do sleep 0.02; done; sleep 0.1; echo saved"
    )
    environment = stand_ins(remote=SSH, trainer=trainer)
    environment |= {"SSH": "remote", "PYTHON": "trainer", "HOSTS": "alpha beta"}
    environment |= {"FOLDER": str(tmp_path), "WORKDIR": str(tmp_path / "run")}
    process = subprocess.Popen(
        ["bash", str(FOLDER / "ssh.sh")],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 20
    while len(list(tmp_path.glob("up-*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.1)  # for the traps
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert sorted(output.splitlines()) == [
        *("alpha: here", "alpha: saved", "beta: here", "beta: saved")
    ]
