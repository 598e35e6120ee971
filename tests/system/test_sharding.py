"""The same losses on any layout of devices; frozen weights split over "fsdp"."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from crossearth_jax.system import sharding

ROOT = Path(__file__).parents[2]
STEPS = 8


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    """Steps of batch 8 on 1 and on 2 x 2 virtual devices.

    docs/reliability.md has more layouts; each takes half a minute to compile.
    """
    workdir = tmp_path_factory.mktemp("layouts")
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
    }
    script = ROOT / "tests" / "device_curves.py"
    command = [sys.executable, script, workdir, str(STEPS), "1", "4/2"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((workdir / "curves.json").read_text())


@pytest.mark.slow
def test_device_count_and_fsdp_do_not_change_the_losses(layouts):
    alone = np.array(layouts["1"]["losses"])
    assert len(alone) == STEPS
    assert alone[-1] < alone[0]
    for name, found in layouts.items():
        np.testing.assert_allclose(found["losses"], alone, rtol=1e-5, err_msg=name)


@pytest.mark.slow
def test_steps_are_compiled_once(layouts):
    assert {found["compilations"] for found in layouts.values()} == {1}


@pytest.mark.slow
def test_two_devices_share_the_frozen_weights(layouts):
    assert layouts["4/2"]["frozen_bytes"] < 0.51 * layouts["1"]["frozen_bytes"]


def test_fsdp_must_divide_the_devices():
    with pytest.raises(ValueError, match=r"train\.fsdp=3 on 1 device"):
        sharding.make_mesh(3)


@pytest.mark.parametrize(("accumulate", "fits"), [(1, True), (2, True), (4, False)])
def test_every_part_of_a_batch_fills_the_devices(accumulate, fits):
    mesh = sharding.make_mesh()
    batch = 2 * mesh.size
    if fits:
        sharding.check_batch_size(batch, mesh, accumulate)
    else:
        with pytest.raises(ValueError, match="expected a multiple of parts x devices"):
            sharding.check_batch_size(batch, mesh, accumulate)


def test_small_and_odd_weights_stay_whole():
    mesh = jax.sharding.AbstractMesh((1, 2), ("data", "fsdp"))
    large = np.zeros((3, 2 * sharding.SMALL, 4))
    specs = [
        tuple(sharding.weight_split(x, mesh).spec)
        for x in (large, large[:, :3], np.zeros(2 * sharding.SMALL + 1))
    ]
    assert specs == [(None, "fsdp", None), (), ()]
