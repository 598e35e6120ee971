"""Every family behind the interface, from a weights file to exported scores.

DINOv2's way is tested part by part in tests/test_build.py, test_checkpoint.py,
test_export.py and predict/test_predictor.py; here the others go all of it at once.
"""

import dataclasses
import json
import runpy
from contextlib import closing
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export as jax_export
from safetensors.numpy import load_file, save_file
from small_run import abstract_model, random_like

from crossearth_jax import build
from crossearth_jax.config_file import write_config
from crossearth_jax.data.classes import save_classes
from crossearth_jax.data.known_classes import CASID
from crossearth_jax.models.backbone import BackboneConfig
from crossearth_jax.models.families import FAMILIES, VARIANTS
from crossearth_jax.models.parameters import dotted
from crossearth_jax.predict import predictor
from crossearth_jax.run.checkpoint import Checkpoints
from crossearth_jax.run.export import export
from crossearth_jax.run.released import load_model
from crossearth_jax.system import sharding
from crossearth_jax.train_step import TrainState

pytestmark = pytest.mark.usefixtures("quick_compile")

DEMO = Path(__file__).parents[2] / "configs/demo.py"
TINY = sorted(name for name in VARIANTS if name.endswith("_tiny"))
BUT_DINOV2 = [name for name in TINY if name != "vit_tiny"]


def family_of(name):
    return FAMILIES[type(VARIANTS[name])]


def write_weights(config, path):
    """Random weights as the family's converter stores them."""
    params = nnx.to_pure_dict(nnx.state(abstract_model(config)))
    weights = dotted({"backbone": random_like(params["backbone"])})
    weights = {k: np.ascontiguousarray(v) for k, v in weights.items()}
    kind = json.dumps(family_of(config.backbone.variant).name)
    save_file(weights, path, metadata={"kind": kind})
    return weights


def pictures(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@dataclasses.dataclass
class Saved:
    """A run on disk, and what it was made of."""

    variant: str
    workdir: Path
    weights: dict
    network: build.Network
    trained: dict


@pytest.fixture(scope="module", params=BUT_DINOV2)
def saved(request, tiny_config, tmp_path_factory, quick_compile):
    folder = tmp_path_factory.mktemp(request.param)
    config = tiny_config(**{"backbone.variant": request.param})
    config.gse.enabled = config.mim.enabled = config.backbone.trainable = False
    weights = write_weights(config, folder / "backbone.safetensors")
    config.backbone.weights = str(folder / "backbone.safetensors")
    network = build.build_network(config, len(CASID.names))
    trained = jax.tree.map(lambda x: np.asarray(x) * 1.5, network.trainable)
    optimiser = build.build_optimiser(config, network, build.build_schedule(config))
    like = jax.eval_shape(optimiser.init, trained)  # nothing to compile
    opt_state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
    state = TrainState(trained, opt_state, jnp.int32(3), jnp.int32(0))
    write_config(config, folder)
    save_classes(CASID, folder / "classes.json")
    with closing(Checkpoints(folder, frozen=network.digest)) as checkpoints:
        assert checkpoints.save(sharding.replicate(state, sharding.make_mesh()))
    return Saved(request.param, folder, weights, network, trained)


@pytest.fixture(scope="module")
def run(saved):
    with pytest.MonkeyPatch.context() as patch:
        # The same would be built again, in seconds.
        patch.setattr(build, "build_network", lambda *_, **__: saved.network)
        return load_model(saved.workdir)


@pytest.mark.parametrize("name", TINY)
def test_demo_takes_every_family_by_one_key(name):
    config = runpy.run_path(str(DEMO))["get_config"]()
    config.backbone.variant = name
    sizes = build._sizes(config, {})
    assert type(sizes) is type(VARIANTS[name]) and isinstance(sizes, BackboneConfig)
    assert (sizes.width, sizes.depth, sizes.patch_size) == (96, 4, 8)


@pytest.mark.slow
def test_contract(saved):
    """Four maps at stride p, of any sides; adapters after every block."""
    graph, state = nnx.split(saved.network.model.backbone)
    seen = []

    def refine(layer, tokens, is_patch):
        patches = tokens.shape[1] if is_patch is None else int(is_patch.sum())
        seen.append((layer, patches))
        return tokens

    image = jax.ShapeDtypeStruct((2, 16, 40, 3), jnp.float32)
    taps = jax.eval_shape(lambda s, x: nnx.merge(graph, s)(x, refine), state, image)
    assert [tap.shape for tap in taps] == [(2, 2, 5, 32)] * 4
    assert seen == [(layer, 2 * 5) for layer in range(4)]
    odd = jax.ShapeDtypeStruct((1, 16, 41, 3), jnp.float32)
    with pytest.raises(ValueError, match="got a 16x41 image, expected multiples of"):
        jax.eval_shape(lambda s, x: nnx.merge(graph, s)(x), state, odd)


@pytest.mark.slow
def test_frozen_is_the_file_and_checkpoints_hold_the_rest(saved, run):
    frozen = dotted(saved.network.frozen)
    assert frozen.keys() == saved.weights.keys()
    for path, array in frozen.items():
        np.testing.assert_array_equal(array, saved.weights[path], path)
    stored = dotted(jax.device_get(run.state.params))
    assert {path.split(".")[0] for path in stored} == {"rein", "decoder"}
    for path, array in dotted(saved.trained).items():
        np.testing.assert_array_equal(stored[path], array, path)


@pytest.mark.slow
def test_export_gives_what_predict_gives(run, monkeypatch, tmp_path):
    monkeypatch.setattr(predictor, "load_model", lambda *_, **__: run)
    predict = predictor.load(run.workdir, batch=1)
    windows = pictures(2, 32, 32, 3)
    expected = [predict.scores(window) for window in windows]
    assert not np.allclose(*expected)
    out = tmp_path / "model.stablehlo"
    export(run, out, platforms=("cpu",))
    function = jax_export.deserialize(bytearray(out.read_bytes()))
    weights = load_file(out.with_suffix(".safetensors"))
    scores = jax.jit(function.call)(weights, windows)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_weights_of_another_family_are_refused(saved, tiny_config):
    config = tiny_config()
    config.backbone.weights = str(saved.workdir / "backbone.safetensors")
    kind = family_of(saved.variant).name
    with pytest.raises(ValueError, match=rf"of a {kind} backbone.*convert dinov2"):
        build.build_network(config, len(CASID.names))


def test_sizes_that_a_family_lacks_are_refused(tiny_config):
    config = tiny_config(**{"backbone.variant": "rvsa_tiny", "backbone.registers": 4})
    with pytest.raises(ValueError, match=r"got backbone\.registers with backbone\.var"):
        build.build_network(config, 5)


@pytest.mark.parametrize("name", TINY)
def test_missing_weights_name_the_converter(name, tiny_config):
    config = tiny_config(**{"backbone.variant": name, "backbone.trainable": False})
    command = f"crossearth convert {family_of(name).name} SOURCE"
    with pytest.raises(ValueError, match=command):
        build.build_network(config, 5)
