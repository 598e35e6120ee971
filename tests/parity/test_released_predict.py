"""A checkpoint as the authors save one, through `predict`: their arg-max everywhere."""

import jax
import numpy as np
import pytest
from outside import FIXTURES, needs_fixtures

from crossearth_jax.predict import load
from crossearth_jax.run.released import load_model
from weights_convert.__main__ import main as convert

FILES = ("tiny_segmentor.pth", "tiny_segmentor.npz", "slide.npz")
pytestmark = [needs_fixtures(*FILES), pytest.mark.usefixtures("quick_compile")]
HIDDEN = ("backbone.heads=4", "backbone.taps=1,3,5,7", "decoder.groups=8")


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    place = tmp_path_factory.mktemp("released") / "tiny.safetensors"
    options = [word for each in HIDDEN for word in ("--set", each)]
    assert convert(["crossearth", str(FIXTURES / FILES[0]), str(place), *options]) == 0
    return place


@pytest.mark.slow
def test_class_maps_are_the_authors(converted):
    predictor = load(converted)
    assert predictor.classes.names == ("c0", "c1", "c2", "c3", "c4")  # its own words
    assert (predictor.windows.crop, predictor.windows.stride) == (128, 85)
    slide, one = (np.load(FIXTURES / name) for name in (FILES[2], FILES[1]))
    for name, case in ((("S128"), slide), ("A", one)):
        image = case[f"{name}/raw_bgr"][..., ::-1]
        np.testing.assert_array_equal(
            predictor(image), case[f"{name}/argmax"].squeeze(), err_msg=name
        )


def test_a_checkpoint_of_unpublished_sizes_says_what_it_lacks(
    tmp_path, monkeypatch, converted
):
    monkeypatch.setenv("CROSSEARTH_CACHE", str(tmp_path))
    with pytest.raises(
        ValueError, match=r"--set backbone\.heads=4 --set backbone\.tap"
    ):
        load_model(FIXTURES / FILES[0])


def test_other_classes_and_another_precision(tmp_path, converted):
    colours = [f"  - {{name: k{i}, color: [{i}, 0, 0]}}" for i in range(5)]
    own = tmp_path / "own.yaml"
    own.write_text("\n".join(["classes:", *colours, "encoding: ids"]))
    run = load_model(converted, "bfloat16", classes=str(own))
    assert run.classes.names == ("k0", "k1", "k2", "k3", "k4")
    assert {x.dtype.name for x in jax.tree.leaves(run.network.frozen)} == {"bfloat16"}
    with pytest.raises(ValueError, match="got 7 classes in loveda for a network that"):
        load_model(converted, classes="loveda")
