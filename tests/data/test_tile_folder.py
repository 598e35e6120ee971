"""A folder that `crossearth tiles` wrote is all that a configuration needs."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from crossearth_jax.build_data import build_data
from crossearth_jax.config_file import from_run, from_tiles, parse, write_config
from crossearth_jax.data.raw_images import ORDINARY, RawImages
from crossearth_jax.run_settings import read_settings

CLASSES = """\
classes:
  - {name: background, color: [0, 0, 0]}
  - {name: building, color: [255, 0, 0]}
encoding: ids
"""
SCENES = {"bands": [3, 2, 1], "scale": [[0, 4000]] * 3, "gsd": 0.3}
EIGHT = {"dtype": "uint8", "bands": [1, 2, 3], "scale": None}
KEPT = {"dtype": "uint16", "bands": [1, 2, 3], "scale": [[0, 4000]] * 3}
MADE = {"format": "crossearth tiles", "version": 1, "scenes": SCENES, "images": EIGHT}
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (32, 32, 3), np.uint8)


@pytest.fixture
def tiles(tmp_path):
    """Its name holds a comma, as folders of users may."""
    root = tmp_path / "a, b"
    for part in ("train", "val"):
        for kind in ("images", "labels"):
            (root / part / kind).mkdir(parents=True)
        for i in range(2):
            image = {"photometric": "rgb"}
            tifffile.imwrite(root / part / f"images/{i}.tif", PIXELS, **image)
            label = Image.fromarray(PIXELS[..., 0] % 2)
            label.save(root / part / f"labels/{i}.tif")
    (root / "classes.yaml").write_text(CLASSES)
    describe(root)
    return root


def describe(root, **changes):
    (root / "manifest.json").write_text(json.dumps(MADE | changes))


def configured(root, *changes):
    return from_tiles(parse("folder:small", [f"--config.data.root={root}", *changes]))


def data_of(config):
    return build_data(read_settings(config).data)


def test_the_manifest_gives_what_the_configuration_leaves_open(tiles):
    config = configured(tiles)
    raw = read_settings(config).data.raw
    assert raw == RawImages((3, 2, 1), ((0, 4000),), 0.3)
    assert config.is_locked and config.data.scale == (0, 4000)
    data = data_of(config)
    assert data.classes.names == ("background", "building")
    assert [(d.name, d.role, len(d.source)) for d in data.domains] == [
        ("val", "source", 2)
    ]
    # Scaled already: a second time would leave them black.
    for source in (data.train, data.domains[0].source):
        np.testing.assert_array_equal(source[0].image, PIXELS)
    assert from_tiles(config) == config


def test_what_is_given_wins(tiles, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(CLASSES.replace("building", "roof"))
    train = f'--config.data.train="{tiles}/train","{tiles}/val"'
    given = (train, f"--config.data.classes={other}", "--config.data.gsd=0.5")
    config = configured(tiles, *given, "--config.data.source=x")
    data = read_settings(config).data
    assert (data.source, data.raw.gsd, data.classes) == ("x", 0.5, str(other))
    assert data.train == train.partition("=")[2]


def test_without_a_part_to_score(tiles):
    (tiles / "val").rename(tiles / "rest")
    config = configured(tiles)
    assert config.data.source is None and not data_of(config).domains


@pytest.mark.parametrize(
    "change",
    ["--config.data.scale=0,3000", "--config.data.bands=1,2,3"],
)
def test_tiles_that_are_made_cannot_be_made_otherwise(tiles, change):
    with pytest.raises(ValueError, match=r"tiles that were made with bands 3,2,1, sca"):
        configured(tiles, change)


def test_tiles_that_kept_their_bits_are_scaled_as_the_run_states(tiles):
    describe(tiles, images=KEPT)
    deep = PIXELS.astype(np.uint16) * 10
    for path in tiles.glob("*/images/*.tif"):
        tifffile.imwrite(path, deep, photometric="rgb")
    for scale, change in ((4000, ()), (3000, ("--config.data.scale=0,3000",))):
        image = data_of(configured(tiles, *change)).train[0].image
        np.testing.assert_array_equal(image, np.rint(deep / scale * 255).clip(0, 255))


def test_scenes_of_eight_bits_and_without_a_place(tiles):
    plain = {"bands": [1, 2, 3], "scale": None, "gsd": None}
    describe(tiles, scenes=plain)
    assert read_settings(configured(tiles)).data.raw == RawImages((1, 2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": "crossearth tiles", ', r"got a damaged .*manifest\.json \("),
        (
            json.dumps(MADE | {"version": 2}),
            r"of version 2, expected 1: make the tiles",
        ),
        (json.dumps(MADE | {"scenes": 3}), r"damaged .*\(got scenes of 3\)"),
        (
            json.dumps({k: v for k, v in MADE.items() if k != "images"}),
            r"damaged .*\(it has no 'images'\)",
        ),
        (
            json.dumps(MADE | {"scenes": SCENES | {"bands": ["\x1b[31m"] * 3}}),
            r"damaged .*data\.bands",
        ),
        (json.dumps(MADE | {"scenes": SCENES | {"scale": [[9, 1]]}}), r"LOW < HIGH"),
        ('{"domain": "potsdam"}', r"without a manifest\.json of tiles, expected the"),
        ("[]", r"without a manifest\.json of tiles"),
    ],
)
def test_a_bad_manifest_is_one_line(tiles, content, message):
    (tiles / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        configured(tiles)
    assert "\n" not in str(error.value) and str(tiles) in str(error.value)
    assert "\x1b" not in str(error.value)


def test_other_configurations_keep_their_root(tiles, tmp_path):
    """Roots of prepared data sets have other manifests, or none."""
    changes = [f"--config.data.root={tmp_path}"]
    config = parse("casid:sub", changes)
    assert from_tiles(config) is config
    with pytest.raises(ValueError, match="without a manifest"):
        configured(tmp_path / "nowhere")


def test_a_domain_beside_is_read_as_its_own_manifest_says(tiles, tmp_path):
    """Whoever evaluates on tiles of another sensor need not know how they were made."""
    config = parse(
        "folder:small",
        [
            f'--config.data.train="{tiles}/train"',
            f'--config.data.unseen=there="{tiles}/val"',
            f"--config.data.classes={tiles}/classes.yaml",
            *("--config.data.bands=1,2,3", "--config.data.scale=20,180"),
        ],
    )
    there = data_of(config).domains[0].source
    np.testing.assert_array_equal(there[0].image, PIXELS)
    (tiles / "manifest.json").unlink()  # then they are images as any
    there = data_of(config).domains[0].source
    assert (there[0].image != PIXELS).any()


def test_scores_take_what_the_run_keeps(tiles, tmp_path):
    write_config(configured(tiles), tmp_path)
    open_ = parse("folder:small", ["--config.data.scale=0,3000"])
    found = read_settings(from_run(open_, tmp_path)).data.raw
    assert found == RawImages((3, 2, 1), ((0, 3000),), 0.3)
    assert read_settings(from_run(open_, tiles)).data.raw.bands == ()
    assert read_settings(parse("folder")).data.raw == ORDINARY
