import io

import pytest
from rich.console import Console

from crossearth_jax.report.score_table import (
    percent,
    print_report,
    score_table,
)


def domain(role, ious, images, skipped=()):
    known = [iou for iou in ious if iou is not None]
    return {
        "role": role,
        "mIoU": sum(known) / len(known),
        "IoU": dict(zip(("field", "a|b"), ious, strict=True)),
        "mF1": 0.5,
        "overall_accuracy": 0.625,
        "images": images,
        "skipped": list(skipped),
    }


REPORT = {
    "classes": ["field", "a|b"],
    "domains": {
        "away": domain("unseen", (0.5, 0.25), 12),
        "home": domain("source", (0.876, 0.9), 3),
        "far_away": domain("unseen", (None, 0.4), 8, ("x.png", "y.png")),
    },
    "unseen_mean_mIoU": 0.3875,
}


def test_plain_table_is_aligned_and_sets_the_source_apart():
    title, space, *lines = score_table(REPORT).as_text().splitlines()
    assert (title, space) == ("Scores in %, IoU per class", "")
    assert lines[0] == "domain    role    field   a|b  mIoU   mF1    OA  images"
    assert set(lines[1]) == set(lines[3]) == set(lines[6]) == {"-"}
    assert lines[2] == "home      source   87.6  90.0  88.8  50.0  62.5       3"
    assert lines[4] == "away      unseen   50.0  25.0  37.5  50.0  62.5      12"
    cells = ["far_away", "unseen", "-", "40.0", "40.0", "50.0", "62.5", "8"]
    assert lines[5].split() == cells
    assert lines[7] == "mean      unseen               38.8  50.0  62.5      20"
    assert {len(line) for line in lines[:8]} == {len(lines[0])}


def test_notes_tell_what_is_missing():
    text = score_table(REPORT).as_text()
    assert "far_away: skipped 2 images: x.png, y.png" in text
    assert "neither truth nor prediction" in text
    complete = {**REPORT, "domains": {"home": REPORT["domains"]["home"]}}
    assert "neither" not in score_table(complete).as_text()


def test_without_unseen_domains_no_mean_is_shown():
    home = {"home": REPORT["domains"]["home"]}
    only = {**REPORT, "domains": home, "unseen_mean_mIoU": None}
    assert "mean" not in score_table(only).as_text()


def test_markdown_table():
    lines = score_table(REPORT).as_markdown().splitlines()
    assert lines[0] == "### Scores in %, IoU per class"
    assert lines[2:8] == [
        "| domain | role | field | a\\|b | mIoU | mF1 | OA | images |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| home | source | 87.6 | 90.0 | 88.8 | 50.0 | 62.5 | 3 |",
        "| away | unseen | 50.0 | 25.0 | 37.5 | 50.0 | 62.5 | 12 |",
        "| far_away | unseen | - | 40.0 | 40.0 | 50.0 | 62.5 | 8 |",
        "| **mean** | **unseen** |  |  | **38.8** | **50.0** | **62.5** | **20** |",
    ]


@pytest.mark.parametrize(
    ("key", "head"),
    [
        ("foreground_IoU", "foreground IoU"),
        ("mIoU_without_clutter", "mIoU w/o clutter"),
    ],
)
def test_extra_scores_have_a_column_after_the_mean(key, head):
    extra = (0.5, 0.25, None)
    domains = {
        name: {**entry, key: value}
        for (name, entry), value in zip(REPORT["domains"].items(), extra, strict=True)
    }
    report = {**REPORT, "domains": domains}
    lines = score_table(report).as_markdown().splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("|")]
    assert rows[0][4:7] == ["mIoU", head, "mF1"]
    assert [row[5] for row in rows[2:]] == ["25.0", "50.0", "-", "**-**"]
    assert head in score_table(report).as_text()
    assert ("its pixels still count" in score_table(report).as_text()) is (
        "clutter" in key
    )


def test_percent():
    assert [percent(x) for x in (0.0, 1.0, 0.12345, None)] == [
        "0.0",
        "100.0",
        "12.3",
        "-",
    ]


def printed(**options):
    console = Console(file=io.StringIO(), width=100, **options)
    print_report(REPORT, console)
    return console.file.getvalue()


def test_a_log_file_gets_plain_text_and_a_terminal_a_drawn_table():
    assert printed() == score_table(REPORT).as_text() + "\n"
    drawn = printed(force_terminal=True)
    assert "━" in drawn and "\x1b[" in drawn
    for cell in ("far_away", "87.6", "38.8", "skipped 2 images"):
        assert cell in drawn
