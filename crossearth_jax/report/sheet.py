"""Tables of scores in percent: one form for terminal, Markdown and CSV."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LABELS = ("setting", "row")  # the two columns of words


@dataclass(frozen=True)
class Score:
    """A percentage: of one run, or mean and standard deviation of `n` runs.

    `signed` ones are differences and always show their sign.
    """

    mean: float
    std: float | None = None
    n: int = 1
    signed: bool = False


@dataclass(frozen=True)
class Line:
    """One line of a sheet.

    Attributes:
      setting: what was scored.
      row: whose scores these are.
      scores: by column; None where there is none.
      note: a remark, such as "not run".
    """

    setting: str
    row: str
    scores: tuple[Score | None, ...]
    note: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table with a title and notes below.

    Attributes:
      title: what it shows.
      columns: names of the scores of every line.
      lines: from top to bottom; a change of setting is ruled off.
      notes: printed below.
    """

    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()


def as_text(sheets: Sequence[Sheet]) -> str:
    """Aligned text, with a rule between settings."""
    return "\n\n".join(_text(sheet) for sheet in sheets) + "\n"


def as_markdown(sheets: Sequence[Sheet]) -> str:
    """Markdown tables under headings, numbers right-aligned."""
    return "\n\n".join(_markdown(sheet) for sheet in sheets) + "\n"


def as_csv(sheets: Sequence[Sheet]) -> str:
    """One score a record, with its standard deviation and number of runs.

    A line without any score keeps one record with its note. Numbers are not rounded.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("table", *LABELS, "score", "mean", "std", "n", "note"))
    for sheet in sheets:
        for line in sheet.lines:
            about = sheet.title, line.setting, line.row
            scores = zip(sheet.columns, line.scores, strict=True)
            known = [(name, score) for name, score in scores if score]
            for name, score in known:
                mean, std = _exact(score.mean), _exact(score.std)
                writer.writerow((*about, name, mean, std, score.n, line.note))
            if not known:
                writer.writerow((*about, "", "", "", "", line.note))
    return out.getvalue()


FORMATS: dict[str, Callable[[Sequence[Sheet]], str]] = {
    "terminal": as_text,
    "markdown": as_markdown,
    "csv": as_csv,
}


def _exact(value: float | None) -> str:
    """Enough digits to compute with, none of floating point's noise."""
    return "" if value is None else f"{value:.10g}"


def shown(score: Score | None) -> str:
    """A score with one decimal, ± its deviation; a dash for none."""
    if score is None:
        return "-"
    mean = f"{score.mean:+.1f}" if score.signed else f"{score.mean:.1f}"
    return mean if score.std is None else f"{mean} ± {score.std:.1f}"


def _cells(sheet: Sheet) -> list[list[str]]:
    """Header and lines; the column of notes only where one has a note."""
    noted = any(line.note for line in sheet.lines)
    header = [*LABELS, *sheet.columns, *(["note"] if noted else [])]
    cells = [header]
    for line in sheet.lines:
        empty = line.note and not any(line.scores)
        scores = ["" if empty else shown(s) for s in line.scores]
        note = [line.note] if noted else []
        cells.append([line.setting, line.row, *scores, *note])
    return cells


def _text(sheet: Sheet) -> str:
    header, *rows = _cells(sheet)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    last = len(LABELS) + len(sheet.columns)  # notes stand left, as labels do

    def aligned(row: list[str]) -> str:
        words = map(str.ljust, row[:2], widths[:2])
        figures = map(str.rjust, row[2:last], widths[2:last])
        return "  ".join([*words, *figures, *row[last:]]).rstrip()

    rule = "-" * (sum(widths[:last]) + 2 * (last - 1))
    lines, before = [sheet.title, "", aligned(header)], None
    for row in rows:
        if row[0] != before:
            lines.append(rule)
        repeated = row[0] == before
        before = row[0]
        lines.append(aligned(["", *row[1:]] if repeated else row))
    return "\n".join([*lines, *(["", *sheet.notes] if sheet.notes else [])])


def _markdown(sheet: Sheet) -> str:
    header, *rows = _cells(sheet)
    figures = len(sheet.columns)
    marks = ["---"] * 2 + ["---:"] * figures + ["---"] * (len(header) - 2 - figures)
    escaped = ([c.replace("|", "\\|") for c in r] for r in (header, marks, *rows))
    table = "\n".join("| " + " | ".join(row) + " |" for row in escaped)
    notes = "\n".join(f"- {note}" for note in sheet.notes)
    return "\n\n".join(filter(None, [f"### {sheet.title}", table, notes]))
