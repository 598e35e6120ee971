"""`crossearth rerun WORKDIR`: the same run again, and whether it came out the same."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from crossearth_jax import config, train
from crossearth_jax.build_data import build_data
from crossearth_jax.run import provenance
from crossearth_jax.system.compiling import set_up_compiler
from crossearth_jax.system.memory import keep_freed_memory


def main(argv: Sequence[str]) -> int | None:
    """`crossearth rerun WORKDIR [--out DIR]`."""
    parser = argparse.ArgumentParser(
        prog="crossearth rerun",
        description="Repeats a run from the configuration in its workdir and compares "
        "every logged metric. The same packages and machine give the same bits.",
    )
    parser.add_argument("workdir", type=Path, help="of a finished run")
    parser.add_argument("--out", type=Path, help="default: WORKDIR-rerun")
    args = parser.parse_args(argv)
    again = args.out or args.workdir.with_name(f"{args.workdir.name}-rerun")
    flags.FLAGS.mark_as_parsed()  # Grain reads them
    keep_freed_memory()
    set_up_compiler()
    try:
        for line in rerun(args.workdir, again):
            print(line)
    except (ValueError, OSError) as error:
        parser.exit(1, f"error: {error}\n")


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
    settings = config.load(workdir / "config.json")
    before = provenance.read(workdir)[-1]
    now = provenance.collect(settings.train.seed, build_data(settings))
    if now["must_agree"]["data"] != before["must_agree"]["data"]:
        raise ValueError(
            f"got other data than {workdir} was trained on (names or sizes of files "
            "differ), expected the same: restore it, or train again"
        )
    changes = _changes(before, now)
    train.train(settings, again)
    return [*changes, _comparison(_metrics(workdir), _metrics(again))]


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
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return {entry["step"]: entry for entry in map(json.loads, lines)}


def _comparison(
    before: dict[int, dict[str, float]], now: dict[int, dict[str, float]]
) -> str:
    common = sorted(before.keys() & now.keys())
    differing = [step for step in common if before[step] != now[step]]
    if not differing:
        return f"all {len(common)} logged steps are the same, bit for bit"
    gap = max(abs(before[s]["loss"] - now[s]["loss"]) for s in differing)
    return (
        f"{len(differing)} of {len(common)} logged steps differ, the first is step "
        f"{differing[0]}; largest difference of the loss: {gap:.3g}"
    )
