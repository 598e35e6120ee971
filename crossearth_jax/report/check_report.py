"""Whether a report.json is one: everything that tables and pages take from it."""

from collections.abc import Mapping, Sequence
from typing import Any

from crossearth_jax.data.folders import check_domain_name
from crossearth_jax.system.escape import quoted

ROLES = ("source", "unseen")
MOST_CLASSES = 255
MOST_DOMAINS = 1_000
MOST_SCORES = 20_000  # of a class in a domain; a table takes 0.2 ms for each
_BY_CLASS = ("IoU",)
_NEEDED = ("mIoU",)
_FRACTIONS = (
    *(*_NEEDED, "mF1", "overall_accuracy"),
    *("foreground_IoU", "mIoU_without_clutter"),
)
_OF_A_PAGE = ("mF1", "overall_accuracy", "confusion")


def check_report(report: Mapping[str, Any], *, page: bool = False) -> None:
    """Checks the parts of a report that are read.

    Args:
      report: content of a report.json.
      page: whether a page is made of it, which needs more than a table.

    Raises:
      ValueError: one is missing or of another kind; says which.
    """
    classes: Any = report.get("classes")
    domains = report.get("domains")
    if not _names(classes) or not 2 <= len(classes) <= MOST_CLASSES:
        raise ValueError(f"got classes {quoted(classes)}, expected 2 to 255 names")
    if not isinstance(report.get("about"), dict):
        raise ValueError("got no table `about`")
    if not isinstance(domains, dict) or not 0 < len(domains) <= MOST_DOMAINS:
        raise ValueError("got no table `domains` with at least one domain")
    if len(domains) * len(classes) > MOST_SCORES:
        raise ValueError(
            f"got {len(domains)} domains of {len(classes)} classes, expected at most "
            f"{MOST_SCORES:,} scores of classes"
        )
    for name, domain in domains.items():
        check_domain_name(name)
        try:
            _check_domain(domain, classes)
            _check_all_there(domain, _OF_A_PAGE if page else ())
        except ValueError as error:
            raise ValueError(f"domain {quoted(name)}: {error}") from None


def _check_domain(domain: Any, classes: Sequence[str]) -> None:
    if not isinstance(domain, dict):
        raise ValueError(f"got {quoted(domain)}, expected a table")
    if domain.get("role") not in ROLES:
        role = quoted(domain.get("role"))
        raise ValueError(f"got role {role}, expected {' or '.join(ROLES)}")
    _check_all_there(domain, _NEEDED)
    for key in filter(domain.__contains__, _FRACTIONS):
        if not _fraction(domain[key]):
            raise ValueError(f"got {key} {quoted(domain[key])}, expected 0 to 1")
    for key in _BY_CLASS:
        values = domain.get(key)
        if not isinstance(values, dict) or set(values) != set(classes):
            raise ValueError(f"got {key} of other classes than the report has")
        if not all(map(_fraction, values.values())):
            raise ValueError(f"got {key} {quoted(values)}, expected 0 to 1")
    if not _count(domain.get("images")):
        raise ValueError(f"got images {quoted(domain.get('images'))}, expected a count")
    if not _names(domain.get("skipped")):
        raise ValueError("got `skipped` that is no list of names")
    if "confusion" in domain:
        _check_confusion(domain["confusion"], len(classes))


def _check_all_there(domain: Mapping[str, Any], keys: Sequence[str]) -> None:
    if absent := [key for key in keys if key not in domain]:
        raise ValueError(f"got no {', '.join(absent)}")


def _check_confusion(matrix: Any, num_classes: int) -> None:
    rows = matrix if isinstance(matrix, list) else []
    square = len(rows) == num_classes and all(
        isinstance(row, list) and len(row) == num_classes for row in rows
    )
    if not square or not all(_count(cell) for row in rows for cell in row):
        raise ValueError(
            f"got a confusion matrix that is not {num_classes} x {num_classes} counts"
        )


def _names(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(name, str) for name in values)


def _fraction(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value <= 1)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53
