"""`crossearth rerun WORKDIR`: the same run again, and whether it came out the same."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossearth_jax import config, train
from crossearth_jax.build_data import build_data
from crossearth_jax.commands.errors import guarded, report_stop
from crossearth_jax.commands.parser import make_parser
from crossearth_jax.run import provenance
from crossearth_jax.run.metrics import by_step
from crossearth_jax.run.stop import Stopped
from crossearth_jax.run_settings import read_settings
from crossearth_jax.system.compiling import set_up_compiler
from crossearth_jax.system.escape import terminal
from crossearth_jax.system.memory import keep_freed_memory
from crossearth_jax.system.read_json import read_json_lines


def main(argv: Sequence[str]) -> int:
    """`crossearth rerun WORKDIR [--out DIR]`."""
    parser = make_parser(
        "crossearth rerun",
        "Repeats a run from the configuration in its workdir and compares every logged "
        "metric.\nThe same packages and machine give the same bits.",
    )
    parser.add_argument("workdir", type=Path, help="of a finished run")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="workdir of the repetition (default: WORKDIR-rerun)",
    )
    options = parser.parse_args(argv)
    options.again = f"crossearth rerun {shlex.join(argv)}"
    return guarded(run, options)


def run(options: argparse.Namespace) -> None:
    """Repeats the run and prints what differs."""
    workdir = options.workdir
    again = options.out or workdir.with_name(f"{workdir.name}-rerun")
    keep_freed_memory()
    set_up_compiler()
    try:
        lines = rerun(workdir, again)
    except Stopped:
        report_stop(options.again)
        return
    for line in lines:
        print(terminal(line, 1_000))


def rerun(workdir: Path, again: Path) -> list[str]:
    """Repeats a run.

    Args:
      workdir: of the run; nothing in it is changed.
      again: of the new run, which is resumed if it was begun before.

    Returns:
      What differs, as text.

    Raises:
      ValueError: there is no run, it ran on other data, or both workdirs are one.
    """
    if again.resolve() == workdir.resolve():
        raise ValueError(f"got {again} for both runs: give another folder with --out")
    given = config.load(workdir / "config.json")
    settings = read_settings(given)
    before = _last_start(workdir)
    now = provenance.collect(settings.train.seed, build_data(settings.data))
    if now["must_agree"]["data"] != before["must_agree"]["data"]:
        raise ValueError(
            f"got other data than {workdir} was trained on (names or sizes of files "
            "differ), expected the same: restore it, or train again"
        )
    changes = _changes(before, now)
    train.train(given, again)
    return [*changes, _comparison(_metrics(workdir), _metrics(again))]


def _last_start(workdir: Path) -> dict[str, Any]:
    start = provenance.read(workdir)[-1]
    agreed = start.get("must_agree")
    if not isinstance(agreed, dict) or not {"packages", "data"} <= set(agreed):
        raise ValueError(f"got a damaged provenance.json in {workdir}: train again")
    return start


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What may explain other results."""
    old, new = ({**p, **p["must_agree"]["packages"]} for p in (before, now))
    names = ("git", "machine", "devices", "hosts", "python", *provenance.PACKAGES)
    return [
        f"{name} was {old.get(name)}, is {new[name]}"
        for name in names
        if old.get(name) != new[name]
    ]


def _metrics(workdir: Path) -> dict[int, dict[str, float]]:
    path = workdir / "metrics.jsonl"
    try:
        return by_step(read_json_lines(path))
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"got {path} ({error}), expected the steps that training logs"
        ) from error


def _comparison(
    before: dict[int, dict[str, float]], now: dict[int, dict[str, float]]
) -> str:
    common = sorted(before.keys() & now.keys())
    differing = [step for step in common if before[step] != now[step]]
    if not differing:
        return f"all {len(common)} logged steps are the same, bit for bit"
    losses = [
        (before[s]["loss"], now[s]["loss"])
        for s in differing
        if "loss" in before[s] and "loss" in now[s]  # others have scores alone
    ]
    gap = max((abs(old - new) for old, new in losses), default=0.0)
    return (
        f"{len(differing)} of {len(common)} logged steps differ, the first is step "
        f"{differing[0]}; largest difference of the loss: {gap:.3g}"
    )
