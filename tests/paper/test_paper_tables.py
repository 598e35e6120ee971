"""The paper's tables against themselves, and against the paper's text where it is."""

import re

import pytest
from outside import PAPER, needs_paper

from crossearth_jax.paper import tables
from crossearth_jax.paper.tables import found_misprints, load, setting_miou

ARITHMETIC = ("mean", "gain", "arrow")


def same(misprint):
    """All but the reason, which a person words."""
    fields = vars(misprint).copy()
    del fields["reason"]
    return tuple(fields.items())


def test_arithmetic_finds_the_listed_misprints_and_no_others():
    listed = {same(m) for m in load().misprints if m.kind in ARITHMETIC}
    assert listed == {same(m) for m in found_misprints()}
    assert all(m.reason for m in load().misprints)


def test_the_known_misprints_are_among_them():
    known = {(m.kind, m.setting, m.printed, m.expected) for m in load().misprints}
    assert ("mean", "P(r)2P(i)", 76.3, 75.5) in known
    assert ("gain", "Trf2Tms", 0.5, -0.5) in known


def test_every_other_mean_is_the_mean_of_its_classes():
    wrong = {
        (m.table, m.protocol, m.setting, m.method)
        for m in load().misprints
        if m.kind == "mean"
    }
    compared = 0
    for group in load().groups:
        for row in group.rows:
            assert len(row.scores) == len(group.classes)
            place = group.table, group.protocol, group.setting, row.method
            if row.scores and place not in wrong:
                mean = sum(row.scores) / len(row.scores)
                assert row.miou == pytest.approx(mean, abs=0.1 + 1e-9), place
                compared += 1
            if place in wrong:
                assert abs(sum(row.scores) / len(row.scores) - row.miou) > 0.1
    assert compared == 202 - len(wrong)  # rows with classes in Tables 3, 4, 6, 7


def test_misprints_between_tables_are_what_the_tables_say():
    """Tables 11 and 12 repeat CrossEarth's own masks, with two settings exchanged."""
    at = {"X_S": (0.1, 64), "X_M": (0.7, 64)}
    listed = {(m.table, m.setting): m for m in load().misprints if m.kind == "tables"}
    for study in load().mask_studies:
        ratio, block = at[study.image]
        printed = study.scores[study.ratios.index(ratio)][study.blocks.index(block)]
        _, ours = setting_miou(study.setting)
        misprint = listed.pop((study.table, study.setting), None)
        if misprint is None:
            assert printed == ours
        else:
            assert (misprint.printed, misprint.expected) == (printed, ours)
            assert printed != ours
    assert not listed


def test_repeated_row_is_repeated():
    (misprint,) = (m for m in load().misprints if m.kind == "repeated")
    rows = [
        group.row(misprint.method)
        for group in load().groups
        if (group.table, group.protocol) == (misprint.table, misprint.protocol)
    ]
    assert len(rows) == 2
    assert rows[0] == rows[1]


def test_ablations_repeat_the_main_table():
    for group in load().groups:
        if group.table in (9, 13):
            last = group.rows[-1].miou
            printed = tables.rein(group).miou, last
            assert printed == setting_miou(group.setting)


def test_the_29_settings():
    settings = load().settings
    assert len(settings) == 29
    assert [s.table for s in settings.values()].count(7) == 16
    assert setting_miou("P(i)2V") == (60.3, 67.5)
    assert setting_miou("S2A") == (66.8, 64.5)
    assert setting_miou("Sub2Tms") == (59.7, 64.6)
    assert tables.setting("Tem2Trf").masked.block == 128
    main = {g.table: len(g.classes) for g in load().groups if g.table <= 7}
    assert main == {3: 6, 4: 7, 5: 0, 6: 5, 7: 5}
    with pytest.raises(ValueError, match=r"got setting 'Sub2Sub', expected one of P"):
        setting_miou("Sub2Sub")
    with pytest.raises(ValueError, match=r"got method 'x', expected one of DAFormer"):
        tables.setting_group("D2M").row("x")


@needs_paper
def test_numbers_are_those_of_the_papers_text():
    """Every row stands in its table of the text with the same numbers in order."""
    parts = re.split(r"(?m)^TABLE (\d+):", PAPER.read_text())
    text = dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))
    for group in load().groups:
        lines = [re.sub(r"</?b>|\*", "", x) for x in text[group.table].splitlines()]
        if not group.classes:
            continue
        for row in group.rows:
            want = [f"{x:.1f}" for x in (*row.scores, row.miou)]
            found = any(
                line.startswith(row.method) and contains(numbers(line), want)
                for line in lines
            )
            assert found, (group.table, group.setting, row)


@needs_paper
def test_masks_are_those_of_table_14():
    rows = PAPER.read_text().split("TABLE 14:")[1].splitlines()
    cells = {row.split("\t")[0]: row.split("\t")[1:] for row in rows}
    for key, setting in load().settings.items():
        masks = setting.styled, setting.masked
        own = [str(x) for mask in masks for x in (mask.ratio, mask.block)]
        assert cells.get(key) == own or cells[f"{key} (Source-Only)"] == own


def numbers(line):
    """One-decimal numbers outside brackets, in order."""
    bare = re.sub(r"\([^)]*\)|\[\d+\]", "", line)
    return [f"{float(x):.1f}" for x in re.findall(r"(?<![\w.])\d+\.\d?(?![\w])", bare)]


def contains(line, want):
    starts = range(len(line) - len(want) + 1)
    return any(line[i : i + len(want)] == want for i in starts)
