"""DINOv3's own parts; numbers are compared with PyTorch in tests/parity."""

import jax
import numpy as np
import pytest
from flax import nnx

from crossearth_jax.models.dinov3 import (
    VARIANTS,
    DinoV3,
    DinoV3Config,
    rotary_angles,
    rotate,
)


@pytest.mark.parametrize(("name", "millions"), [("small", 21.6), ("base", 85.7)])
def test_variants_have_the_published_sizes(name, millions):
    """As Hugging Face counts them."""
    config = VARIANTS[f"dinov3_{name}"]
    model = nnx.eval_shape(lambda: DinoV3(config, rngs=nnx.Rngs(0)))
    count = sum(x.size for x in jax.tree.leaves(nnx.state(model)))
    assert count / 1e6 == pytest.approx(millions, rel=0.002)
    assert len(config.taps) == 4 and config.taps[-1] == config.depth - 1
    assert DinoV3Config() == VARIANTS["dinov3_large"]


def test_angles_are_those_of_the_centres():
    angles = np.asarray(rotary_angles((2, 4), head_width=8, theta=100.0))
    assert angles.shape == (8, 4)
    y, x = (np.array(list(v)) for v in ([-0.5, 0.5], [-0.75, -0.25, 0.25, 0.75]))
    turns = angles.reshape(2, 4, 4) / (2 * np.pi)
    for j, wave in enumerate((1, 10)):  # 100 to the power of 0 and 1/2
        np.testing.assert_allclose(turns[:, :, j], np.tile(y[:, None], 4) / wave)
        np.testing.assert_allclose(turns[:, :, 2 + j], np.tile(x, (2, 1)) / wave)


def test_rotated_products_depend_on_the_distance_alone():
    q, k = jax.random.normal(jax.random.key(0), (2, 8))

    def same_everywhere(x):
        return np.broadcast_to(x, (1, 2 + 5, 1, 8))

    angles = rotary_angles((1, 5), 8, 100.0)
    q, k = (np.asarray(rotate(same_everywhere(x), angles))[0, :, 0] for x in (q, k))
    np.testing.assert_array_equal(q[:2], same_everywhere(q[0])[0, :2, 0])  # prefix
    products = q[2:] @ k[2:].T
    for offset in range(-4, 5):
        diagonal = np.diagonal(products, offset)
        np.testing.assert_allclose(diagonal, diagonal[0], rtol=1e-5)
    assert np.ptp(products[0]) > 0.1


@pytest.mark.parametrize("sizes", [{"heads": 3}, {"heads": 16}, {"registers": 0}])
def test_sizes_that_cannot_be_are_refused(sizes):
    config = DinoV3Config(**{"width": 32, "depth": 1, "heads": 2} | sizes)
    with pytest.raises(ValueError, match="a multiple of four channels a head"):
        nnx.eval_shape(lambda: DinoV3(config, rngs=nnx.Rngs(0)))
