"""The code of docs/extend.md: executed, and its changes applied to the source."""

import re
import sys
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_run import abstract_model

import crossearth_jax.config
import crossearth_jax.earth_style.views
import crossearth_jax.losses.mim
import crossearth_jax.train_step
from crossearth_jax.data.datasets import Source
from crossearth_jax.data.pipeline import Batch
from crossearth_jax.models import families
from crossearth_jax.models.backbone import BackboneConfig
from crossearth_jax.models.precision import Arithmetic
from crossearth_jax.run_settings import read_settings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(
        rf"^```{language}(.*?)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE
    )


def executed(pattern):
    """Names after the Python blocks that match, and those before them."""
    names = {}
    for _, code in blocks("python"):
        if re.search(pattern, code):
            exec(compile(code, "docs/extend.md", "exec"), names)
    return names


def test_files_that_the_page_names_exist():
    known = [p.relative_to(ROOT).as_posix() for p in ROOT.rglob("*.py")]
    named = set(re.findall(r"`([\w/]+\.py)`", PAGE))
    assert len(named) > 8
    for name in named:
        assert any(f"/{one}".endswith(f"/{name}") for one in known), name


@pytest.fixture
def mixer(monkeypatch):
    monkeypatch.setattr(families, "FAMILIES", dict(families.FAMILIES))
    monkeypatch.setattr(families, "VARIANTS", dict(families.VARIANTS))
    return executed("Mixer")


def test_the_backbone_keeps_the_contract(mixer, tiny_config):
    config = families.published("mixer_tiny")
    family = families.family_of(config)
    assert isinstance(config, BackboneConfig) and family.name == "mixer"
    calls = []

    def refine(i, tokens, is_patch):
        calls.append((int(i), tokens.shape, is_patch))
        return tokens

    def run(image):
        model = family.module(
            config, rngs=nnx.Rngs(0), arithmetic=Arithmetic("bfloat16")
        )
        return model(image, refine)

    image = jax.ShapeDtypeStruct((2, 32, 48, 3), jnp.float32)
    maps = jax.eval_shape(run, image)
    assert [tuple(each.shape) for each in maps] == [(2, 4, 6, 64)] * 4
    assert calls == [(i, (2, 24, 64), None) for i in range(4)]
    tiny = tiny_config(
        **{
            "backbone.variant": "mixer_tiny",
            **dict.fromkeys(("backbone.width", "backbone.depth", "backbone.heads")),
            "backbone.taps": (),
        }
    )
    params = nnx.to_pure_dict(nnx.state(abstract_model(tiny)))
    assert set(params["backbone"]) == {"embed", "blocks"} and "rein" in params


def test_the_data_set_is_a_source_that_trains_and_is_scored():
    names = executed("ArraySource")
    source, batch = names["source"], names["batch"]
    assert isinstance(source, Source) and len(source) == 6
    assert batch.image.shape == (2, 64, 64, 3) and batch.label.shape == (2, 64, 64)
    assert names["far_away"].source is source
    other = names["ArraySource"](names["images"] + 1, names["labels"])
    assert source.fingerprint() != other.fingerprint()


def changed(place):
    """The source of a file with all of the page's changes to it."""
    text = (ROOT / "crossearth_jax" / place).read_text(encoding="utf-8")
    found = [diff for name, diff in blocks("diff") if name.strip() == place]
    assert found
    for diff in found:
        lines = diff.splitlines()
        before = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "+")
        after = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "-")
        assert text.count(before) == 1, f"{place} no longer has:\n{before}"
        text = text.replace(before, after)
    return text


def changed_module(monkeypatch, module):
    """Executes a changed file in place of its module."""
    place = Path(module.__file__).relative_to(ROOT / "crossearth_jax").as_posix()
    made = ModuleType(module.__name__)
    made.__file__ = module.__file__
    monkeypatch.setitem(sys.modules, module.__name__, made)
    exec(compile(changed(place), place, "exec"), made.__dict__)
    return made


@pytest.mark.slow
def test_the_loss_enters_the_sum_by_its_key(monkeypatch, tiny_config):
    losses = changed_module(monkeypatch, crossearth_jax.losses.mim)
    views = changed_module(monkeypatch, crossearth_jax.earth_style.views)
    step = changed_module(monkeypatch, crossearth_jax.train_step)
    config = changed_module(monkeypatch, crossearth_jax.config)
    assert config.default().mim.smooth == 0.0

    flat = jnp.ones((2, 4, 4, 3)).at[1, 2:].set(3.0)  # one edge of 2 in three rows
    np.testing.assert_allclose(losses.smoothness(flat), [0, 2 / 3], rtol=1e-6)

    rebuilt = []
    monkeypatch.setattr(
        step, "smoothness", lambda x: rebuilt.append(x.shape) or losses.smoothness(x)
    )
    tiny = tiny_config(**{"style.probability": 0.0})
    masked = views.MaskedModelling(block=8, smooth=0.5)
    objective = step.Objective(read_settings(tiny).objective.segmentation, None, masked)
    graph, state = nnx.split(abstract_model(tiny))
    batch = Batch(np.zeros((2, 32, 32, 3), np.uint8), np.zeros((2, 32, 32), np.uint8))

    def loss(state, key):
        model = nnx.merge(graph, state)
        return step.compute_losses(model, None, batch, key, objective)

    found = jax.eval_shape(loss, state, jax.random.key(0))
    assert found["loss"].shape == () and rebuilt == [(2, 32, 32, 3)]
