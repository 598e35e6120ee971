"""What the tests of the training core share."""

from collections.abc import Callable, Iterator

import jax
import pytest
from absl import flags
from ml_collections import ConfigDict
from tiny import get_config


def pytest_configure() -> None:
    """Grain reads absl flags."""
    flags.FLAGS.mark_as_parsed()


@pytest.fixture(scope="session")
def tiny_config() -> Callable[..., ConfigDict]:
    """Makes the smallest configuration; dotted keys override, unknown ones raise."""

    def make(**overrides: object) -> ConfigDict:
        config = get_config()
        config.update_from_flattened_dict(overrides)
        return config

    return make


@pytest.fixture(scope="module")
def quick_compile() -> Iterator[None]:
    """Halves compile time where the speed of the steps does not matter."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
