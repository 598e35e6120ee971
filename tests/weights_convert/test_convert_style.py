import numpy as np
import pytest
from style_release import write_release

from crossearth_jax.earth_style.statistics import EarthStatistics
from crossearth_jax.earth_style.weights import load_style_networks
from crossearth_jax.models.parameters import read_weights
from weights_convert.style import style


@pytest.fixture
def release(tmp_path):
    """A folder as the release is unpacked, and the networks under our names."""
    return write_release(tmp_path / "release")


@pytest.mark.slow
def test_the_release_of_three_files(release, tmp_path):
    folder, ours = release
    style(folder, tmp_path / "style.safetensors")
    load_style_networks(tmp_path / "style.safetensors")
    arrays, notes = read_weights(tmp_path / "style.safetensors")
    assert arrays.keys() == ours.keys()
    for key, value in arrays.items():
        np.testing.assert_array_equal(value, ours[key], key)
    statistics = EarthStatistics.load(tmp_path / notes["statistics"])
    np.testing.assert_allclose(
        statistics.sqrt @ statistics.sqrt.T, np.eye(100), atol=1e-6
    )
    assert len(notes["sources"]) == 3


def test_a_network_is_missing(release, tmp_path):
    folder, _ = release
    (folder / "checkpoint_transformer.pth").unlink()
    with pytest.raises(ValueError, match="got no transfer network"):
        style(folder, tmp_path / "style.safetensors")
    with pytest.raises(ValueError, match="got no predictor and no transfer network"):
        style(tmp_path, tmp_path / "style.safetensors")
