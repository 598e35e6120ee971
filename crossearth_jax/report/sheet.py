"""Sheets of scores in percent, ours beside the paper's, as tables and records."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from crossearth_jax.report.table import Section, Table

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

    def table(self) -> Table:
        """Every line with its scores to one decimal; remarks where a line has one."""
        noted = any(line.note for line in self.lines)
        sections = [
            Section([_cells(line, noted) for line in lines])
            for _, lines in groupby(self.lines, lambda line: line.setting)
        ]
        return Table(
            header=(*LABELS, *self.columns, *(["note"] if noted else [])),
            align="ll" + "r" * len(self.columns) + "l" * noted,
            sections=sections,
            title=self.title,
            notes=self.notes,
            once=True,
        )


def as_text(sheets: Sequence[Sheet]) -> str:
    """Aligned text, with a rule between settings."""
    return "\n\n".join(sheet.table().as_text() for sheet in sheets) + "\n"


def as_markdown(sheets: Sequence[Sheet]) -> str:
    """Markdown tables under headings, numbers right-aligned."""
    return "\n\n".join(sheet.table().as_markdown() for sheet in sheets) + "\n"


def as_csv(sheets: Sequence[Sheet]) -> str:
    """One score a record, with its standard deviation and number of runs.

    A line without any score keeps one record with its note. Numbers are not rounded.
    """
    header = "table", *LABELS, "score", "mean", "std", "n", "note"
    records = [record for sheet in sheets for record in _records(sheet)]
    return Table(header, "llllrrrl", [Section(records)]).as_csv() + "\n"


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


def _cells(line: Line, noted: bool) -> list[str]:
    empty = line.note and not any(line.scores)
    scores = ["" if empty else shown(score) for score in line.scores]
    return [line.setting, line.row, *scores, *([line.note] if noted else [])]


def _records(sheet: Sheet) -> Iterator[Sequence[str]]:
    for line in sheet.lines:
        about = sheet.title, line.setting, line.row
        for name, score in zip(sheet.columns, line.scores, strict=True):
            if score:
                figures = _exact(score.mean), _exact(score.std), str(score.n)
                yield *about, name, *figures, line.note
        if not any(line.scores):
            yield *about, "", "", "", "", line.note
