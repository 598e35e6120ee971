"""What XLA is asked for besides the programs themselves."""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import jax

from crossearth_jax.system.memory import give_back_freed_memory

LONG = 1.0  # seconds; what compiles faster is not worth keeping, nor cleaning up after


def set_up_compiler() -> None:
    """Keeps compiled programs between runs, and no memory that compiling them took.

    JAX_COMPILATION_CACHE_DIR moves the cache.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
        jax.config.update("jax_compilation_cache_dir", str(cache / "crossearth_jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", LONG)
    _listen()


@functools.cache
def _listen() -> None:
    jax.monitoring.register_event_duration_secs_listener(_after_compiling)


def _after_compiling(event: str, duration_secs: float, **_: str | int) -> None:
    """The compiler frees about 1 GB after ViT-L's step, which would be held."""
    if event.endswith("backend_compile_duration") and duration_secs > LONG:
        give_back_freed_memory()


_target: ContextVar[jax.Device | None] = ContextVar("target", default=None)


@contextmanager
def traced_for(device: jax.Device) -> Iterator[None]:
    """What is traced within is for this device, which need not be there."""
    token = _target.set(device)
    try:
        yield
    finally:
        _target.reset(token)


def target_device() -> jax.Device:
    """What a program is traced for: a device of this process, or `traced_for`'s."""
    return _target.get() or jax.local_devices()[0]


def lean_schedule(platform: str | None = None) -> dict[str, str]:
    """Compiler options that order a program for little memory.

    XLA's own order on a CPU starts everything as early as it can, and a step then holds
    0.7 GB more.

    Args:
      platform: of the devices that are compiled for; None takes those that are there.
    """
    if platform not in (None, "cpu"):
        return {}
    schedule = "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"
    return _cpu_option("xla_cpu_scheduler_type", schedule)


def light_optimisation() -> dict[str, str]:
    """Compiler options for a program that runs once.

    Drawing the initial values compiles in two thirds of the time on a CPU; they are the
    same.
    """
    return _cpu_option("xla_backend_optimization_level", "1")


@functools.cache
def _cpu_option(name: str, value: str) -> dict[str, str]:
    """Empty on other platforms, and where XLA does not know the option."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: 0, compiler_options={name: value})()
    except jax.errors.JaxRuntimeError:
        return {}
    return {name: value}
