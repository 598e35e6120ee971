"""The loggers of `train.loggers`, told everything together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from PIL import Image

from crossearth_jax.run.loggers.background import Background, Guarded
from crossearth_jax.run.loggers.mlflow import Mlflow
from crossearth_jax.run.loggers.protocol import End, Logger, RunFacts
from crossearth_jax.run.loggers.tensorboard import TensorBoard
from crossearth_jax.run.loggers.trackio import Trackio
from crossearth_jax.run.loggers.wandb import Wandb
from crossearth_jax.run.stop import Stopped
from crossearth_jax.system import hosts
from crossearth_jax.system.escape import quoted

KNOWN: Mapping[str, type[Logger]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "mlflow": Mlflow,
    "trackio": Trackio,
}


class FanOut:
    """Tells every logger; never raises once it is made. Only the first host logs."""

    def __init__(self, names: Sequence[str]) -> None:
        """Imports the loggers' libraries, before anything of a run is written.

        Args:
          names: of `KNOWN`.

        Raises:
          ValueError: there is no such logger, or one is named twice.
          ImportError: its library is not installed; names the extra that brings it.
        """
        if set(names) - set(KNOWN) or len(set(names)) < len(names):
            raise ValueError(
                f"got train.loggers={quoted(tuple(names))}, expected some of "
                f"{', '.join(KNOWN)}, each once: write "
                "--config.train.loggers=tensorboard,wandb"
            )
        own = names if hosts.is_first() else ()
        self._loggers = [_guarded(name) for name in own]

    def wanted(self) -> bool:
        """Whether there is any logger on this host, to draw pictures for."""
        return bool(self._loggers)

    def start(self, run: RunFacts) -> None:
        """Begins, or goes on with the run of the workdir."""
        for logger in self._loggers:
            logger.start(run)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Values of a step (1-based)."""
        self._all("scalars", step, dict(values))

    def pictures(self, step: int, pictures: Mapping[str, Image.Image]) -> None:
        """Pictures of a step."""
        self._all("pictures", step, dict(pictures))

    def report(self, step: int, report: Mapping[str, Any], workdir: Path) -> None:
        """The scores of the end, as values and as files."""
        self.scalars(step, final_scores(report))
        pictures = [workdir / "pictures" / f"{d}.png" for d in report["domains"]]
        found = [p for p in (workdir / "report.json", *pictures) if p.is_file()]
        self._all("files", found)

    def __enter__(self) -> "FanOut":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        how: End = "finished" if error is None else "failed"
        how = "stopped" if isinstance(error, Stopped) else how
        for logger in self._loggers:
            logger.end(how)

    def _all(self, method: str, *arguments: Any) -> None:
        for logger in self._loggers:
            logger.call(method, *arguments)


def final_scores(report: Mapping[str, Any]) -> dict[str, float]:
    """Defined scores of a report by names such as "final/sub/mIoU"."""
    found: dict[str, float | None] = {}
    for name, domain in report["domains"].items():
        found[f"final/{name}/mIoU"] = domain["mIoU"]
        found |= {f"final/{name}/IoU/{c}": iou for c, iou in domain["IoU"].items()}
    found["final/unseen_mean_mIoU"] = report.get("unseen_mean_mIoU")
    return {name: value for name, value in found.items() if value is not None}


def _guarded(name: str) -> Guarded:
    """TensorBoard's files are local: written at once, in the order of the steps."""
    logger = KNOWN[name]()
    return Guarded(name, logger) if name == "tensorboard" else Background(name, logger)
