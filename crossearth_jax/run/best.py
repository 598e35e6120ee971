"""The checkpoint that scored best while a run trained, and which one a user means.

A checkpoint's score is in its seal: the two are damaged, copied and deleted together,
and no other file has to agree with them. Only the source domain counts: whoever
chooses a checkpoint by an unseen domain has used the labels of that domain, and its
score no longer tells how the model does where there are none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orbax.checkpoint.checkpoint_managers import preservation_policy as preservation

from crossearth_jax.run import seal
from crossearth_jax.system.escape import quoted

LAST, BEST = "last", "best"


@dataclass(frozen=True)
class SourceScore:
    """How a checkpoint did on the source domain.

    Attributes:
      miou: fraction of 1; of several source domains the mean.
      on: digest of the images and windows, since other ones are no comparison.
    """

    miou: float
    on: str


def seal_score(folder: Path, score: SourceScore) -> None:
    """Adds a score to the seal of a checkpoint.

    Raises:
      OSError: it cannot be written; the seal is as it was.
    """
    seal.add(folder, {"score": asdict(score)})


def read_scores(folder: Path) -> dict[int, SourceScore]:
    """Scores by step of the sealed checkpoints in a folder; not all have one."""
    found = {}
    for step in steps_in(folder):
        try:
            score = _score(seal.read(folder / str(step)).get("score"))
        except (OSError, ValueError):  # no seal yet, or it is damaged
            continue
        if score:
            found[step] = score
    return found


def best_of(scores: Mapping[int, SourceScore]) -> int | None:
    """The first step with the highest score; None without any.

    Where the source domain or the windows have changed, only scores on what the newest
    was scored on are compared.
    """
    if not scores:
        return None
    on = scores[max(scores)].on
    alike = [step for step in scores if scores[step].on == on]
    return min(alike, key=lambda step: (-scores[step].miou, step))


def find_step(folder: Path, wanted: str) -> int:
    """The step that a user asks for.

    Args:
      folder: of checkpoints.
      wanted: "best", or a number.

    Raises:
      ValueError: there is no such checkpoint, or it is damaged.
    """
    best, steps = best_of(read_scores(folder)), steps_in(folder)
    if wanted == BEST and best is None:
        raise ValueError(
            f"got --step best, but no checkpoint in {folder} has a score on the source "
            "domain, expected a run with eval.every and train.keep_best: give "
            f"--step {LAST} or one of {_listed(steps)}"
        )
    step = best if wanted == BEST else _number(wanted)
    if step not in steps:
        raise ValueError(
            f"got --step {quoted(wanted)}, expected {LAST}, {BEST} or one of "
            f"{_listed(steps)} in {folder}"
        )
    if damage := seal.damage(folder / str(step)):
        raise ValueError(
            f"got --step {wanted}, but checkpoint {step} in {folder} is damaged "
            f"({damage}), expected a sound one: give --step {LAST}, which takes the "
            "newest sound one"
        )
    return step


class KeepBest(preservation.PreservationPolicy):
    """For Orbax: one step stays however old it is."""

    def __init__(self, best: Callable[[], int | None]) -> None:
        """Asks for the best step at every decision."""
        self._best = best

    def should_preserve(
        self,
        checkpoints: Sequence[Any],
        *,
        context: preservation.PreservationContext,
    ) -> Sequence[bool]:
        """Whether each checkpoint stays."""
        best = self._best()
        return [checkpoint.step == best for checkpoint in checkpoints]


def steps_in(folder: Path) -> list[int]:
    """Steps that have a folder, newest first."""
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    return sorted((int(n) for n in names if n.isascii() and n.isdigit()), reverse=True)


def _score(kept: object) -> SourceScore | None:
    """What a seal says; None where it says nothing sound."""
    match kept:
        case {"miou": float(miou), "on": str(on)} if 0 <= miou <= 1:
            return SourceScore(miou, on)
        case _:
            return None


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1


def _listed(steps: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(steps))) or "none, since there is no checkpoint"
