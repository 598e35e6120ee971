"""Round numbers along an axis, and how they are written."""

import math
from collections.abc import Sequence
from itertools import pairwise

TINY, HUGE = 1e-300, 1e300  # where floating point has no room for ticks
SMALL, LARGE = 0.01, 1e5  # beyond them a power of ten stands beside the axis


def round_ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Three to six multiples of 1, 2 or 5 times a power of ten, low and high between.

    Args:
      low: of the values.
      high: of them; not below low.
      whole: no fractions, as steps have none.
    """
    span = (high - low) or abs(high) or 1.0
    if not TINY < span < HUGE:
        return [low, high]
    step = max(1.0, _step(span)) if whole else _step(span)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [i * step for i in range(first, max(last, first + 1) + 1)]


def inner_ticks(low: float, high: float) -> list[float]:
    """Those of `round_ticks` between whole numbers that lie in their range."""
    inside = [t for t in round_ticks(low, high, whole=True) if low <= t <= high]
    return inside or [low]


def labels(ticks: Sequence[float]) -> tuple[list[str], str]:
    """What stands at the ticks, with as many decimals as they need.

    Args:
      ticks: evenly spaced.

    Returns:
      The labels, and the unit that they are in, such as "in 1e-3"; "" for 1.
    """
    most = max(map(abs, ticks))
    if most and not TINY < most < HUGE:
        return [f"{tick:.1e}" for tick in ticks], ""
    power = 0
    if most and not SMALL <= most < LARGE:
        power = math.floor(math.log10(most) + 1e-9)
    scaled = [tick / 10.0**power for tick in ticks]
    gap = min((b - a for a, b in pairwise(scaled)), default=1.0)
    decimals = min(max(0, -math.floor(math.log10(gap) + 1e-9)), 6) if gap > 0 else 3
    unit = f"in 1e{power}" if power else ""
    return [f"{value:,.{decimals}f}" for value in scaled], unit


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten, of which two to five fit."""
    power = 10.0 ** math.floor(math.log10(span / 5))
    return next(m * power for m in (1, 2, 5, 10) if m * power * 5 >= span * (1 - 1e-9))
