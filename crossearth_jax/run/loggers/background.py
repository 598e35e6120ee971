"""Loggers may fail or take their time; training goes on."""

import queue
import threading
from collections.abc import Callable
from typing import Any

from absl import logging

from crossearth_jax.run.loggers.protocol import End, Logger, RunFacts
from crossearth_jax.system.escape import cut

WAITING = 10_000  # calls; a server that is gone for longer costs what comes then
PATIENCE_S = {"finished": 60.0, "stopped": 10.0, "failed": 10.0}  # at the end


class Guarded:
    """Calls a logger at once; its first error is one warning."""

    def __init__(self, name: str, logger: Logger) -> None:
        self.name, self._logger = name, logger
        self._warned, self._on = False, False

    def start(self, run: RunFacts) -> None:
        """Starts the logger; one that cannot is off until the next start."""
        self._on = self._try("start", run)

    def call(self, method: str, *arguments: Any) -> None:
        """Calls a method of the logger by its name."""
        if self._on:
            self._try(method, *arguments)

    def end(self, how: End) -> None:
        """Ends it."""
        self.call("end", how)

    def _try(self, method: str, *arguments: Any) -> bool:
        try:
            getattr(self._logger, method)(*arguments)
        except Exception as error:
            self.warn(f"{type(error).__name__}: {error}")
            return False
        return True

    def warn(self, text: str) -> None:
        """Warns, the first time."""
        if not self._warned:
            logging.warning(
                "train.loggers: %s failed (%s); training goes on, metrics.jsonl has "
                "all of it, and this is reported once",
                *(self.name, cut(" ".join(text.split()), 500)),
            )
        self._warned = True


class Background(Guarded):
    """Calls a logger in a thread of its own, so that no step waits for a server."""

    def __init__(self, name: str, logger: Logger) -> None:
        super().__init__(name, logger)
        self._calls: queue.Queue[Callable[[], None] | None] = queue.Queue(WAITING)
        # A daemon, so that a request without an answer does not hold the process.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self, run: RunFacts) -> None:
        """Starts the thread, and the logger in it."""
        self._thread.start()
        begin = super().start
        self._calls.put(lambda: begin(run))

    def call(self, method: str, *arguments: Any) -> None:
        """Has the thread call a method; drops the call if too many are waiting."""
        do = super().call
        try:
            self._calls.put_nowait(lambda: do(method, *arguments))
        except queue.Full:
            self.warn(f"it is {WAITING} calls behind, some are dropped")

    def end(self, how: End) -> None:
        """Ends the logger, and waits a while for what is on its way."""
        if not self._thread.is_alive():  # the run did not come that far
            return
        self.call("end", how)
        try:
            self._calls.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(PATIENCE_S[how])
        if self._thread.is_alive():
            self.warn(f"it is not done after {PATIENCE_S[how]:.0f} s")

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
