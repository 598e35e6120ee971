"""Bad input: one clear line, a non-zero exit, no traceback, nothing half-written.

Most cases run `main` in this process; the command line itself, whose errors come
before `main`, runs in subprocesses.
"""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from jax.sharding import Mesh
from ml_collections import ConfigDict
from PIL import Image
from safetensors.numpy import save_file
from small_run import make_run, write_backbone

from crossearth_jax import cli, main
from crossearth_jax.run.checkpoint import Checkpoints
from crossearth_jax.system import sharding

pytestmark = pytest.mark.usefixtures("quick_compile")
ROOT = Path(__file__).parents[1]


# ---- the command line ---------------------------------------------------------------


def typed(*arguments: str, module: str = "crossearth_jax.main"):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: got no --config, expected e.g. --config configs/demo.py"),
        (
            ["--config", "configs/demo.py", "--config.train.stepz=3"],
            "error: --config.train.stepz=3: got an unknown configuration key 'stepz'. "
            'Did you mean "steps" instead of "stepz"?',
        ),
        (
            ["--config", "configs/nothing.py"],
            "error: --config: [Errno 2] No such file or directory: "
            "'configs/nothing.py'",
        ),
        (
            ["--config", "configs/casid.py:moon"],
            "error: ValueError: got casid.py:moon, expected one of sub, tem, tms, trf",
        ),
        (
            ["--config", "configs/demo.py", "--config.train.steps=many"],
            "error: flag --config.train.steps=many: invalid literal for int() with "
            "base 10: 'many'",
        ),
        (
            ["--config", "configs/folder.py", "--config.data.train=/no/a:/no/b"],
            "error: /no/a: got no such folder, expected one: check the path",
        ),
    ],
    ids=["no config", "unknown key", "no file", "argument", "type", "folder"],
)
def test_command_line_ends_in_one_line(tmp_path, arguments, message):
    result = typed(*arguments, "--workdir", str(tmp_path / "run"))
    assert result.returncode == 1
    lines = [x for x in result.stderr.splitlines() if x != "(--traceback shows where)"]
    assert lines == [message]
    assert not (tmp_path / "run").exists()


def test_crossearth_names_its_commands(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["crossearth", "trian"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert str(stop.value.code).startswith("error: got command 'trian'")
    assert "train " in str(stop.value.code)
    for arguments in ([], ["--help"], ["help"]):
        monkeypatch.setattr(sys, "argv", ["crossearth", *arguments])
        cli.main()
        shown = capsys.readouterr().out
        assert shown.startswith("usage: crossearth COMMAND")
        for command in ("train", "eval", "style-statistics"):
            assert f"\n  {command} " in shown


@pytest.mark.parametrize("command", ["train", "eval"])
def test_crossearth_passes_the_rest_on(monkeypatch, command):
    seen = []
    monkeypatch.setattr(main, "start", lambda: seen.extend(sys.argv))
    monkeypatch.setattr(sys, "argv", ["crossearth", command, "--config", "x.py"])
    cli.main()
    assert seen[1:] == [f"--mode={command}", "--config", "x.py"]


# ---- runs that cannot start -------------------------------------------------------


@pytest.fixture
def failed(monkeypatch, tmp_path):
    """Runs `main` on a configuration that must fail; gives the message."""
    workdir = tmp_path / "run"
    monkeypatch.setattr(main, "set_up_compiler", lambda: None)
    monkeypatch.setattr(main, "_TRACEBACK", SimpleNamespace(value=False))
    monkeypatch.setattr(main, "_WORKDIR", SimpleNamespace(value=str(workdir)))

    def run(config: ConfigDict, mode: str = "train", *, left: bool = False) -> str:
        monkeypatch.setattr(main, "_CONFIG", SimpleNamespace(value=config))
        monkeypatch.setattr(main, "_MODE", SimpleNamespace(value=mode))
        with pytest.raises(SystemExit) as stop:
            main.main(["crossearth"])
        # Python prints such a code on stderr and exits with 1.
        message = stop.value.code
        assert isinstance(message, str) and message.startswith("error: ")
        assert message.endswith("\n(--traceback shows where)")
        assert "Traceback" not in message
        assert workdir.exists() is left
        return message.removesuffix("\n(--traceback shows where)")

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


def test_label_value_outside_the_classes(folder, failed):
    root, config = folder
    Image.fromarray(np.full((40, 48), 9, np.uint8)).save(root / "labels" / "3.png")
    message = failed(config)
    assert f"{root}/labels/3.png: got label value 9 in 1920 pixels" in message
    assert "5 classes" in message


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
    assert "python -m weights_convert dinov2" in message
    assert "--crop 32" in message


def test_missing_weights_file(tiny_config, tmp_path, failed):
    path = tmp_path / "none.safetensors"
    message = failed(tiny_config(**{"backbone.weights": str(path)}))
    assert message.startswith(f"error: got weights {path}, expected an existing")
    assert "python -m weights_convert dinov2" in message


def test_damaged_weights_file(tiny_config, tmp_path, failed):
    path = tmp_path / "vit.safetensors"
    config = tiny_config()
    write_backbone(config, path)
    path.write_bytes(path.read_bytes()[:-100])
    config.backbone.weights = str(path)
    message = failed(config)
    assert message.startswith(f"error: got a damaged weights file {path}")
    assert message.endswith("convert it again")


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


def test_evaluation_without_a_checkpoint(tiny_config, failed, tmp_path):
    # Neither styles nor batches that the devices could share are needed to score.
    training_only = {"style.transfer": "ghiasi", "train.accumulate": 3}
    message = failed(tiny_config(**training_only), mode="eval")
    assert f"got no checkpoint in {tmp_path}/run/checkpoints" in message
    assert "--workdir" in message


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


def test_traceback_on_request(tiny_config, monkeypatch):
    monkeypatch.setattr(main, "_TRACEBACK", SimpleNamespace(value=True))
    config = tiny_config(**{"data.climate": "polar"})
    monkeypatch.setattr(main, "_CONFIG", SimpleNamespace(value=config))
    monkeypatch.setattr(main, "_WORKDIR", SimpleNamespace(value="/nowhere"))
    monkeypatch.setattr(main, "_MODE", SimpleNamespace(value="train"))
    monkeypatch.setattr(main, "set_up_compiler", lambda: None)
    with pytest.raises(ValueError, match="polar"):
        main.main(["crossearth"])
