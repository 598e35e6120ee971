"""Every table that people read: aligned text, Markdown, CSV, HTML, drawn by rich.

What a cell says is decided by whoever builds the table; here it is laid out, and here
alone it is escaped.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Drawing

from crossearth_jax.system.escape import csv_cell, html_text, markdown_cell, terminal

Cells = Sequence[str]  # of one row, from left to right
CELL, NOTE = 300, 2_000  # characters


@dataclass(frozen=True)
class Section:
    """Rows that belong together; a rule stands above them.

    Attributes:
      rows: from top to bottom.
      style: of the rows where there are styles, as rich names them: "bold", "cyan".
    """

    rows: Sequence[Cells]
    style: str = ""


@dataclass(frozen=True)
class Table:
    """Cells of words and figures under a header; texts end without a line feed.

    Attributes:
      header: names of the columns.
      align: "l" (words) or "r" (figures) for each column. Words right of the last
        figures are remarks: as text they are neither padded nor underlined.
      sections: from top to bottom.
      title: printed above.
      notes: printed below.
      once: as text, the first cell is left blank where it repeats the one above.
    """

    header: Cells
    align: str
    sections: Sequence[Section]
    title: str = ""
    notes: Sequence[str] = ()
    once: bool = False

    @property
    def rows(self) -> list[Cells]:
        """Of all sections."""
        return list(chain.from_iterable(section.rows for section in self.sections))

    def as_text(self) -> str:
        """Aligned lines of any length, for files and pipes."""
        columns = zip(*map(_plain, [self.header, *self.rows]), strict=True)
        widths = [max(map(len, column)) for column in columns]
        last = self.align.rfind("r") + 1 or len(widths)
        rule = "-" * (sum(widths[:last]) + 2 * (last - 1))

        def aligned(row: Cells) -> str:
            cells = [
                cell.ljust(width) if side == "l" else cell.rjust(width)
                for cell, width, side in zip(
                    _plain(row), widths, self.align, strict=True
                )
            ]
            remarks = _plain(row)[last:]
            return "  ".join([*cells[:last], *remarks]).rstrip()

        notes = [terminal(note, NOTE) for note in self.notes]
        lines = [terminal(self.title, CELL), ""] if self.title else []
        lines.append(aligned(self.header))
        for section in self.sections:
            lines.append(rule)
            above = None
            for row in section.rows:
                repeated = self.once and row[0] == above
                above = row[0]
                lines.append(aligned(["", *row[1:]] if repeated else row))
        return "\n".join([*lines, *(["", *notes] if notes else [])])

    def as_markdown(self) -> str:
        """A table under a heading, figures right-aligned, notes as a list."""
        marks = ["---" if side == "l" else "---:" for side in self.align]
        lines = [_markdown_row(self.header), f"| {' | '.join(marks)} |"]
        for section in self.sections:
            bold = section.style == "bold"
            lines += [_markdown_row(row, bold=bold) for row in section.rows]
        heading = f"### {markdown_cell(self.title, CELL)}" if self.title else ""
        notes = "\n".join(f"- {markdown_cell(note, NOTE)}" for note in self.notes)
        return "\n\n".join(filter(None, [heading, "\n".join(lines), notes]))

    def as_csv(self) -> str:
        """Header and rows, without title and notes."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        rows = [self.header, *self.rows]
        writer.writerows([csv_cell(cell, CELL) for cell in row] for row in rows)
        return text.getvalue().removesuffix("\n")

    def as_html(self) -> str:
        """The `<table>` alone."""
        head = "".join(f"<th>{html_text(cell, CELL)}</th>" for cell in self.header)
        body = "".join(
            "<tr>"
            + "".join(f"<td>{html_text(cell, CELL)}</td>" for cell in row)
            + "</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def show(self, console: Console | None = None) -> None:
        """Prints it: drawn on a terminal, aligned text otherwise."""
        console = console or Console()
        if not console.is_terminal:
            console.out(self.as_text(), highlight=False)
            return
        console.print(self._drawn())
        for note in self.notes:
            shown = terminal(note, NOTE)
            console.print(shown, style="dim", markup=False, highlight=False)

    def _drawn(self) -> Drawing:
        title = escape(terminal(self.title, CELL)) or None
        drawing = Drawing(title=title, title_justify="left")
        for name, side in zip(self.header, self.align, strict=True):
            justify = "left" if side == "l" else "right"
            shown = escape(terminal(name, CELL))
            drawing.add_column(shown, justify=justify, overflow="fold")
        for section in self.sections:
            for row in section.rows:
                cells = map(escape, _plain(row))
                drawing.add_row(*cells, style=section.style or None)
            drawing.add_section()
        return drawing


def _plain(row: Cells) -> list[str]:
    return [terminal(cell, CELL) for cell in row]


def _markdown_row(row: Cells, *, bold: bool = False) -> str:
    cells = (markdown_cell(cell, CELL) for cell in row)
    marked = (f"**{cell}**" if bold and cell else cell for cell in cells)
    return f"| {' | '.join(marked)} |"
