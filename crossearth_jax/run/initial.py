"""What a training starts from: `train.init`, a run's workdir, a file or a name."""

import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from crossearth_jax.build import Initial
from crossearth_jax.config import load as read_config
from crossearth_jax.data.classes import load_classes
from crossearth_jax.hub.catalogue import is_name
from crossearth_jax.hub.weights import find_weights, moved
from crossearth_jax.models import class_head
from crossearth_jax.models.parameters import read_weights
from crossearth_jax.run.checkpoint import Checkpoints, read_parameters
from crossearth_jax.run.trained import find_workdir, step_of
from crossearth_jax.run_settings import StartSettings
from crossearth_jax.system.escape import quoted

RULES = ("same", "fresh", "by_name")


def backbone_of_run(start: StartSettings) -> str | None:
    """The frozen backbone of the run that `train.init` names, if none is given.

    It is put into the configuration, so that what a run keeps names all that it needs.

    Returns:
      A file or a name; None where nothing is to be taken.

    Raises:
      ValueError: that run's backbone cannot be found, or is in its checkpoints alone.
    """
    if not is_workdir(start.given) or start.weights:
        return None
    workdir = find_workdir(Path(str(start.given)))
    before = read_config(workdir / "config.json").to_dict()
    if before["backbone"]["trainable"]:
        if start.trains_backbone:
            return None
        raise ValueError(
            f"got train.init={start.given}, a run that trained its backbone, with "
            "backbone.trainable=False, expected it to train here too: set "
            "--config.backbone.trainable=True, or give --config.backbone.weights"
        )
    with closing(Checkpoints(workdir, read_only=True)) as checkpoints:
        newest = checkpoints.latest()
        made = {} if newest is None else checkpoints.made(newest)
    here = moved(before, made, workdir)
    for section, key in (("backbone", "weights"), ("train", "init")):
        place = here.get(f"{section}.{key}") or before[section][key]
        if place and not is_workdir(place):
            return str(place)
    raise ValueError(
        f"got train.init={start.given}, which does not say where its frozen backbone "
        "is, expected it to: give --config.backbone.weights"
    )


def read_initial(start: StartSettings, names: Sequence[str]) -> Initial | None:
    """Reads what a training starts from.

    Args:
      start: see `run_settings.start_settings`.
      names: of the classes of its data.

    Returns:
      Its arrays and which rows of its class head are taken; None without `train.init`.

    Raises:
      ValueError: it cannot be read, or its classes do not fit `train.init_classes`.
    """
    given, rule = start.given, start.classes
    if rule not in RULES:
        raise ValueError(
            f"got train.init_classes={quoted(rule)}, expected one of {', '.join(RULES)}"
        )
    if not given:
        return None
    arrays, before = _of_run(start) if is_workdir(given) else _of_file(start)
    rows = choose_rows(given, class_head.count_of(arrays), before, names, rule)
    return Initial(arrays, rows)


def is_workdir(given: str | None) -> bool:
    """Whether `train.init` names a folder: of a run, or of one of its checkpoints."""
    return bool(given) and not is_name(str(given)) and Path(str(given)).is_dir()


def _of_run(start: StartSettings) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """A run's trained parameters, and the names of its classes."""
    place = Path(str(start.given))
    workdir = find_workdir(place)
    step, arrays = read_parameters(workdir, step_of(place))
    logging.info("train.init: step %d of %s", step, workdir)
    wanted = start.crop // start.patch
    grid = math.isqrt(len(arrays.get("backbone.pos_embed", ())))
    if grid not in (0, wanted) and not start.weights:
        raise ValueError(
            f"got train.init={workdir}, whose backbone trained with {grid}² positions, "
            f"and a crop of {start.crop} with {wanted}², expected as many: set "
            "--config.data.crop as in that run"
        )
    return arrays, load_classes(workdir / "classes.json").names


def _of_file(start: StartSettings) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Converted weights, and the names that they keep of their classes."""
    place = find_weights(str(start.given), crop=start.crop, patch=start.patch)
    arrays, told = read_weights(place, "crossearth")
    return arrays, names_of(told)


def names_of(told: dict[str, Any]) -> tuple[str, ...]:
    """Classes that a converted file names; empty where it made them up."""
    kept: Any = told.get("class_set")
    names = kept.get("names") if isinstance(kept, dict) else None
    if not isinstance(names, list) or not all(isinstance(x, str) for x in names):
        return ()
    return () if names[:1] == ["class_0"] else tuple(names)


def choose_rows(
    given: str,
    count: int | None,
    before: Sequence[str],
    now: Sequence[str],
    rule: str,
) -> class_head.Rows | None:
    """Which rows of the class head are taken.

    Args:
      given: `train.init`, to tell the user.
      count: classes of its head; None where it has none.
      before: their names; empty where they are not known.
      now: names of the classes of the data.
      rule: one of `RULES`.

    Returns:
      The rows; None takes the head as it is.

    Raises:
      ValueError: classes differ, or their names are needed and not known.
    """
    if rule == "fresh":
        logging.warning("train.init_classes=fresh: the class head starts anew")
        return class_head.all_fresh(len(now))
    if count is None:  # no whole network: what it is says who reads it
        return None
    then = _listed(before) if before else f"{count} classes without names"
    if before and len(before) != count:
        raise ValueError(
            f"got {given} with {len(before)} names for {count} classes, expected as "
            "many: convert it again"
        )
    if rule == "same":
        alike = [*map(class_head.known, before)] == [*map(class_head.known, now)]
        if alike or (not before and count == len(now)):
            return None
        raise ValueError(
            f"got train.init={given} of {then}, and {_listed(now)} in the data, "
            "expected the same in the same order: set --config.train.init_classes="
            "by_name, which takes classes of equal names, or fresh"
        )
    if not before:
        raise ValueError(
            f"got train.init_classes=by_name with {given} of {then}, expected names: "
            "convert it again with --classes FILE, or set "
            "--config.train.init_classes=fresh"
        )
    return _rows_by_name(given, before, now)


def _rows_by_name(
    given: str, before: Sequence[str], now: Sequence[str]
) -> class_head.Rows:
    """Rows of classes whose names both have; says which."""
    rows = class_head.by_name(before, now)
    taken = [name for name, row in zip(now, rows, strict=False) if row is not None]
    if not taken:
        raise ValueError(
            f"got train.init_classes=by_name with {_listed(before)} in {given} and "
            f"{_listed(now)} in the data, expected a name that both have: set "
            "--config.train.init_classes=fresh"
        )
    anew = [name for name in now if name not in taken]
    logging.warning(
        "train.init_classes=by_name: %s taken; %s start anew",
        *(", ".join(taken), ", ".join(anew) or "none"),
    )
    return rows


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(quoted, names[:8]))
    return f"[{shown}{f' … {len(names)} in all' if len(names) > 8 else ''}]"
