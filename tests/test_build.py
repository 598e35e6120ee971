"""From a configuration to objects: sizes, weights, and what is refused."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_run import abstract_model, write_backbone

from crossearth_jax import build
from crossearth_jax.build_data import build_data, warn_of_overlap
from crossearth_jax.config import default
from crossearth_jax.data.folders import Pair
from crossearth_jax.data.packed import Packed
from crossearth_jax.models.crossearth import halved
from crossearth_jax.models.parameters import dotted
from crossearth_jax.paper.settings import CLIMATES
from crossearth_jax.run import announce
from crossearth_jax.run_settings import read_settings


@pytest.mark.slow
def test_full_vit_large_has_the_authors_parameter_counts():
    """Rein and head as the authors' model; GSE, Injectors and MIM come on top."""
    params = nnx.to_pure_dict(nnx.state(abstract_model(default(), num_classes=5)))
    frozen = {"backbone": params.pop("backbone")}
    counts = announce.parameter_counts(params, frozen)
    assert counts["rein"] == (2_990_081, 0)
    assert counts["decoder"] == (20_576_198, 0)
    assert counts["backbone"][0] == 0
    assert counts["backbone"][1] == pytest.approx(304e6, rel=0.005)
    assert counts["prompt"] == (512 * 512 * 3, 0)
    assert counts.keys() == {
        "backbone",
        "rein",
        "decoder",
        "gse",
        "injectors",
        "mim_decoder",
        "prompt",
    }


@pytest.mark.slow
def test_frozen_backbone_takes_the_file_in_the_compute_type(
    tiny_config, tmp_path, quick_compile
):
    config = tiny_config(precision="bfloat16")
    config.mim.enabled = config.gse.enabled = False
    weights = write_backbone(config, tmp_path / "vit.safetensors")
    config.backbone.weights = str(tmp_path / "vit.safetensors")
    config.backbone.trainable = False
    network = build.build_network(config, 5)
    frozen = dotted(network.frozen)
    assert frozen.keys() == weights.keys()
    for path, x in frozen.items():
        assert np.array_equal(x, jnp.asarray(weights[path], jnp.bfloat16)), path
    trainable = jax.tree.leaves(network.trainable)
    assert {x.dtype for x in trainable} == {jnp.dtype("float32")}
    # A weak type would compile the step once more for the second and third step.
    assert not any(x.weak_type for x in trainable)


def test_weights_of_another_grid_keep_their_grid(tiny_config):
    config = tiny_config()
    weights = {"backbone.pos_embed": np.zeros((1 + 7 * 7, 32), np.float32)}
    assert build._sizes(config, weights).grid == 7
    assert build._sizes(config, {}).grid == 4  # crop / patch


def test_frozen_backbone_without_weights_names_the_conversion(tiny_config):
    config = tiny_config(**{"backbone.trainable": False, "data.crop": 64})
    with pytest.raises(ValueError, match="frozen backbone without weights") as error:
        build.build_network(config, 5)
    for part in (
        "crossearth convert dinov2 ",
        "--crop 64",
        "--config.backbone.weights=NAME",
        "--config.backbone.trainable=True",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"precision": "half"},
            'got precision="half", expected one of "float32", "tensorfloat32", ',
        ),
        ({"backbone.variant": "vit_huge"}, 'got backbone.variant="vit_huge".*vit_base'),
        ({"data.crop": 40}, r"got data\.crop=40 .* twice the patch size"),
        ({"backbone.taps": (0, 1)}, "expected four 0-based"),
        ({"backbone.taps": (0, 1, 2, 4)}, r"got taps \(0, 1, 2, 4\) of 4 blocks"),
        ({"mim.decoder": "conv"}, 'got mim.decoder="conv"'),
        ({"decoder.heads": 3}, "got 3 heads for width 16"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(tiny_config, overrides, message):
    with pytest.raises(ValueError, match=message):
        build.build_network(tiny_config(**overrides), 5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data.kind": "web"}, 'got data.kind="web", expected "folder" or'),
        ({"data.climate": "polar"}, 'got data.climate="polar", expected one of sub'),
        ({"data.kind": "folder"}, r"got no training data.*--config\.data\.train="),
        (
            {"data.kind": "folder", "data.train": "{root}/a"},
            r"--config\.data\.root=ROOT",
        ),
    ],
)
def test_data_that_cannot_be_found_is_refused(tiny_config, overrides, message):
    with pytest.raises(ValueError, match=message):
        build_data(read_settings(tiny_config(**overrides)).data)


def test_synthetic_data_trains_one_climate_and_scores_all(tiny_config):
    changes = ({"data.climate": "tem", "train.seed": seed} for seed in (1, 2))
    one, two = (build_data(read_settings(tiny_config(**c)).data) for c in changes)
    roles = {domain.name: domain.role for domain in one.domains}
    assert roles == dict.fromkeys(CLIMATES, "unseen") | {"tem": "source"}
    assert one.domains[0].name == "tem"
    assert (len(one.train), len(one.domains[0].source)) == (8, 2)
    # Another seed trains on other scenes and is scored on the same ones.
    assert set(one.train.names).isdisjoint(two.train.names)
    for a, b in zip(one.domains, two.domains, strict=True):
        assert a.source.names == b.source.names
    for data in (one, two):
        scored = {name for domain in data.domains for name in domain.source.names}
        assert scored.isdisjoint(data.train.names)


def test_windows_are_two_patches_at_least(tiny_config):
    """An image of 12x90 or 16x64 keeps a token at the coarsest stage."""
    config = tiny_config(**{"backbone.patch_size": 16, "data.crop": 64})
    windows = read_settings(config).windows
    for height, width in ((12, 90), (16, 64), (64, 16), (1, 1)):
        window = windows.lay(height, width).window
        tap = jnp.zeros((1, window[0] // 16, window[1] // 16, 3))
        assert min(halved(tap).shape) >= 1
    with pytest.raises(ValueError, match="got 1x4 tokens, expected two or more a side"):
        halved(jnp.zeros((1, 1, 4, 3)))


def test_scores_of_images_that_are_trained_on_are_warned_of(caplog):
    def pairs(*images):
        return [Pair(image, Path("label.png"), "x") for image in images]

    a, b, c = (Path(f"{name}.png") for name in "abc")
    packed = [Packed(Path("a.array_record"), i, "images/a.png", 1) for i in (0, 2)]
    train = pairs(a, b, packed[0])
    warn_of_overlap(train, {"new": pairs(c, packed[1])})
    assert not caplog.text
    again = pairs(a.absolute(), c, packed[0])
    warn_of_overlap(train, {"new": pairs(c), "old": again})
    (record,) = caplog.records
    assert "domain old is scored with 2 of 3 images" in record.getMessage()
