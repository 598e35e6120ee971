"""Stopping on request: SIGTERM and SIGINT save at the next step boundary.

Slurm, Kubernetes and spot instances announce the end with SIGTERM; Ctrl-C is SIGINT.
"""

import os
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

import jax
from absl import logging
from jax.experimental import multihost_utils

SIGNALS = (signal.SIGTERM, signal.SIGINT)
Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None


class Stopped(Exception):
    """The run ends early because it was asked to; all that it did is saved."""


class StopRequest:
    """Notices the first signal and ends the process at the second.

    Several hosts must stop at one step, though signals reach them at different
    times: JAX's runtime then agrees on it, and SIGTERM belongs to that runtime.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._agreed = False  # several hosts have stopped after the same step
        self._at_once = False
        self._before: dict[int, Handler] = {}
        self._several = jax.process_count() > 1

    def __enter__(self) -> "StopRequest":
        for number in SIGNALS[1:] if self._several else SIGNALS:
            self._before[number] = signal.signal(number, self._notice)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _notice(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            os._exit(128 + number)
        self._received = number
        if self._at_once:
            raise Stopped
        logging.warning(
            "asked to stop: saving after this step; a second signal ends now"
        )
        if self._several:
            os.kill(os.getpid(), signal.SIGTERM)  # for JAX's runtime, which tells all

    def before(self, step: int) -> bool:
        """Whether to stop instead of running a step; all hosts ask for every step."""
        if self._several:
            self._agreed = multihost_utils.reached_preemption_sync_point(step)
            return self._agreed
        return self._received is not None

    def asked_alone(self) -> bool:
        """Whether this process, the only one of its run, was asked to stop.

        Several hosts cannot leave what they do together but between steps.
        """
        return not self._several and self._received is not None

    def nothing_left_to_save(self) -> None:
        """From here on a request raises `Stopped` wherever the run is.

        Raises:
          Stopped: it came before.
        """
        self._at_once = True
        if self._agreed or self._received is not None:
            raise Stopped
