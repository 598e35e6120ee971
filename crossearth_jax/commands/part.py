"""`--part I/N`: one share of a list, by number or by a cluster's job array."""

import os
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def part_of(text: str | None, env: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Which share this process has.

    Args:
      text: "I/N" with I from 1; "/N" takes I from the cluster, "auto" both; None is
        everything. Of a Slurm array of N tasks I is the place in it, wherever its
        numbers begin; of another array it is the task's number, from 1.
      env: where Slurm arrays and Kubernetes' Indexed Jobs tell their numbers.

    Returns:
      I and N.

    Raises:
      ValueError: there is no such share, or the cluster does not tell.
    """
    if text is None:
        return 1, 1
    index, _, count = ("", "", "") if text == "auto" else text.partition("/")
    count = count or _count(env)
    numbers = index or _index(env, count), count
    if not all(number.isdigit() for number in numbers):
        raise ValueError(
            f"got --part {text}, expected I/N such as 2/10; in a Slurm array `auto`, "
            "or in an Indexed Job of Kubernetes /N"
        )
    number, parts = map(int, numbers)
    if not 1 <= number <= parts:
        raise ValueError(
            f"got --part {text}, which is part {number} of {parts}, expected one of 1 "
            f"to {parts}: an array must have numbers without gaps"
        )
    return number, parts


def share_of(items: Sequence[T], part: tuple[int, int]) -> list[T]:
    """Every N-th item from the I-th on."""
    return list(items[part[0] - 1 :: part[1]])


def in_array(env: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is one of a job array."""
    return "SLURM_ARRAY_TASK_ID" in env or "JOB_COMPLETION_INDEX" in env


def _index(env: Mapping[str, str], count: str) -> str:
    """From 1; the numbers of a whole Slurm array may start anywhere and have steps.

    An array of fewer tasks than there are parts is a piece of a larger one, or repeats
    tasks of one that failed: its numbers are taken as they are.
    """
    if "SLURM_ARRAY_TASK_ID" in env:
        number = _number(env, "SLURM_ARRAY_TASK_ID")
        if env.get("SLURM_ARRAY_TASK_COUNT", count) != count:
            return str(number)
        first = _number(env, "SLURM_ARRAY_TASK_MIN", 1)
        step = max(1, _number(env, "SLURM_ARRAY_TASK_STEP", 1))
        return str((number - first) // step + 1)
    if "JOB_COMPLETION_INDEX" in env:
        return str(_number(env, "JOB_COMPLETION_INDEX") + 1)
    return ""


def _number(env: Mapping[str, str], name: str, default: int = 0) -> int:
    text = env.get(name, str(default))
    if not text.isdigit():
        raise ValueError(f"got {name}={text}, expected a number, as a cluster sets it")
    return int(text)


def _count(env: Mapping[str, str]) -> str:
    """Kubernetes does not tell; JOB_COMPLETIONS may be set to `completions`."""
    return env.get("SLURM_ARRAY_TASK_COUNT", env.get("JOB_COMPLETIONS", ""))
