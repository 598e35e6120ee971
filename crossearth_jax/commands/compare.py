"""`crossearth compare`: finished runs beside the paper's numbers."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.parser import make_parser
from crossearth_jax.paper.settings import RUNS
from crossearth_jax.report.compare import MAIN_TABLES, comparison
from crossearth_jax.report.experiments import group_experiments, read_experiment
from crossearth_jax.report.figure import figure, standalone
from crossearth_jax.report.paper_view import paper_sheet
from crossearth_jax.report.sheet import FORMATS, Sheet
from crossearth_jax.system.whole_file import whole_file

DESCRIPTION = """\
Shows finished runs beside the paper: per class and mean, with the paper's Rein and
CrossEarth, ours and the differences. Runs that differ by seed only become one row,
mean ± standard deviation; other differences appear in the row's name. Settings that
were not run are listed as such. Without a WORKDIR: the paper's own tables, class means
recomputed and misprints flagged."""


def main(argv: Sequence[str]) -> int:
    """`crossearth compare [WORKDIR …] [--table N] [--out FILE] [--figure FILE]`."""
    parser = make_parser("crossearth compare", DESCRIPTION)
    parser.add_argument("workdirs", nargs="*", metavar="WORKDIR", help="of scored runs")
    parser.add_argument(
        "--format", choices=list(FORMATS), default="terminal", help="default: terminal"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: print it")
    parser.add_argument(
        "--table",
        type=int,
        action="append",
        metavar="N",
        help="table of the paper, 3 to 7, without WORKDIR 3 to 14; may be repeated "
        "(default: those with a setting that was run, without WORKDIR 3 to 7)",
    )
    parser.add_argument(
        "--figure",
        type=Path,
        metavar="FILE.svg",
        help="Figure 2 of the paper as dots on one scale, with the runs beside it",
    )
    return guarded(run, parser.parse_args(argv))


def run(given: argparse.Namespace) -> None:
    """Prints or writes the tables, and the figure."""
    sheets = make_sheets(given.workdirs, given.table)
    if given.figure is not None:
        _write(given.figure, _figure(given.figure, sheets, given.table))
    text = FORMATS[given.format](sheets)
    if given.out is None:
        print(text, end="")
        return
    _write(given.out, text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as place:
        place.write_text(text, encoding="utf-8")
    print(f"wrote {path}")


def _figure(path: Path, sheets: Sequence[Sheet], tables: Sequence[int] | None) -> str:
    if path.suffix.lower() != ".svg":
        raise ValueError(f"got --figure {path}, expected a name like figure.svg")
    drawn = figure(sheets, tables)
    if drawn is None:
        raise ValueError(
            "got --figure without a setting of Tables 3 to 7, expected runs of the "
            "benchmark's configurations, or no WORKDIR for the paper alone: leave "
            "--figure out"
        )
    return standalone(drawn)


def make_sheets(
    workdirs: Sequence[str | Path], tables: Sequence[int] | None = None
) -> list[Sheet]:
    """The sheets of `crossearth compare`.

    Args:
      workdirs: of scored runs; none for the paper alone.
      tables: numbers of the paper's tables; None chooses by the runs.

    Raises:
      ValueError: an unusable workdir or an unknown table.
    """
    if not workdirs:
        return [paper_sheet(number) for number in tables or MAIN_TABLES]
    for number in tables or ():
        if number not in MAIN_TABLES:
            raise ValueError(
                f"got --table {number}, expected 3 to 7, which hold the 29 settings: "
                "leave the WORKDIR out to see the paper's other tables"
            )
    groups = group_experiments([read_experiment(workdir) for workdir in workdirs])
    return comparison(groups, {run.name: run.targets for run in RUNS}, tables)
