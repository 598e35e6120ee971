"""`--part I/N`: one share of a list, by number or by a cluster's job array."""

import os
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def part_of(text: str | None, env: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Which share this process has.

    Args:
      text: "I/N" with I from 1; "/N" takes I from the cluster, "auto" both; None is
        everything.
      env: where Slurm arrays and Kubernetes' Indexed Jobs tell their numbers.

    Returns:
      I and N.

    Raises:
      ValueError: there is no such share, or the cluster does not tell.
    """
    if text is None:
        return 1, 1
    index, _, count = ("", "", "") if text == "auto" else text.partition("/")
    numbers = index or _index(env), count or _count(env)
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
    return bool(_index(env))


def _index(env: Mapping[str, str]) -> str:
    """From 1; Slurm's numbers may start anywhere and have steps."""
    if "SLURM_ARRAY_TASK_ID" in env:
        first = int(env.get("SLURM_ARRAY_TASK_MIN", 1))
        step = int(env.get("SLURM_ARRAY_TASK_STEP", 1))
        return str((int(env["SLURM_ARRAY_TASK_ID"]) - first) // step + 1)
    if "JOB_COMPLETION_INDEX" in env:
        return str(int(env["JOB_COMPLETION_INDEX"]) + 1)
    return ""


def _count(env: Mapping[str, str]) -> str:
    """Kubernetes does not tell; JOB_COMPLETIONS may be set to `completions`."""
    return env.get("SLURM_ARRAY_TASK_COUNT", env.get("JOB_COMPLETIONS", ""))
