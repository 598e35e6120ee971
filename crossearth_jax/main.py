"""`python -m crossearth_jax.main --config configs/X.py`: flags → train or eval."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from crossearth_jax.run.stop import Stopped
from crossearth_jax.system import hosts
from crossearth_jax.system.compiling import set_up_compiler
from crossearth_jax.system.memory import keep_freed_memory

_CONFIG = config_flags.DEFINE_config_file(
    "config", help_string="Configuration, e.g. configs/demo.py or configs/casid.py:sub."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Results of the run; a run found there is resumed."
)
_MODE = flags.DEFINE_enum("mode", "train", ["train", "eval"], "What to do.")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    None,
    "Several hosts; None looks for Slurm, Open MPI and TPU slices, see docs/launch.",
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of host 0.")
_HOSTS = flags.DEFINE_integer("hosts", None, "Number of hosts.")
_HOST = flags.DEFINE_integer("host", None, "Index of this host, 0 first.")
_TRACEBACK = flags.DEFINE_bool("traceback", False, "Show where an error came from.")


def run(argv: Sequence[str]) -> None:
    """Runs one mode with parsed flags."""
    if len(argv) > 1:
        raise ValueError(f"got {argv[1:]}, expected flags only, such as --config FILE")
    if _CONFIG.value is None:
        raise ValueError("got no --config, expected e.g. --config configs/demo.py")
    from crossearth_jax.train import evaluate_run, train

    config = _CONFIG.value
    workdir = Path(_WORKDIR.value or config.workdir or f"runs/{config.name}")
    try:
        {"train": train, "eval": evaluate_run}[_MODE.value](config, workdir)
    except Stopped:
        if hosts.is_first():
            print(f"stopped; the same command goes on from here:\n  {_command()}")


def _command() -> str:
    return f"python -m crossearth_jax.main {shlex.join(sys.argv[1:])}"


def main(argv: Sequence[str]) -> None:
    """Turns errors of the user's input into one line and exit code 1."""
    logging.set_verbosity(logging.WARNING)
    keep_freed_memory()
    set_up_compiler()
    try:
        if _DISTRIBUTED.value or (_DISTRIBUTED.value is None and _several_hosts()):
            hosts.join(_COORDINATOR.value, _HOSTS.value, _HOST.value)
        with hosts.leave_together():
            run(argv)
    except (ValueError, OSError) as error:
        if _TRACEBACK.value:
            raise
        sys.exit(f"error: {error}\n(--traceback shows where)")


def _several_hosts() -> bool:
    given = (_COORDINATOR.value, _HOSTS.value, _HOST.value)
    return hosts.expected() or any(value is not None for value in given)


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Reads the command line; an error ends in one line, no traceback."""
    try:
        rest = flags.FLAGS(argv)
        if _CONFIG.value is not None:
            _ = _CONFIG.value.name  # a configuration that was not found raises here
        return rest
    except (flags.Error, KeyError, AttributeError, TypeError, OSError) as error:
        if "--traceback" in argv:
            raise
        sys.exit(f"error: {flag_message(error, argv)}")


def flag_message(error: Exception, argv: Sequence[str]) -> str:
    """The messages of ml_collections and absl, without their traces."""
    if isinstance(error, OSError):
        return f"--config: {str(error).splitlines()[-1].strip()}"
    if isinstance(error, flags.Error):
        # The message of an error in a configuration file is a whole traceback.
        return [line for line in str(error).splitlines() if line.strip()][-1].strip()
    if isinstance(error, TypeError):
        return f"got --config.KEY.MORE where KEY holds a plain value ({error})"
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    name, *hint = str(error.args[0]).splitlines()
    given = next((a for a in argv if name.strip("'") in a), "--config")
    return " ".join([f"{given}: got an unknown configuration key {name}.", *hint])


def start() -> None:
    """Entry of the module and of `crossearth train` and `crossearth eval`."""
    app.run(main, flags_parser=parse_flags)


if __name__ == "__main__":
    start()
