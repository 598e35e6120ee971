"""`crossearth settings`: the benchmark's 29 settings beside the paper's scores."""

import argparse
from collections.abc import Sequence

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.parser import make_parser
from crossearth_jax.paper import tables
from crossearth_jax.paper.settings import RUNS, estimated_hours
from crossearth_jax.report.table import Section, Table

HEADER = (
    *("setting", "source", "target", "gap", "config", "X_S τ/B", "X_M τ/B", "crop"),
    *("MIM loss", "H100 h", "Rein", "CrossEarth"),
)
LEFT = 5  # columns of words; the others hold figures
NOTE = (
    "gap: as Table 1 names it. Rein, CrossEarth: the paper's mIoU in % (Tables 3-7). "
    "H100 h: hours of one run, estimated at 40% of the card's speed in bfloat16, not "
    "measured; settings of one --config share one run."
)


def rows() -> list[tuple[str, ...]]:
    """The cells of the 29 settings, as `HEADER`."""
    return [
        (
            *(key, run.source, target, tables.setting(key).gap, run.config),
            *(f"{ratio}/{block}" for ratio, block in (run.styled, run.masked)),
            *(str(run.crop), run.mim_loss, f"{estimated_hours(run.crop):.1f}"),
            *(f"{miou:.1f}" for miou in tables.setting_miou(key)),
        )
        for run in RUNS
        for key, target in run.targets.items()
    ]


def table() -> Table:
    """The 29 settings, ready to show."""
    align = "l" * LEFT + "r" * (len(HEADER) - LEFT)
    return Table(HEADER, align, [Section(rows())], notes=[NOTE])


def main(argv: Sequence[str]) -> int:
    """`crossearth settings [--format FORMAT]`."""
    parser = make_parser(
        "crossearth settings",
        "Lists the benchmark's 29 settings beside the paper's scores.",
    )
    formats = ("terminal", "markdown", "csv")
    parser.add_argument(
        "--format", choices=formats, default=formats[0], help=f"default: {formats[0]}"
    )
    return guarded(run, parser.parse_args(argv))


def run(options: argparse.Namespace) -> None:
    """Prints the table."""
    if options.format == "terminal":
        table().show()
    elif options.format == "markdown":
        print(table().as_markdown())
    else:
        print(table().as_csv())
