"""Tables in a page: they scroll on a screen, and shrink on paper until they fit."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from crossearth_jax.report.table import Table
from crossearth_jax.system.escape import html_text as escaped

CELL = 300  # characters of a name
LETTER, PADDING = 0.58, 0.9  # widths in em: of a letter, and of a cell beside its text
WORDS = 24  # letters after which words go on in the next line
UPRIGHT = 76  # em, beyond which names of columns stand upright on paper,
LESS = 0.9  # if that makes a table so much narrower


def scrolling(table: Table) -> str:
    """A table of words and figures."""
    columns = zip(table.header, *table.rows, strict=True)
    widths = [
        _widths(*cells, words=side == "l")
        for cells, side in zip(columns, table.align, strict=True)
    ]
    return _wide(widths, table.as_html())


def confusion_table(matrix: Int[np.ndarray, "K K"], classes: Sequence[str]) -> str:
    """Shares of each true class, the larger the darker."""
    whole = np.maximum(matrix.sum(1, keepdims=True), 1)
    shares = 100 * matrix / whole
    rows = "".join(
        f"<tr><th>{escaped(name, CELL)}</th>"
        + "".join(f'<td style="--share:{s:.0f}%">{s:.1f}</td>' for s in row)
        + "</tr>"
        for name, row in zip(classes, shares, strict=True)
    )
    corner = "true \\ called"
    head = "".join(f"<th>{escaped(name, CELL)}</th>" for name in [corner, *classes])
    table = (
        '<table class="heat"><caption class="soft">Of each true class, the share of '
        "its pixels that was called what, in %</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )
    first = _widths(corner, *classes, words=True)
    return _wide([first, *(_widths(name, "100.0") for name in classes)], table)


def _widths(head: str, *cells: str, words: bool = False) -> tuple[float, float]:
    """Of a column in em: with its head, and with the head upright.

    Heads, words and "±" go on in the next line.
    """

    def em(letters: int) -> float:
        return LETTER * min(letters, CELL) + PADDING

    parts = [part for cell in cells for part in cell.replace(" ±", "_±").split(" ")]
    own = max(map(len, parts), default=0)
    if words:
        own = max(own, min(max(map(len, cells), default=0), WORDS))
    normal = max(own, *map(len, head.split()), 1)
    return em(normal), em(own) - PADDING / 2


def _wide(widths: Sequence[tuple[float, float]], table: str) -> str:
    """A table in its frame.

    Args:
      widths: of the columns, as `_widths` has them.
      table: HTML.
    """
    normal, upright = (sum(column) for column in zip(*widths, strict=True))
    many = normal > UPRIGHT and upright < LESS * normal
    return (
        f'<div class="scroll{" many" if many else ""}" tabindex="0" '
        f'style="--ems:{upright if many else normal:.1f}">{table}</div>'
        '<p class="hint soft" aria-hidden="true">The table goes on: scroll it sideways.'
        "</p>"
    )
