import jax
import numpy as np
from flax import nnx

from crossearth_jax.models.initial_keys import InitialKeys


def test_keys_are_those_of_nnx():
    expected, found = nnx.Rngs(3), InitialKeys(3)
    for _ in range(3):
        keys = [jax.random.key_data(rngs.params()) for rngs in (expected, found)]
        np.testing.assert_array_equal(*keys)


def test_layers_take_them_under_a_trace():
    def kernel(rngs):
        return nnx.Linear(2, 3, rngs=rngs).kernel[...]

    found = jax.jit(lambda: kernel(InitialKeys(1)))()
    np.testing.assert_allclose(found, kernel(nnx.Rngs(1)), rtol=1e-6)
