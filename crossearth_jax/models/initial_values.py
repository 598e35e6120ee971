"""Initial values as PyTorch and mmdetection draw them (docs/paper_notes.md).

Checked against PyTorch's own modules in `tests/parity/test_initial_values.py`.
"""

from flax import nnx
from jax import random
from jax.typing import DTypeLike
from jaxtyping import Array, PRNGKeyArray

_scaled = nnx.initializers.variance_scaling

# Linear layers and convolutions that nobody touches: ±1/√fan_in, that is
# Kaiming-uniform with a = √5; for their biases see `pytorch_bias`.
pytorch_kernel = _scaled(1 / 3, "fan_in", "uniform")

xavier_uniform = _scaled(1.0, "fan_avg", "uniform")
xavier_normal = _scaled(1.0, "fan_avg", "normal")

# The same of queries, keys and values stacked into one matrix [3C, C], as
# `torch.nn.MultiheadAttention` keeps them: half the variance.
xavier_normal_stacked = _scaled(0.5, "fan_avg", "normal")

# Kaiming-uniform with a = 1, which mmdetection names after Caffe2.
caffe2_xavier = _scaled(1.0, "fan_in", "uniform")


def pytorch_bias(fan_in: int) -> nnx.Initializer:
    """PyTorch's biases of linear layers: uniform in ±1/√fan_in."""
    bound = fan_in**-0.5

    def draw(
        key: PRNGKeyArray, shape: tuple[int, ...], dtype: DTypeLike = float
    ) -> Array:
        return random.uniform(key, shape, dtype, -bound, bound)

    return draw


def zero_bias(fan_in: int) -> nnx.Initializer:
    """Zeros, whatever the layer's inputs."""
    del fan_in
    return nnx.initializers.zeros
