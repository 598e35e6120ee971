"""`crossearth export --format onnx`: the file alone, in ONNX Runtime, is the model."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from crossearth_jax import build
from crossearth_jax.commands import export as command
from crossearth_jax.data.known_classes import CASID
from crossearth_jax.data.raw_images import RawImages
from crossearth_jax.pixels.normalise import normalise
from crossearth_jax.run import onnx_file
from crossearth_jax.run.licences import licences
from crossearth_jax.run.onnx_file import Check, export_onnx
from crossearth_jax.run.trained import TrainedRun
from crossearth_jax.run_settings import read_settings
from crossearth_jax.scoring.score_fn import make_score_fn
from crossearth_jax.train_step import TrainState

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compile")]


def make_run(config):
    network = build.build_network(config, len(CASID.names))
    rng = np.random.default_rng(0)

    def moved(x):
        """Far enough from the start for shares to differ from place to place."""
        return np.asarray(x + rng.normal(0, 0.2, x.shape), np.float32)

    params = jax.tree.map(moved, network.trainable)
    state = TrainState(params, {}, jnp.int32(7), jnp.int32(0))
    return TrainedRun(Path("runs/tiny"), read_settings(config), CASID, network, state)


@pytest.fixture(scope="module")
def run(tiny_config, quick_compile):
    return make_run(tiny_config())


@pytest.fixture
def calls(monkeypatch, run):
    """What the command loads, instead of a run."""
    asked = []
    monkeypatch.setattr(
        command, "load_model", lambda *given, **more: asked.append((given, more)) or run
    )
    return asked


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """What the command writes."""
    out = tmp_path_factory.mktemp("exported") / "model.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "load_model", lambda *_, **__: run)
        assert command.main(["runs/tiny", "--out", str(out)]) == 0
    return out


def drawn(crop, count=1):
    return np.random.default_rng(1).integers(0, 256, (count, crop, crop, 3), np.uint8)


def test_fed_as_deepness_feeds_it_the_file_gives_the_shares_of_the_scores(
    run, exported
):
    session = onnxruntime.InferenceSession(exported)
    (fed,), (made,) = session.get_inputs(), session.get_outputs()
    assert (fed.name, fed.shape, fed.type) == ("image", [1, 3, 32, 32], "tensor(float)")
    assert (made.name, made.shape) == ("probabilities", [1, 5, 32, 32])
    windows = drawn(32)
    (got,) = session.run(
        None, {"image": np.float32(windows / 255).transpose(0, 3, 1, 2)}
    )
    np.testing.assert_allclose(got.sum(1), 1, atol=1e-5)
    score_fn = make_score_fn(run.network.graph, run.state.params, run.network.frozen)
    scores = np.asarray(score_fn(np.asarray(normalise(windows))))
    shares = (scores / scores.sum(-1, keepdims=True)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(got, shares, atol=2e-5)
    assert np.ptp(got, (2, 3)).max() > 5e-3


def test_metadata_are_what_deepness_reads(exported):
    session = onnxruntime.InferenceSession(exported)
    kept = session.get_modelmeta().custom_metadata_map
    told = {key: json.loads(value) for key, value in kept.items()}
    assert told["model_type"] == "Segmentor"
    assert told["class_names"] == dict(zip("01234", CASID.names, strict=True))
    assert (told["tile_size"], told["tiles_overlap"]) == (32, 34)  # stride 21
    assert told["standardization_mean"] == [0, 0, 0]
    assert told["standardization_std"] == [1, 1, 1]
    # A share below a threshold would become class 0.
    assert told["seg_thresh"] == told["seg_small_segment"] == 0
    assert "resolution" not in told
    assert told["crossearth_precision"] == "float32"
    assert told["crossearth_step"] == 7
    model = onnx.load(exported)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17)]
    assert [path.name for path in exported.parent.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("variant", ["dinov3_tiny", "rvsa_tiny"])
def test_every_family_agrees_in_batches_of_two(tmp_path, tiny_config, variant):
    keys = ("width", "depth", "heads")
    config = tiny_config(**{"data.crop": 64, "backbone.patch_size": 16})
    config.update_from_flattened_dict({f"backbone.{key}": None for key in keys})
    config.backbone.update(variant=variant, depth=2, taps=(0, 0, 1, 1))
    out = tmp_path / "model.onnx"
    found = export_onnx(make_run(config), out, batch=2)
    assert found.difference < 2e-5 and found.other <= 8
    assert found.pixels == 2 * 64 * 64
    assert out.is_file()


def test_a_file_that_computes_something_else_is_not_written(
    monkeypatch, run, exported, capsys
):
    before = exported.read_bytes()
    monkeypatch.setattr(command, "load_model", lambda *_, **__: run)
    monkeypatch.setattr(onnx_file, "onnx_model", lambda *_, **__: onnx.load(exported))
    wrong = lambda run, windows: np.full((1, 32, 32, 5), 0.2)  # noqa: E731
    monkeypatch.setattr(onnx_file, "_own_shares", wrong)
    assert command.main(["runs/tiny", "--out", str(exported)]) == 1
    error = capsys.readouterr().err
    assert "got another result of ONNX Runtime than of JAX (max difference" in error
    assert exported.read_bytes() == before
    assert [path.name for path in exported.parent.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize(
    ("check", "fits", "words"),
    [
        (Check(2e-5, 1e-6, 0, 100), True, "max difference 2e-05, classes equal"),
        (Check(0.3, 1e-3, 10, 1000), True, "classes differ in 10 of 1,000 pixels"),
        (Check(0.3, 1e-3, 11, 1000), False, "classes differ in 11"),
        (Check(0.06, 0.02, 0, 1000), False, "max difference 6e-02"),
        (Check(float("nan"), float("nan"), 0, 1000), False, "max difference nan"),
    ],
)
def test_the_check_counts_pixels_and_refuses_what_is_not_a_number(check, fits, words):
    assert check.fits is fits
    assert words in check.words()


def test_resolution_is_in_centimetres(run):
    data = dataclasses.replace(run.settings.data, raw=RawImages(gsd=0.3))
    settings = dataclasses.replace(run.settings, data=data)
    known = dataclasses.replace(run, settings=settings)
    assert onnx_file._for_deepness(known)["resolution"] == pytest.approx(30)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "model.bin"], "expected a name like model.onnx"),
        (["--out", "no/model.onnx"], "a folder that is there"),
        (["--out", "m.onnx", "--batch", "symbolic"], "--batch symbolic with"),
        (["--out", "m.onnx", "--batch", "0"], "1 or more"),
        (["--out", "m.onnx", "--batch", "two"], "a number or symbolic"),
        (["--out", "m.onnx", "--platforms", "cpu"], "--platforms with --format onnx"),
        (["--out", "m.onnx", "--weights", "baked"], "--weights with --format onnx"),
        (["--out", "m.onnx", "--precision", "bfloat16"], "--precision bfloat16 with"),
    ],
)
def test_arguments_that_cannot_be_are_refused_before_anything_is_loaded(
    monkeypatch, calls, tmp_path, capsys, options, said
):
    monkeypatch.chdir(tmp_path)
    assert command.main(["somewhere", "--format", "onnx", *options]) == 1
    assert said in capsys.readouterr().err
    assert not calls and not list(tmp_path.iterdir())


def test_a_missing_extra_is_one_line(monkeypatch, calls, tmp_path, capsys):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert command.main(["runs/tiny", "--out", str(tmp_path / "m.onnx")]) == 1
    error = capsys.readouterr().err
    assert "got no onnxruntime" in error and "[onnx]" in error and not calls


def test_what_is_no_run_is_one_line(tmp_path, capsys):
    out = str(tmp_path / "m.onnx")
    assert command.main([str(tmp_path), "--out", out, "--format", "onnx"]) == 1
    assert "expected the workdir of a trained run" in capsys.readouterr().err


def test_unknown_formats_are_refused(capsys):
    with pytest.raises(SystemExit):
        command.main(["runs/tiny", "--out", "m.onnx", "--format", "tflite"])
    assert "invalid choice: 'tflite'" in capsys.readouterr().err


def test_licences_of_what_a_run_began_with(tmp_path):
    settings = {"backbone": {"weights": "dinov2-large"}, "train": {"init": None}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert licences(tmp_path, tmp_path) == {"dinov2-large": "Apache-2.0"}
    assert licences("my-own", Path("elsewhere")) == {}
