"""The score table of a report, for a terminal, a log file and Markdown.

All three show the same cells: one row per domain, source domains first and marked,
IoU per class, then the summaries in percent, and their means over the unseen domains
last.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

Report = Mapping[str, Any]  # what `evaluate.evaluate` returns and writes

# Summaries of a domain by their key in the report, with the head of their column. A
# class set decides which of them a report has.
SUMMARIES = {
    "mIoU": "mIoU",
    "foreground_IoU": "foreground IoU",
    "mIoU_without_clutter": "mIoU w/o clutter",
    "mF1": "mF1",
    "overall_accuracy": "OA",
}


def print_report(report: Report, console: Console | None = None) -> None:
    """Prints the table: drawn on a terminal, aligned text otherwise."""
    console = console or Console()
    if console.is_terminal:
        console.print(_rich_table(report))
        for note in _notes(report):
            console.print(note, style="dim", markup=False, highlight=False)
    else:
        console.out(plain_table(report), highlight=False)


def plain_table(report: Report) -> str:
    """The table as aligned text, with its notes below."""
    header, source, unseen, mean = _cells(report)
    rows = [header, *source, *unseen, mean]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [_aligned(header, widths), rule]
    lines += [_aligned(row, widths) for row in source]
    lines += [rule] if source and unseen else []
    lines += [_aligned(row, widths) for row in unseen]
    lines += [rule, _aligned(mean, widths)] if unseen else []
    return "\n".join([*lines, *_notes(report)])


def markdown_table(report: Report) -> str:
    """The table for a README, numbers right-aligned, the mean in bold."""
    header, source, unseen, mean = _cells(report)
    marks = ["---", "---"] + ["---:"] * (len(header) - 2)
    bold = [f"**{cell}**" if cell else "" for cell in mean]
    rows = [header, marks, *source, *unseen, *([bold] if unseen else [])]
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return "\n".join("| " + " | ".join(row) + " |" for row in escaped)


def percent(fraction: float | None) -> str:
    """A fraction of 1 as percent with one decimal, a dash for an undefined one."""
    return "-" if fraction is None else f"{100 * fraction:.1f}"


Row = list[str]


def _cells(report: Report) -> tuple[Row, list[Row], list[Row], Row]:
    """Header, source rows, unseen rows and the means over the unseen domains."""
    classes: Sequence[str] = report["classes"]
    domains: Sequence[Mapping[str, Any]] = list(report["domains"].values())
    shown = [key for key in SUMMARIES if all(key in domain for domain in domains)]
    heads = [SUMMARIES[key] for key in shown]
    header = ["domain", "role", *classes, *heads, "images"]
    rows: dict[str, list[Row]] = {"source": [], "unseen": []}
    for name, domain in report["domains"].items():
        ious = [percent(domain["IoU"][c]) for c in classes]
        summaries = [percent(domain[key]) for key in shown]
        row = [name, domain["role"], *ious, *summaries, str(domain["images"])]
        rows[domain["role"]].append(row)
    unseen = [domain for domain in domains if domain["role"] == "unseen"]
    by_key = ([domain[key] for domain in unseen] for key in shown)
    means = [percent(mean_fraction(fractions)) for fractions in by_key]
    images = sum(domain["images"] for domain in unseen)
    mean = ["mean", "unseen", *[""] * len(classes), *means, str(images)]
    return header, rows["source"], rows["unseen"], mean


def mean_fraction(fractions: Sequence[float | None]) -> float | None:
    """Of all; None where there is nothing, or one is undefined."""
    known = [x for x in fractions if x is not None]
    return sum(known) / len(known) if known and len(known) == len(fractions) else None


def _aligned(row: Row, widths: list[int]) -> str:
    left = [cell.ljust(width) for cell, width in zip(row[:2], widths, strict=False)]
    right = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
    return "  ".join(left + right).rstrip()


def _rich_table(report: Report) -> Table:
    header, source, unseen, mean = _cells(report)
    table = Table(title="Scores in %, IoU per class", title_justify="left")
    for i, name in enumerate(header):
        table.add_column(
            escape(name), justify="left" if i < 2 else "right", overflow="fold"
        )
    for row in source:
        table.add_row(*map(escape, row), style="cyan", end_section=row is source[-1])
    for row in unseen:
        table.add_row(*map(escape, row), end_section=row is unseen[-1])
    if unseen:
        table.add_row(*map(escape, mean), style="bold")
    return table


def _notes(report: Report) -> list[str]:
    domains = report["domains"]
    notes = ["Scores in %, IoU per class; the mean is over the unseen domains only."]
    if any("mIoU_without_clutter" in domain for domain in domains.values()):
        notes.append(
            "w/o clutter: the mean of the other classes; its pixels still count."
        )
    if any(
        iou is None for domain in domains.values() for iou in domain["IoU"].values()
    ):
        notes.append("-: the class is in neither truth nor prediction.")
    for name, domain in domains.items():
        if domain["skipped"]:
            listed = ", ".join(domain["skipped"])
            notes.append(f"{name}: skipped {len(domain['skipped'])} images: {listed}")
    return notes
