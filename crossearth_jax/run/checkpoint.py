"""Checkpoints of the trainable part of a run (Orbax).

A checkpoint holds the trainable parameters, the optimiser state and the step, each
array under its dotted path. The step is also the position in the data, so nothing
else is needed to resume.
"""

import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint.checkpoint_managers import preservation_policy as preservation

from crossearth_jax.models.parameters import check_same
from crossearth_jax.run import orbax_noise, seal
from crossearth_jax.run.best import (
    LAST,
    KeepBest,
    SourceScore,
    best_of,
    find_step,
    read_scores,
    seal_score,
    steps_in,
)
from crossearth_jax.run.clear_up import move_aside, reason_of, remove
from crossearth_jax.run.stored_state import restored, stored, stored_shapes
from crossearth_jax.system import hosts
from crossearth_jax.train_step import TrainState


class Checkpoints:
    """The checkpoints of one run, newest last.

    A step is a folder of Orbax and beside its arrays `seal.json`, written last: size
    and digest of every file. Orbax alone restores flipped bits silently and
    takes an empty folder for a finished step.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        keep: int = 1,
        keep_every: int = 0,
        keep_best: bool = False,
        frozen: str | None = None,
        made: Mapping[str, Any] | None = None,
        read_only: bool = False,
    ) -> None:
        """Opens `workdir/checkpoints` if it is there.

        The first save creates it, so a run that fails before leaves nothing behind.

        Args:
          workdir: of the run.
          keep: newest checkpoints that stay, at least two.
          keep_every: those of every n-th step stay too; 0 for none.
          keep_best: the one that scored best stays too, see `note_score`.
          frozen: `parameters.digest_of_arrays` of the frozen weights the checkpoints
            belong to; None does not compare it.
          made: what the run is made of, sealed with every checkpoint, see
            `contract.facts`.
          read_only: nothing is saved or cleared up: another process may be training.
        """
        self._folder = (workdir / "checkpoints").absolute()
        orbax_noise.hide()
        self._keep, self._keep_every, self._keep_best = keep, keep_every, keep_best
        self._scores: dict[int, SourceScore] = {}  # of sealed checkpoints
        self._frozen, self._made = frozen, dict(made or {})
        self._read_only = read_only
        self._manager = self._open() if self._folder.is_dir() else None
        self._last: int | None = None  # step saved or restored last
        self._unsealed: int | None = None  # step that may still be in the making
        self._sealing = ThreadPoolExecutor(1)
        self._sealed: Future[None] | None = None

    def _open(self) -> ocp.CheckpointManager:
        # A handler by name: without one, a new process cannot read the metadata.
        handler = ocp.StandardCheckpointHandler()
        if self._read_only:
            options = ocp.CheckpointManagerOptions(read_only=True)
            return ocp.CheckpointManager(
                self._folder, options=options, item_handlers=handler
            )
        # Orbax removes old steps before the new one is sealed: with one step to keep,
        # a kill at that moment would leave none.
        policies: list[preservation.PreservationPolicy] = [
            preservation.LatestN(max(self._keep, 2))
        ]
        if self._keep_every:
            policies.append(preservation.EveryNSteps(self._keep_every))
        if self._keep_best:
            policies.append(KeepBest(self.best))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=preservation.AnyPreservationPolicy(policies),
            cleanup_tmp_directories=True,
        )
        return ocp.CheckpointManager(
            self._folder, options=options, item_handlers=handler
        )

    def latest(self) -> int | None:
        """Step of the newest sound checkpoint; warns of damaged newer ones.

        Raises:
          ValueError: there are checkpoints, but all are damaged.
          OSError: a pending save failed.
        """
        self.wait()
        return hosts.from_first(self._newest_sound() if hosts.is_first() else None)

    def _newest_sound(self) -> int | None:
        damage = {}
        for step in steps_in(self._folder):
            found = seal.damage(self._folder / str(step))
            if found is None:
                return step
            damage[step] = found
            logging.warning("checkpoint of step %d skipped: %s", step, found)
        # A kill leaves one step without a seal, and no second save begins before it.
        if len(damage) > 1 or any(x != seal.UNFINISHED for x in damage.values()):
            raise ValueError(
                f"got only damaged checkpoints in {self._folder} ({damage}), expected "
                "a sound one: restore the folder from a copy, or delete it to begin "
                "again"
            )
        return None

    def find(self, wanted: str) -> int | None:
        """The step of "last", "best" or a number; None where "last" is none.

        Raises:
          ValueError: there is no such checkpoint, or it is damaged.
        """
        if wanted == LAST:
            return self.latest()
        found = find_step(self._folder, wanted) if hosts.is_first() else None
        return hosts.from_first(found)

    def set_damaged_aside(self) -> int | None:
        """Renames damaged checkpoints, so that their steps can be saved again.

        A newest one that a kill left without its seal is deleted if there is an older
        sound one.

        Returns:
          Step of the newest sound checkpoint.
        """
        newest = self.latest()
        if hosts.is_first():
            for step in steps_in(self._folder):
                folder = self._folder / str(step)
                if newest is None or (step > newest and (folder / seal.NAME).exists()):
                    move_aside(folder)
                elif step > newest:
                    shutil.rmtree(folder)
        scores = read_scores(self._folder) if hosts.is_first() else None
        self._scores = hosts.from_first(scores)
        if self._manager is not None:
            self._manager.reload()
        return newest

    def save(self, state: TrainState) -> bool:
        """Saves in the background; a step counts only when complete and sealed.

        Returns:
          False if this save or the one before failed, on a full disk for example: the
          error is logged, older checkpoints stay as they are, training can continue.
        """
        step = int(state.step)
        if step == self._last:
            return True
        try:
            self.wait()
        except OSError as error:
            logging.error("%s; training goes on", error)
        self._last = step
        try:
            if self._manager is None:
                self._manager = self._open()
            arguments = ocp.args.StandardSave(stored(state))
            self._unsealed = step
            if not self._manager.save(step, args=arguments):
                raise OSError("Orbax refused")
        except Exception as error:
            logging.error("%s; training goes on", self._failed(error))
            return False
        return True

    def seal_when_complete(self) -> None:
        """Seals the last save if it is on disk; cheap, called between steps."""
        if self._unsealed is None:
            return
        assert self._manager is not None  # which is saving that step
        if self._manager.is_saving_in_progress():
            return
        try:
            self._complete()
        except Exception as error:
            logging.error("%s; training goes on", self._failed(error))

    def _complete(self) -> None:
        """Waits for the last save and has it sealed; raises what the save raised."""
        assert self._manager is not None  # which is saving that step
        # Not `check_for_errors`: Orbax's own thread has taken the error from there.
        self._manager.wait_until_finished()
        step, self._unsealed = self._unsealed, None
        if hosts.is_first():
            # Reading the files again takes a moment; training need not wait for it.
            folder = self._folder / str(step)
            about = {"step": step, "frozen": self._frozen, "made": self._made}
            self._sealed = self._sealing.submit(seal.write, folder, about)

    def wait(self) -> None:
        """Returns when the last save is on disk and sealed.

        Raises:
          OSError: it could not be written; older checkpoints are as they were.
        """
        try:
            if self._unsealed is not None:
                self._complete()
            if self._sealed is not None:
                self._sealed.result()
                self._sealed = None
        except Exception as error:
            raise self._failed(error) from error

    def note_score(self, step: int, score: SourceScore) -> None:
        """Keeps a score with the checkpoint that was saved last; all hosts call it.

        The best checkpoint so far stays until a better one is sealed with its score.
        Where either cannot be written, that is logged and training can continue.
        """
        try:
            self.wait()
        except OSError as error:
            logging.error("%s; training goes on", error)
        kept = hosts.is_first() and self._last == step and self._seal(step, score)
        if hosts.from_first(kept):
            self._scores[step] = score

    def _seal(self, step: int, score: SourceScore) -> bool:
        try:
            seal_score(self._folder / str(step), score)
        except (OSError, ValueError) as error:
            logging.error("the score of step %d is not kept: %s", step, error)
            return False
        return True

    def best(self) -> int | None:
        """The step that scored best; None without a score."""
        return best_of(self._scores)

    def best_score(self) -> float | None:
        """Its mIoU on the source domain, fraction of 1."""
        step = self.best()
        return None if step is None else self._scores[step].miou

    def _failed(self, error: Exception) -> OSError:
        """Starts over with what is on disk; returns the error as text."""
        if jax.process_count() > 1:  # the others wait for this host in the save
            raise error
        step, self._last = self._last, None
        self._unsealed = self._sealed = None
        if self._manager is not None:
            with suppress(Exception):
                self._manager.close()
        # What was not sealed would only use up the space and be counted by Orbax.
        for left in self._folder.glob(f"{step}*"):
            own = left.name.partition(".")[0] == str(step)
            if own and not (left / seal.NAME).exists():
                remove(left)
        self._manager = self._open() if self._folder.is_dir() else None
        return OSError(
            f"the checkpoint of step {step} was not saved ({reason_of(error)}): free "
            "some disk space; older checkpoints are kept"
        )

    def made(self, step: int) -> dict[str, Any]:
        """What the run of a sound checkpoint was made of; empty if not sealed."""
        return seal.read(self._folder / str(step)).get("made") or {}

    def restore(
        self, like: TrainState, step: int | None = None, *, other_weights: bool = False
    ) -> TrainState:
        """A checkpoint, placed as `like`.

        Args:
          like: arrays of the wanted shapes, types and placement.
          step: of a sound checkpoint; None takes the newest.
          other_weights: allows other frozen weights than it was trained with.

        Raises:
          ValueError: it does not exist, belongs to another architecture or to other
            frozen weights, or it is the state of another step.
        """
        step = self.latest() if step is None else step
        if step is None or self._manager is None:
            raise ValueError(
                f"got no checkpoint in {self._folder}, expected one: train "
                "first, or give the workdir of a finished run with --workdir"
            )
        if not other_weights:
            self._check_frozen(step)
        wanted = stored_shapes(like)
        found = self._manager.item_metadata(step)
        check_same(
            {path: (tuple(x.shape), str(x.dtype)) for path, x in found.items()},
            {path: (x.shape, str(x.dtype)) for path, x in wanted.items()},
            f"checkpoint {self._folder}/{step}",
        )
        flat = self._manager.restore(step, args=ocp.args.StandardRestore(wanted))
        self._last = step
        state = restored(flat, like)
        if int(state.step) != step:
            raise ValueError(
                f"got {self._folder}/{step} with the state of step {state.step}, "
                f"expected that of step {step}: the folder was renamed; give it its "
                "own number again"
            )
        return state

    def _check_frozen(self, step: int) -> None:
        trained_with = seal.read(self._folder / str(step))["frozen"]
        if self._frozen is None or trained_with is None:
            return
        if trained_with != self._frozen:
            raise ValueError(
                f"got other frozen weights (SHA-256 {self._frozen[:12]}…) than those "
                f"that the checkpoint {self._folder}/{step} was trained with "
                f"({trained_with[:12]}…): give the same file with "
                "--config.backbone.weights"
            )

    def close(self) -> None:
        """Waits until the last save is on disk.

        Raises:
          OSError: it could not be written.
        """
        try:
            self.wait()
        finally:
            self._sealing.shutdown()
            if self._manager is not None:
                self._manager.close()


def read_parameters(
    workdir: Path, step: int | None = None
) -> tuple[int, dict[str, np.ndarray]]:
    """The trained parameters of a run's checkpoint, whatever its architecture.

    Args:
      workdir: of the run.
      step: of a sound checkpoint; None takes the newest.

    Returns:
      The step, and arrays under dotted paths.

    Raises:
      ValueError: there is no checkpoint.
    """
    if not (workdir / "checkpoints").is_dir():
        raise ValueError(f"got {workdir} without checkpoints, expected a run's workdir")
    if step is None:
        with closing(Checkpoints(workdir, read_only=True)) as checkpoints:
            step = checkpoints.latest()
    if step is None:
        raise ValueError(f"got no checkpoint in {workdir}: train first")
    with ocp.CheckpointManager(
        (workdir / "checkpoints").absolute(),
        item_handlers=ocp.PyTreeCheckpointHandler(),
    ) as manager:
        stored = manager.item_metadata(step)
        on_host = ocp.RestoreArgs(restore_type=np.ndarray)
        prefix = "params."
        names = [path for path in stored if path.startswith(prefix)]
        restored = manager.restore(
            step,
            args=ocp.args.PyTreeRestore(
                item=dict.fromkeys(names, 0),
                restore_args=dict.fromkeys(names, on_host),
                partial_restore=True,
            ),
        )
    return step, {name.removeprefix(prefix): restored[name] for name in names}
