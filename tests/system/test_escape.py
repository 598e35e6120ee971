"""Escapes, each by itself; `tests/test_writers.py` walks the writers."""

import csv
import io
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossearth_jax.system.escape import (
    CELL,
    csv_cell,
    cut,
    error_line,
    html_text,
    markdown_cell,
    quoted,
    terminal,
    xml_text,
)

ANY = st.text(st.characters(), max_size=400)


@settings(max_examples=200, deadline=None)
@given(ANY)
def test_nothing_that_is_not_printable_is_left(text):
    for escape in (terminal, html_text, markdown_cell, csv_cell, xml_text):
        shown = escape(text)
        assert not [
            c for c in shown if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160
        ]
        shown.encode()  # no lone surrogates
    assert "\n" not in terminal(text) + markdown_cell(text) + csv_cell(text)
    assert len(terminal(text)) <= 6 * CELL
    ElementTree.fromstring(f'<a b="{xml_text(text)}">{xml_text(text)}</a>')
    row = io.StringIO()
    csv.writer(row).writerow([csv_cell(text), "1"])
    assert next(csv.reader(io.StringIO(row.getvalue())))[1] == "1"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("water", "water"),
        ("größe, 水", "größe, 水"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("a\u202eb", r"a\u202eb"),
        ("a\nb", r"a\nb"),
        ("\ud800", r"\ud800"),
        ("x" * 500, "x" * 99 + "…" + "x" * 100),
    ],
)
def test_terminal(text, shown):
    assert terminal(text) == shown


def test_each_has_its_own_rules():
    assert html_text("<a href='\"&") == "&lt;a href=&#x27;&quot;&amp;"
    assert markdown_cell("a|b\n<c>*`") == r"a\|b\\n\<c>\*\`"
    for formula in ("=cmd|' /C calc'!A0", "+x", "-1+A1", "@x", "\tx"):
        assert csv_cell(formula).startswith("'")
    for plain in ("water", "-", "-1.5", "+0.3 ± 0.1", "-3e-05"):
        assert csv_cell(plain) == plain


@pytest.mark.parametrize(
    "value",
    [10**6000, "x" * 10**7, {"a": ["y" * 10**5] * 1000}, [[[[[[1]]]]]], b"z" * 10**6],
    ids=["integer", "text", "table", "deep", "bytes"],
)
def test_quotes_are_short(value):
    assert len(quoted(value)) <= 250


def test_error_lines_keep_their_lines_and_stay_short():
    error = ValueError("got a\x1b[2Jb:\n  x\n" + "y" * 10**6)
    assert error_line(error).startswith("got a\\x1b[2Jb:\n  x\n")
    assert len(error_line(error)) <= 4_000
    assert cut("abcdef", 4) == "a…ef"
