"""Before the first step: it is compiled, and its memory stands beside the device's."""

from collections.abc import Callable
from typing import Any

from absl import logging

from crossearth_jax.system import device_memory, hosts


def compiled_step(step_fn: Any, *arguments: Any) -> Callable[..., Any]:
    """The program of a jitted step for arguments of these shapes and places.

    Says before that it takes a moment, and afterwards what the program will need.
    """
    if hosts.is_first():
        print("compiling the step, about 20 s the first time", flush=True)
    compiled = step_fn.lower(*arguments).compile()
    needs, has = device_memory.needed(compiled), device_memory.available()
    if hosts.is_first() and needs and has:
        need, have = map(device_memory.gigabytes, (needs, has))
        print(f"a step needs {need} of the {have} of each device", flush=True)
        if needs > has:
            logging.warning("this will not fit: set %s", device_memory.HELPS)
    return compiled
