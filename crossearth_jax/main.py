"""`python -m crossearth_jax.main --config configs/X.py`: one run, trained or scored.

`crossearth train` and `crossearth eval` are the same with the mode in their names.
"""

import argparse
import faulthandler
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import logging

from crossearth_jax import config_file, config_keys
from crossearth_jax.commands.errors import guarded, report_stop
from crossearth_jax.commands.parser import (
    add_config,
    add_step,
    make_parser,
    split_changes,
)
from crossearth_jax.run.stop import Stopped
from crossearth_jax.system import hosts
from crossearth_jax.system.compiling import set_up_compiler
from crossearth_jax.system.memory import keep_freed_memory
from crossearth_jax.system.output import until_unread

MODULE = "python -m crossearth_jax.main"
ABOUT = {
    "train": "Trains a configuration, or goes on with the run that its workdir holds, "
    "and scores it.",
    "eval": "Scores a checkpoint of a workdir, or train.init where it has none.",
}


def main(argv: Sequence[str], mode: str | None = None) -> int:
    """Runs a command line; returns the exit status.

    Args:
      argv: without the command.
      mode: "train" or "eval"; None takes it from --mode.
    """
    command = MODULE if mode is None else f"crossearth {mode}"
    changes, rest = split_changes(argv)
    options = _parser(command, mode).parse_args(rest)
    options.changes = changes
    options.again = f"{command} {shlex.join(argv)}"
    return guarded(run, options)


def train(argv: Sequence[str]) -> int:
    """`crossearth train`."""
    return main(argv, "train")


def evaluate(argv: Sequence[str]) -> int:
    """`crossearth eval`."""
    return main(argv, "eval")


def run(options: argparse.Namespace) -> None:
    """Trains or scores, on all hosts together."""
    config = config_file.parse(options.config, options.changes)
    workdir = options.workdir or Path(str(config.workdir or f"runs/{config.name}"))
    _set_up_process()
    if options.distributed or (options.distributed is None and _several(options)):
        hosts.join(options.coordinator, options.hosts, options.host)
    with hosts.leave_together():
        from crossearth_jax import train as training

        modes = {"train": training.train, "eval": training.evaluate_run}
        chosen = {} if options.step is None else {"step": options.step}
        if chosen and options.mode == "train":
            raise ValueError(
                f"got --step {options.step} for training, expected it for scoring: "
                "training goes on from the newest checkpoint, leave it out"
            )
        try:
            modes[options.mode](config, workdir, options.allow_changes, **chosen)
        except Stopped:
            if hosts.is_first():
                report_stop(options.again)


def _set_up_process() -> None:
    """What must stand before JAX is used, and who speaks when something goes wrong."""
    logging.use_absl_handler()  # warnings with their time
    if sys.__stderr__ and not faulthandler.is_enabled():
        faulthandler.enable(sys.__stderr__)
    keep_freed_memory()
    set_up_compiler()


def _several(options: argparse.Namespace) -> bool:
    given = (options.coordinator, options.hosts, options.host)
    return hosts.expected() or any(value is not None for value in given)


def _parser(command: str, mode: str | None) -> argparse.ArgumentParser:
    about = ABOUT[mode] if mode else "Trains or scores a configuration."
    parser = make_parser(command, about, config_keys.listing())
    add_config(parser)
    add = parser.add_argument
    add(
        "--workdir",
        type=Path,
        metavar="DIR",
        help="results of the run; a run found there is resumed (default: runs/NAME)",
    )
    add(
        "--allow-changes",
        type=_keys,
        default=(),
        metavar="KEY,…",
        help="what may differ from the run in the workdir, such as optim.lr,data; "
        "classes never may, more train.steps always",
    )
    if mode == "train":
        parser.set_defaults(step=None)
    else:
        add_step(parser)
    if mode:
        parser.set_defaults(mode=mode)
    else:
        add("--mode", choices=tuple(ABOUT), default="train", help="default: train")
    _add_hosts(parser)
    return parser


def _keys(text: str) -> tuple[str, ...]:
    return tuple(key.strip() for key in text.split(",") if key.strip())


def _add_hosts(parser: argparse.ArgumentParser) -> None:
    several = parser.add_argument_group("several hosts, see docs/launch")
    add = several.add_argument
    add(
        "--distributed",
        action="store_true",
        default=None,
        help="look for other hosts; Slurm, Open MPI and TPU slices are found without",
    )
    add(
        "--nodistributed",
        dest="distributed",
        action="store_false",
        default=None,
        help="keep this process to itself",
    )
    add("--coordinator", metavar="HOST:PORT", help="of host 0")
    add("--hosts", type=int, metavar="N", help="number of hosts")
    add("--host", type=int, metavar="I", help="index of this host, 0 first")


def start() -> None:
    """Entry of the module."""
    sys.exit(until_unread(lambda: main(sys.argv[1:])))


if __name__ == "__main__":
    start()
