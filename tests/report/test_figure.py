"""Figure 2 as dots: the paper's marks and ours on one scale, in a page and alone."""

import re
import xml.etree.ElementTree as ET

import pytest

from crossearth_jax.commands import compare as command
from crossearth_jax.paper import tables
from crossearth_jax.report.compare import OVERVIEW, PAPER
from crossearth_jax.report.figure import figure, standalone
from crossearth_jax.report.paper_view import paper_sheet
from crossearth_jax.report.sheet import Line, Score, Sheet

COLUMNS = (*PAPER, "ours", "- Rein", "- CrossEarth")
HOSTILE = "ours: <script>x</script>"


def overview(*lines):
    """(setting, name, score of ours or None)."""
    made = tuple(Line(k, name, (None, None, s, None, None)) for k, name, s in lines)
    return Sheet(OVERVIEW, COLUMNS, made)


def marks(svg):
    """Place on the scale by label, of every mark but those of the legend."""
    drawn = re.findall(r"<(circle|path)([^>]*)><title>([^<]*)</title>", svg)
    found = {}
    for _, attributes, label in drawn:
        if ", " in label and ": " in label:
            place = re.search(r'(?:cx="|translate\()([\d.]+)', attributes)
            place = place or re.search(r'd="M([\d.]+)', attributes)  # a tick
            found[label] = float(place[1])
    return found


def percent(svg):
    """Percent by pixel, read off the scale's own numbers."""
    ticks = re.findall(r'class="tick" x="([\d.]+)"[^>]*>(\d+)<', svg)
    (x0, low), (x1, high) = (map(float, ticks[i]) for i in (0, -1))
    return lambda x: low + (x - x0) * (high - low) / (x1 - x0)


def test_dots_lie_where_their_scores_are():
    ours = Score(40.25, 2.0, 3)
    svg = figure([overview(("P(r)2V", "ours: CrossEarth, n = 3", ours))])
    read, found = percent(svg), marks(svg)
    wanted = {
        "P(r)2V, Rein, the paper: 56.1": 56.1,
        "P(r)2V, CrossEarth, the paper: 61.9": 61.9,
        "P(r)2V, ours: CrossEarth: 40.2 ± 2.0": 40.25,
    }
    for label, value in wanted.items():
        assert read(found[label]) == pytest.approx(value, abs=0.05)
    others = len(tables.setting_group("P(r)2V").rows) - 2
    assert len(found) == len(wanted) + others
    whisker = re.search(r'ours-0 shape0" d="M([\d.]+) [\d.]+H([\d.]+)"', svg)
    ends = [read(float(x)) for x in whisker.groups()]
    assert ends == pytest.approx([38.25, 42.25], abs=0.05)


def test_the_paper_alone_has_all_29_settings_each_table_once():
    svg = figure([paper_sheet(3)])
    rows = re.findall(r'text-anchor="end">([^<]+)</text>', svg)
    assert {row for row in rows if "%" not in row} == set(tables.load().settings)
    heads = re.findall(r'class="head"[^>]*>Table (\d)', svg)
    assert heads == ["3", "4", "5", "6", "7"]
    assert len(re.findall(r'class="head"', figure([paper_sheet(4)], [4]))) == 1


def test_a_setting_that_was_not_run_has_the_paper_s_dots_alone():
    svg = figure([overview(("U2R", "ours", None), ("R2U", HOSTILE, Score(50.0)))])
    labels = marks(svg)
    assert not [x for x in labels if x.startswith("U2R, ours")]
    assert "R2U, ours: &lt;script&gt;x&lt;/script&gt;: 50.0" in labels
    assert "<script>" not in svg


def test_one_variant_of_several_tables_is_one_of_ours():
    score = Score(50.0)
    svg = figure(
        [
            overview(
                ("P(r)2V", "ours: CrossEarth, n = 3", score),
                ("U2R", "ours: CrossEarth", score),
                ("U2R", "ours: CrossEarth, n = 2", score),
            )
        ]
    )
    legend = re.findall(r'text-anchor="start">(ours[^<]*)<', svg)
    assert legend == ["ours: CrossEarth", "ours: CrossEarth, n = 2"]


def test_runs_without_a_setting_of_the_paper_have_no_figure(tmp_path):
    own = Sheet("demo", ("mIoU",), (Line("sub", "ours: CrossEarth", (Score(1.0),)),))
    assert figure([own]) is None
    with pytest.raises(ValueError, match="--figure without a setting of Tables 3 to 7"):
        command._figure(tmp_path / "a.svg", [own], None)
    with pytest.raises(ValueError, match=r"got --figure .*a\.png"):
        command._figure(tmp_path / "a.png", [paper_sheet(3)], None)


def test_the_command_writes_a_file_of_its_own(tmp_path, capsys):
    place = tmp_path / "new" / "figure.svg"
    assert command.main(["--table", "7", "--figure", str(place)]) == 0
    said = capsys.readouterr().out
    assert f"wrote {place}" in said and "Table 7" in said
    root = ET.parse(place).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    text = place.read_text()
    assert "prefers-color-scheme: dark" in text and "http" not in text[40:]
    assert command.main(["--table", "9", "--figure", str(place)]) == 1
    assert standalone("<svg a='1'><b/></svg>").startswith(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" a='1'><style>"
    )
