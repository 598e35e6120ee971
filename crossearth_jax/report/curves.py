"""What training logged, each value a curve over the steps that have it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from crossearth_jax.report import charts
from crossearth_jax.system.escape import html_text as escaped

MOST = 100  # curves of a run
NAME = 300  # characters
MOST_STEPS = 10**12  # what is beyond is no step, and no axis has room for it
LARGE = 1e300  # the same of values


def curves(metrics: Sequence[Mapping[str, Any]]) -> str:
    """A section of charts; "" where nothing was logged.

    Args:
      metrics: a line per logged step, with scores in the lines of those that have them.
    """
    metrics = [line for line in metrics if 0 <= line["step"] < MOST_STEPS]
    names = dict.fromkeys(name for line in metrics for name in line)
    # Of scores while training, the means: a curve for each class would be many.
    shown = [n for n in names if n not in ("step", "bad") and "/IoU/" not in n]
    if not shown:
        return ""
    drawn = "".join(_curve(name, metrics) for name in shown[:MOST])
    left = len(shown) - MOST
    more = f'<p class="soft">{left} more in metrics.jsonl.</p>' if left > 0 else ""
    return (
        f'<section><h2>Training</h2><div class="charts">{drawn}</div>{more}</section>'
    )


def _curve(name: str, metrics: Sequence[Mapping[str, Any]]) -> str:
    lines = [line for line in metrics if name in line]
    drawn = charts.line_chart(
        f"{name} by step",
        [line["step"] for line in lines],
        {name: [_number(line[name]) for line in lines]},
        "step",
    )
    return f"<figure><figcaption>{escaped(name, NAME)}</figcaption>{drawn}</figure>"


def _number(value: Any) -> float:
    """A value of a line; what is none, or too large to draw, leaves a gap."""
    good = type(value) in (int, float) and -LARGE < value < LARGE
    return float(value) if good else math.nan
