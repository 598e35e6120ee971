import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from crossearth_jax.commands.style_statistics import main
from crossearth_jax.earth_style.statistics import EarthStatistics, earth_statistics


@pytest.fixture
def predictor(networks):
    return networks[0]


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [
        np.clip(rng.normal(rng.uniform(60, 200, 3), 40, (48, 48, 3)), 0, 255).astype(
            np.uint8
        )
        for _ in range(7)
    ]


@pytest.fixture(scope="module")
def covariance():
    a = np.random.default_rng(1).normal(size=(100, 100)) / 10
    return a @ a.T


def test_samples_have_the_mean_and_the_covariance(covariance):
    mean = np.linspace(-1, 1, 100)
    statistics = EarthStatistics.from_covariance(mean, covariance)
    np.testing.assert_allclose(
        statistics.sqrt @ statistics.sqrt.T, covariance, atol=1e-5
    )
    samples = np.asarray(statistics.sample(jax.random.key(0), 20_000))
    assert samples.shape == (20_000, 100)
    np.testing.assert_allclose(samples.mean(0), mean, atol=0.04)
    error = np.cov(samples.T) - covariance
    # Wishart: the relative Frobenius error of n samples is about sqrt(trace²/n)/norm.
    assert np.linalg.norm(error) < 0.12 * np.linalg.norm(covariance)


def test_sample_follows_the_key(covariance):
    statistics = EarthStatistics.from_covariance(np.zeros(100), covariance)
    one, again = (statistics.sample(jax.random.key(5), 3) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert (np.asarray(statistics.sample(jax.random.key(6), 3)) != one).all()


@pytest.mark.slow
def test_streaming_equals_one_pass_over_everything(predictor, predict, images):
    statistics = earth_statistics(iter(images), predictor, size=48, batch=3)
    embedding = predict(jnp.asarray(np.stack(images) / 255, jnp.float32))
    embedding = np.asarray(embedding, np.float64)
    np.testing.assert_allclose(statistics.mean, embedding.mean(0), rtol=1e-5, atol=1e-6)
    expected = np.cov(embedding.T)
    got = statistics.sqrt.astype(np.float64) @ statistics.sqrt.T
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


def test_file_round_trip(tmp_path, covariance):
    statistics = EarthStatistics.from_covariance(np.ones(100), covariance)
    statistics.save(tmp_path / "earth.npz")
    loaded = EarthStatistics.load(tmp_path / "earth.npz")
    np.testing.assert_array_equal(loaded.mean, statistics.mean)
    np.testing.assert_array_equal(loaded.sqrt, statistics.sqrt)
    assert [p.name for p in tmp_path.iterdir()] == ["earth.npz"]


@pytest.mark.slow
def test_errors(tmp_path, predictor, images, covariance):
    with pytest.raises(ValueError, match="symmetric"):
        EarthStatistics.from_covariance(np.zeros(100), np.triu(covariance))
    with pytest.raises(ValueError, match="symmetric"):
        EarthStatistics.from_covariance(np.zeros(100), covariance * np.nan)
    with pytest.raises(ValueError, match="got 1 images"):
        earth_statistics(images[:1], predictor, size=48)
    with pytest.raises(ValueError, match="size 32"):
        earth_statistics(images, predictor, size=32)
    with pytest.raises(FileNotFoundError, match="crossearth style-statistics"):
        EarthStatistics.load(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", mean=np.zeros(3))
    with pytest.raises(ValueError, match="expected mean"):
        EarthStatistics.load(tmp_path / "other.npz")


@pytest.mark.slow
def test_command(tmp_path, capsys, style_file, predictor, images):
    folder, out = tmp_path / "field", tmp_path / "earth.npz"
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}.png")
    (folder / "broken.jpg").write_text("no image")
    main([str(folder), "--weights", str(style_file), "--out", str(out), "--size", "48"])
    expected = earth_statistics(images, predictor, size=48)
    np.testing.assert_allclose(EarthStatistics.load(out).mean, expected.mean, atol=1e-6)
    captured = capsys.readouterr()
    assert "7 images, 1 unreadable" in captured.out
    assert "broken.jpg" in captured.err and "8/8" in captured.err


def test_command_errors(tmp_path, capsys, style_file):
    (tmp_path / "empty").mkdir()
    wrong = [str(tmp_path / "empty"), "--weights", str(style_file), "--out", "x.npz"]
    assert main(wrong) == 1
    assert "no image in" in capsys.readouterr().err
