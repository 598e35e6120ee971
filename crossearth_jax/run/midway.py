"""Scores while a run trains: after every n-th step, by one compiled program.

Nothing of it reaches the training: scores read the parameters between two steps, and
readers of scored images are not those of the training's.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PyTree
from PIL import Image

from crossearth_jax.build_data import Data
from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.datasets import ScoredDomain
from crossearth_jax.report.pictures import domain_picture
from crossearth_jax.report.score_table import mean_fraction, percent
from crossearth_jax.run.best import SourceScore
from crossearth_jax.run.checkpoint import Checkpoints
from crossearth_jax.run.log import RunLog
from crossearth_jax.run.loggers.fan_out import FanOut
from crossearth_jax.run_settings import MidwaySettings, RunSettings
from crossearth_jax.scoring.domain import DomainResult, evaluate_domain
from crossearth_jax.scoring.metrics import confusion_metrics
from crossearth_jax.scoring.score_fn import make_scorer
from crossearth_jax.scoring.windows import ScoreFn, Windows
from crossearth_jax.system.escape import terminal
from crossearth_jax.train_step import TrainState

PICTURES = 3  # of each domain


class Interrupted(Exception):
    """The run was asked to stop while it was being scored."""


@dataclass(frozen=True)
class MidwayScores:
    """The scores of one step.

    Attributes:
      results: of every scored domain.
      classes: names and palette.
      source: the score that checkpoints are chosen by; None without a source domain,
        or where its mIoU is undefined.
    """

    results: tuple[DomainResult, ...]
    classes: ClassSet
    source: SourceScore | None

    def values(self) -> dict[str, float]:
        """Fractions of 1 by names such as "sub/mIoU" and "sub/IoU/road"; no nan."""
        found: dict[str, float] = {}
        for result in self.results:
            metrics = confusion_metrics(result.confusion)
            found[f"{result.name}/mIoU"] = metrics.miou
            for name, iou in zip(self.classes.names, metrics.iou, strict=True):
                found[f"{result.name}/IoU/{name}"] = float(iou)
        return {name: value for name, value in found.items() if not math.isnan(value)}

    def in_words(self) -> str:
        """The mIoU of every domain in percent."""
        values = self.values()
        shown = [
            f"{terminal(r.name)} ({r.role}) {percent(values.get(f'{r.name}/mIoU'))}"
            for r in self.results
        ]
        return f"mIoU in %: {', '.join(shown)}"

    def pictures(self) -> dict[str, Image.Image]:
        """Image, truth, prediction and error of some images, such as "sub/1"."""
        names, palette = self.classes.names, self.classes.palette
        return {
            f"{result.name}/{i}": domain_picture(result.name, [example], names, palette)
            for result in self.results
            for i, example in enumerate(result.examples, 1)
        }


class Midway:
    """Scores the domains of a run whenever it is time."""

    def __init__(
        self,
        settings: RunSettings,
        data: Data,
        graph: nnx.GraphDef,
        frozen: PyTree,
        *,
        asked_to_stop: Callable[[], bool],
    ) -> None:
        """Chooses the domains; nothing is compiled before it is needed.

        Args:
          settings: of the run.
          data: what it reads.
          graph: of the network.
          frozen: its frozen weights.
          asked_to_stop: asked before every call of the score function.
        """
        self._settings, self._steps = settings.midway, settings.train.steps
        self._windows, self._classes = settings.windows, data.classes
        self._domains = scored_domains(settings.midway, data)
        self._on = _digest(self._domains, settings.windows)
        self._network = graph, frozen
        self._scorer: Callable[[PyTree], ScoreFn] | None = None
        self._asked_to_stop = asked_to_stop

    def due(self, step: int) -> bool:
        """Whether a step (1-based) is scored: every n-th and the last."""
        every = self._settings.every
        return every > 0 and step > 0 and (step % every == 0 or step == self._steps)

    def to_come(self, start: int) -> int:
        """How many steps after `start` are scored."""
        return sum(map(self.due, range(start + 1, self._steps + 1)))

    @property
    def keeps_best(self) -> bool:
        """Whether every scored step is saved, and the best one kept."""
        return self._settings.keep_best

    def score(self, params: PyTree) -> MidwayScores | None:
        """Scores the domains; all hosts call it and share the images.

        Args:
          params: of the step; not kept.

        Returns:
          None where the run was asked to stop before all images were scored.
        """
        if self._scorer is None:
            self._scorer = make_scorer(*self._network)
        score_fn = _stoppable(self._scorer(params), self._asked_to_stop)
        try:
            results = tuple(
                evaluate_domain(
                    score_fn,
                    domain,
                    classes=self._classes,
                    windows=self._windows.on_devices(),
                    examples=PICTURES,
                )
                for domain in self._domains
            )
        except Interrupted:
            return None
        mious = [
            confusion_metrics(result.confusion).miou
            for result in results
            if result.role == "source"
        ]
        mean = mean_fraction([None if math.isnan(x) else float(x) for x in mious])
        source = None if mean is None else SourceScore(mean, self._on)
        return MidwayScores(results, self._classes, source)


def score_step(
    midway: Midway,
    step: int,
    state: TrainState,
    log: RunLog,
    saved: Checkpoints,
    loggers: FanOut,
) -> None:
    """Scores a step, logs it, and has the best checkpoint kept; all hosts call it.

    A run that is asked to stop meanwhile leaves it to the next start.
    """
    with log.aside():
        scores = midway.score(state.params)
        if scores is None:
            return
        shown = [scores.in_words()]
        if midway.keeps_best and scores.source:
            saved.note_score(step, scores.source)
        if midway.keeps_best and (best := saved.best_score()) is not None:
            shown.append(f"best {percent(best)} at step {saved.best()}")
        log.write_scores(step, scores.values(), "  ".join(shown))
        if loggers.wanted():
            loggers.pictures(step, scores.pictures())


def scored_domains(settings: MidwaySettings, data: Data) -> tuple[ScoredDomain, ...]:
    """The domains that are scored while a run trains; none with eval.every=0.

    Raises:
      ValueError: there is no domain to score, or none to choose the best by.
    """
    if not settings.every:
        return ()
    source = tuple(domain for domain in data.domains if domain.role == "source")
    chosen = data.domains if settings.domains == "all" else source
    if not source and (settings.keep_best or not chosen):
        what = "train.keep_best" if settings.keep_best else "eval.every"
        raise ValueError(
            f"got {what} without a source domain, expected labelled images of the "
            "source that do not train: set --config.data.source=NAME=IMAGES:LABELS"
            + ("" if settings.keep_best else ", or --config.eval.domains=all")
        )
    return chosen


def _stoppable(score_fn: ScoreFn, asked_to_stop: Callable[[], bool]) -> ScoreFn:
    def watched(
        windows: Float[np.ndarray, "b h w 3"],
    ) -> Float[Array, "b h w K"] | Float[np.ndarray, "b h w K"]:
        if asked_to_stop():
            raise Interrupted
        return score_fn(windows)

    return watched


def _digest(domains: Sequence[ScoredDomain], windows: Windows) -> str:
    """Of the source's images and of how they are scored."""
    source = [domain for domain in domains if domain.role == "source"]
    facts = [repr((d.name, d.fit, d.source.fingerprint())) for d in source]
    facts.append(repr((windows.crop, windows.stride)))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:20]
