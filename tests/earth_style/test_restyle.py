import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from crossearth_jax.earth_style.frozen import Frozen
from crossearth_jax.earth_style.restyle import (
    FourierRestyle,
    GhiasiRestyle,
    StatisticsRestyle,
    load_restyle,
)
from crossearth_jax.earth_style.statistics import EarthStatistics

KEY = jax.random.key(1)  # draws strengths of 0.4 and 0.5
KINDS = ("ghiasi", "fourier", "statistics")


def texture(seed, colour, size=48):
    """A wavy texture around a colour, in [0, 1]."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 0.05, (size, size, 3))
    wave = 0.1 * np.sin(np.arange(size) / 3)[:, None, None]
    return np.clip(np.asarray(colour) + wave + noise, 0, 1)


@pytest.fixture(scope="module")
def image():
    images = [texture(1, (0.2, 0.5, 0.3)), texture(2, (0.3, 0.4, 0.4))]
    return jnp.asarray(np.stack(images), jnp.float32)


@pytest.fixture(scope="module")
def pool():
    """Three reddish images, smaller than the image."""
    images = [texture(i, (0.7, 0.3, 0.2), 40) for i in (5, 6, 7)]
    return (np.stack(images) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def earth():
    return EarthStatistics(
        np.linspace(-3, 3, 100, dtype=np.float32), np.eye(100, dtype=np.float32)
    )


@pytest.fixture(scope="module")
def restyles(pool, earth, networks):
    return {
        "ghiasi": GhiasiRestyle(*networks, earth, 0.5),
        "fourier": FourierRestyle(pool),
        "statistics": StatisticsRestyle(pool),
    }


@pytest.fixture(scope="module")
def calls(restyles):
    """Each restyling as a training step uses it: split, and merged under jit."""

    def compiled(restyle):
        graphdef, state = nnx.split(restyle)
        call = jax.jit(lambda state, *args: nnx.merge(graphdef, state)(*args))
        return lambda key, image: call(state, key, image)

    return {kind: compiled(restyle) for kind, restyle in restyles.items()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_one_call_for_all(kind, calls, image):
    restyle = calls[kind]
    result = restyle(KEY, image)
    assert result.shape == image.shape and result.dtype == jnp.float32
    assert 0 <= result.min() and result.max() <= 1
    assert np.abs(result - image).mean() > 0.01
    np.testing.assert_array_equal(restyle(KEY, image), result)
    assert np.abs(restyle(jax.random.key(9), image) - result).mean() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_images_of_a_batch_have_their_own_style(kind, calls, image):
    twice = jnp.stack([image[0], image[0]])
    result = calls[kind](KEY, twice)
    assert np.abs(result[0] - result[1]).mean() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_trainable(kind, restyles):
    leaves = nnx.to_flat_state(nnx.state(restyles[kind]))
    assert leaves and all(isinstance(leaf, Frozen) for _, leaf in leaves)


@pytest.mark.parametrize("kind", ["fourier", "statistics"])
def test_stand_ins_move_colours_to_the_pool_and_keep_the_content(kind, calls, image):
    result = np.asarray(calls[kind](KEY, image))
    before, after = np.asarray(image).mean((1, 2)), result.mean((1, 2))
    assert (after[:, 0] > before[:, 0]).all()  # redder
    assert (after[:, 1:] < before[:, 1:]).all()  # less green and blue
    for i in range(2):  # the texture stays: correlated pixel by pixel
        old, new = np.asarray(image)[i, ..., 1].ravel(), result[i, ..., 1].ravel()
        assert np.corrcoef(old, new)[0, 1] > 0.9


def test_statistics_reach_the_pool_at_full_strength(pool, image, monkeypatch):
    ones = jnp.ones((2, 1, 1, 1))
    monkeypatch.setattr(jax.random, "uniform", lambda *_: ones)
    result = np.asarray(StatisticsRestyle(pool[:1])(KEY, image))
    for i in range(2):
        np.testing.assert_allclose(
            result[i].mean((0, 1)), pool[0].mean((0, 1)) / 255, atol=5e-3
        )
        np.testing.assert_allclose(
            result[i].std((0, 1)), pool[0].std((0, 1)) / 255, atol=5e-3
        )


def test_fourier_changes_only_the_low_band(pool, image):
    result = FourierRestyle(pool, beta=2.5 / 48)(KEY, image)
    before = np.abs(np.fft.rfft2(np.asarray(image), axes=(1, 2)))
    after = np.abs(np.fft.rfft2(np.asarray(result), axes=(1, 2)))
    changed = np.abs(after - before).max((0, 3)) > 0.5
    assert changed[0, 0] and changed[:3, :3].any() and changed[-2:, :3].any()
    assert not changed[3:-2].any() and not changed[:, 3:].any()


@pytest.mark.slow
def test_one_coloured_image_stays_finite(calls):
    flat = jnp.full((2, 48, 48, 3), 0.5)
    for restyle in calls.values():
        assert np.isfinite(restyle(KEY, flat)).all()


@pytest.mark.slow
def test_alpha_mixes_earth_and_own_style(networks, predict, paint, earth, image):
    styles = jax.random.normal(KEY, (2, 100))
    result = GhiasiRestyle(*networks, earth, 0.3).repaint(image, styles)
    mixed = 0.3 * styles + 0.7 * predict(image)
    np.testing.assert_allclose(result, paint(image, mixed), atol=1e-4)
    assert np.abs(result - paint(image, styles)).max() > 1e-2


def test_description_names_a_stand_in(restyles):
    assert "STAND-IN" not in restyles["ghiasi"].description
    for kind in ("fourier", "statistics"):
        assert "STAND-IN for p_t" in restyles[kind].description
        assert kind in restyles[kind].description
        assert "3 images" in restyles[kind].description


def load(kind, **given):
    none = {"weights": None, "statistics": None, "pool": None, "alpha": 0.1}
    return load_restyle(kind, **(none | given))


def test_load_each_kind(tmp_path, style_file, networks, earth, pool):
    earth.save(tmp_path / "earth.npz")
    statistics = str(tmp_path / "earth.npz")
    ghiasi = load("ghiasi", weights=style_file, statistics=statistics, alpha=0.5)
    assert isinstance(ghiasi, GhiasiRestyle) and ghiasi.alpha == 0.5
    np.testing.assert_array_equal(ghiasi.mean[...], earth.mean)
    kernel, expected = (n.fc.kernel[...] for n in (ghiasi.predictor, networks[0]))
    np.testing.assert_array_equal(kernel, expected)
    assert isinstance(load("fourier", pool=pool), FourierRestyle)
    assert isinstance(load("statistics", pool=pool), StatisticsRestyle)


def test_missing_things_say_what_makes_them(tmp_path, pool, earth):
    with pytest.raises(ValueError, match=r"without weights.*crossearth convert style"):
        load("ghiasi")
    with pytest.raises(FileNotFoundError, match="crossearth convert style"):
        load("ghiasi", weights=tmp_path / "none", statistics=tmp_path / "none")
    for kind in ("fourier", "statistics"):
        with pytest.raises(ValueError, match=r"without a pool.*style\.pool"):
            load(kind)
        with pytest.raises(ValueError, match="empty pool"):
            load(kind, pool=pool[:0])
    with pytest.raises(ValueError, match="beta 0"):
        FourierRestyle(pool, beta=0.0)


def test_ghiasi_needs_statistics_and_a_share(style_file, networks, earth):
    with pytest.raises(ValueError, match="crossearth style-statistics"):
        load("ghiasi", weights=style_file)
    with pytest.raises(ValueError, match=r"alpha 1\.5"):
        GhiasiRestyle(*networks, earth, 1.5)
