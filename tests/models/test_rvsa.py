"""RVSA against the numbers of MTP's own code, see tests/golden/rvsa.md."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from crossearth_jax.models.parameters import dotted
from crossearth_jax.models.precision import Arithmetic
from crossearth_jax.models.rvsa import (
    VARIANTS,
    RvsaConfig,
    RvsaViT,
    WindowAttention,
    Windows,
    sampling_points,
)
from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.mapping import apply_rules
from weights_convert.mtp import mtp_rules, read_mtp

pytestmark = pytest.mark.usefixtures("quick_compile")
GOLDEN = dict(np.load(Path(__file__).parents[1] / "golden/rvsa.npz"))


def under(prefix):
    return {k[len(prefix) :]: v for k, v in GOLDEN.items() if k.startswith(prefix)}


def renamed(state):
    """MTP's names and layouts to ours, `backbone.…`."""
    lazy = {key: LazyTensor.of(array) for key, array in state.items()}
    rules = mtp_rules({"blocks.0.attn.sampling_offsets.2.weight": ()})
    return apply_rules(lazy, rules, None)


def nested(arrays, prefix):
    tree = {}
    for path, array in arrays.items():
        *parents, leaf = path.removeprefix(prefix).split(".")
        node = tree
        for name in parents:
            node = node.setdefault(int(name) if name.isdigit() else name, {})
        node[leaf] = jnp.asarray(array)
    return tree


def normalised(name):
    return jnp.asarray((GOLDEN[name].astype(np.float32) - 128) / 64)


def assert_close(actual, expected, tolerance=1e-5):
    """To a share of the largest number."""
    difference = np.abs(np.asarray(actual) - expected).max()
    assert difference < tolerance * np.abs(expected).max()


@pytest.fixture(scope="module")
def small():
    """The converted weights and their sizes."""
    arrays = renamed(under("state/"))
    config = read_mtp({key: array.shape for key, array in arrays.items()})
    assert (config.window_size, config.full_every, config.heads) == (7, 2, 2)
    return config, nested(arrays, "backbone.")


def model_of(config):
    model = nnx.eval_shape(lambda: RvsaViT(config, rngs=nnx.Rngs(0)))
    return nnx.graphdef(model)


@pytest.fixture(scope="module")
def differentiated(small, quick_compile):
    """Taps, and the gradients of the sum of the squares of the last two.

    With remat, which takes the blocks in runs of one structure; without it is below.
    """
    config, params = small
    graph = model_of(config)

    def loss(params, image):
        taps = nnx.merge(graph, params)(image, remat=True)
        return sum((tap**2).sum() for tap in taps[2:]), taps

    grad = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    (by_params, by_image), taps = grad(params, normalised("image"))
    return taps, dotted(by_params), by_image


@pytest.mark.slow
def test_taps_are_mtps(differentiated):
    """9×9 tokens: windows of 7 reach over the edge."""
    for i, tap in enumerate(differentiated[0]):
        assert_close(tap.reshape(2, 81, 24), GOLDEN[f"tap{i}"])


@pytest.mark.slow
def test_gradients_are_mtps(differentiated):
    _, by_params, by_image = differentiated
    assert_close(by_image, GOLDEN["grad/image"], 1e-4)
    expected = renamed({k: v for k, v in under("grad/").items() if k != "image"})
    assert len(expected) == 6
    for key, array in expected.items():
        assert_close(by_params[key.removeprefix("backbone.")], array, 1e-4)


def test_positions_of_another_grid_are_resized_as_mtp_loads_them(small):
    config, params = small
    graph = model_of(config)
    taps = jax.jit(lambda p, x: nnx.merge(graph, p)(x))(
        params, normalised("larger/image")
    )
    assert_close(taps[3].reshape(1, 144, 24), GOLDEN["larger/tap3"])


def test_windows_on_a_grid_that_is_not_square():
    """10×15 tokens: a turn shears, and offsets count the windows of the other axis."""
    state = {f"blocks.0.attn.{k}": v for k, v in under("window/state/").items()}
    params = nested(renamed(state), "backbone.blocks.0.attn.")
    config = RvsaConfig(width=24, heads=2, window_size=4)
    layer = nnx.eval_shape(
        lambda: WindowAttention(config, rngs=nnx.Rngs(0), arithmetic=Arithmetic.FLOAT32)
    )
    x = jnp.asarray(GOLDEN["window/x"])
    out = jax.jit(lambda p, x: nnx.merge(nnx.graphdef(layer), p)(x, (10, 15)))(
        params, x
    )
    assert_close(out, GOLDEN["window/out"])


@pytest.mark.parametrize("grid", [(8, 12), (5, 9), (2, 3)])
def test_nothing_predicted_samples_the_window_itself(grid):
    windows = Windows(grid, 4)
    zero = jnp.zeros((1, windows.count[0] * windows.count[1], 2, 2))
    points = sampling_points(windows, zero, zero, zero[..., :1])
    y, x = np.mgrid[: grid[0], : grid[1]]
    places = (np.stack([x, y], -1) + 0.5) / np.array(grid[::-1])
    tokens = jnp.asarray(places.reshape(1, -1, 2), jnp.float32)
    for head in range(2):
        found = windows.join(jnp.asarray(points[:, :, :, head]))
        np.testing.assert_allclose(found, tokens, atol=1e-6)
    np.testing.assert_array_equal(windows.join(windows.cut(tokens)), tokens)


@pytest.mark.parametrize(
    ("name", "parameters"), [("rvsa_base", 86_673_984), ("rvsa_large", 305_655_168)]
)
def test_variants_have_mtps_sizes(name, parameters):
    """As PyTorch counts those of MTP's network for 448², without its necks and norm."""
    config = VARIANTS[name]
    assert len(config.taps) == 4 and config.taps[-1] == config.depth - 1
    periods, rest = divmod(config.depth, config.full_every)
    short = dataclasses.replace(config, depth=config.full_every)  # one period: quicker
    model = nnx.eval_shape(lambda: RvsaViT(short, rngs=nnx.Rngs(0)))
    sizes = {k: x.size for k, x in dotted(nnx.to_pure_dict(nnx.state(model))).items()}
    period = sum(size for key, size in sizes.items() if key.startswith("blocks."))
    assert rest == 0
    assert sum(sizes.values()) + (periods - 1) * period == parameters


@pytest.mark.parametrize("sizes", [{"heads": 3}, {"window_size": 1}, {"full_every": 0}])
def test_sizes_that_cannot_be_are_refused(sizes):
    config = RvsaConfig(**{"width": 32, "depth": 1, "heads": 2} | sizes)
    with pytest.raises(ValueError, match="expected a divisor of the width"):
        nnx.eval_shape(lambda: RvsaViT(config, rngs=nnx.Rngs(0)))
