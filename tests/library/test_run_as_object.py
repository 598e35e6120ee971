"""`crossearth_jax.load`: a run as an object, against the commands."""

import re
from contextlib import closing
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tifffile
from PIL import Image

import crossearth_jax as ce
from crossearth_jax import build
from crossearth_jax.commands import predict as command
from crossearth_jax.config_file import write_config
from crossearth_jax.data.classes import save_classes
from crossearth_jax.data.known_classes import CASID
from crossearth_jax.data.raw_images import RawImages
from crossearth_jax.data.scaled import read_scaled
from crossearth_jax.predict.picture import picture_as_trained
from crossearth_jax.run.checkpoint import Checkpoints
from crossearth_jax.system import sharding
from crossearth_jax.train_step import TrainState

DOCS = Path(__file__).parents[2] / "docs/library.md"
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (75, 50, 3), np.uint8)
RAW = RNG.integers(0, 5000, (9, 7, 4)).astype(np.uint16)


@pytest.fixture(scope="module")
def workdir(tiny_config, tmp_path_factory, quick_compile):
    """A run on disk, without the training."""
    folder = tmp_path_factory.mktemp("run")
    config = tiny_config()
    network = build.build_network(config, len(CASID.names))
    optimiser = build.build_optimiser(config, network, build.build_schedule(config))
    opt_state = jax.jit(optimiser.init)(network.trainable)
    write_config(config, folder)
    save_classes(CASID, folder / "classes.json")
    params = jax.tree.map(
        lambda x: np.asarray(x + RNG.normal(0, 0.2, x.shape), np.float32),
        network.trainable,
    )
    state = TrainState(params, opt_state, jnp.int32(1), jnp.int32(0))
    with closing(Checkpoints(folder, keep=1, frozen=network.digest)) as checkpoints:
        assert checkpoints.save(sharding.replicate(state, sharding.make_mesh()))
    return folder


@pytest.fixture(scope="module")
def run(workdir):
    return ce.load(workdir)


@pytest.mark.slow
def test_predict_is_the_command_pixel_for_pixel(run, workdir, tmp_path):
    rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
    Image.fromarray(IMAGE).save(tmp_path / "scene.png")
    out = tmp_path / "map.tif"
    arguments = [workdir, tmp_path / "scene.png", "--out", out]
    assert command.main([*map(str, arguments), "--probabilities", "float16"]) == 0
    found, shares = run.predict(IMAGE), run.probabilities(IMAGE)
    assert (found.shape, found.dtype) == ((75, 50), np.uint8)
    assert (shares.shape, shares.dtype) == ((75, 50, 5), np.float32)
    with rasterio.open(out) as made:
        np.testing.assert_array_equal(made.read(1), found)
    with rasterio.open(tmp_path / "map_probabilities.tif") as made:
        np.testing.assert_allclose(np.moveaxis(made.read(), 0, 2), shares, atol=1e-3)
    np.testing.assert_allclose(shares.sum(2), 1, atol=1e-5)
    np.testing.assert_array_equal(shares.argmax(2), found)


@pytest.mark.slow
def test_features_are_those_of_a_tap(run):
    deep, shallow = run.features(IMAGE), run.features(IMAGE, tap=1, injector=False)
    assert deep.shape == shallow.shape == (10, 7, 32)  # patches of 8 pixels
    assert deep.dtype == np.float32 and isinstance(deep, np.ndarray)
    assert np.abs(deep - shallow).max() > 1e-3
    assert np.abs(deep - run.features(IMAGE, injector=False)).max() > 1e-3
    for tap in (0, 5, True, "4"):
        with pytest.raises(ValueError, match=r"got tap .*, expected 1, 2, 3 or 4"):
            run.features(IMAGE, tap=tap)


@pytest.mark.slow
def test_a_run_says_what_it_is(run, workdir):
    assert run.classes == CASID.names
    assert run.palette.tolist() == [list(colour) for colour in CASID.palette]
    assert run.about["checkpoint"] == str(workdir) and run.about["step"] == 1
    assert repr(run) == "Run('tiny', step 1, 5 classes)"
    with pytest.raises(ValueError, match=r"\(3, 75, 50\).*np.moveaxis"):
        run.predict(np.moveaxis(IMAGE, 2, 0))
    with pytest.raises(ValueError, match="expected the workdir of a trained run"):
        ce.load(workdir / "checkpoints/7/default")
    with pytest.raises(ValueError, match="step"):
        ce.load(workdir, step=9)


@pytest.mark.slow
def test_the_example_of_the_docs_runs(run, workdir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/folder").symlink_to(workdir)
    Image.fromarray(IMAGE).save("scene.png")
    Image.fromarray(np.zeros((75, 50), np.uint8)).save("truth.png")
    example = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    exec(compile(example[1], str(DOCS), "exec"), {})
    assert re.match(r"mIoU [0-9.]+ \{'", capsys.readouterr().out)
    colours = np.asarray(Image.open("classes.png"))
    np.testing.assert_array_equal(colours, run.palette[run.predict(IMAGE)])


@pytest.mark.parametrize(
    "raw",
    [
        RawImages((3, 2, 1), ((0, 4000),)),
        RawImages((4, 2, 1), ((0, 4000), (100, 900), (0, 5000)), gsd=10),
        RawImages((4,), ((0, 4000),)),
    ],
)
def test_bands_and_scale_are_those_of_training(tmp_path, raw):
    tifffile.imwrite(
        tmp_path / "a.tif", RAW, photometric="minisblack", planarconfig="contig"
    )
    wanted, _ = read_scaled(tmp_path / "a.tif", raw)
    found = picture_as_trained(RAW, raw)
    np.testing.assert_array_equal(found, np.broadcast_to(wanted, found.shape))
    assert found.dtype == np.uint8 and found.shape == (9, 7, 3)


def test_8_bits_beside_a_scale_for_more_are_taken_as_they_are():
    found = picture_as_trained(IMAGE, RawImages((3, 2, 1), ((0, 4000),)))
    np.testing.assert_array_equal(found, IMAGE)
    found = picture_as_trained(IMAGE, RawImages((3, 2, 1)))
    np.testing.assert_array_equal(found, IMAGE[..., ::-1])


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (RAW[..., :2], r"got 2 band\(s\), .*bands 3,2,1, scaled 0"),
        (RAW[..., 0], r"uint16 values of shape \(9, 7\)"),
        (RAW > 5, "bool values"),
        (np.where(RAW > 9, np.nan, 1.0), "values that are not finite"),
        ("scene.tif", "values of shape"),
    ],
)
def test_arrays_without_the_bands_are_refused(image, said):
    with pytest.raises(ValueError, match=said):
        picture_as_trained(image, RawImages((3, 2, 1), ((0, 4000),)))
