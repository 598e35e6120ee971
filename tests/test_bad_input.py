"""Bad input: one clear line, a non-zero exit, no traceback, nothing half-written."""

from unittest.mock import Mock

import numpy as np
import pytest
from jax.sharding import Mesh
from ml_collections import ConfigDict
from PIL import Image
from safetensors.numpy import save_file
from small_run import make_run, write_backbone

from crossearth_jax import config_file, main
from crossearth_jax.run.checkpoint import Checkpoints
from crossearth_jax.system import sharding

pytestmark = pytest.mark.usefixtures("quick_compile")


# ---- the command line ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--config", "configs/demo.py", "--config.train.stepz=3"],
            "error: got --config.train.stepz=3, which is an unknown configuration key, "
            "expected one such as train.steps: `crossearth train --help` lists them",
        ),
        (
            ["--config", "configs/nothing.py"],
            "error: got --config configs/nothing.py, expected a .py file or one of "
            "casid, deepglobe_massachusetts, demo, folder, loveda, potsdam_rescuenet, "
            "potsdam_vaihingen, whu_building: check the path, or copy one with "
            "`crossearth configs --copy NAME`",
        ),
        (
            ["--config", "configs/casid.py:moon"],
            "error: got casid.py:moon, expected one of sub, tem, tms, trf",
        ),
        (
            ["--config", "configs/demo.py", "--config.train.steps", "many"],
            "error: got --config.train.steps=many, expected int, such as 400",
        ),
        (
            ["--config", "configs/folder.py", "--config.data.train=/no/a:/no/b"],
            "error: /no/a: got no such folder, expected one: check the path",
        ),
    ],
    ids=["unknown key", "no file", "argument", "type", "folder"],
)
def test_command_line_ends_in_one_line(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.setattr(main, "_set_up_process", lambda: None)
    assert main.main([*arguments, "--workdir", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err == f"{message}\n(--traceback shows where)\n"
    assert not (tmp_path / "run").exists()


# ---- runs that cannot start -------------------------------------------------------


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Starts a run of a configuration as the command line does; gives the status."""
    monkeypatch.setattr(main, "_set_up_process", lambda: None)

    def run(config: ConfigDict, *more: str) -> int:
        monkeypatch.setattr(config_file, "parse", lambda file, changes: config)
        return main.main(["--config=x", f"--workdir={tmp_path / 'run'}", *more])

    return run


@pytest.fixture
def failed(start, capsys, tmp_path):
    """Starts a run that must fail; gives the message."""

    def run(config: ConfigDict, mode: str = "train", *, left: bool = False) -> str:
        assert start(config, f"--mode={mode}") == 1
        message = capsys.readouterr().err
        assert message.startswith("error: ") and "Traceback" not in message
        assert message.endswith("\n(--traceback shows where)\n")
        assert (tmp_path / "run").exists() is left
        return message.removesuffix("\n(--traceback shows where)\n")

    return run


@pytest.fixture
def folder(tmp_path, tiny_config):
    """Four good images and labels; the configuration that trains on them."""
    rng = np.random.default_rng(0)
    root = tmp_path / "data"
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
    for i in range(4):
        image = rng.integers(0, 255, (40, 48, 3)).astype(np.uint8)
        Image.fromarray(image).save(root / "images" / f"{i}.png")
        label = rng.integers(0, 5, (40, 48)).astype(np.uint8)
        Image.fromarray(label).save(root / "labels" / f"{i}.png")
    overrides = {
        "data.kind": "folder",
        "data.train": str(root),
        "data.classes": "casid",
        "data.encoding": "ids",
        "data.scales": (1.0,),
        "train.batch_size": 4,
    }
    return root, tiny_config(**overrides)


def test_missing_folder(folder, failed):
    root, config = folder
    config.data.train = f"{root}/pictures:{root}/labels"
    assert failed(config) == (
        f"error: {root}/pictures: got no such folder, expected one: check the path"
    )


def test_empty_folder(folder, failed):
    root, config = folder
    for path in (root / "images").iterdir():
        path.unlink()
    assert (
        failed(config) == f"error: {root}/images: got an empty folder, expected images"
    )


def test_image_without_label(folder, failed):
    root, config = folder
    (root / "labels" / "2.png").unlink()
    message = failed(config)
    assert "got 1 images without label (e.g. 2)" in message
    assert "rename, add or remove files" in message


def test_unknown_file_type(folder, failed):
    root, config = folder
    (root / "images" / "2.png").rename(root / "images" / "2.jp2")
    message = failed(config)
    assert f"{root}/images: got 1 entries of unknown type (e.g. 2.jp2)" in message


def test_size_mismatch(folder, failed):
    root, config = folder
    Image.fromarray(np.zeros((40, 47), np.uint8)).save(root / "labels" / "1.png")
    message = failed(config)
    assert f"{root}/labels/1.png: got a label of 47 x 40 pixels" in message
    assert "48 x 40" in message


@pytest.mark.slow
def test_label_value_outside_the_classes(folder, failed):
    root, config = folder
    Image.fromarray(np.full((40, 48), 9, np.uint8)).save(root / "labels" / "3.png")
    message = failed(config)
    assert f"{root}/labels/3.png: got label value 9 in 1920 pixels" in message
    assert "5 classes" in message


@pytest.mark.slow
def test_truncated_image(folder, failed):
    root, config = folder
    path = root / "images" / "0.png"
    path.write_bytes(path.read_bytes()[:-600])
    message = failed(config)
    assert f"{path}: cannot be decoded" in message
    assert 'data.on_corrupt="skip"' in message


def test_classes_that_cannot_be_inferred(folder, failed):
    root, config = folder
    config.data.classes = None
    Image.fromarray(np.full((40, 48), 77, np.uint8)).save(root / "labels" / "3.png")
    message = failed(config)
    assert "got label values 0, 1, 2, 3, 4, 77" in message
    config.data.classes = str(root / "classes.yaml")
    assert f"class file {root}/classes.yaml: got no such file" in failed(config)


def test_frozen_backbone_without_weights(tiny_config, failed):
    message = failed(tiny_config(**{"backbone.trainable": False}))
    assert "crossearth convert dinov2" in message
    assert "--crop 32" in message


def test_missing_weights_file(tiny_config, tmp_path, failed):
    path = tmp_path / "none.safetensors"
    message = failed(tiny_config(**{"backbone.weights": str(path)}))
    assert message.startswith(f"error: got weights {path}, which are missing")
    assert "crossearth convert dinov2" in message


@pytest.mark.slow
def test_damaged_weights_file(tiny_config, tmp_path, failed):
    path = tmp_path / "vit.safetensors"
    config = tiny_config()
    write_backbone(config, path)
    path.write_bytes(path.read_bytes()[:-100])
    config.backbone.weights = str(path)
    message = failed(config)
    assert message.startswith(f"error: got a damaged weights file {path}")
    assert message.endswith("convert it again")


@pytest.mark.slow
def test_weights_of_another_backbone(tiny_config, tmp_path, failed):
    path = tmp_path / "vit.safetensors"
    write_backbone(tiny_config(**{"backbone.width": 16}), path)
    message = failed(tiny_config(**{"backbone.weights": str(path)}))
    assert "the weights for backbone" in message
    assert "backbone.blocks.0.attn.proj.bias: (16,) in the" in message
    save_file({"other": np.zeros(1, np.float32)}, path)
    assert "only in the model" in failed(tiny_config(**{"backbone.weights": str(path)}))


def test_batch_that_the_devices_cannot_share(tiny_config, failed, monkeypatch):
    mesh = Mock(spec=Mesh, size=4)
    monkeypatch.setattr(sharding, "make_mesh", lambda *_: mesh)
    message = failed(tiny_config(**{"train.batch_size": 6}))
    assert "train.batch_size=6 in train.accumulate=1 part(s) on 4 devices" in message


@pytest.mark.slow
def test_evaluation_without_a_checkpoint(tiny_config, failed, tmp_path):
    # Neither styles nor batches that the devices could share are needed to score.
    training_only = {"style.transfer": "ghiasi", "train.accumulate": 3}
    message = failed(tiny_config(**training_only), mode="eval")
    assert f"got no checkpoint in {tmp_path}/run/checkpoints" in message
    assert "--workdir" in message


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_checkpoint_of_another_architecture(tiny_config, failed, tmp_path, mode):
    off = {"gse.enabled": False, "mim.enabled": False, "style.probability": 0.0}
    other = make_run(tiny_config(**off, **{"rein.rank": 2}))
    checkpoints = Checkpoints(tmp_path / "run", keep=1)
    checkpoints.save(other.state)
    checkpoints.close()
    files = sorted((tmp_path / "run").rglob("*"))
    message = failed(tiny_config(**off), mode=mode, left=True)
    assert f"checkpoint {tmp_path}/run/checkpoints/0 belongs to another" in message
    assert "params.rein.tokens_a: ((4, 8, 2), 'float32') in the checkpoint" in message
    assert sorted((tmp_path / "run").rglob("*")) == files


def test_traceback_on_request(tiny_config, start):
    with pytest.raises(ValueError, match="polar"):
        start(tiny_config(**{"data.climate": "polar"}), "--traceback")
