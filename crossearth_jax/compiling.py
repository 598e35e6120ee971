"""What XLA is asked for besides the programs themselves; a leaf module."""

import ctypes
import functools
import os
import platform
from pathlib import Path

import jax

LONG = 1.0  # seconds; what compiles faster is not worth keeping, nor cleaning up after


def set_up_compiler() -> None:
    """Keeps compiled programs between runs, and no memory that compiling them took.

    JAX_COMPILATION_CACHE_DIR moves the cache.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
        jax.config.update("jax_compilation_cache_dir", str(cache / "crossearth_jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", LONG)
    if platform.libc_ver()[0] == "glibc":
        _listen()


@functools.cache
def _listen() -> None:
    jax.monitoring.register_event_duration_secs_listener(_after_compiling)


def _after_compiling(event: str, seconds: float, **_: object) -> None:
    """The compiler frees about 1 GB after ViT-L's step, which glibc would hold."""
    if event.endswith("backend_compile_duration") and seconds > LONG:
        ctypes.CDLL(None).malloc_trim(0)


@functools.cache
def lean_schedule() -> dict[str, str]:
    """Compiler options that order a program for little memory.

    XLA's own order on a CPU starts everything as early as it can, and a step then holds
    0.7 GB more. Empty on other platforms, and where XLA does not know the option.
    """
    options = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=options)()
    except jax.errors.JaxRuntimeError:
        return {}
    return options
