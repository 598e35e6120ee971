"""p_s, p_t, sampling and masks against the authors' PyTorch (random weights)."""

import jax.numpy as jnp
import numpy as np
import pytest
from outside import FIXTURES, needs_fixtures

from crossearth_jax.earth_style.masks import block_mask
from crossearth_jax.earth_style.predictor import scale_input
from crossearth_jax.earth_style.restyle import GhiasiRestyle
from crossearth_jax.earth_style.statistics import EarthStatistics, embed_noise
from crossearth_jax.earth_style.weights import load_style_networks, save_style_arrays
from weights_convert.style import convert_embedding_statistics, convert_style

pytestmark = [
    pytest.mark.slow,
    needs_fixtures("style.npz", "style.pth", "mim_history.npz"),
]
# Measured: 3e-6 at most; PyTorch's own float32 is 1.4e-6 from its float64.
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def fixture():
    return dict(np.load(FIXTURES / "style.npz"))


@pytest.fixture(scope="module")
def state_dicts():
    torch = pytest.importorskip("torch")
    file = torch.load(FIXTURES / "style.pth", map_location="cpu", weights_only=True)
    return [
        {name: tensor.numpy() for name, tensor in file[part].items()}
        for part in ("state_dict_ghiasi", "state_dict_stylepredictor")
    ]


@pytest.fixture(scope="module")
def networks(state_dicts, tmp_path_factory):
    """Converted, written, and read again: the way users take."""
    path = tmp_path_factory.mktemp("style") / "style.safetensors"
    save_style_arrays(path, convert_style(*state_dicts))
    return load_style_networks(path)


def nhwc(array):
    return jnp.asarray(array.transpose(0, 2, 3, 1))


def assert_close(got, expected):
    """Relative Frobenius error."""
    error = np.linalg.norm(np.asarray(got, np.float64) - np.asarray(expected))
    assert error <= TOLERANCE * np.linalg.norm(expected)


def test_predictor_and_its_stages(networks, fixture):
    predictor, _ = networks
    x = nhwc(fixture["predictor_input"])
    first = predictor.conv_1a(scale_input(x))[..., :4]  # the tap has 4 of 32 channels
    assert_close(first, nhwc(fixture["predictor_tap_Conv2d_1a_3x3"]))
    stem = predictor.stem(x)
    mixed_5b = predictor.mixed_5b(stem).mean(axis=(1, 2))
    assert_close(mixed_5b, fixture["predictor_tap_Mixed_5b_mean"])
    mixed_6e = predictor.trunk(stem).mean(axis=(1, 2))
    assert_close(mixed_6e, fixture["predictor_tap_Mixed_6e_mean"])
    assert_close(predictor(x), fixture["predictor_embedding"])
    assert_close(predictor(x), fixture["f64_predictor_embedding"])


def test_transfer_and_its_stages(networks, fixture):
    _, transfer = networks
    x, style = nhwc(fixture["ghiasi_input"]), jnp.asarray(fixture["embedding"])
    taps, y = {}, x
    for i, block in enumerate(transfer.down):
        taps[i] = y = block(y)
    for i, block in enumerate(transfer.residual, 3):
        taps[i] = y = block(y, style)
    taps[8] = jnp.maximum(transfer.up[0](y, style), 0)
    for layer in (0, 2, 3, 7, 8):
        expected = nhwc(fixture[f"ghiasi_direct_tap_layer{layer}"])
        assert_close(taps[layer][..., : expected.shape[-1]], expected)
    assert_close(transfer(x, style), nhwc(fixture["ghiasi_direct_output"]))


def earth(fixture):
    mean, covariance = (fixture[f"pbn_embedding_{n}"] for n in ("mean", "covariance"))
    return EarthStatistics.from_covariance(mean, covariance)


@pytest.mark.parametrize("alpha", [0.5, 0.1])
def test_restyled(networks, fixture, alpha):
    restyle = GhiasiRestyle(*networks, earth(fixture), alpha)
    painted = restyle.repaint(
        nhwc(fixture["ghiasi_input"]), jnp.asarray(fixture["embedding"])
    )
    assert_close(painted, nhwc(fixture[f"restyled_alpha{alpha}"]))


def test_restyled_against_float64(networks, fixture):
    restyle = GhiasiRestyle(*networks, earth(fixture), 0.5)
    painted = restyle.repaint(
        nhwc(fixture["ghiasi_input"]), jnp.asarray(fixture["embedding"])
    )
    assert_close(painted, fixture["f64_restyled_alpha0.5"].transpose(0, 2, 3, 1))


def test_batch_of_two(networks, fixture):
    restyle = GhiasiRestyle(*networks, earth(fixture), 0.5)
    painted = restyle.repaint(
        nhwc(fixture["batch2_input"]), jnp.asarray(fixture["batch2_embedding"])
    )
    assert_close(painted, nhwc(fixture["batch2_restyled_alpha0.5"]))


def test_mixing_and_the_imagenet_base(networks, fixture):
    predictor, transfer = networks
    x = nhwc(fixture["ghiasi_input"])
    base = predictor(x)
    assert_close(base, fixture["ghiasi_input_base_embedding"])
    mixed = 0.5 * fixture["embedding"] + 0.5 * base
    assert_close(mixed, fixture["mixed_embedding_alpha0.5"])
    imagenet = fixture["imagenet_embedding_mean"].astype(np.float32)
    mixed = jnp.asarray(0.5 * fixture["embedding"] + 0.5 * imagenet)
    assert_close(transfer(x, mixed), nhwc(fixture["restyled_alpha0.5_noPredictor"]))


def test_sampling(fixture):
    embeddings = {k: v for k, v in fixture.items() if k.startswith("pbn_embedding")}
    statistics = convert_embedding_statistics(embeddings)
    assert_close(statistics.sqrt, fixture["pbn_A"])
    sample = embed_noise(fixture["sample_z"], statistics.mean, statistics.sqrt)
    assert_close(sample, fixture["sample_embedding"])


@pytest.mark.parametrize("i", [0, 1])
def test_block_masks_of_the_deleted_training_state(i):
    history = np.load(FIXTURES / "mim_history.npz")
    ratio = (0.7, 0.1)[i]
    keep = history[f"mask_r{ratio}_b64"][:, 0]  # 1 = keep = rand > ratio
    altered = block_mask(history[f"mask_rand{i}"][:, 0], *keep.shape[1:], ratio)
    np.testing.assert_array_equal(np.asarray(altered), keep == 0)


def test_conversion_is_strict(state_dicts):
    ghiasi, predictor = state_dicts
    with pytest.raises(ValueError, match=r"the tensor layers\.11\.conv\.weight"):
        convert_style(ghiasi | {"layers.11.conv.weight": np.zeros(3)}, predictor)
    with pytest.raises(ValueError, match="the tensor AuxLogits"):
        convert_style(ghiasi, predictor | {"AuxLogits.fc.weight": np.zeros(3)})
    short = {k: v for k, v in predictor.items() if k != "Mixed_6c.branch7x7_2.bn.bias"}
    with pytest.raises(ValueError, match=r"mixed_6c\.branches\.1\.1\.bias"):
        convert_style(ghiasi, short)
    wrong = predictor | {"fc.bias": np.zeros(99, np.float32)}
    with pytest.raises(ValueError, match=r"got \(99,\), expected \(100,\)"):
        convert_style(ghiasi, wrong)
    with pytest.raises(ValueError, match="check which file is which"):
        convert_style(predictor, ghiasi)


def test_every_source_tensor_is_used_once(state_dicts):
    ghiasi, predictor = state_dicts
    dropped = [k for k in predictor if k.endswith("num_batches_tracked")]
    assert len(dropped) == 70
    converted = convert_style(ghiasi, predictor)
    assert len(converted) == len(ghiasi) + len(predictor) - len(dropped)
    sizes = sum(v.size for d in state_dicts for v in d.values()) - len(dropped)
    assert sum(v.size for v in converted.values()) == sizes
