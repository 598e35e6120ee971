"""Tiny style networks with random weights, made as a file because that is fast.

Drawing each weight with JAX would compile a program for every shape.
"""

import math

import jax
import numpy as np
import pytest
from flax import nnx

from crossearth_jax.earth_style.weights import (
    load_style_networks,
    save_style_arrays,
    state_shapes,
)


def random_array(rng, key, shape):
    if key.endswith(".kernel"):
        return rng.normal(size=shape) * math.sqrt(2 / math.prod(shape[:-1]))
    return np.full(shape, key.endswith((".var", ".scale")), np.float32)


@pytest.fixture(scope="session")
def style_arrays():
    rng = np.random.default_rng(0)
    shapes = state_shapes(predictor_width=2, transfer_width=4)
    return {k: random_array(rng, k, s).astype(np.float32) for k, s in shapes.items()}


@pytest.fixture(scope="session")
def style_file(tmp_path_factory, style_arrays):
    path = tmp_path_factory.mktemp("style") / "style.safetensors"
    save_style_arrays(path, style_arrays)
    return path


@pytest.fixture(scope="session")
def networks(style_file):
    return load_style_networks(style_file)


@pytest.fixture(scope="session")
def predict(networks):
    return jitted(networks[0])


@pytest.fixture(scope="session")
def paint(networks):
    return jitted(networks[1])


def jitted(module):
    """The module's call as one compiled program for each shape."""
    graphdef, state = nnx.split(module)
    call = jax.jit(lambda state, *args: nnx.merge(graphdef, state)(*args))
    return lambda *args: call(state, *args)
