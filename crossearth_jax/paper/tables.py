"""The paper's numbers as data: Tables 3 to 13 and the masks of Table 14.

`tables.json` keeps every number as it is printed. `found_misprints` recomputes
what can be recomputed (class means, gains, arrows); the file lists the same misprints
with their reasons, and some that only a reader finds.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

FILE = Path(__file__).with_suffix(".json")
# Printed classes and printed mean are each rounded by 0.05 at most.
ROUNDING = 0.1
MAIN_STEPS = 30_000  # of training (Section 5.1), but for the tables named here
STEPS = {8: 20_000}
EPSILON = 1e-6  # of sums of one-decimal numbers in floating point

Protocol = Literal["generalization", "adaptation"]


@dataclass(frozen=True)
class Mask:
    """Table 14: share of the altered area τ and block size B in pixels."""

    ratio: float
    block: int


@dataclass(frozen=True)
class Setting:
    """One of the 29 settings, under the paper's name such as "P(i)2V" or "Sub2Tem".

    Attributes:
      key: the paper's abbreviation; an in-domain setting of CASID is "Sub".
      table: number of the paper's table with its results, 3 to 7.
      source: training domain as Table 1 names it.
      target: scored domain as Table 1 names it.
      gap: kind of domain gap as Table 1 names it.
      styled: mask of X_S.
      masked: mask of X_M.
    """

    key: str
    table: int
    source: str
    target: str
    gap: str
    styled: Mask
    masked: Mask


@dataclass(frozen=True)
class Row:
    """One method's printed results in percent.

    Attributes:
      method: as printed, without citation.
      miou: as printed.
      scores: IoU per class as printed; empty where the table has the mean only.
      backbone: as printed, None where the table has no such column.
      gain: the printed difference to `gain_over`, if there is one.
      gain_over: method that `gain` counts from.
      class_gains: printed differences of single classes.
    """

    method: str
    miou: float
    scores: tuple[float, ...] = ()
    backbone: str | None = None
    gain: float | None = None
    gain_over: str | None = None
    class_gains: Mapping[str, float] = field(default_factory=dict)

    @property
    def class_mean(self) -> float | None:
        """Mean of the printed classes, None without classes."""
        return sum(self.scores) / len(self.scores) if self.scores else None


@dataclass(frozen=True)
class Group:
    """All methods on one setting in one table.

    Attributes:
      table: its number.
      setting: key of a `Setting`.
      protocol: "generalization", or "adaptation" where methods saw the target.
      classes: the paper's abbreviations, as `Row.scores`.
      rows: from top to bottom.
    """

    table: int
    setting: str
    protocol: Protocol
    classes: tuple[str, ...]
    rows: tuple[Row, ...]

    def row(self, method: str) -> Row:
        """The one row of a method.

        Raises:
          ValueError: it has no row here.
        """
        for row in self.rows:
            if row.method == method:
                return row
        known = ", ".join(row.method for row in self.rows)
        raise ValueError(f"got method {method!r}, expected one of {known}")


@dataclass(frozen=True)
class MaskStudy:
    """CrossEarth's mIoU over the masks of one image (Tables 11 and 12).

    Attributes:
      table: its number.
      setting: key of a `Setting`.
      image: the image whose mask varies, "X_S" or "X_M".
      ratios: τ of the rows.
      blocks: B of the columns.
      scores: mIoU by row and column.
      arrows: printed beside them: ↑ above Rein, ↓ below, - equal.
    """

    table: int
    setting: str
    image: Literal["X_S", "X_M"]
    ratios: tuple[float, ...]
    blocks: tuple[int, ...]
    scores: tuple[tuple[float, ...], ...]
    arrows: tuple[str, ...]


@dataclass(frozen=True)
class Misprint:
    """A printed number or name that contradicts others.

    Attributes:
      kind: "mean" (of the classes), "gain" (difference of two means), "arrow",
        "tables" (two tables differ), "repeated" (a row twice) or "text".
      table: its number.
      protocol: as `Group.protocol`.
      setting: key of a `Setting`.
      method: the row; None if it is not about one.
      printed: what the paper says.
      expected: what follows from its other numbers; None if nothing does.
      reason: how one can tell.
    """

    kind: str
    table: int
    protocol: Protocol
    setting: str
    method: str | None
    printed: float | str | None
    expected: float | str | None
    reason: str


@dataclass(frozen=True)
class Paper:
    """Everything in `tables.json`; settings in the order of Table 14."""

    settings: Mapping[str, Setting]
    captions: Mapping[int, str]
    groups: tuple[Group, ...]
    mask_studies: tuple[MaskStudy, ...]
    misprints: tuple[Misprint, ...]
    notes: tuple[str, ...]


@cache
def load() -> Paper:
    """Reads the file once."""
    raw = json.loads(FILE.read_text(encoding="utf-8"))
    tables = [*raw["tables"], *raw["mask_tables"]]
    return Paper(
        settings={one["key"]: _setting(one) for one in raw["settings"]},
        captions={t["number"]: t["caption"] for t in tables},
        groups=tuple(_group(t, g) for t in raw["tables"] for g in t["groups"]),
        mask_studies=tuple(
            _study(t, g) for t in raw["mask_tables"] for g in t["groups"]
        ),
        misprints=tuple(Misprint(**one) for one in raw["misprints"]),
        notes=tuple(raw["notes"]),
    )


def setting(key: str) -> Setting:
    """One of the 29 settings by the paper's name.

    Raises:
      ValueError: it is none of them.
    """
    settings = load().settings
    if key not in settings:
        raise ValueError(f"got setting {key!r}, expected one of {', '.join(settings)}")
    return settings[key]


def setting_group(key: str) -> Group:
    """The paper's results on a setting, without methods that saw the target."""
    table = setting(key).table
    for group in load().groups:
        if (group.table, group.setting, group.protocol) == (
            table,
            key,
            "generalization",
        ):
            return group
    raise AssertionError(f"{FILE} has no results of {key}")


def rein(group: Group) -> Row:
    """The baseline's row of a group."""
    return next(row for row in group.rows if row.method.startswith("Rein"))


def crossearth(group: Group) -> Row:
    """The full method's row of a group of Tables 3 to 7."""
    return group.row("CrossEarth (Ours)")


def setting_miou(key: str) -> tuple[float, float]:
    """Printed mIoU in percent of Rein and of CrossEarth on a setting (Tables 3 to 7).

    Raises:
      ValueError: it is none of the 29.
    """
    group = setting_group(key)
    return rein(group).miou, crossearth(group).miou


def found_misprints() -> Iterator[Misprint]:
    """What arithmetic alone finds: means, gains and arrows that do not fit."""
    for group in load().groups:
        for row in group.rows:
            about = group.table, group.protocol, group.setting, row.method
            mean = row.class_mean
            if mean is not None and abs(mean - row.miou) > ROUNDING + EPSILON:
                reason = f"the classes average to {mean:.2f}"
                yield Misprint("mean", *about, row.miou, round(mean, 1), reason)
            if row.gain is not None and row.gain_over is not None:
                gain = round(row.miou - group.row(row.gain_over).miou, 1)
                if gain != row.gain:
                    reason = f"the two means differ by {gain:+.1f}"
                    yield Misprint("gain", *about, row.gain, gain, reason)
    for study in load().mask_studies:
        yield from _wrong_arrows(study)


def _wrong_arrows(study: MaskStudy) -> Iterator[Misprint]:
    """Arrows that do not fit Rein's printed mean of Table 7."""
    baseline, _ = setting_miou(study.setting)
    for ratio, scores, arrows in zip(
        study.ratios, study.scores, study.arrows, strict=True
    ):
        for block, score, arrow in zip(study.blocks, scores, arrows, strict=True):
            right = "-" if score == baseline else "↑" if score > baseline else "↓"
            if arrow != right:
                about = study.table, "generalization", study.setting
                place = f"τ {ratio}, B {block}"
                reason = f"{score} against Rein's {baseline}"
                yield Misprint("arrow", *about, place, arrow, right, reason)


def _setting(raw: Mapping[str, Any]) -> Setting:
    masks = {name: Mask(**raw[name]) for name in ("styled", "masked")}
    return Setting(**{**raw, **masks})


def _group(table: Mapping[str, Any], raw: Mapping[str, Any]) -> Group:
    rows = tuple(
        Row(**{**row, "scores": tuple(row.get("scores", ()))}) for row in raw["rows"]
    )
    about = table["number"], raw["setting"], raw["protocol"], tuple(table["classes"])
    return Group(*about, rows)


def _study(table: Mapping[str, Any], raw: Mapping[str, Any]) -> MaskStudy:
    return MaskStudy(
        table["number"],
        raw["setting"],
        table["image"],
        tuple(table["ratios"]),
        tuple(table["blocks"]),
        tuple(tuple(row) for row in raw["scores"]),
        tuple(raw["arrows"]),
    )
