"""`crossearth ablate`: the runs of one of the paper's ablation tables, and the table.

Every run is an ordinary one in its own process and workdir, so it is resumed where it
was interrupted, and left alone once it is finished.
"""

import argparse
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType

from ml_collections import ConfigDict

from crossearth_jax import config_file
from crossearth_jax.commands.errors import guarded, report_stop
from crossearth_jax.commands.parser import add_config, make_parser, split_changes
from crossearth_jax.config import flattened, load
from crossearth_jax.paper import tables
from crossearth_jax.paper.settings import run_of
from crossearth_jax.report.ablation import AblationRow, ablation_sheet
from crossearth_jax.report.experiments import read_experiment
from crossearth_jax.report.sheet import FORMATS
from crossearth_jax.run.stop import SIGNALS, Stopped
from crossearth_jax.system.read_json import read_json
from crossearth_jax.system.whole_file import whole_file

REIN = {"gse.enabled": False, "mim.enabled": False, "style.probability": 0.0}
NO_STYLE = {"style.probability": 0.0}
# Rows of the tables by the paper's names, as changes of the full method.
ROWS: dict[int, dict[str, Mapping[str, object]]] = {
    8: {
        "Rein": REIN,
        "w/ GSE": {"mim.enabled": False, **NO_STYLE},
        "w/ GSE+MIM": NO_STYLE,
        "w/ GSE+MIM+Style": {},
    },
    9: {
        "Rein": REIN,
        "CrossEarth w/ Linear": {"mim.decoder": "linear"},
        "CrossEarth w/ ASPP": {"mim.decoder": "aspp"},
    },
    13: {
        "Rein": REIN,
        "CrossEarth w/ MSE": {"mim.loss": "mse"},
        "CrossEarth w/ L1": {"mim.loss": "l1"},
    },
}
MASKED = {11: "style", 12: "mim"}  # tables of masks: the part whose mask varies
TABLES = sorted({*ROWS, *MASKED})
SAME = {"workdir", "data.root"}  # keys that may differ from the run that is there
PAPER = run_of("casid.py", "sub")  # which every ablation of the paper trains


@dataclass(frozen=True)
class AblationRun:
    """One run of an ablation.

    Attributes:
      row: its row of the table.
      seed: train.seed.
      workdir: its results.
      config: configuration file, with its argument.
      flags: changes of the configuration, "--config.KEY=VALUE".
    """

    row: str
    seed: int
    workdir: Path
    config: str
    flags: tuple[str, ...]

    @property
    def command(self) -> list[str]:
        """What starts or resumes it."""
        start = [sys.executable, "-m", "crossearth_jax.main", "--config", self.config]
        return [*start, *self.flags, "--workdir", str(self.workdir)]


def main(argv: Sequence[str]) -> int:
    """`crossearth ablate --config FILE --table N [--seeds N] [--out DIR] …`."""
    changes, rest = split_changes(argv)
    given = _parser().parse_args(rest)
    given.changes = changes
    given.again = f"crossearth ablate {shlex.join(argv)}"
    return guarded(run, given)


def run(given: argparse.Namespace) -> int:
    """Does what is left to do and makes the table; 1 if a run failed."""
    out = given.out or Path("runs") / f"ablate_{_slug(given.config)}_{given.table}"
    runs = plan(given.config, given.table, given.seeds, out, given.changes)
    part = _part(given.part, runs)
    finished = {run for run in runs if is_finished(run)}
    if given.list:
        for run in part:
            print("finished:" if run in finished else "to do:   ", _shown(run))
        return 0
    try:
        failed = work([run for run in part if run not in finished])
    except Stopped:
        report_stop(given.again)
        return 0
    if any(is_finished(run) for run in runs if run.row == runs[0].row):
        print(_write_tables(given.table, runs, out, given.format), end="")
    else:  # another share has it, or it failed
        print(f"no table yet: no run of {runs[0].row} is finished")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "crossearth ablate",
        "Trains and scores the rows of one of the paper's ablation tables, each with "
        "several\nseeds, and prints the table. The same command again resumes where it "
        "was stopped.\n--config, the full method, and its changes hold for all runs; "
        "`crossearth train --help`\nlists the keys.",
    )
    add_config(parser)
    parser.add_argument(
        "--table", type=int, required=True, choices=TABLES, help="of the paper"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=3,
        metavar="N",
        help="each row runs with the seeds 1 to N (default: 3)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="workdirs of all runs, and the table (default: runs/ablate_…)",
    )
    parser.add_argument(
        "--part", default="1/1", metavar="I/N", help="the I-th of N shares of the runs"
    )
    parser.add_argument(
        "--format", choices=list(FORMATS), default="terminal", help="default: terminal"
    )
    parser.add_argument(
        "--list", action="store_true", help="only list the runs, and which are finished"
    )
    return parser


# ---- what to run --------------------------------------------------------------------


def rows_of(table: int) -> dict[str, Mapping[str, object]]:
    """Rows of a table: changes of the configuration by the paper's name."""
    if table not in MASKED:
        return ROWS[table]
    study = next(s for s in tables.load().mask_studies if s.table == table)
    part = MASKED[table]
    masks = {
        f"τ {ratio}, B {block}": {f"{part}.ratio": ratio, f"{part}.block": block}
        for ratio in study.ratios
        for block in study.blocks
    }
    return {"Rein": REIN, **masks}


def plan(
    config: str, table: int, seeds: int, out: Path, changes: Sequence[str] = ()
) -> list[AblationRun]:
    """All runs of a table, seed by seed, so that a first column is there early.

    Raises:
      ValueError: no seed, or an invalid configuration or change.
    """
    if seeds < 1:
        raise ValueError(f"got --seeds {seeds}, expected 1 or more")
    steps = _length(config, table, changes)
    runs = []
    for seed in range(1, seeds + 1):
        for row, values in rows_of(table).items():
            own = {**steps, **values, "train.seed": seed}
            settings = *changes, *(f"--config.{k}={v}" for k, v in own.items())
            place = out / _slug(row) / f"seed_{seed}"
            runs.append(AblationRun(row, seed, place, config, tuple(settings)))
    for run in runs[: len(rows_of(table))]:
        wanted(run)  # what does not parse is an error before the first run
    return runs


def _length(config: str, table: int, changes: Sequence[str]) -> dict[str, object]:
    """Steps of a table that the paper trained for fewer, where nobody chose others."""
    as_given = AblationRun("", 0, Path(), config, tuple(changes))
    chosen = any(change.startswith("--config.train.steps") for change in changes)
    paper = tables.MAIN_STEPS
    if table not in tables.STEPS or chosen or wanted(as_given).train.steps != paper:
        return {}
    return {"train.steps": tables.STEPS[table]}


@cache
def wanted(run: AblationRun) -> ConfigDict:
    """The configuration that a run will have.

    Raises:
      ValueError: the file or a change is invalid.
    """
    return config_file.parse(run.config, run.flags)


def is_finished(run: AblationRun) -> bool:
    """Whether a run is there with its scores.

    Raises:
      ValueError: the workdir holds a run of another configuration.
    """
    if not (run.workdir / "config.json").exists():
        return False
    there, here = (
        dict(flattened(config.to_dict()))
        for config in (load(run.workdir / "config.json"), wanted(run))
    )
    differing = sorted(k for k in here if k not in SAME and here[k] != there.get(k))
    if differing:
        key = differing[0]
        raise ValueError(
            f"got {run.workdir} of a run with {key}={there.get(key)}, expected "
            f"{here[key]}: choose another folder with --out"
        )
    try:
        report = read_json(run.workdir / "report.json")
        return report["about"]["step"] == here["train.steps"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _part(text: str, runs: Sequence[AblationRun]) -> list[AblationRun]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    index, parts = map(int, found.groups()) if found else (0, 0)
    if not 1 <= index <= parts:
        raise ValueError(f"got --part {text}, expected I/N with 1 <= I <= N")
    return list(runs[index - 1 :: parts])


def _slug(text: str) -> str:
    text = text.removesuffix(".py").removeprefix("configs/").lower()
    return re.sub(r"[^a-z0-9.τ]+", "_", text.replace(".py:", "_")).strip("_")


def _shown(run: AblationRun) -> str:
    return shlex.join(["python", *run.command[1:]])


# ---- running ------------------------------------------------------------------------


def work(
    runs: Sequence[AblationRun], start: Callable[[AblationRun, Path], int] | None = None
) -> list[AblationRun]:
    """Runs one after the other and reports each in a line; returns those that failed.

    Args:
      runs: to do.
      start: runs one, with output to a file, and returns its exit code; None starts
        a process.

    Raises:
      Stopped: SIGINT or SIGTERM came; the current run got it too and saved its state.
    """
    failed = []
    for number, run in enumerate(runs, 1):
        log = run.workdir.with_suffix(".log")
        log.parent.mkdir(parents=True, exist_ok=True)
        print(f"[{number}/{len(runs)}] {run.row}, seed {run.seed}", flush=True)
        begin = time.monotonic()
        code = (start or _process)(run, log)
        if code == 0 and is_finished(run):
            minutes = (time.monotonic() - begin) / 60
            print(f"    finished in {minutes:.1f} min", flush=True)
            continue
        failed.append(run)
        print(
            f"    failed (exit code {code}), see {log}: {_last_line(log)}", flush=True
        )
    return failed


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line for line in reversed(lines) if line.strip()), "it is empty")


def _process(run: AblationRun, log: Path) -> int:
    """A process in its own session: signals reach it through this one, once."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            run.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        with _passed_on(process) as received:
            code = process.wait()
    if received:
        raise Stopped
    return code


@contextmanager
def _passed_on(process: subprocess.Popen) -> Iterator[list[int]]:
    """Passes signals on to a process; the list holds those received."""
    received: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        received.append(number)
        process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in SIGNALS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ---- the table ----------------------------------------------------------------------


def _write_tables(table: int, runs: Sequence[AblationRun], out: Path, form: str) -> str:
    """Writes table_N.md and .csv of what is finished; returns it in a format too."""
    rows = [
        AblationRow(
            name,
            {
                run.seed: read_experiment(run.workdir)
                for run in runs
                if run.row == name and is_finished(run)
            },
        )
        for name in rows_of(table)
    ]
    targets = {domain: key for key, domain in PAPER.targets.items()}
    sheet = ablation_sheet(
        table,
        rows,
        cumulative=table == 8,
        targets=targets,
        comparable=wanted(runs[0]).name == PAPER.name,
    )
    for ending, shape in (("md", "markdown"), ("csv", "csv")):
        with whole_file(out / f"table_{table}.{ending}") as place:
            place.write_text(FORMATS[shape]([sheet]), encoding="utf-8")
    return FORMATS[form]([sheet])
