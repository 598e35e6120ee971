"""The page's section on `crossearth trust`: what a run expects, and how sure it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from crossearth_jax.report import charts
from crossearth_jax.report.layers import photo
from crossearth_jax.report.score_table import percent
from crossearth_jax.report.table import Section, Table
from crossearth_jax.report.wide_tables import scrolling
from crossearth_jax.system.escape import quoted
from crossearth_jax.system.read_json import read_json

NAME, PICTURE = "trust.json", "pictures/least_trusted.png"
MOST_PIXELS = 2**24  # of the picture
WIDE = 2000  # pixels of it in the page
MOST_DOMAINS = 1_000
FRACTIONS = ("estimated_accuracy", "low", "high", "overall_accuracy")
FRACTIONS += ("estimated_mIoU", "mIoU", "outside")
CURVES = {"before": "as the model has it", "after": "after the temperature"}
BINS = ("pixels", "right", "total")


def read_trust(workdir: Path) -> Mapping[str, Any] | None:
    """What `crossearth trust` left in a workdir; None if it was not run.

    Raises:
      ValueError: the file is not what it writes.
    """
    path = workdir / NAME
    if not path.exists():
        return None
    try:
        content = read_json(path)
        _check(content)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"got {path}, which cannot be shown ({error}): run `crossearth trust` again"
        ) from error
    return content


def _check(content: Any) -> None:
    if not isinstance(content, dict) or not isinstance(content.get("domains"), dict):
        raise ValueError("it has no table of domains")
    if len(content["domains"]) > MOST_DOMAINS:
        raise ValueError(f"it has more than {MOST_DOMAINS} domains")
    for name, domain in content["domains"].items():
        if not isinstance(domain, dict):
            raise ValueError(f"domain {quoted(name)} is no table")
        for key in FRACTIONS:
            value = domain.get(key)
            if value is not None and not _number(value, 1):
                raise ValueError(f"got {key} {quoted(value)}, expected 0 to 1")
        if not _number(domain.get("distance", 0) or 0, 1e300):
            raise ValueError(f"got distance {quoted(domain['distance'])}")
    for curve in CURVES:
        reliability = content.get("reliability")
        bins = reliability.get(curve) if isinstance(reliability, dict) else None
        found = bins if isinstance(bins, dict) else {}
        lists: list[Any] = [found.get(name) for name in BINS]
        if not all(isinstance(one, list) for one in lists):
            raise ValueError(f"it has no reliability {curve} calibration")
        if len({len(one) for one in lists}) != 1 or len(lists[0]) > MOST_DOMAINS:
            raise ValueError(f"its reliability {curve} calibration is uneven")
        if not all(_number(value, 1e15) for one in lists for value in one):
            raise ValueError(f"its reliability {curve} calibration has no numbers")


def _number(value: Any, most: float) -> bool:
    return type(value) in (int, float) and 0 <= value <= most


def read_least_trusted(workdir: Path) -> str:
    """The picture of the least trusted windows as a data URI; "" without one.

    Raises:
      ValueError: it cannot be read, or is too large.
    """
    path = workdir / PICTURE
    if not path.exists():
        return ""
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels")
            return photo(np.asarray(picture.convert("RGB")), WIDE)
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(
            f"got {path}, which cannot be shown ({error}): run `crossearth trust` again"
        ) from error


def trust_section(content: Mapping[str, Any] | None, least: str = "") -> str:
    """The section; nothing where there is no content.

    Args:
      content: from `read_trust`.
      least: from `read_least_trusted`.
    """
    if content is None:
        return ""
    header = ("domain", "accuracy expected, %", "range", "true", "mIoU expected, %")
    header += ("true", "distance", "outside, %")
    rows = [_row(name, domain) for name, domain in content["domains"].items()]
    table = Table(header, "l" + "r" * 7, [Section(rows)])
    curves = "".join(
        f"<figure><figcaption>Source, {words}</figcaption>"
        + charts.reliability_chart(
            f"Reliability {words}", *(content["reliability"][name][b] for b in BINS)
        )
        + "</figure>"
        for name, words in CURVES.items()
    )
    return (
        "<section><h2>What the run expects of itself</h2><p>Estimated from the source "
        "domain alone, without the labels of the others; where there are labels, the "
        "true value stands beside. Distance and outside compare features with the "
        "source's: outside is the share of patches that look like nothing in it."
        f"</p>{scrolling(table)}"
        f'<div class="charts">{curves}</div>{_figure(least)}</section>'
    )


def _figure(least: str) -> str:
    if not least:
        return ""
    words = "The least trusted windows of the unseen domains"
    return (
        f'<h3>{words}</h3><p><img style="max-width:100%" src="{least}" alt="{words}: '
        'image, truth, prediction and trust"></p>'
    )


def _row(name: str, domain: Mapping[str, Any]) -> Sequence[str]:
    def share(key: str) -> str:
        return percent(domain.get(key)) if domain.get(key) is not None else ""

    distance = domain.get("distance")
    return (
        name,
        share("estimated_accuracy"),
        f"{share('low')} to {share('high')}",
        share("overall_accuracy"),
        share("estimated_mIoU"),
        share("mIoU"),
        "" if distance is None else f"{distance:.2f}",
        share("outside"),
    )
