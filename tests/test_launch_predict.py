"""The recipes for maps on clusters: they parse, and their numbers fit together."""

import os
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from crossearth_jax.commands.part import part_of
from crossearth_jax.commands.predict_options import predict_parser

FOLDER = Path(__file__).parents[1] / "docs" / "launch"


def mounts_fit(spec):
    (container,) = spec["containers"]
    limits = container["resources"]["limits"]
    assert limits == container["resources"]["requests"]
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    assert mounts.keys() == {v["name"] for v in spec["volumes"]}
    return container, mounts["shared"]


def test_every_pod_of_an_indexed_job_has_its_share():
    manifest = yaml.safe_load((FOLDER / "predict-k8s.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "Job")
    job = manifest["spec"]
    assert job["completionMode"] == "Indexed"
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    container, shared = mounts_fit(job["template"]["spec"])
    assert container["command"] == ["crossearth", "predict"]
    options = predict_parser().parse_args(container["args"])
    count = job["completions"]
    shares = [
        part_of(options.part, {"JOB_COMPLETION_INDEX": str(i)}) for i in range(count)
    ]
    assert shares == [(i, count) for i in range(1, count + 1)]
    assert options.out.startswith(shared) and options.inputs[0].startswith("@" + shared)


def test_ray_drives_its_workers_from_a_head_without_scenes():
    manifest = yaml.safe_load((FOLDER / "predict-ray.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayJob")
    program, command, *words = shlex.split(manifest["spec"]["entrypoint"])
    assert (program, command) == ("crossearth", "predict")
    options = predict_parser().parse_args(words)
    assert options.ray == "auto"
    cluster = manifest["spec"]["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    assert options.ray_workers == workers["maxReplicas"]
    images = set()
    for group in (cluster["headGroupSpec"], workers):
        container, shared = mounts_fit(group["template"]["spec"])
        images.add(container["image"])
        assert options.out.startswith(shared)
    assert len(images) == 1  # Ray wants one version everywhere


@pytest.mark.parametrize("numbers", ["1-4", "0-3"])
def test_every_task_of_a_slurm_array_has_its_share(tmp_path, numbers):
    program = tmp_path / "crossearth"
    program.write_text(f"#!/bin/bash\nprintf '%s\\n' \"$@\" > {tmp_path}/words\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    out = f"{tmp_path}/my maps"
    environment = os.environ | {"CROSSEARTH": str(program), "OUT": out}
    script = ["bash", str(FOLDER / "predict-slurm.sbatch"), "run", "@my scenes.txt"]
    subprocess.run(script, env=environment, check=True)
    command, *words = (tmp_path / "words").read_text().splitlines()
    options = predict_parser().parse_args(words)
    assert command == "predict" and options.out == out
    assert options.inputs == ["@my scenes.txt"]
    first, last = map(int, numbers.split("-"))
    shares = [
        part_of(
            options.part,
            {
                "SLURM_ARRAY_TASK_ID": str(i),
                "SLURM_ARRAY_TASK_MIN": str(first),
                "SLURM_ARRAY_TASK_COUNT": "4",
            },
        )
        for i in range(first, last + 1)
    ]
    assert shares == [(i, 4) for i in range(1, 5)]
