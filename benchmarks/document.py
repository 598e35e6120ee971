"""The figures of `benchmarks.run` as tables, in docs/performance.md between markers.

Figures are kept in docs/performance_cpu.json and docs/performance_gpu.json; no table is
edited by hand.
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

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
    Target("30,000 steps", "train", "30,000 steps", None, "", "< 10 minutes"),
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
        "cold start", "compile", "first step, empty cache", 90, "s", "< 90 s, warm 20 s"
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
    lines = ["| | ours | PyTorch | | ratio |", "|-|-:|-:|-|-:|"]
    for case, found in suite.items():
        ours, peer = (side(found, name) for name in ("ours", "peer"))
        ratio = f"{found['ratio']:.2f} x" if found["ratio"] else ""
        lines.append(f"| {case} | {ours} | {peer} | {found['unit']} | {ratio} |")
    return "\n".join(lines)


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
    steps = {k: v for k, v in suite.items() if "gigabytes" in v}
    devices = {k: v for k, v in suite.items() if "trained" in v}
    links = {k: v for k, v in suite.items() if "link" in v}
    lines = ["| step | s | peak GB | TFLOP |", "|-|-:|-:|-:|"]
    for case, found in steps.items():
        lines.append(
            f"| {case} | {side(found, 'ours')} | {short(found['gigabytes'])} "
            f"| {short(found['flops'] / 1e12)} |"
        )
    lines += ["", "| | GFLOP a device | exchanged MB | MB that train |"]
    lines += ["|-|-:|-:|-:|"]
    for case, found in devices.items():
        cells = (found["ours"], found["megabytes"], found["trained"])
        lines.append(f"| {case} | {' | '.join(map(short, cells))} |")
    lines += ["", "| estimate | MB | GB/s of a link | ms |", "|-|-:|-:|-:|"]
    for case, found in links.items():
        cells = (found["megabytes"], found["link"], found["ours"])
        lines.append(f"| {case} | {' | '.join(map(short, cells))} |")
    return "\n".join(lines)


def targets(cpu: dict[str, Suite], gpu: dict[str, Suite]) -> str:
    """What was wanted and what was measured."""
    lines = ["| | CPU, wanted | CPU | GPU, wanted | GPU |", "|-|-|-|-|-|"]
    for target in TARGETS:
        found = [x.get(target.suite, {}).get(target.case) for x in (cpu, gpu)]
        lines.append(
            f"| {target.name} | {wanted(target)} | {reached(target, found[0])} "
            f"| {target.gpu} | {plain(found[1])} |"
        )
    return "\n".join([*lines, "", f"The GPU column: `{GPU_COMMAND}`."])


def wanted(target: Target) -> str:
    """The target on a CPU."""
    if target.cpu is None:
        return "-"
    if target.most:
        return f"< {short(target.cpu)} {target.most}"
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
    return "met" if met else "**missed**"


def plain(found: dict[str, Any] | None) -> str:
    """Our figure with its unit and ratio."""
    if found is None:
        return "not measured"
    ratio = f", {found['ratio']:.2f} x" if found["ratio"] else ""
    return f"{short(found['ours'])} {found['unit']}{ratio}"


if __name__ == "__main__":
    write()
