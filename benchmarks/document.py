"""The figures of `benchmarks.run` as tables, in docs/performance.md between markers.

Figures are kept in docs/performance_cpu.json and docs/performance_gpu.json; no table is
edited by hand.
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from crossearth_jax.report.table import Section, Table
from crossearth_jax.system.whole_file import whole_file

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "performance.md"
PLACE = re.compile(
    r"(<!-- benchmarks.run: (\w+) -->\n).*?(<!-- benchmarks.run: end -->)", re.DOTALL
)
GPU_COMMAND = "python -m benchmarks.run --precision bfloat16 --batch 8 --document"
Suite = dict[str, dict[str, Any]]


class Target(NamedTuple):
    """A line of the table of targets.

    Attributes:
      name: what is measured.
      suite: of the figure.
      case: of the figure.
      cpu: least ratio, or with `most` the largest figure of ours.
      most: the unit of `cpu`, where it is not a ratio.
      gpu: in words, not measured yet.
    """

    name: str
    suite: str
    case: str
    cpu: float | None
    most: str
    gpu: str


TARGETS = (
    Target("inference", "model", "inference", 1.2, "", "≥ 2 x, compiled ≥ 1.2 x"),
    Target("training step", "train", "step", 1.5, "", "≥ 2.5 x, compiled ≥ 1.5 x"),
    Target("share of the ceiling", "train", "share of the ceiling", None, "", "≥ 50 %"),
    Target("30,000 steps", "train", "30,000 steps", None, "", "under 10 minutes"),
    Target(
        "peak memory of a step",
        "train",
        "peak memory of a step",
        1 / 0.8,
        "",
        "≥ 1.67 x; batch 4 at 1024² in 80 GB",
    ),
    Target(
        "prediction", "predict", "window of a scene", 1.2, "", "≥ 40 MP/s at 512/341"
    ),
    Target(
        "cold start",
        "compile",
        "first step, empty cache",
        90,
        "s",
        "under 90 s, warm 20 s",
    ),
)


def figures(backend: str) -> Path:
    """The file that keeps what was measured on a kind of device."""
    return DOCS / f"performance_{'cpu' if backend == 'cpu' else 'gpu'}.json"


def stored(backend: str) -> dict[str, Suite]:
    """All suites measured so far."""
    path = figures(backend)
    return json.loads(path.read_text()) if path.exists() else {}


def write() -> None:
    """Puts the stored figures into the page."""
    with whole_file(PAGE) as place:
        place.write_text(filled(PAGE.read_text(), stored("cpu"), stored("gpu")))


def filled(text: str, cpu: dict[str, Suite], gpu: dict[str, Suite]) -> str:
    """The page with every marked part rewritten."""

    def part(match: re.Match) -> str:
        return f"{match[1]}\n{section(match[2], cpu, gpu)}\n\n{match[3]}"

    return PLACE.sub(part, text)


def section(name: str, cpu: dict[str, Suite], gpu: dict[str, Suite]) -> str:
    """One marked part."""
    if name == "targets":
        return targets(cpu, gpu)
    parts = [described(name, found[name]) for found in (cpu, gpu) if name in found]
    return "\n\n".join(parts) or "Not measured."


def described(name: str, suite: Suite) -> str:
    """Command, hardware and table of a suite."""
    about = next(iter(suite.values()))
    body = growth_table(suite) if name == "growth" else table(suite)
    return f"```\n{about['command']}\n```\n\n{about['hardware']}.\n\n{body}"


def table(suite: Suite) -> str:
    """Medians (lowest to highest) of both sides, and the ratio."""
    rows = [
        (
            case,
            *(side(found, name) for name in ("ours", "peer")),
            found["unit"],
            f"{found['ratio']:.2f} x" if found["ratio"] else "",
        )
        for case, found in suite.items()
    ]
    header = ("", "ours", "PyTorch", "", "ratio")
    return Table(header, "lrrlr", [Section(rows)]).as_markdown()


def side(found: dict[str, Any], name: str) -> str:
    """A median with its spread."""
    if found[name] is None:
        return "-"
    low, high = found.get("spread", {}).get(name, [None, None])
    spread = f" ({short(low)} to {short(high)})" if low != high else ""
    return short(found[name]) + spread


def short(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def growth_table(suite: Suite) -> str:
    """Steps by size, then devices, then the estimated links."""
    steps = [
        (
            case,
            side(found, "ours"),
            short(found["gigabytes"]),
            short(found["flops"] / 1e12),
        )
        for case, found in suite.items()
        if "gigabytes" in found
    ]
    tables = [
        Table(("step", "s", "peak GB", "TFLOP"), "lrrr", [Section(steps)]),
        Table(
            ("", "GFLOP a device", "exchanged MB", "MB that train"),
            "lrrr",
            [Section(_cells(suite, "ours", "megabytes", "trained"))],
        ),
        Table(
            ("estimate", "MB", "GB/s of a link", "ms"),
            "lrrr",
            [Section(_cells(suite, "megabytes", "link", "ours"))],
        ),
    ]
    return "\n\n".join(each.as_markdown() for each in tables)


def _cells(suite: Suite, *names: str) -> list[tuple[str, ...]]:
    """Rows of the cases that have all of these figures."""
    return [
        (case, *(short(found[name]) for name in names))
        for case, found in suite.items()
        if found.keys() >= {*names}
    ]


def targets(cpu: dict[str, Suite], gpu: dict[str, Suite]) -> str:
    """What was wanted and what was measured."""
    rows = []
    for target in TARGETS:
        found = [x.get(target.suite, {}).get(target.case) for x in (cpu, gpu)]
        measured = reached(target, found[0]), target.gpu, plain(found[1])
        rows.append((target.name, wanted(target), *measured))
    header = ("", "CPU, wanted", "CPU", "GPU, wanted", "GPU")
    shown = Table(header, "lllll", [Section(rows)]).as_markdown()
    return f"{shown}\n\nThe GPU column: `{GPU_COMMAND}`."


def wanted(target: Target) -> str:
    """The target on a CPU."""
    if target.cpu is None:
        return "-"
    if target.most:
        return f"under {short(target.cpu)} {target.most}"
    return f"≥ {short(target.cpu)} x"


def reached(target: Target, found: dict[str, Any] | None) -> str:
    """What was measured on a CPU, and whether it is enough."""
    if found is None or target.cpu is None:
        return plain(found)
    if target.most:
        return f"{plain(found)}, {verdict(found['ours'] < target.cpu)}"
    if not found["ratio"]:
        return plain(found)
    return f"{found['ratio']:.2f} x, {verdict(found['ratio'] >= target.cpu)}"


def verdict(met: bool) -> str:
    """In a word."""
    return "met" if met else "missed"


def plain(found: dict[str, Any] | None) -> str:
    """Our figure with its unit and ratio."""
    if found is None:
        return "not measured"
    ratio = f", {found['ratio']:.2f} x" if found["ratio"] else ""
    return f"{short(found['ours'])} {found['unit']}{ratio}"


if __name__ == "__main__":
    write()
