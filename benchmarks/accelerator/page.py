"""The figures as tables in docs/performance.md, between markers.

They are kept in docs/performance_accelerator.json, of every program "now" and, to
compare with, "before"; no table is edited by hand.
"""

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.accelerator.report import Figures
from benchmarks.accelerator.targets import targets
from benchmarks.document import DOCS, PAGE
from crossearth_jax.report.table import Section, Table
from crossearth_jax.system.whole_file import whole_file

FIGURES = DOCS / "performance_accelerator.json"
STATES = ("before", "now")
SHOWN = 16  # modules
NONE = "Nothing compiled yet."
PLACE = re.compile(
    r"(<!-- benchmarks.accelerator: (\w+) -->\n).*?"
    r"(<!-- benchmarks.accelerator: end -->)",
    re.DOTALL,
)
Stored = dict[str, dict[str, Figures]]  # by program and state


def keep(path: Path, program: str, state: str, found: Figures) -> None:
    """Puts figures beside the others of the file."""
    known = stored(path)
    kept = {key: value for key, value in found.items() if key != "places"}
    if "places" in found:
        kept["modules"] = by_module(found["places"])
    known[program] = known.get(program, {}) | {state: kept}
    with whole_file(path) as place:
        place.write_text(json.dumps(known, indent=1) + "\n")


def stored(path: Path = FIGURES) -> Stored:
    """All figures kept so far."""
    return json.loads(path.read_text()) if path.exists() else {}


def write() -> None:
    """Puts the stored figures into the page."""
    with whole_file(PAGE) as place:
        place.write_text(filled(PAGE.read_text(), stored()))


def filled(text: str, known: Stored) -> str:
    """The page with every marked part rewritten."""
    parts = {"gpu": ("cuda", gpus), "modules": ("cuda", modules), "tpu": ("tpu", tpus)}

    def part(match: re.Match) -> str:
        platform, table = parts[match[2]]
        some = any(of_platform(known, platform))
        return f"{match[1]}\n{table(known) if some else NONE}\n\n{match[3]}"

    return PLACE.sub(part, text)


def gpus(known: Stored) -> str:
    """A row for each program of a GPU, what it was before beside it."""
    header = ("", "kernels", "loops", "GB moved", "TFLOP", "modelled ms")
    header += ("of the rate", "memory, GB", "exchanged, MB")
    rows = [
        (
            program,
            pair(states, lambda x: f"{x['kernels']:,}"),
            pair(states, lambda x: str(x["loops"])),
            pair(states, lambda x: short(x["bytes"] / 1e9)),
            pair(states, operations),
            pair(states, lambda x: short(x["modelled_ms"])),
            pair(states, lambda x: f"{share(x):.0f} %"),
            pair(states, lambda x: short(x["peak_bytes"] / 1e9)),
            pair(states, exchanged),
        )
        for program, states in of_platform(known, "cuda")
    ]
    return Table(header, "l" + "r" * 8, [Section(rows)]).as_markdown()


def tpus(known: Stored) -> str:
    """A row for each program of a TPU; bytes are of one chip."""
    header = ("", "code, GB", "temporaries", "arguments", "memory, GB", "loops")
    header += ("TFLOP", "GB moved", "exchanged, MB", "s to compile", "of all cores")

    def gigabytes(name: str) -> Any:
        return lambda x: short(x[f"{name}_bytes"] / 1e9)

    sizes = ("code", "temporary", "argument", "peak")
    rows = [
        (
            program,
            *(pair(states, gigabytes(name)) for name in sizes),
            pair(states, lambda x: str(x["loops"])),
            pair(states, operations),
            pair(states, lambda x: short(x["bytes"] / 1e9)),
            pair(states, exchanged),
            *(
                pair(states, lambda x, key=key: f"{x[key]:.0f}")
                for key in ("compile_s", "compile_cpu_s")
            ),
        )
        for program, states in of_platform(known, "tpu")
    ]
    return Table(header, "l" + "r" * 10, [Section(rows)]).as_markdown()


def modules(known: Stored) -> str:
    """Where the time of the first GPU's first program goes, by module."""
    program, states = next(of_platform(known, "cuda"))
    last = newest(states)["modules"]
    before = states.get("before", {}).get("modules", last)
    order = {**last, **before}  # what is gone comes last
    rows = [
        (
            name,
            *(
                pair({"before": x[0], "now": x[1]}, str)
                for x in zip(
                    module_cells(before.get(name)),
                    module_cells(last.get(name)),
                    strict=True,
                )
            ),
        )
        for name in list(order)[:SHOWN]
    ]
    table = Table(("", "modelled ms", "kernels", "GB"), "lrrr", [Section(rows)])
    return f"{program}:\n\n{table.as_markdown()}"


def module_cells(found: Figures | None) -> tuple[str, ...]:
    """Of a module that may not be there."""
    if found is None:
        return ("0",) * 3
    gigabytes = f"{found['bytes'] / 1e9:.2f}"
    return f"{found['modelled_ms']:.2f}", str(found["kernels"]), gigabytes


def by_module(places: dict[str, Figures]) -> dict[str, Figures]:
    """Sums over the functions of a file, the longest first."""
    sums: dict[str, Figures] = {}
    for place, each in places.items():
        row = sums.setdefault(
            module(place), {"modelled_ms": 0, "kernels": 0, "bytes": 0}
        )
        for key in row:
            row[key] = round(row[key] + each[key], 4)
    return dict(sorted(sums.items(), key=lambda item: -item[1]["modelled_ms"]))


def of_platform(known: Stored, platform: str) -> Any:
    """Programs with their figures, in the order in which they were first kept.

    What was not compiled again is named "(before)".
    """
    for program, states in known.items():
        if targets()[newest(states)["target"]].platform == platform:
            yield (program if "now" in states else f"{program} (before)"), states


def newest(states: dict[str, Figures]) -> Figures:
    """What it is now, or was when it was last compiled."""
    return states.get("now") or states["before"]


def pair(states: dict[str, Any], cell: Any) -> str:
    """Before → now where both are known and differ."""
    found = [cell(states[name]) for name in STATES if name in states]
    return " → ".join(dict.fromkeys(found))


def share(found: Figures) -> float:
    """Percent of the rate of half precision that the modelled time comes to."""
    rate = targets()[found["target"]].tflops["half"] * 1e9  # a millisecond
    return 100 * sum(found["flops"].values()) / found["modelled_ms"] / rate


def operations(found: Figures) -> str:
    """TFLOP by precision, those that round to nothing left out."""
    names = {"half": "", "all": "", "tf32": " TF32", "float32": " float32"}
    cells = {kind: found["flops"].get(kind, 0) / 1e12 for kind in names}
    return ", ".join(
        f"{short(n)}{names[kind]}" for kind, n in cells.items() if n >= 0.005
    )


def exchanged(found: Figures) -> str:
    """MB by kind of collective."""
    cells = [f"{short(n / 1e6)} {kind}" for kind, n in found["collectives"].items()]
    return ", ".join(cells) or "-"


def module(place: str) -> str:
    """The file of a function, or the part of the model whose weights are taken."""
    if place.startswith("weights of "):
        return ".".join(place.split(".")[:1])
    return place.partition(":")[0]


def short(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    write()
