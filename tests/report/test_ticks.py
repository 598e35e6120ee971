"""Ticks are round, lie in their range and are written in full."""

import re

import pytest

from crossearth_jax.report.charts import HEIGHT, LEFT, WIDTH, line_chart
from crossearth_jax.report.ticks import inner_ticks, labels, round_ticks


@pytest.mark.parametrize(
    ("low", "high", "shown", "unit"),
    [
        (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"], ""),
        (0, 9.56e-4, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"], "in 1e-3"),
        (0, 44.6, ["0", "10", "20", "30", "40", "50"], ""),
        (-3, 12, ["-5", "0", "5", "10", "15"], ""),
        (0, 2.5e6, ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5"], "in 1e6"),
        (0, 30_000, ["0", "10,000", "20,000", "30,000"], ""),
        (0, 0, ["0.0", "0.2"], ""),
        (7, 7, ["6", "8"], ""),
    ],
)
def test_ticks_and_their_labels(low, high, shown, unit):
    ticks = round_ticks(low, high)
    assert ticks[0] <= low and high <= ticks[-1]
    assert labels(ticks) == (shown, unit)


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (1, 400, [100, 200, 300, 400]),
        (1, 3, [1, 2, 3]),
        (50, 50, [50]),
        (1, 20_000, [5_000, 10_000, 15_000, 20_000]),
    ],
)
def test_steps_have_whole_ticks_inside_their_range(low, high, found):
    assert inner_ticks(low, high) == found


@pytest.mark.parametrize("high", [1e-320, 5e-324, 1e300, 1.7e308])
@pytest.mark.parametrize("low", [0.0, -1.7e308])
def test_values_at_the_ends_of_floating_point_still_have_labels(low, high):
    ticks = round_ticks(low, high)
    shown, unit = labels(ticks)
    assert len(shown) == len(ticks) >= 2
    assert max(map(len, shown)) < 12 and "nan" not in "".join([*shown, unit])


@pytest.mark.parametrize("values", [[0.0, 9.56e-4, 1e-4], [3.0, 1e6, 123456.0]])
def test_no_label_leaves_the_chart(values):
    drawn = line_chart("rate", [1, 200, 400], {"rate": values}, "step")
    texts = re.findall(r'x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)">([^<]+)<', drawn)
    for x, y, anchor, text in texts:
        wide = 6.6 * len(text)  # of 11 pixels high letters
        left = float(x) - wide * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        assert 0 <= left and left + wide <= WIDTH + 4, text
        assert 8 <= float(y) <= HEIGHT, text
        assert anchor != "end" or float(x) < LEFT or float(x) > WIDTH / 2
