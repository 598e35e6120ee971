import csv
import io

import pytest
from rich.console import Console

from crossearth_jax.report.table import Section, Table

HARD = "[red] <b>, a|b"
TABLE = Table(
    header=("place", "kind", "n", "remark"),
    align="llrl",
    sections=[
        Section([("a", "x", "1", ""), ("a", "y", "100", "a remark hangs over")]),
        Section([("b", HARD, "", "")], "bold"),
    ],
    title="A title",
    notes=["[below]"],
    once=True,
)


def test_text_is_aligned_ruled_and_tells_the_first_word_once():
    assert TABLE.as_text().splitlines() == [
        "A title",
        "",
        "place  kind              n  remark",
        "--------------------------",
        "a      x                 1",
        "       y               100  a remark hangs over",
        "--------------------------",
        f"b      {HARD}",
        "",
        "[below]",
    ]


def test_markdown_escapes_bars_and_repeats_the_first_word():
    broken = Table(("a", "b"), "lr", [Section([("two\nlines", "1")])])
    assert r"| two\\nlines | 1 |" in broken.as_markdown()
    assert TABLE.as_markdown().splitlines() == [
        "### A title",
        "",
        "| place | kind | n | remark |",
        "| --- | --- | ---: | --- |",
        "| a | x | 1 |  |",
        "| a | y | 100 | a remark hangs over |",
        r"| **b** | **\[red\] \<b>, a\|b** |  |  |",
        "",
        r"- \[below\]",
    ]


def test_csv_gives_every_cell_back():
    rows = list(csv.reader(io.StringIO(TABLE.as_csv())))
    assert rows == [list(TABLE.header), *map(list, TABLE.rows)]
    assert not TABLE.as_csv().endswith("\n")


def test_html_is_escaped():
    assert "<td>[red] &lt;b&gt;, a|b</td>" in TABLE.as_html()
    assert TABLE.as_html().count("<tr>") == 4


def shown(table, **options):
    console = Console(file=io.StringIO(), **options)
    table.show(console)
    return console.file.getvalue()


def test_a_terminal_gets_a_drawing_with_its_square_brackets():
    drawn = shown(TABLE, width=100, force_terminal=True)
    assert "━" in drawn and "\x1b[1m" in drawn
    for text in (HARD, "A title", "[below]"):
        assert text in drawn


def test_a_log_file_gets_plain_text_that_is_never_wrapped():
    assert shown(TABLE, width=20) == TABLE.as_text() + "\n"


def test_a_row_with_a_cell_too_few_is_an_error():
    short = Table(("a", "b"), "ll", [Section([("only",)])])
    with pytest.raises(ValueError, match="zip"):
        short.as_text()
