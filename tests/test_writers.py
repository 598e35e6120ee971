"""One hostile text through every writer: nothing of it acts where it is shown."""

import argparse
import csv
import io
import re
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.umap import _counted, _write_points
from crossearth_jax.data.classes import ClassSet
from crossearth_jax.features.plot import Scatter, plain
from crossearth_jax.pixels.drawing import write_line
from crossearth_jax.predict.write import class_names_xml, tags_of
from crossearth_jax.report.charts import line_chart
from crossearth_jax.report.score_table import print_report, score_table
from crossearth_jax.report.sheet import FORMATS, Line, Score, Sheet
from crossearth_jax.report.table import Section, Table
from crossearth_jax.run.announce import fact_line
from crossearth_jax.system.escape import LINE
from weights_convert.__main__ import summary
from weights_convert.inspect_file import Row
from weights_convert.inspect_file import table as inspected
from weights_convert.output import Converted

HOSTILE = (
    "=cmd|' /C calc'!A0\x1b[31m\x1b]0;title\x07\r\n| row |\t[/bold][red]"
    "<script>x</script>"
    "\u202egnp.exe\u2028\x9b2J\x00\ud800`![a](http://a.org/b)$\\frac$" + "x" * 5_000
)
CLASSES = ClassSet((HOSTILE, "house"), ((0, 0, 0), (200, 40, 40)))
SHEET = Sheet(
    HOSTILE, (HOSTILE,), (Line(HOSTILE, HOSTILE, (Score(1.0),), HOSTILE),), (HOSTILE,)
)
TABLE = Table((HOSTILE, "n"), "lr", [Section([(HOSTILE, "1")])], HOSTILE, (HOSTILE,))


def report():
    share = {HOSTILE: 0.5, "house": None}
    entry = {"mIoU": 0.5, "IoU": share, "images": 2, "skipped": [HOSTILE]}
    domains = {HOSTILE: {"role": "source", **entry}, "far": {"role": "unseen", **entry}}
    return {"classes": list(share), "domains": domains}


def drawn(show):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system=None, width=120)
    show(console)
    return out.getvalue()


def told(capsys):
    """What a command prints of an error."""

    def fail(options):
        raise ValueError(HOSTILE)

    assert guarded(fail, argparse.Namespace(traceback=False)) == 1
    return capsys.readouterr().err


def points(tmp_path):
    source = SimpleNamespace(names=[HOSTILE])
    sample = SimpleNamespace(
        images=np.array([0]), classes=np.array([0]), domain=HOSTILE
    )
    scatter = Scatter(
        np.zeros((1, 2)), np.zeros(1, int), np.zeros(1, int), [HOSTILE], ""
    )
    path = tmp_path / "umap.csv"
    domain = SimpleNamespace(source=source)
    _write_points(path, scatter, [sample], [domain], CLASSES)
    return path.read_text()


WRITERS = {
    "table as text": lambda: TABLE.as_text(),
    "table as Markdown": lambda: TABLE.as_markdown(),
    "table as CSV": lambda: TABLE.as_csv(),
    "table as HTML": lambda: TABLE.as_html(),
    "table, drawn": lambda: drawn(TABLE.show),
    "table, printed": lambda: TABLE.show(Console(file=io.StringIO())) or "",
    "sheet as text": lambda: FORMATS["terminal"]([SHEET]),
    "sheet as Markdown": lambda: FORMATS["markdown"]([SHEET]),
    "sheet as CSV": lambda: FORMATS["csv"]([SHEET]),
    "scores as text": lambda: score_table(report()).as_text(),
    "scores, drawn": lambda: drawn(lambda console: print_report(report(), console)),
    "chart": lambda: line_chart(HOSTILE, [1, 2], {HOSTILE: [1.0, 2.0]}, HOSTILE),
    "aux.xml": lambda: class_names_xml(CLASSES),
    "tags": lambda: "\n".join(tags_of({"source": HOSTILE}, CLASSES).values()),
    "inspect": lambda: inspected([Row(HOSTILE, (1,), "float32", 4, HOSTILE)]),
    "conversion": lambda: summary(Converted({}, {"kind": HOSTILE}), Path("a")),
    "tokens": lambda: _counted(
        SimpleNamespace(domain=HOSTILE, classes=np.array([0]), images=np.array([0])),
        CLASSES,
    ),
    "figure": lambda: plain(HOSTILE),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_no_control_character_gets_out(writer):
    assert_plain(WRITERS[writer]())


def assert_plain(text):
    assert not re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2028\ud800]", text)
    assert len(text) < 40_000


def test_error_lines(capsys):
    text = told(capsys)
    assert_plain(text)
    assert len(text) < LINE + 100


def test_what_training_announces():
    text = drawn(lambda console: console.print(fact_line("data", HOSTILE)))
    assert_plain(text)
    assert "[/bold][red]" in text


def test_points(tmp_path):
    text = points(tmp_path)
    assert_plain(text)
    _, row = csv.reader(io.StringIO(text))
    assert all(cell.startswith("'=cmd") for cell in row[2:])


@pytest.mark.parametrize("text", [TABLE.as_csv(), FORMATS["csv"]([SHEET])])
def test_csv_has_no_formula_and_no_broken_row(text):
    rows = list(csv.reader(io.StringIO(text)))
    assert len({len(row) for row in rows}) == 1 and len(rows) == 2
    assert not [cell for row in rows for cell in row if cell.startswith("=")]


def test_markdown_keeps_its_rows():
    lines = TABLE.as_markdown().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 3
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)
    assert "<script" not in TABLE.as_markdown().replace(r"\<script", "")


def test_html_has_no_markup_of_the_text():
    for text in (TABLE.as_html(), WRITERS["chart"]()):
        assert "<script" not in text and "&lt;script&gt;" in text


def test_xml_is_well_formed():
    names = ElementTree.fromstring(class_names_xml(CLASSES)).iter("Category")
    first = next(names).text
    assert first and first.startswith(r"=cmd|' /C calc'!A0\x1b[31m")


def test_pictures_draw_it_as_one_short_line():
    written = []
    draw = SimpleNamespace(text=lambda place, text, **_: written.append(text))
    write_line(draw, (0, 0), HOSTILE, 200)
    assert len(written) == 1 and "\n" not in written[0] and len(written[0]) < 100
