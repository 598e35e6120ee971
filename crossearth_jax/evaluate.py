"""Scores named domains: windows → one confusion matrix each → report and pictures.

It takes a score function and sources of records, and knows no model.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.datasets import ScoredDomain
from crossearth_jax.data.folders import check_domain_name
from crossearth_jax.report.pictures import domain_picture
from crossearth_jax.report.score_table import mean_fraction
from crossearth_jax.scoring.counts import write_counts
from crossearth_jax.scoring.domain import DomainResult, evaluate_domain
from crossearth_jax.scoring.metrics import (
    by_class,
    confusion_metrics,
    extra_metrics,
    or_none,
)
from crossearth_jax.scoring.windows import ScoreFn, Windows
from crossearth_jax.system import hosts
from crossearth_jax.system.whole_file import whole_file


def evaluate(
    score_fn: ScoreFn,
    domains: Sequence[ScoredDomain],
    *,
    classes: ClassSet,
    workdir: str | os.PathLike[str],
    windows: Windows,
    examples: int = 4,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Scores every domain; writes `report.json`, `pictures/` and `counts/`.

    Several hosts share the images of every domain; the first writes.

    Args:
      score_fn: normalised windows [b, h, w, 3] → scores [b, h, w, K], see `sliding`.
      domains: distinct names; they become file names.
      classes: names and palette, by class id.
      workdir: folder of the report, made if it does not exist.
      windows: their sizes, and how many go into a call of `score_fn`.
      examples: rows of a picture at most.
      about: anything to keep in the report, such as the step.

    Returns:
      The report as written: fractions of 1, None where a score is undefined.

    Raises:
      ValueError: no domain, a name that is empty, repeated or no file name, or
        an image or label that is invalid.
    """
    _check_names([domain.name for domain in domains])
    results = [
        evaluate_domain(
            score_fn, domain, classes=classes, windows=windows, examples=examples
        )
        for domain in domains
    ]
    entries = {result.name: domain_entry(result, classes) for result in results}
    report = {
        "classes": list(classes.names),
        "domains": entries,
        "unseen_mean_mIoU": _unseen_mean(entries),
        "about": dict(about or {}),
    }
    if hosts.is_first():
        _write(Path(workdir), report, results, classes)
    hosts.wait_for_all()
    return report


def _write(
    folder: Path,
    report: Mapping[str, Any],
    results: Sequence[DomainResult],
    classes: ClassSet,
) -> None:
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for result in results:
        _write_picture(folder / "pictures" / f"{result.name}.png", result, classes)
        write_counts(folder / "counts", result.name, result.counts)
    text = json.dumps(report, indent=2, allow_nan=False)
    with whole_file(folder / "report.json") as place:
        place.write_text(text + "\n")


def domain_entry(result: DomainResult, classes: ClassSet) -> dict[str, Any]:
    """One domain of `report.json`: fractions of 1, None where undefined."""
    found = confusion_metrics(result.confusion)
    extra = extra_metrics(
        found.iou, foreground=classes.foreground, clutter=classes.clutter
    )

    return {
        "role": result.role,
        "mIoU": or_none(found.miou),
        **{what: or_none(value) for what, value in extra.items()},
        "mF1": or_none(found.mf1),
        "IoU": by_class(found.iou, classes.names),
        "F1": by_class(found.f1, classes.names),
        "accuracy": by_class(found.accuracy, classes.names),
        "precision": by_class(found.precision, classes.names),
        "overall_accuracy": or_none(found.overall_accuracy),
        "images": result.images,
        "skipped": list(result.skipped),
        "confusion": result.confusion.tolist(),
    }


def _unseen_mean(entries: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Mean mIoU of the unseen domains; None without any or if one is undefined."""
    mious = [e["mIoU"] for e in entries.values() if e["role"] == "unseen"]
    return mean_fraction(mious)


def _check_names(names: list[str]) -> None:
    for name in names:
        check_domain_name(name)
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"got domains {names}, expected at least one and no name twice: rename them"
        )


def _write_picture(path: Path, result: DomainResult, classes: ClassSet) -> None:
    miou = confusion_metrics(result.confusion).miou
    shown = "undefined" if math.isnan(miou) else f"{100 * miou:.1f} %"
    title = f"{result.name} ({result.role}), mIoU {shown}"
    picture = domain_picture(title, result.examples, classes.names, classes.palette)
    with whole_file(path) as place:
        picture.save(place, format="PNG")
