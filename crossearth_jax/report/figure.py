"""Figure 2 of the paper as a chart: every setting a row of dots on one common scale.

The paper draws a radar, on which areas depend on the order of the settings. Here the
paper's Rein and CrossEarth, its other methods as ticks, and ours stand in one line.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from crossearth_jax.paper import tables as paper_tables
from crossearth_jax.report.assets import asset
from crossearth_jax.report.compare import MAIN_TABLES, OURS, OVERVIEW
from crossearth_jax.report.sheet import Score, Sheet, shown
from crossearth_jax.system.escape import html_text as escape

WIDTH, LEFT, RIGHT = 720, 96, 24  # pixels
ROW, HEAD, AXIS = 20, 26, 26  # heights of a setting, a table's name, the scale
SIZE = 4.5  # of a mark, half of its width
SHAPES = ("M0 -1L1 0L0 1L-1 0Z", "M-.85 -.85H.85V.85H-.85Z", "M0 -1L1 .8H-1Z")
COLOURS = 4  # of our groups, before they come again with another shape
PAPER = (("Rein, the paper", "rein"), ("CrossEarth, the paper", "paper"))
NAME = 90  # characters of a group's name


@dataclass(frozen=True)
class Ours:
    """A group of our runs: its name and its score by setting."""

    name: str
    scores: dict[str, Score]


def figure(sheets: Sequence[Sheet], tables: Sequence[int] | None = None) -> str | None:
    """The chart as SVG for a page, in the colours of `figure.css`.

    Args:
      sheets: of `comparison`; those of the paper alone give the paper's dots.
      tables: of the paper; None takes those of the overview, or all that have settings.

    Returns:
      None where the sheets are of runs without a setting of the paper.
    """
    overview = next((sheet for sheet in sheets if sheet.title == OVERVIEW), None)
    settings = paper_tables.load().settings
    if overview:
        keys = list(dict.fromkeys(line.setting for line in overview.lines))
        return _drawn(keys, _ours(overview))
    if any(line.row.startswith(OURS) for sheet in sheets for line in sheet.lines):
        return None
    wanted = tables or MAIN_TABLES
    keys = [key for key, setting in settings.items() if setting.table in wanted]
    return _drawn(keys, []) if keys else None


def standalone(svg: str) -> str:
    """A chart as an SVG file of its own, light or dark as its viewer is."""
    opened = '<svg xmlns="http://www.w3.org/2000/svg"'
    style = f"<style>{asset('figure.css')}</style>"
    head, _, rest = svg.removeprefix("<svg").partition(">")
    return f"{opened}{head}>{style}{rest}\n"


def _ours(overview: Sheet) -> list[Ours]:
    column = overview.columns.index("ours")
    found: dict[str, dict[str, Score]] = {}
    for line in overview.lines:
        if score := line.scores[column]:
            # The same variant in other tables; how often it ran is in the label.
            name = line.row.partition(", n = ")[0]
            name = line.row if line.setting in found.get(name, {}) else name
            found.setdefault(name, {})[line.setting] = score
    return [Ours(name, scores) for name, scores in found.items()]


def _drawn(keys: Sequence[str], ours: Sequence[Ours]) -> str:
    keys = sorted(keys, key=lambda key: paper_tables.setting(key).table)
    scale = _Scale(keys, ours)
    entries = [*PAPER, *((one.name, _class(i)) for i, one in enumerate(ours))]
    parts = list(_legend(entries))
    top = ROW * (len(entries) + 1) + AXIS
    body, bottom = [], top
    table = None
    for key in keys:
        setting = paper_tables.setting(key)
        if setting.table != table:
            table, bottom = setting.table, bottom + HEAD
            body.append(_text(0, bottom - 7, _caption(table), "start", "head"))
        bottom += ROW
        body += _row(scale, key, ours, bottom - ROW / 2)
    parts += scale.lines(top, bottom)
    title = "mIoU of the settings, ours and the paper's"
    size = f'viewBox="0 0 {WIDTH} {bottom + 8:.0f}"'
    ground = f'<rect class="ground" width="{WIDTH}" height="{bottom + 8:.0f}"/>'
    return (
        f'<svg class="dots" {size} role="img" aria-label="{title}"><title>{title}'
        f"</title>{ground}{''.join(parts + body)}</svg>"
    )


class _Scale:
    """Percent to pixels, the same for all rows."""

    def __init__(self, keys: Sequence[str], ours: Sequence[Ours]) -> None:
        known = [row.miou for k in keys for row in paper_tables.setting_group(k).rows]
        for score in (s for one in ours for s in one.scores.values()):
            known += [score.mean - (score.std or 0), score.mean + (score.std or 0)]
        self.low = max(10 * math.floor(min(known) / 10), 0)
        self.high = min(10 * math.ceil(max(known) / 10), 100)

    def x(self, percent: float) -> float:
        inside = (percent - self.low) / (self.high - self.low)
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(inside, 0), 1)

    def lines(self, top: float, bottom: float) -> Iterator[str]:
        for value in range(self.low, self.high + 1, 10):
            x = self.x(value)
            yield f'<path class="scale" d="M{x:.1f} {top}V{bottom:.1f}"/>'
            yield _text(x, top - 6, f"{value}", "middle", "tick")


def _row(scale: _Scale, key: str, ours: Sequence[Ours], y: float) -> Iterator[str]:
    """The marks of a setting, the most important last and so on top."""
    group = paper_tables.setting_group(key)
    yield _text(LEFT - 10, y + 4, key, "end")
    rein, full = paper_tables.rein(group), paper_tables.crossearth(group)
    for row in group.rows:
        if row not in (rein, full):
            x, label = scale.x(row.miou), f"{key}, {row.method}: {row.miou}"
            tick = f"M{x:.1f} {y - 4:.1f}V{y + 4:.1f}"
            yield f'<path class="other" d="{tick}">{_label(label)}</path>'
    a, b = scale.x(rein.miou), scale.x(full.miou)
    yield f'<path class="span" d="M{a:.1f} {y:.1f}H{b:.1f}"/>'
    for (name, kind), row in zip(PAPER, (rein, full), strict=True):
        yield _mark(kind, scale.x(row.miou), y, f"{key}, {name}: {row.miou}")
    for i, one in enumerate(ours):
        if score := one.scores.get(key):
            if score.std:
                low, high = score.mean - score.std, score.mean + score.std
                whisker = f"M{scale.x(low):.1f} {y:.1f}H{scale.x(high):.1f}"
                yield f'<path class="{_class(i)}" d="{whisker}"/>'
            label = f"{key}, {one.name}: {shown(score)}"
            yield _mark(_class(i), scale.x(score.mean), y, label)


def _legend(entries: Sequence[tuple[str, str]]) -> Iterator[str]:
    for i, (name, kind) in enumerate(entries):
        y = ROW * (i + 0.75)
        yield _mark(kind, 10, y, name)
        yield _text(24, y + 4, name, "start")
    y = ROW * (len(entries) + 0.75)
    yield f'<path class="other" d="M10 {y - 4:.1f}V{y + 4:.1f}"/>'
    yield _text(24, y + 4, "other methods in the paper", "start", "note")
    unit = "mIoU, %; IoU of building or road in Table 5"
    yield _text(WIDTH - RIGHT, y + 4, unit, "end", "note")


def _mark(kind: str, x: float, y: float, label: str) -> str:
    """A circle for the paper, other shapes for us: colours alone tell nobody apart."""
    if not kind.startswith("ours"):
        place = f'cx="{x:.1f}" cy="{y:.1f}" r="{SIZE}"'
        return f'<circle class="{kind}" {place}>{_label(label)}</circle>'
    colour, shape = kind.split()
    place = f"translate({x:.1f} {y:.1f}) scale({SIZE})"
    path = f'd="{SHAPES[int(shape[5:])]}" stroke-width="0"'
    return f'<path class="{colour}" {path} transform="{place}">{_label(label)}</path>'


def _class(i: int) -> str:
    """Colour and shape of our group number `i`."""
    return f"ours-{i % COLOURS} shape{i % len(SHAPES)}"


def _caption(table: int) -> str:
    return f"Table {table}: {paper_tables.load().captions[table]}"


def _label(text: str) -> str:
    return f"<title>{escape(text, NAME * 2)}</title>"


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f"<text{named} {place}>{escape(text, NAME)}</text>"
