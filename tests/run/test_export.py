"""`crossearth export`: the file alone, in another process, is the model."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as jax_export
from PIL import Image

from crossearth_jax import build
from crossearth_jax.commands import export as command
from crossearth_jax.data.known_classes import CASID
from crossearth_jax.pixels.normalise import normalise
from crossearth_jax.run import export
from crossearth_jax.run.trained import TrainedRun
from crossearth_jax.run_settings import read_settings
from crossearth_jax.scoring.score_fn import make_score_fn
from crossearth_jax.scoring.sliding import sliding_scores
from crossearth_jax.scoring.windows import Windows
from crossearth_jax.train_step import TrainState

EXAMPLE = Path(__file__).parents[2] / "examples" / "run_exported.py"
CROP = 32

pytestmark = [pytest.mark.usefixtures("quick_compile"), pytest.mark.slow]


@pytest.fixture(scope="module")
def run(tiny_config, quick_compile):
    config = tiny_config()
    network = build.build_network(config, len(CASID.names))
    # Far enough from the start for the arg-max to show several classes.
    params = jax.tree.map(lambda x: x * 4, network.trainable)
    state = TrainState(params, {}, jnp.int32(7), jnp.int32(0))
    return TrainedRun(Path("runs/tiny"), read_settings(config), CASID, network, state)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """What the command writes by default."""
    out = tmp_path_factory.mktemp("exported") / "model.stablehlo"
    with pytest.MonkeyPatch.context() as patch:
        # Reading a run is tested with `crossearth predict`.
        patch.setattr(
            command, "load_model", lambda *given, **_: asked.append(given) or run
        )
        asked = []
        assert command.main(["runs/tiny", "--out", str(out)]) == 0
    assert asked == [("runs/tiny", None)]
    return out


@pytest.fixture(scope="module")
def baked(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("baked") / "model.stablehlo"
    export.export(run, out, batch=2, platforms=("cpu",), weights="baked")
    return out


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("run_exported", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def score_fn(run):
    """The model's own scores of uint8 windows."""
    scores = make_score_fn(run.network.graph, run.state.params, run.network.frozen)
    return lambda windows: np.asarray(scores(np.asarray(normalise(windows))))


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def sidecar(out):
    return out.with_suffix(".json")


@pytest.mark.slow
def test_another_process_without_the_package_gives_the_same(
    exported, run, score_fn, tmp_path
):
    """The example as a user runs it, and the scores of one and of three windows."""
    picture, windows = pixels(75, 50, 3), pixels(3, CROP, CROP, 3)
    Image.fromarray(picture).save(tmp_path / "scene.png")
    np.save(tmp_path / "windows.npy", windows)
    script = f"""
import runpy, sys
import numpy as np
sys.modules["crossearth_jax"] = sys.modules["flax"] = None  # cannot be imported
sys.argv = ["run_exported.py", {str(sidecar(exported))!r}, "scene.png"]
scores = runpy.run_path({str(EXAMPLE)!r}, run_name="__main__")["scores"]
windows = np.load("windows.npy")
np.savez("scores.npz", one=scores(windows[:1]), three=scores(windows))
"""
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    environment.pop("PYTHONPATH", None)
    subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True
    )
    got = np.load(tmp_path / "scores.npz")
    one, three = score_fn(windows[:1]), score_fn(windows)
    np.testing.assert_allclose(got["one"], one, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(got["three"], three, rtol=1e-6, atol=1e-6)

    pixel_scores = sliding_scores(
        make_score_fn(run.network.graph, run.state.params, run.network.frozen),
        np.asarray(normalise(picture)),
        Windows(crop=CROP, stride=21, patch=16, batch=1),
    )
    labels = Image.open(tmp_path / "scene.classes.png")
    assert np.array_equal(labels, pixel_scores.argmax(2))
    assert len(np.unique(labels)) > 1
    palette = [value for colour in CASID.palette for value in colour]
    assert labels.getpalette()[: len(palette)] == palette


@pytest.mark.slow
def test_weights_baked_in_give_nearly_the_same(baked, example, score_fn):
    scores, about = example.load(sidecar(baked))
    assert about["weights"] is None
    assert (about["batch"], about["platforms"]) == (2, ["cpu"])
    windows = pixels(2, CROP, CROP, 3)
    # The compiler computes with constants ahead, and rounds elsewhere; by how much
    # depends on the processor, and masked attention amplifies it.
    baked_in, beside = scores(windows), score_fn(windows)
    assert np.abs(baked_in - beside).max() < 2e-3 * np.abs(beside).max()
    assert np.mean(baked_in.argmax(-1) == beside.argmax(-1)) > 0.99
    small = pixels(20, 40, 3)
    assert example.classify(scores, about, small).shape == (20, 40)
    with pytest.raises(ValueError, match="mismatch"):
        scores(windows[:1])


def test_parts_of_the_training_alone_stay_behind(run):
    names = {name.split(".")[0] for name in export.inference_weights(run)}
    assert names == {"backbone", "rein", "gse", "injectors", "decoder"}


def test_sidecar_says_what_is_needed(exported):
    about = json.loads(sidecar(exported).read_text())
    assert about["classes"] == list(CASID.names)
    assert about["palette"] == [list(colour) for colour in CASID.palette]
    assert (about["crop"], about["stride"], about["batch"]) == (CROP, 21, None)
    assert about["normalisation"]["mean"] == pytest.approx([123.675, 116.28, 103.53])
    assert about["about"]["step"] == 7
    weights = exported.with_suffix(".safetensors")
    assert about["weights"]["file"] == weights.name
    for path, part in ((exported, about), (weights, about["weights"])):
        assert part["bytes"] == path.stat().st_size
        assert part["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    function = jax_export.deserialize(bytearray(exported.read_bytes()))
    assert list(function.platforms) == about["platforms"] == ["cpu", "cuda", "tpu"]
    assert weights.stat().st_mode == exported.stat().st_mode
    files = {path.name for path in exported.parent.iterdir()}
    assert files == {"model.stablehlo", "model.json", "model.safetensors"}


@pytest.mark.parametrize(
    "shape", [(1, 48, CROP, 3), (1, CROP, CROP, 4), (CROP, CROP, 3)]
)
def test_windows_of_another_size_are_refused(exported, example, shape):
    scores, _ = example.load(sidecar(exported))
    with pytest.raises(ValueError, match="mismatch"):
        scores(pixels(*shape))


def test_normalised_windows_are_refused(exported, example):
    scores, _ = example.load(sidecar(exported))
    with pytest.raises(ValueError, match="Dtype mismatch"):
        scores(np.zeros((1, CROP, CROP, 3), np.float32))


@pytest.mark.parametrize("name", ["model.stablehlo", "model.safetensors"])
def test_a_flipped_bit_is_noticed(exported, example, tmp_path, name):
    for path in exported.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SystemExit, match=f"{name}' is damaged"):
        example.load(tmp_path / "model.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stride": -21}, "whose stride do not fit"),
        ({"stride": 0}, "stride"),
        ({"stride": CROP + 1}, "stride"),
        ({"stride": "1"}, "stride"),
        ({"crop": 48}, "crop do not fit its program .crop 32"),
        ({"batch": 2}, "batch"),
        ({"classes": ["a", "b"]}, "classes"),
        ({"palette": [[0, 0, 300]] * 5}, "palette"),
        ({"file": "../model.stablehlo"}, "expected a plain name"),
    ],
)
def test_a_sidecar_of_another_program_is_refused(
    exported, example, tmp_path, change, said
):
    for path in exported.parent.iterdir():
        (tmp_path / path.name).symlink_to(path)
    about = json.loads(sidecar(exported).read_text()) | change
    (tmp_path / "other.json").write_text(json.dumps(about))
    with pytest.raises(SystemExit, match=said):
        example.load(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "model.bin"], "model.stablehlo"),
        (["--out", "m.stablehlo", "--batch", "many"], "number or symbolic"),
        (["--out", "m.stablehlo", "--batch", "0"], "1 or more"),
        (["--out", "m.stablehlo", "--platforms", "cpu,gpu"], "cpu, cuda, tpu"),
    ],
)
def test_arguments_that_cannot_be_are_refused(
    monkeypatch, run, tmp_path, capsys, options, said
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "load_model", lambda *_, **__: run)
    assert command.main(["somewhere", *options]) == 1
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_command_without_a_run_says_so(tmp_path, capsys):
    assert command.main([str(tmp_path), "--out", str(tmp_path / "m.stablehlo")]) == 1
    assert "expected the workdir of a trained run" in capsys.readouterr().err


def test_an_export_that_fails_leaves_the_older_one(run, baked, example, monkeypatch):
    def full(self, data):
        raise OSError("No space left on device")

    before = {path.name: path.read_bytes() for path in baked.parent.iterdir()}
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        export.export(run, baked, batch=1, platforms=("cpu",), weights="baked")
    assert {path.name: path.read_bytes() for path in baked.parent.iterdir()} == before
