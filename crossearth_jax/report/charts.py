"""Charts as inline SVG: no script, as wide as the page allows, in the page's colours.

Lines and text take `currentColor` and classes of `page.css`, so that light and dark
pages both work.
"""

import math
from collections.abc import Mapping, Sequence

from crossearth_jax.system.escape import html_text as escape

WIDTH, HEIGHT = 360, 200
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 12, 30


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
    low = min(low, 0.0)
    high = high if high > low else low + 1.0
    frame = _Frame((min(x), max(x)), (low, high))
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
    frame = _Frame((0.0, 1.0), (0.0, 1.0))
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
    parts = [*frame.axes("confidence", "right"), diagonal]
    return _svg(title, [*parts, f'<path class="line line-0" d="{line}"/>', *dots])


def histogram(title: str, counts: Sequence[float]) -> str:
    """Shares of pixels over equal bins from 0 to 1."""
    whole = sum(counts) or 1
    shares = [count / whole for count in counts]
    frame = _Frame((0.0, 1.0), (0.0, max(shares, default=1.0) or 1.0))
    step = 1 / max(len(shares), 1)
    bars = [
        f'<rect class="bar" x="{frame.x(i * step) + 0.5:.1f}" y="{frame.y(share):.1f}" '
        f'width="{frame.x(step) - frame.x(0) - 1:.1f}" '
        f'height="{frame.y(0) - frame.y(share):.1f}"/>'
        for i, share in enumerate(shares)
    ]
    return _svg(title, [*frame.axes("confidence", "share"), *bars])


class _Frame:
    """Maps values to pixels of the chart."""

    def __init__(self, across: tuple[float, float], up: tuple[float, float]) -> None:
        self.across, self.up = across, up

    def x(self, value: float) -> float:
        low, high = self.across
        inside = WIDTH - LEFT - RIGHT
        return LEFT + inside * (value - low) / ((high - low) or 1)

    def y(self, value: float) -> float:
        low, high = self.up
        inside = HEIGHT - TOP - BOTTOM
        return HEIGHT - BOTTOM - inside * (value - low) / ((high - low) or 1)

    def axes(self, below: str, beside: str) -> list[str]:
        (x0, x1), (y0, y1) = self.across, self.up
        foot, left = HEIGHT - BOTTOM, LEFT
        parts = [f'<path class="axis" d="M{left} {TOP}V{foot}H{WIDTH - RIGHT}"/>']
        for value in (y0, (y0 + y1) / 2, y1):
            y = self.y(value)
            parts.append(f'<path class="grid" d="M{left} {y:.1f}H{WIDTH - RIGHT}"/>')
            parts.append(_text(left - 5, y + 4, f"{value:.3g}", "end"))
        for value, anchor in ((x0, "start"), ((x0 + x1) / 2, "middle"), (x1, "end")):
            parts.append(_text(self.x(value), foot + 14, f"{value:.4g}", anchor))
        parts.append(_text((left + WIDTH) / 2, HEIGHT - 3, below, "middle"))
        if beside:
            parts.append(_text(left + 4, TOP + 4, beside, "start"))
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
