"""A clean cache: download a stand-in of every kind, train two steps, predict."""

import hashlib
import json
from contextlib import closing

import numpy as np
import pytest
from safetensors.numpy import load_file
from stand_ins import crossearth_file, dinov2_file, dinov3_file, mtp_file
from style_release import write_release

from crossearth_jax.build_data import build_restyle
from crossearth_jax.cli import main
from crossearth_jax.hub import cache, catalogue
from crossearth_jax.hub.weights import find_weights
from crossearth_jax.models.families import VARIANTS
from crossearth_jax.predict import load
from crossearth_jax.run.checkpoint import Checkpoints
from crossearth_jax.run_settings import StyleSettings
from weights_convert.architecture import backbone_shapes

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compile")]


# The tiny run on a frozen backbone by name; what it has besides compiles for long.
SETTINGS = {
    "backbone.variant": "vit_tiny",
    "backbone.weights": "dinov2-small",
    "backbone.trainable": False,
    "backbone.patch_size": 16,
    "backbone.width": 96,
    "backbone.heads": 3,
    "data.crop": 64,
    "data.eval_scenes": 1,
    "gse.enabled": False,
    "mim.enabled": False,
    "style.probability": 0.0,
    "train.steps": 2,
}


@pytest.fixture
def published(hub, listed, tmp_path):
    """All of them: four on the hub, one on another server, one by hand."""
    own = {"about": "", "licence": ""}
    release, _ = write_release(tmp_path / "release")
    names = sorted(path.name for path in release.iterdir())
    for name in names:
        hub.files[f"some/style/{name}"] = (release / name).read_bytes()
    style = {**own, "name": "style-augmentation", "kind": "style"}
    files = [{"name": name} for name in names]
    listed({**style, "url": f"{hub.address}/some/style", "files": files})
    for name, content in {
        "dinov2-small": dinov2_file(),
        "dinov3-small": dinov3_file(),
        "crossearth-dinov2-512": dinov2_file(),
        "crossearth-vaihingen": crossearth_file(tmp_path / "a.pth", 6),
    }.items():
        model = catalogue.model_of(name)
        hub.files[f"{model.hub}/{model.files[0].name}"] = content
    model = catalogue.model_of("mtp-base")
    place = cache.place_of(model, model.files[0])
    place.parent.mkdir(parents=True)
    mtp_file(place)


def test_download_train_and_predict(published, tmp_path, monkeypatch):
    pytest.importorskip("pooch")
    monkeypatch.chdir(tmp_path)
    names = ("dinov2-small", "dinov3-small", "mtp-base", "style-augmentation")
    assert main(["download", *names, "crossearth-vaihingen"]) == 0
    # Trained by name, frozen; mapped from another folder.
    (tmp_path / "tiny.py").write_text("from tiny import get_config\n")
    changes = [f"--config.{key}={value}" for key, value in SETTINGS.items()]
    assert main(["train", "--config", "tiny.py", "--workdir", "run", *changes]) == 0
    kept = json.loads((tmp_path / "run/config.json").read_text())
    assert kept["backbone"]["weights"] == "dinov2-small"
    with closing(Checkpoints(tmp_path / "run", read_only=True)) as saved:
        [source] = saved.made(2)["weights_from"]["sources"]
    assert source["sha256"] == hashlib.sha256(dinov2_file()).hexdigest()
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    assert load(tmp_path / "run")(image).max() < 5
    # The whole network by name.
    predictor = load("crossearth-vaihingen", batch=1)
    assert predictor.classes.names[4] == "car"
    assert predictor(image).shape == (64, 64)
    # The rest as a configuration takes it.
    for variant, name in (("dinov3_tiny", "dinov3-small"), ("rvsa_tiny", "mtp-base")):
        shapes = backbone_shapes(VARIANTS[variant])
        assert {*shapes} <= {*load_file(find_weights(name))}
    statistics = [*(cache.folder() / "converted").glob("style-*_statistics.npz")]
    style = StyleSettings("ghiasi", "style-augmentation", statistics[0], None, 0.1)
    assert build_restyle(style) is not None
