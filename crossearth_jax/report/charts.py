"""Charts as inline SVG: no script, as wide as the page allows, in the page's colours.

Lines and text take `currentColor` and classes of `page.css`, so that light and dark
pages both work.
"""

import math
from collections.abc import Mapping, Sequence

from crossearth_jax.report.ticks import inner_ticks, labels, round_ticks
from crossearth_jax.system.escape import html_text as escape

WIDTH, HEIGHT = 360, 200
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 16, 30


def line_chart(
    title: str, x: Sequence[float], lines: Mapping[str, Sequence[float]], unit: str
) -> str:
    """Curves over the training steps; values that are not numbers leave gaps.

    Args:
      title: read out to those who cannot see the chart.
      x: steps, increasing.
      lines: values by name, as many as steps.
      unit: of the horizontal axis.
    """
    known = [v for values in lines.values() for v in values if math.isfinite(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    up = round_ticks(min(low, 0.0), max(high, 0.0))
    frame = _Frame(inner_ticks(min(x), max(x)), up, (min(x), max(x)))
    drawn = [
        f'<path class="line line-{i}" d="{_path(frame, x, values)}"/>'
        for i, values in enumerate(lines.values())
    ]
    return _svg(title, [*frame.axes(unit, ""), *drawn])


def reliability_chart(
    title: str, pixels: Sequence[float], right: Sequence[float], total: Sequence[float]
) -> str:
    """Share of right pixels by confidence; on the diagonal, a model knows its limits.

    Args:
      title: read out.
      pixels: per bin of confidence.
      right: of them, those of the true class.
      total: sum of their confidences.
    """
    frame = _Frame(round_ticks(0.0, 1.0), round_ticks(0.0, 1.0))
    points = [
        (c / n, r / n) for n, r, c in zip(pixels, right, total, strict=True) if n > 0
    ]
    most = max(pixels, default=0) or 1
    dots = [
        f'<circle class="dot" cx="{frame.x(c):.1f}" cy="{frame.y(r):.1f}" '
        f'r="{2 + 5 * math.sqrt(n / most):.1f}"/>'
        for (c, r), n in zip(points, [n for n in pixels if n > 0], strict=True)
    ]
    diagonal = f'<path class="guide" d="{_path(frame, (0, 1), (0, 1))}"/>'
    line = _path(frame, [c for c, _ in points], [r for _, r in points])
    parts = [*frame.axes("confidence", "share that is right"), diagonal]
    return _svg(title, [*parts, f'<path class="line line-0" d="{line}"/>', *dots])


def histogram(title: str, counts: Sequence[float]) -> str:
    """Shares of pixels over equal bins from 0 to 1."""
    whole = sum(counts) or 1
    shares = [100 * count / whole for count in counts]
    up = round_ticks(0.0, max(shares, default=0.0))
    frame = _Frame(round_ticks(0.0, 1.0), up)
    step = 1 / max(len(shares), 1)
    bars = [
        f'<rect class="bar" x="{frame.x(i * step) + 0.5:.1f}" y="{frame.y(share):.1f}" '
        f'width="{frame.x(step) - frame.x(0) - 1:.1f}" '
        f'height="{frame.y(0) - frame.y(share):.1f}"/>'
        for i, share in enumerate(shares)
    ]
    return _svg(title, [*frame.axes("confidence", "share of the pixels, %"), *bars])


class _Frame:
    """Maps values to pixels of the chart.

    Args:
      across: ticks of the horizontal axis, ascending.
      up: those of the vertical one; it begins and ends with one.
      width: lowest and highest value across; None is from tick to tick.
    """

    def __init__(
        self,
        across: Sequence[float],
        up: Sequence[float],
        width: tuple[float, float] | None = None,
    ) -> None:
        self.across, self.up = across, up
        self.width = width or (across[0], across[-1])

    def x(self, value: float) -> float:
        low, high = self.width
        inside = WIDTH - LEFT - RIGHT
        return LEFT + inside * (value - low) / ((high - low) or 1)

    def y(self, value: float) -> float:
        low, high = self.up[0], self.up[-1]
        inside = HEIGHT - TOP - BOTTOM
        return HEIGHT - BOTTOM - inside * (value - low) / ((high - low) or 1)

    def axes(self, below: str, beside: str) -> list[str]:
        """Ticks, grid and names; `below` and `beside` say what is measured."""
        foot, left = HEIGHT - BOTTOM, LEFT
        parts = [f'<path class="axis" d="M{left} {TOP}V{foot}H{WIDTH - RIGHT}"/>']
        names, factor = labels(self.up)
        for value, name in zip(self.up, names, strict=True):
            y = self.y(value)
            parts.append(f'<path class="grid" d="M{left} {y:.1f}H{WIDTH - RIGHT}"/>')
            parts.append(_text(left - 5, y + 4, name, "end"))
        names, power = labels(self.across)
        for value, name in zip(self.across, names, strict=True):
            x = self.x(value)
            anchor = "end" if x > WIDTH - RIGHT - 8 else "middle"
            parts.append(_text(x, foot + 14, name, anchor))
        name = f"{below} {power}".strip()
        parts.append(_text((left + WIDTH) / 2, HEIGHT - 3, name, "middle"))
        if name := f"{beside} {factor}".strip():
            parts.append(_text(left + 4, TOP - 3, name, "start"))
        return parts


def _path(frame: _Frame, x: Sequence[float], y: Sequence[float]) -> str:
    parts, drawing = [], False
    for a, b in zip(x, y, strict=True):
        if not math.isfinite(b):
            drawing = False
            continue
        parts.append(f"{'L' if drawing else 'M'}{frame.x(a):.1f} {frame.y(b):.1f}")
        drawing = True
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f"{''.join(parts)}</svg>"
    )
