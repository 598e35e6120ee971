import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from crossearth_jax.earth_style.frozen import Frozen
from crossearth_jax.earth_style.predictor import StylePredictor, scale_input
from crossearth_jax.earth_style.transfer import instance_norm
from crossearth_jax.earth_style.weights import (
    load_style_networks,
    save_style_arrays,
    state_arrays,
)

IMAGE = jax.random.uniform(jax.random.key(0), (2, 48, 48, 3))


@pytest.mark.slow
def test_shapes_and_range(predict, paint):
    embedding = predict(IMAGE)
    assert embedding.shape == (2, 100) and embedding.dtype == jnp.float32
    painted = paint(IMAGE, embedding)
    assert painted.shape == IMAGE.shape and painted.dtype == jnp.float32
    assert 0 <= painted.min() < painted.max() <= 1


def test_blue_keeps_the_quirk():
    grey = jnp.full((1, 1, 1, 3), 0.5)
    red, green, blue = np.asarray(scale_input(grey))[0, 0, 0]
    # Red and green come back to 2·(x - 0.5); blue is off by 0.225/0.255.
    np.testing.assert_allclose([red, green], 0, atol=1e-6)
    expected = (0.5 - 0.406) / 0.255 * 0.225 / 0.5 + (0.406 - 0.5) / 0.5
    np.testing.assert_allclose(blue, expected, rtol=1e-5)


def test_style_changes_the_painting_not_only_a_constant(paint):
    styles = jax.random.normal(jax.random.key(1), (2, 100))
    assert (paint(IMAGE, styles) - paint(IMAGE, -styles)).std() > 1e-2


def test_instance_norm():
    y = np.asarray(instance_norm(IMAGE * 7 + 3))
    np.testing.assert_allclose(y.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((1, 2)), 1, atol=1e-4)


@pytest.mark.slow
def test_bfloat16_input_is_computed_in_float32(predict, paint):
    rounded = IMAGE.astype(jnp.bfloat16)
    embedding = predict(rounded.astype(jnp.float32))
    np.testing.assert_allclose(predict(rounded), embedding, atol=1e-5)
    painted = paint(rounded.astype(jnp.float32), embedding)
    np.testing.assert_allclose(paint(rounded, embedding), painted, atol=1e-5)


def test_nothing_is_trainable(networks):
    for network in networks:
        leaves = nnx.to_flat_state(nnx.state(network))
        assert leaves and all(isinstance(leaf, Frozen) for _, leaf in leaves)


def test_size_errors(networks):
    predictor, transfer = networks
    with pytest.raises(ValueError, match="42x48, expected at least 43"):
        predictor(IMAGE[:, :42])
    with pytest.raises(ValueError, match="46x48, expected multiples of 4"):
        transfer(IMAGE[:, :46], jnp.zeros((2, 100)))
    with pytest.raises(ValueError, match="even"):
        StylePredictor(3, rngs=nnx.Rngs(0))


def test_predictor_takes_its_smallest_image(predict):
    assert np.isfinite(predict(IMAGE[:, :43, :43])).all()


def test_file_round_trip(tmp_path, networks, style_arrays):
    predictor, transfer = networks  # widths 2 and 4, read from the tensors
    again = state_arrays(predictor, "predictor") | state_arrays(transfer, "transfer")
    assert again.keys() == style_arrays.keys()
    for key, array in style_arrays.items():
        np.testing.assert_array_equal(again[key], array)
    save_style_arrays(tmp_path / "style.safetensors", again)
    assert [p.name for p in tmp_path.iterdir()] == ["style.safetensors"]
    assert load_file(tmp_path / "style.safetensors").keys() == style_arrays.keys()


def test_file_errors(tmp_path, style_arrays):
    path = tmp_path / "style.safetensors"
    with pytest.raises(FileNotFoundError, match="crossearth convert style"):
        load_style_networks(path)

    save_style_arrays(
        path, {k: v for k, v in style_arrays.items() if k != "predictor.fc.bias"}
    )
    with pytest.raises(ValueError, match=r"1 tensors missing \['predictor.fc.bias'\]"):
        load_style_networks(path)

    save_style_arrays(path, style_arrays | {"transfer.more": np.zeros(1)})
    with pytest.raises(ValueError, match=r"1 left over \['transfer.more'\]"):
        load_style_networks(path)

    save_style_arrays(path, style_arrays | {"predictor.fc.bias": np.zeros(99)})
    with pytest.raises(ValueError, match=r"got \(99,\), expected \(100,\)"):
        load_style_networks(path)

    save_style_arrays(path, {"something": np.zeros(1)})
    with pytest.raises(ValueError, match="without the tensor"):
        load_style_networks(path)
