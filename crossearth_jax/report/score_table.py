"""The score table of a report.

One row per domain, source domains first and marked, IoU per class, then the summaries
in percent, and their means over the unseen domains last.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from crossearth_jax.report.table import Section, Table

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
    score_table(report).show(console)


def percent(fraction: float | None) -> str:
    """A fraction of 1 as percent with one decimal, a dash for an undefined one."""
    return "-" if fraction is None else f"{100 * fraction:.1f}"


def score_table(report: Report) -> Table:
    """Source rows, unseen rows and the means over the unseen domains."""
    classes: Sequence[str] = report["classes"]
    domains: Mapping[str, Mapping[str, Any]] = report["domains"]
    shown = [key for key in SUMMARIES if all(key in d for d in domains.values())]
    rows: dict[str, list[list[str]]] = {"source": [], "unseen": []}
    for name, domain in domains.items():
        ious = [percent(domain["IoU"][c]) for c in classes]
        summaries = [percent(domain[key]) for key in shown]
        row = [name, domain["role"], *ious, *summaries, str(domain["images"])]
        rows[domain["role"]].append(row)
    unseen = [domain for domain in domains.values() if domain["role"] == "unseen"]
    by_key = ([domain[key] for domain in unseen] for key in shown)
    means = [percent(mean_fraction(fractions)) for fractions in by_key]
    images = str(sum(domain["images"] for domain in unseen))
    mean = ["mean", "unseen", *[""] * len(classes), *means, images]
    sections = (
        Section(rows["source"], "cyan"),
        Section(rows["unseen"]),
        Section([mean] if unseen else [], "bold"),
    )
    heads = [SUMMARIES[key] for key in shown]
    header = ("domain", "role", *classes, *heads, "images")
    return Table(
        header=header,
        align="ll" + "r" * (len(header) - 2),
        sections=[section for section in sections if section.rows],
        title="Scores in %, IoU per class",
        notes=_notes(report),
    )


def mean_fraction(fractions: Sequence[float | None]) -> float | None:
    """Of all; None where there is nothing, or one is undefined."""
    known = [x for x in fractions if x is not None]
    return sum(known) / len(known) if known and len(known) == len(fractions) else None


def _notes(report: Report) -> list[str]:
    domains = report["domains"]
    notes = []
    if any(domain["role"] == "unseen" for domain in domains.values()):
        notes.append("The mean is over the unseen domains only.")
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
