"""What the tests of the training core share."""

import os
from collections.abc import Callable, Generator, Iterator

# Before JAX starts: two workers share a GPU.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import pytest
from absl import flags
from ml_collections import ConfigDict
from outside import HOW_TO_RUN_PARITY
from tiny import get_config

from benchmarks.accelerator.plugins import check_plugin
from crossearth_jax.data import check_labels


def pytest_configure() -> None:
    """Grain reads absl flags."""
    flags.FLAGS.mark_as_parsed()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests marked `accelerator` where JAX has none, or no compiler for one."""
    for item in items:
        marker = item.get_closest_marker("accelerator")
        if marker and (lack := lacking(marker.kwargs.get("compiles_for"))):
            item.add_marker(pytest.mark.skip(reason=lack))


def lacking(platform: str | None) -> str:
    """Why a test of an accelerator, or of a compiler for one, cannot run here."""
    if platform is None:
        return "needs a GPU or TPU" if jax.default_backend() == "cpu" else ""
    try:
        check_plugin(platform)
    except ImportError as error:
        return str(error)
    return ""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter,
) -> Generator[None, None, None]:
    """Without the authors' files a run looks complete: its last words say otherwise."""
    yield
    skipped = terminalreporter.getreports("skipped")
    count = sum(HOW_TO_RUN_PARITY in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line(
            f"{count} tests of parity with the authors' code were skipped, their "
            f"recorded files are not part of the project: {HOW_TO_RUN_PARITY}."
        )


@pytest.fixture(scope="session", autouse=True)
def shared_compilations(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Many tests compile the same tiny step: once is enough, for all workers."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "compiled"
    folder.mkdir(exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@pytest.fixture(scope="session", autouse=True)
def own_cache_of_labels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests leave nothing in the user's."""
    folder = tmp_path_factory.mktemp("labels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check_labels, "user_cache", lambda: folder)
        yield


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
