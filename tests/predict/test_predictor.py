"""A run on disk, without the training: `load` against the evaluation's own way."""

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from crossearth_jax import build
from crossearth_jax.config_file import write_config
from crossearth_jax.data.classes import save_classes
from crossearth_jax.data.known_classes import CASID
from crossearth_jax.pixels.normalise import normalise
from crossearth_jax.predict import load
from crossearth_jax.run.checkpoint import Checkpoints
from crossearth_jax.run.trained import find_workdir
from crossearth_jax.scoring.score_fn import make_score_fn
from crossearth_jax.scoring.sliding import sliding_scores
from crossearth_jax.scoring.windows import Windows
from crossearth_jax.system import sharding
from crossearth_jax.train_step import TrainState

pytestmark = [pytest.mark.usefixtures("quick_compile"), pytest.mark.slow]


@pytest.fixture(scope="module")
def run(tiny_config, tmp_path_factory, quick_compile):
    """A workdir with two checkpoints, and the score function of the second."""
    workdir = tmp_path_factory.mktemp("run")
    config = tiny_config()
    network = build.build_network(config, len(CASID.names))
    optimiser = build.build_optimiser(config, network, build.build_schedule(config))
    opt_state = jax.jit(optimiser.init)(network.trainable)
    write_config(config, workdir)
    save_classes(CASID, workdir / "classes.json")
    with closing(Checkpoints(workdir, keep=2, frozen=network.digest)) as checkpoints:
        for step in (1, 2):
            params = jax.tree.map(lambda x: x * (1 + 0.3 * step), network.trainable)  # noqa: B023
            state = TrainState(params, opt_state, jnp.int32(step), jnp.int32(0))
            assert checkpoints.save(sharding.replicate(state, sharding.make_mesh()))
    return workdir, make_score_fn(network.graph, state.params, network.frozen)


def picture(height, width):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def predictor(run):
    return load(run[0], batch=4)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(75, 50), (32, 32), (1, 77)])
def test_a_loaded_run_gives_the_evaluations_scores(run, predictor, size):
    image = picture(*size)
    pixels = np.asarray(normalise(image))
    windows = Windows(crop=32, stride=21, patch=16, batch=4)
    # A strip is another compiled shape; one function for both saves seconds.
    score_fn = run[1] if min(size) >= 32 else predictor.score_fn
    expected = sliding_scores(score_fn, pixels, windows)
    share = expected / expected.sum(2, keepdims=True)
    np.testing.assert_allclose(predictor.probabilities(image), share, atol=1e-5)
    assert predictor(image).shape == size
    assert predictor.classes == CASID


@pytest.mark.slow
def test_an_older_step_in_bfloat16_with_augmentation(run, predictor):
    first = load(
        run[0] / "checkpoints/1", precision="bfloat16", batch=2, tta=["flips"], stride=8
    )
    assert predictor.about["step"] == 2 and first.about["step"] == 1
    assert first.about["weights"] != predictor.about["weights"]
    assert (first.windows.stride, first.windows.batch) == (8, 2)
    assert first.about["tta"] == ["flips"] and first.about["precision"] == "bfloat16"
    # Mirrored views are averaged, so the scores follow a mirrored image.
    image = picture(32, 32)
    mirrored = first.scores(image[:, ::-1])[:, ::-1]
    np.testing.assert_allclose(mirrored, first.scores(image), rtol=0.05, atol=0.05)


def test_folders_of_checkpoints_lead_to_the_run(run):
    workdir = run[0]
    for folder in (workdir, workdir / "checkpoints", workdir / "checkpoints/2"):
        assert find_workdir(folder) == workdir


@pytest.mark.parametrize("name", ["", "checkpoints/7", "checkpoints/1/default"])
def test_what_is_no_run_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="expected the workdir of a trained run"):
        load(tmp_path / name)


def test_a_damaged_checkpoint_is_refused(run, tmp_path):
    import shutil

    copied = tmp_path / "run"
    shutil.copytree(run[0], copied)
    (copied / "checkpoints/1/seal.json").unlink()
    with pytest.raises(ValueError, match="damaged"):
        load(copied / "checkpoints/1")
    (copied / "classes.json").unlink()
    with pytest.raises(ValueError, match=r"classes\.json"):
        load(copied)


TWO_DEVICES = """
import sys
import jax
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_disable_most_optimizations", True)
import numpy as np
from crossearth_jax.predict import load
predictor = load(sys.argv[1], batch=3)
assert jax.local_device_count() == 2 and predictor.windows.batch == 4
image = np.random.default_rng(0).integers(0, 256, (75, 50, 3)).astype(np.uint8)
windows = np.zeros((4, 32, 32, 3), np.float32)
assert len(predictor.score_fn(windows).sharding.device_set) == 2
np.save(sys.argv[2], predictor.scores(image))
"""


@pytest.mark.slow
def test_two_devices_share_the_windows(run, predictor, tmp_path):
    place = tmp_path / "scores.npy"
    subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, str(run[0]), str(place)],
        check=True,
        cwd=Path(__file__).parents[2],
    )
    expected = predictor.scores(picture(75, 50))
    np.testing.assert_allclose(np.load(place), expected, rtol=1e-4, atol=1e-5)


def test_the_run_kept_what_is_needed(run):
    names = {path.name for path in run[0].iterdir()}
    assert {"config.json", "classes.json", "checkpoints"} <= names
    assert json.loads((run[0] / "classes.json").read_text())["names"][1] == "building"
