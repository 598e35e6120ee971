"""Ablation tables: rows of runs that share their seeds, beside the paper's."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from crossearth_jax.paper import tables
from crossearth_jax.report.compare import aggregate
from crossearth_jax.report.experiments import Experiment
from crossearth_jax.report.sheet import Line, Score, Sheet

UNSEEN = "unseen mean"
STD = (
    "±: standard deviation over seeds (n - 1 in the denominator). Differences are "
    "taken seed by seed, between runs that share data order and initial values."
)


@dataclass(frozen=True)
class AblationRow:
    """One row of an ablation.

    Attributes:
      name: as the paper prints it, or "τ 0.1, B 16".
      runs: by seed; a run that is not finished is missing.
    """

    name: str
    runs: Mapping[int, Experiment]


def ablation_sheet(
    table: int,
    rows: Sequence[AblationRow],
    *,
    cumulative: bool,
    targets: Mapping[str, str],
    comparable: bool,
) -> Sheet:
    """Mean ± std of every row, differences by seed, and the paper's numbers.

    Args:
      table: its number in the paper.
      rows: the first is the one that others are compared with.
      cumulative: each row adds something to the one above, so that difference is
        shown too.
      targets: settings of the paper by the domain that matches them, {} for none.
      comparable: the runs are of the paper's data and sizes.

    Raises:
      ValueError: no run of the first row is finished.
    """
    if not rows or not rows[0].runs:
        raise ValueError(
            "got no finished run of the first row, expected one: let it finish first"
        )
    domains = next(iter(rows[0].runs.values())).report["domains"]
    columns = *domains, UNSEEN
    lines = [_own_line(row, columns) for row in rows]
    for row in rows[1:]:
        label = f"difference to {rows[0].name}"
        lines.append(_difference_line(label, row, rows[0], columns))
    if cumulative:
        for above, row in itertools.pairwise(rows[1:]):
            lines.append(_difference_line("difference to above", row, above, columns))
    printed = list(_paper_lines(table, [row.name for row in rows], targets, columns))
    lines += printed
    notes = [STD, *([_warning(table)] if printed and not comparable else [])]
    if printed and comparable:
        notes += _lengths(table, rows)
    notes += [
        sentence for row in rows[1:] if (sentence := _sentence(row, rows[0], columns))
    ]
    return Sheet(f"Table {table}, mIoU in percent", columns, tuple(lines), tuple(notes))


def _warning(table: int) -> str:
    return (
        f"The paper's Table {table} is of CASID, ViT-L and more steps: its figures "
        "are shown for their pattern and cannot be compared with ours."
    )


def _lengths(table: int, rows: Sequence[AblationRow]) -> list[str]:
    """What a reader must know where steps differ from the paper's."""
    steps = {run.step for row in rows for run in row.runs.values()}
    paper = tables.STEPS.get(table, tables.MAIN_STEPS)
    if steps == {paper}:
        return []
    ours = ", ".join(map(str, sorted(step or 0 for step in steps)))
    return [f"Ours: {ours} training steps; the paper's Table {table}: {paper}."]


def _value(run: Experiment, column: str) -> float | None:
    if column == UNSEEN:
        return run.report["unseen_mean_mIoU"]
    return run.report["domains"].get(column, {}).get("mIoU")


def _own_line(row: AblationRow, columns: Sequence[str]) -> Line:
    runs = list(row.runs.values())
    scores = (aggregate([_value(run, column) for run in runs]) for column in columns)
    return Line("ours", row.name, tuple(scores), "" if runs else "not run")


def _differences(row: AblationRow, base: AblationRow, column: str) -> list[float]:
    """Fractions of 1, of the seeds that both have."""
    pairs = (
        (_value(row.runs[seed], column), _value(base.runs[seed], column))
        for seed in sorted(row.runs.keys() & base.runs.keys())
    )
    return [a - b for a, b in pairs if a is not None and b is not None]


def _difference_line(
    label: str, row: AblationRow, base: AblationRow, columns: Sequence[str]
) -> Line:
    means = (aggregate(_differences(row, base, column)) for column in columns)
    scores = [mean and replace(mean, signed=True) for mean in means]
    return Line(label, row.name, tuple(scores), "" if any(scores) else "not run")


def _sentence(row: AblationRow, base: AblationRow, columns: Sequence[str]) -> str:
    """What the seeds show, and what so few of them cannot."""
    values = _differences(row, base, columns[-1])
    known = aggregate(values)
    if known is None or known.std is None:
        return ""
    n, higher = known.n, sum(value > 0 for value in values)
    found = (
        f"{row.name} against {base.name}, {columns[-1]}: {known.mean:+.1f} ± "
        f"{known.std:.1f}, higher in {higher} of {n} seeds"
    )
    if higher in (0, n) and abs(known.mean) > known.std:
        return f"{found}; by chance alone all {n} would agree once in {2 ** (n - 1)}."
    return f"{found}: the seeds do not settle whether it helps."


def _paper_lines(
    table: int, names: Sequence[str], targets: Mapping[str, str], columns: Sequence[str]
) -> Iterator[Line]:
    """The paper's rows, in the columns of the domains that match its settings."""
    printed = _printed(table)
    for name in names:
        scores = [printed.get((targets.get(column, ""), name)) for column in columns]
        if any(score is not None for score in scores):
            shown = tuple(None if s is None else Score(s) for s in scores)
            yield Line("paper", name, shown)


def _printed(table: int) -> dict[tuple[str, str], float]:
    """Printed mIoU, percent, by setting and row."""
    paper = tables.load()
    found = {
        (group.setting, row.method): row.miou
        for group in paper.groups
        if group.table == table
        for row in group.rows
    }
    for study in paper.mask_studies:
        if study.table != table:
            continue
        for ratio, scores in zip(study.ratios, study.scores, strict=True):
            for block, score in zip(study.blocks, scores, strict=True):
                found[study.setting, f"τ {ratio}, B {block}"] = score
    return found
