"""Both commands on a run with random weights."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image
from small_run import abstract_model

from crossearth_jax import build
from crossearth_jax.commands import features, umap
from crossearth_jax.data.known_classes import CASID
from crossearth_jax.features.domains import choose_domains
from crossearth_jax.features.extractor import Extractor, has_injector, make_extractor
from crossearth_jax.features.taps import make_feature_fn
from crossearth_jax.models.parameters import combine
from crossearth_jax.pixels.normalise import normalise
from crossearth_jax.run.trained import TrainedRun
from crossearth_jax.run_settings import read_settings
from crossearth_jax.scoring.windows import Windows
from crossearth_jax.train_step import TrainState

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compile")]
ALL = (0, 1, 2, 3)


@pytest.fixture(scope="module")
def run(tiny_config, tmp_path_factory, quick_compile):
    """Random weights, and Injectors that do something."""
    config = tiny_config()
    network = build.build_network(config, len(CASID.names))
    params = jax.device_get(network.trainable)
    for injector in params["injectors"].values():
        injector["gamma"] = np.full_like(injector["gamma"], 0.5)
    state = TrainState(params, None, jnp.int32(4), jnp.int32(0))
    workdir = tmp_path_factory.mktemp("run")
    return TrainedRun(workdir, read_settings(config), CASID, network, state)


def picture(height, width):
    rng = np.random.default_rng(height)
    return rng.integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_features_are_those_of_the_model_before_and_after_the_injector(run):
    extract = make_extractor(run, taps=ALL, variants=(False, True))
    assert extract.token == 8
    image = picture(32, 32)
    features = extract(image)

    @jax.jit
    def reference(params, frozen, x):
        model = nnx.merge(run.network.graph, combine(params, frozen))
        taps, queries = model.taps(x), model.gse(x)
        injected = [f(t, queries) for f, t in zip(model.injectors, taps, strict=True)]
        return taps, injected

    x = np.repeat(normalise(image)[None], run.windows.batch, 0)
    for v, maps in enumerate(reference(run.state.params, run.network.frozen, x)):
        for tap in ALL:
            np.testing.assert_allclose(features[v, tap], maps[tap][0], atol=1e-5)
    assert np.abs(features[1] - features[0]).max() > 1e-3


def test_what_the_model_does_not_have_is_refused(run, tiny_config):
    with pytest.raises(ValueError, match=r"got taps \[5\]"):
        make_feature_fn(run.network, run.state, taps=[4], variants=[False])
    with pytest.raises(ValueError, match="got batch 0"):
        make_extractor(run, taps=(3,), variants=(True,), batch=0)
    rein = abstract_model(tiny_config(**{"gse.enabled": False}))
    network = dataclasses.replace(run.network, model=rein)
    with pytest.raises(ValueError, match="pass --no-injector"):
        make_feature_fn(network, run.state, taps=[3], variants=[True])
    assert has_injector(run)
    assert not has_injector(dataclasses.replace(run, network=network))


def test_domains_are_the_runs_and_others(run, tmp_path):
    for place in ("a", "b"):
        for kind in ("images", "labels"):
            (tmp_path / place / kind).mkdir(parents=True)
            pixels = Image.fromarray(picture(32, 32)[..., 0] % 5)
            pixels.save(tmp_path / place / kind / "x.png")
    given = f"trf, far={tmp_path / 'a'},{tmp_path / 'b'},sub"
    chosen = choose_domains(run, given, "ids")
    assert [d.name for d in chosen] == ["trf", "far", "sub"]
    assert chosen[1].source.names == ("a.x", "b.x")
    assert chosen[1].source[0].label.max() == 4
    assert [d.role for d in choose_domains(run, None)] == ["source"] + 3 * ["unseen"]
    with pytest.raises(ValueError, match="no name twice"):
        choose_domains(run, "sub,sub")


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_feature_maps_of_two_images_twice_the_same(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(features, "load_run", lambda *_: run)
    folder = tmp_path / "images"
    folder.mkdir()
    sizes = {"a": (32, 45), "b": (50, 32)}
    for name, size in sizes.items():
        Image.fromarray(picture(*size)).save(folder / f"{name}.png")
    for out in ("one", "two"):
        arguments = ["run", str(folder), "--out", str(tmp_path / out), "--tap", "all"]
        assert features.main(arguments) == 0
    made = bytes_of(tmp_path / "one")
    assert made == bytes_of(tmp_path / "two")
    assert len(made) == 2 * 8 + 2
    for name, (height, width) in sizes.items():
        with Image.open(tmp_path / f"one/{name}_tap4_injector.png") as image:
            assert image.size == (width, height)
    found = json.loads(made["features.json"])
    assert [m["block"] for m in found["maps"]] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert all(0 < sum(m["explained_variance"]) <= 1 for m in found["maps"])
    assert all(m["change_by_injector"] > 0.01 for m in found["maps"][1::2])
    assert "tap 4 (block 4) with Injector" in capsys.readouterr().out

    Image.fromarray(picture(8, 8)).save(tmp_path / "a.png")
    again = ["run", str(folder), str(tmp_path / "a.png"), "--out", str(tmp_path / "x")]
    assert features.main(again) == 1
    assert "several images named a" in capsys.readouterr().err


def test_umap_of_the_runs_domains_twice_the_same(run, tmp_path, monkeypatch, capsys):
    pytest.importorskip("umap", reason="needs the extra umap")
    monkeypatch.setattr(umap, "load_run", lambda *_: run)
    asked = []

    def extractor(_, **options):
        """Means of pixels in place of the network, which would compile once more."""
        asked.append(options)

        def means(windows):
            tokens = windows.reshape(len(windows), 4, 8, 4, 8, 3)
            return np.concatenate([tokens.mean((2, 4)), tokens.std((2, 4))], 3)[
                :, None, None
            ]

        windows = Windows(crop=32, stride=24, patch=16, batch=2)
        return Extractor(means, (3,), (True,), token=8, windows=windows)

    monkeypatch.setattr(umap, "make_extractor", extractor)
    for out in ("one", "two"):
        arguments = ["run", "--out", str(tmp_path / out), "--domains", "sub,trf"]
        assert umap.main([*arguments, "--per-class", "12"]) == 0
    assert asked[0] == {"taps": [3], "variants": [True], "batch": None}
    made = bytes_of(tmp_path / "one")
    assert made == bytes_of(tmp_path / "two")
    assert set(made) == {"umap.png", "umap.svg", "umap.json", "umap.csv"}
    found = json.loads(made["umap.json"])
    tokens = sum(sum(counts.values()) for counts in found["tokens"].values())
    assert len(made["umap.csv"].splitlines()) == 1 + tokens > 60
    gaps = {(g["first"], g["second"]): g for g in found["gaps"]}
    assert list(gaps) == [("sub", "sub"), ("trf", "trf"), ("sub", "trf")]
    assert gaps["sub", "trf"]["frechet"] > 0 and set(found["silhouette"]) == {
        "all",
        "sub",
        "trf",
    }
    assert "sub - trf" in capsys.readouterr().out

    assert umap.main(["run", "--out", "x", "--domains", "atlantis"]) == 1
    assert "expected one of sub, " in capsys.readouterr().err
