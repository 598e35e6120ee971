"""The paper's tables as sheets: class means recomputed, misprints flagged."""

from crossearth_jax.paper import tables
from crossearth_jax.paper.tables import (
    Group,
    MaskStudy,
    Misprint,
    Row,
)
from crossearth_jax.report.sheet import Line, Score, Sheet

MASKS = 14  # the table of masks, which has no scores


def paper_sheet(number: int) -> Sheet:
    """One of Tables 3 to 14 as printed, in percent.

    Raises:
      ValueError: the paper has no such table of scores.
    """
    paper = tables.load()
    if number == MASKS:
        return _mask_sheet()
    if number not in paper.captions:
        known = ", ".join(map(str, [*sorted(paper.captions), MASKS]))
        raise ValueError(f"got table {number}, expected one of {known}")
    title = f"Table {number} of the paper: {paper.captions[number]}"
    notes = tuple(describe(m) for m in paper.misprints if m.table == number)
    groups = [group for group in paper.groups if group.table == number]
    studies = [study for study in paper.mask_studies if study.table == number]
    if studies:
        columns = tuple(f"B {block}" for block in studies[0].blocks)
        lines = tuple(line for study in studies for line in _study_lines(study))
        return Sheet(title, columns, lines, notes)
    classes = groups[0].classes
    recomputed = ("mean of classes",) if classes else ()
    columns = (*classes, "mIoU", *recomputed, "gain")
    lines = tuple(_line(group, row) for group in groups for row in group.rows)
    return Sheet(title, columns, lines, notes)


def _mask_sheet() -> Sheet:
    """Table 14: τ and B of both masks, by setting."""
    lines = tuple(
        Line(
            setting.key,
            f"{setting.source} → {setting.target}",
            tuple(
                Score(float(value))
                for mask in (setting.styled, setting.masked)
                for value in (100 * mask.ratio, mask.block)
            ),
        )
        for setting in tables.load().settings.values()
    )
    columns = "X_S τ, %", "X_S B, pixels", "X_M τ, %", "X_M B, pixels"
    notes = ("`crossearth settings` has them beside the configuration files.",)
    return Sheet("Table 14 of the paper: masks of the settings", columns, lines, notes)


def misprints(table: int, protocol: str, setting: str, method: str) -> list[Misprint]:
    """What is listed about one row."""
    about = table, protocol, setting, method
    return [
        m
        for m in tables.load().misprints
        if (m.table, m.protocol, m.setting, m.method) == about and m.kind != "text"
    ]


def describe(misprint: Misprint) -> str:
    """One line about a misprint: what, where and how one can tell."""
    right = "" if misprint.expected is None else f", expected {misprint.expected}"
    return (
        f"{misprint.setting}, {misprint.method}: misprint, {misprint.kind} "
        f"{misprint.printed}{right}: {misprint.reason}"
    )


def _flag(found: list[Misprint]) -> str:
    """The short form, for the line itself."""
    return "; ".join(f"misprint ({m.kind})" for m in found)


def _line(group: Group, row: Row) -> Line:
    mean = [] if row.class_mean is None else [row.class_mean]
    scores = *row.scores, row.miou, *mean
    gain = None if row.gain is None else Score(row.gain, signed=True)
    # CrossEarth is listed among the adapted methods without being one.
    ours = row.method.startswith("CrossEarth")
    adapted = group.protocol == "adaptation" and not ours
    found = misprints(group.table, group.protocol, group.setting, row.method)
    return Line(
        group.setting,
        row.method + (" (saw the target)" if adapted else ""),
        (*map(Score, scores), gain),
        note=_flag(found),
    )


def _study_lines(study: MaskStudy) -> list[Line]:
    lines = []
    for ratio, scores in zip(study.ratios, study.scores, strict=True):
        found = [
            m
            for block in study.blocks
            for m in misprints(
                study.table, "generalization", study.setting, f"τ {ratio}, B {block}"
            )
        ]
        row = f"τ {ratio} of {study.image}"
        shown = tuple(map(Score, scores))
        lines.append(Line(study.setting, row, shown, note=_flag(found)))
    return lines
