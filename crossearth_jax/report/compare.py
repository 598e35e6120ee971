"""Our scores beside the paper's: sheets per table, with mean ± std over seeds."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossearth_jax.paper import tables as paper_tables
from crossearth_jax.paper.settings import CLIMATES, RUNS, casid_targets
from crossearth_jax.paper.tables import Row
from crossearth_jax.report.experiments import Group
from crossearth_jax.report.paper_view import describe, misprints
from crossearth_jax.report.sheet import Line, Score, Sheet

Entry = Mapping[str, Any]  # a domain of report.json
Targets = Mapping[str, Mapping[str, str]]  # config name → setting → domain

MAIN_TABLES = (3, 4, 5, 6, 7)
PAPER_STEPS = 30_000
SUMMARIES = ("mIoU", "w/o clutter")  # columns that are not classes
STD = "±: standard deviation over the n runs of a row (n - 1 in the denominator)."
PAPER = ("Rein, paper", "CrossEarth, paper")
OURS = "ours"  # begins the names of our lines
OVERVIEW = "Beside the paper: mIoU in % (IoU of building or road in Table 5)"


@dataclass(frozen=True)
class Column:
    """One score: its name, where a report has it and where the paper has it."""

    name: str
    ours: Callable[[Entry], float | None]  # fraction of 1
    paper: Callable[[Row], float | None]  # percent


@dataclass(frozen=True)
class Scored:
    """A group's scores on one setting: an entry per run that has the domain."""

    group: Group
    entries: tuple[Entry, ...]

    @property
    def row(self) -> str:
        """Name of its line."""
        n = len(self.entries)
        return f"{OURS}: {self.group.label}" + (f", n = {n}" if n > 1 else "")


def aggregate(values: Sequence[float | None]) -> Score | None:
    """Mean and standard deviation (n - 1) in percent of fractions of 1.

    A value that is None, a class in neither truth nor prediction, is left out.
    """
    known = [100 * value for value in values if value is not None]
    if not known:
        return None
    std = statistics.stdev(known) if len(known) > 1 else None
    return Score(statistics.fmean(known), std, len(known))


def comparison(
    groups: Sequence[Group], targets: Targets, tables: Sequence[int] | None = None
) -> list[Sheet]:
    """Sheets that show groups of runs beside the paper.

    Args:
      groups: of finished runs.
      targets: the settings of the 29 that a configuration of this name covers, each
        with the domain that is scored for it.
      tables: which of Tables 3 to 7; None takes those with a setting that was run.

    Returns:
      An overview and a sheet per table; then, without the paper's rows, a sheet laid
      out as Table 7 for each source of four climates that is not CASID itself, and one
      for each other run.

    Raises:
      ValueError: a report has another number of classes than its table.
    """
    ours = [g for g in groups if _of_files(g) and _covers(g, targets)]
    by_setting = _by_setting(ours, targets)
    settings = paper_tables.load().settings
    if tables is None:
        run = {settings[key].table for key in by_setting}
        tables = [table for table in MAIN_TABLES if table in run]
    sheets = [_overview(by_setting, tables)] if tables else []
    sheets += [_table_sheet(table, by_setting) for table in tables]
    rest = [g for g in groups if g not in ours]
    climates = [g for g in rest if _has_climates(g)]
    for source in dict.fromkeys(_source(g) for g in climates):
        alike = [g for g in climates if _source(g) == source]
        for drawn in (True, False):
            some = [g for g in alike if _of_files(g) is not drawn]
            sheets += [_climate_sheet(source, some, drawn)] if some else []
    others = [g for g in rest if g not in climates]
    sheets += [
        _own_sheet(name, others) for name in dict.fromkeys(g.name for g in others)
    ]
    return sheets


def beside_paper(sheet: Sheet) -> bool:
    """Whether it shows scores of the paper."""
    names = {*sheet.columns, *(line.row for line in sheet.lines)}
    return not names.isdisjoint(PAPER)


def _covers(group: Group, targets: Targets) -> bool:
    """Whether it is a configuration of the benchmark and scored a domain of it."""
    domains = targets.get(group.name, {}).values()
    return any(_scored(group, domain) for domain in domains)


def _of_files(group: Group) -> bool:
    return group.runs[0].config["data.kind"] != "synthetic"


def _by_setting(groups: Sequence[Group], targets: Targets) -> dict[str, list[Scored]]:
    found: dict[str, list[Scored]] = {}
    for group in groups:
        for key, domain in targets[group.name].items():
            if scored := _scored(group, domain):
                found.setdefault(key, []).append(scored)
    return found


def _scored(group: Group, domain: str) -> Scored | None:
    domains = [run.report["domains"] for run in group.runs]
    entries = tuple(one[domain] for one in domains if domain in one)
    return Scored(group, entries) if entries else None


# ---- columns ----------------------------------------------------------------------


def _columns(table: int) -> list[Column]:
    """The scores that a table of the paper has, and what our reports add to them."""
    if table == 5:
        both = Column("mIoU of both classes", _miou, lambda row: None)
        return [Column("IoU", lambda e: _ious(e)[1], lambda row: row.miou), both]
    classes = next(g.classes for g in paper_tables.load().groups if g.table == table)
    columns = [_class_column(name, k) for k, name in enumerate(classes)]
    columns.append(Column("mIoU", _miou, lambda row: row.miou))
    if table == 3:
        columns.append(_without(classes.index("Clut")))
    return columns


def _class_column(name: str, k: int) -> Column:
    return Column(name, lambda e: _ious(e)[k], lambda row: row.scores[k])


def _without(clutter: int) -> Column:
    """The mean over the other classes, for the paper from its printed ones."""

    def paper(row: Row) -> float:
        return statistics.fmean(row.scores[:clutter] + row.scores[clutter + 1 :])

    return Column("w/o clutter", lambda e: e.get("mIoU_without_clutter"), paper)


def _miou(entry: Entry) -> float | None:
    return entry["mIoU"]


def _ious(entry: Entry) -> list[float | None]:
    """By class id; class sets have the order of the paper's columns."""
    return list(entry["IoU"].values())


def _check_classes(scored: Scored, table: int, columns: Sequence[Column]) -> None:
    expected = 2 if table == 5 else sum(c.name not in SUMMARIES for c in columns)
    for run, entry in zip(scored.group.runs, scored.entries, strict=False):
        if len(entry["IoU"]) != expected:
            raise ValueError(
                f"got {len(entry['IoU'])} classes in the report of {run.place}, "
                f"expected the {expected} of Table {table}: give the run another "
                "config.name if it is not a benchmark run"
            )


# ---- the paper's tables -------------------------------------------------------------


def _overview(
    by_setting: Mapping[str, Sequence[Scored]], tables: Sequence[int]
) -> Sheet:
    """One line per setting and group: the table's own score and the differences."""
    columns = (*PAPER, "ours", "- Rein", "- CrossEarth")
    lines = []
    for key, setting in paper_tables.load().settings.items():
        if setting.table not in tables:
            continue
        paper = [Score(miou) for miou in paper_tables.setting_miou(key)]
        main = next(c for c in _columns(setting.table) if c.name in ("mIoU", "IoU"))
        for scored in by_setting.get(key, ()):
            our = aggregate([main.ours(entry) for entry in scored.entries])
            scores = *paper, our, *(_difference(our, one) for one in paper)
            lines.append(Line(key, scored.row, scores))
        if key not in by_setting:
            lines.append(Line(key, "ours", (*paper, None, None, None), note="not run"))
    notes = _group_notes(_groups(by_setting, tables))
    return Sheet(OVERVIEW, columns, tuple(lines), notes)


def _table_sheet(table: int, by_setting: Mapping[str, Sequence[Scored]]) -> Sheet:
    """A table's settings with the paper's two methods, ours and the differences."""
    columns = _columns(table)
    lines: list[Line] = []
    notes: list[str] = []
    for key, setting in paper_tables.load().settings.items():
        if setting.table != table:
            continue
        paper, found = _paper_lines(key, columns)
        lines += paper
        notes += found
        for scored in by_setting.get(key, ()):
            _check_classes(scored, table, columns)
        lines += _our_lines(key, by_setting.get(key, ()), columns, paper)
        if key not in by_setting:
            empty = (None,) * len(columns)
            lines.append(Line(key, "ours", empty, note="not run"))
    if table == 5:
        notes.append(
            "IoU: of building or road alone, as Table 5's low values suggest; the "
            "paper only calls it mIoU."
        )
    named = tuple(c.name for c in columns)
    notes += _group_notes(_groups(by_setting, [table]))
    title = f"Table {table}, IoU in %: {paper_tables.load().captions[table]}"
    return Sheet(title, named, tuple(lines), tuple(notes))


def _groups(
    by_setting: Mapping[str, Sequence[Scored]], tables: Sequence[int]
) -> list[Group]:
    """Those with a setting of these tables, each once."""
    settings = paper_tables.load().settings
    found: list[Group] = []
    for key, several in by_setting.items():
        if settings[key].table in tables:
            found += [s.group for s in several if s.group not in found]
    return found


def _paper_lines(key: str, columns: Sequence[Column]) -> tuple[list[Line], list[str]]:
    """The paper's two lines of a setting, and notes on their misprints."""
    group = paper_tables.setting_group(key)
    lines, notes = [], []
    pair = paper_tables.rein(group), paper_tables.crossearth(group)
    for label, row in zip(PAPER, pair, strict=True):
        values = [column.paper(row) for column in columns]
        scores = tuple(None if v is None else Score(v) for v in values)
        lines.append(Line(key, label, scores))
        found = misprints(group.table, group.protocol, key, row.method)
        notes += [f"the paper, {describe(m)}" for m in found]
    return lines, notes


def _our_lines(
    key: str,
    several: Sequence[Scored],
    columns: Sequence[Column],
    compared: Sequence[Line],
) -> Iterator[Line]:
    """Each group's line, then its differences to others and to our own baseline."""
    ours = [
        Line(
            key,
            scored.row,
            tuple(aggregate([c.ours(e) for e in scored.entries]) for c in columns),
        )
        for scored in several
    ]
    variants = [scored.group.runs[0].variant for scored in several]
    baseline = [
        line
        for line, variant in zip(ours, variants, strict=True)
        if variant == "Rein baseline"
    ]
    for line, variant in zip(ours, variants, strict=True):
        yield line
        own = baseline if len(baseline) == 1 and variant != "Rein baseline" else []
        for other in (*compared, *own):
            differences = map(_difference, line.scores, other.scores)
            yield Line(key, f"  difference to {other.row}", tuple(differences))


def _difference(ours: Score | None, other: Score | None) -> Score | None:
    if ours is None or other is None:
        return None
    return Score(ours.mean - other.mean, n=ours.n, signed=True)


def _unlike_paper(group: Group) -> Iterator[str]:
    """How runs of the benchmark differ in training from the paper (Section 5.1)."""
    run = group.runs[0]
    if run.step != PAPER_STEPS:
        yield f"{run.step} training steps; the paper has {PAPER_STEPS}"
    crops = {each.name: each.crop for each in RUNS}
    expected = {"data.crop": crops.get(group.name), "train.batch_size": 1}
    for key, paper in expected.items():
        if paper is not None and run.config.get(key, paper) != paper:
            yield f"{key}={run.config[key]}; the paper has {paper}"
    seeds = [each.config["train.seed"] for each in group.runs]
    if len(seeds) > 1:
        yield (
            f"mean of {len(seeds)} runs, seeds {', '.join(map(str, seeds))}; the paper "
            "prints one number a score and names no seed"
        )


def _group_notes(groups: Sequence[Group], *, paper: bool = True) -> tuple[str, ...]:
    """Remarks on runs; `paper`: also how they differ from the paper's."""
    notes = [STD] if any(len(group.runs) > 1 for group in groups) else []
    for group in groups:
        name = f"{group.name}, {group.label}"
        if paper:
            notes += [f"{name}: {difference}." for difference in _unlike_paper(group)]
        if group.repeated_seeds:
            notes.append(f"{name}: a seed appears twice, ± is not over seeds alone.")
        for run in group.runs:
            notes += [
                f"{run.place}: {len(entry['skipped'])} images of {domain} skipped."
                for domain, entry in run.report["domains"].items()
                if entry["skipped"]
            ]
    return tuple(notes)


# ---- other runs -------------------------------------------------------------------


def _has_climates(group: Group) -> bool:
    """Whether its reports can be laid out as Table 7."""
    report = group.runs[0].report
    roles = [entry["role"] for entry in report["domains"].values()]
    return (
        set(report["domains"]) <= set(CLIMATES)
        and len(report["classes"]) == 5
        and roles.count("source") == 1
    )


def _source(group: Group) -> str:
    domains = group.runs[0].report["domains"].items()
    return next(name for name, entry in domains if entry["role"] == "source")


def _climate_sheet(source: str, groups: Sequence[Group], drawn: bool) -> Sheet:
    """Table 7's layout, without the paper's scores, for scenes that are not CASID's."""
    why = "drawn scenes" if drawn else "no configuration of the benchmark"
    columns = _columns(7)
    lines: list[Line] = []
    for key, domain in casid_targets(source).items():
        several = [s for g in groups if (s := _scored(g, domain))]
        lines += _our_lines(key, several, columns, ())
    title = f"As Table 7, trained on {source}, IoU in %: {why}, not CASID"
    names = tuple(c.name for c in columns)
    return Sheet(title, names, tuple(lines), _group_notes(groups, paper=False))


def _own_sheet(name: str, groups: Sequence[Group]) -> Sheet:
    """Scores of runs that have no counterpart in the paper, a setting per domain."""
    groups = [group for group in groups if group.name == name]
    first = groups[0].runs[0].report
    columns = [_class_column(c, k) for k, c in enumerate(first["classes"])]
    columns.append(Column("mIoU", _miou, lambda row: row.miou))
    same = [g for g in groups if g.runs[0].report["classes"] == first["classes"]]
    if len(same) < len(groups):
        raise ValueError(
            f"got runs of other classes under one name {name!r}, expected the same: "
            "compare them one by one"
        )
    domains = dict.fromkeys(
        d for g in groups for r in g.runs for d in r.report["domains"]
    )
    lines: list[Line] = []
    for domain in domains:
        several = [s for g in groups if (s := _scored(g, domain))]
        lines += _our_lines(domain, several, columns, ())
    title = f"{name}, IoU in %: no setting of the paper"
    names = tuple(c.name for c in columns)
    return Sheet(title, names, tuple(lines), _group_notes(groups, paper=False))
