"""`crossearth settings`: the benchmark's 29 settings beside the paper's scores."""

import argparse
import csv
import io
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.parser import make_parser
from crossearth_jax.paper import tables
from crossearth_jax.paper.settings import RUNS, estimated_hours

HEADER = (
    *("setting", "source", "target", "--config", "X_S τ/B", "X_M τ/B", "crop"),
    *("MIM loss", "H100 h", "Rein", "CrossEarth"),
)


LEFT = 4  # columns of words; the others hold figures


NOTE = (
    "Rein, CrossEarth: the paper's mIoU in % (Tables 3-7). H100 h: hours of one run, "
    "estimated at 40% of the card's speed in bfloat16, not measured; settings of one "
    "--config share one run."
)


def rows() -> list[tuple[str, ...]]:
    """The cells of the 29 settings, as `HEADER`."""
    return [
        (
            *(key, run.source, target, run.config),
            *(f"{ratio}/{block}" for ratio, block in (run.styled, run.masked)),
            *(str(run.crop), run.mim_loss, f"{estimated_hours(run.crop):.1f}"),
            *(f"{miou:.1f}" for miou in tables.setting_miou(key)),
        )
        for run in RUNS
        for key, target in run.targets.items()
    ]


def main(argv: Sequence[str]) -> int:
    """`crossearth settings [--format FORMAT]`."""
    parser = make_parser(
        "crossearth settings",
        "Lists the benchmark's 29 settings beside the paper's scores.",
    )
    formats = ("terminal", "markdown", "csv")
    parser.add_argument("--format", choices=formats, default=formats[0])
    return guarded(run, parser.parse_args(argv))


def run(options: argparse.Namespace) -> None:
    """Prints the table."""
    chosen = options.format
    console = Console()
    if chosen == "terminal" and console.is_terminal:
        console.print(_drawn())
        console.print(NOTE, style="dim")
    else:
        text = {"terminal": _plain, "markdown": _markdown, "csv": _csv}[chosen]()
        print(text, end="")


def _drawn() -> Table:
    table = Table()
    for i, name in enumerate(HEADER):
        justify = "left" if i < LEFT else "right"
        table.add_column(name, justify=justify, overflow="fold")
    for row in rows():
        table.add_row(*row)
    return table


def _plain() -> str:
    """Aligned lines of any length, for files and pipes."""
    cells = [HEADER, *rows()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        words = map(str.ljust, row[:LEFT], widths[:LEFT])
        figures = map(str.rjust, row[LEFT:], widths[LEFT:])
        lines.append("  ".join([*words, *figures]))
    return "\n".join([*lines, NOTE, ""])


def _markdown() -> str:
    marks = ["---"] * LEFT + ["---:"] * (len(HEADER) - LEFT)
    lines = [f"| {' | '.join(row)} |" for row in (HEADER, marks, *rows())]
    return "\n".join([*lines, "", NOTE, ""])


def _csv() -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEADER, *rows()])
    return text.getvalue()
