"""Figures of a compiled program, and how they are shown."""

from collections import Counter
from typing import Any

from benchmarks.accelerator import hlo
from benchmarks.accelerator.compiling import Compiled
from benchmarks.accelerator.kernels import Costs, Loop, Tally, tally
from benchmarks.accelerator.targets import Target
from crossearth_jax.report.table import Section, Table

SHOWN = 40  # places
PRECISIONS = ("half", "tf32", "float32")
Figures = dict[str, Any]


def figures(made: Compiled, target: Target) -> Figures:
    """All that can be told of a program, as it is kept in a file.

    A TPU launches no kernels, so there bytes and operations are those that its compiler
    counts, and the modelled time is the least that they take: of all bytes at the
    memory's rate, or of all operations at that of bfloat16.
    """
    program = hlo.read(made.program.as_text())
    found = tally(program, target)
    shared = {
        "target": target.key,
        "compile_s": round(made.seconds, 1),
        "compile_cpu_s": round(made.processor, 1),
        **memory(made, target),
        "loops": len(found.loops),
        "loop_list": [loop(each) for each in found.loops],
        "conditions": found.conditions,
        "collectives": dict(found.collectives),
    }
    if target.platform == "tpu":
        once = tally(program, target, once=True)
        return shared | of_tpu(made.program.cost_analysis(), found, once, target)
    places = sorted(found.places.items(), key=lambda item: -item[1].time)
    return {
        **shared,
        **costs(found.total),
        "libraries": dict(found.libraries.most_common()),
        "places": {place: costs(sums) for place, sums in places},
    }


def memory(made: Compiled, target: Target) -> Figures:
    """Bytes on a device; a TPU has the program in the same memory."""
    stats = made.program.memory_analysis()
    arguments, results = stats.argument_size_in_bytes, stats.output_size_in_bytes
    shared, temporary = stats.alias_size_in_bytes, stats.temp_size_in_bytes
    code = stats.generated_code_size_in_bytes
    resident = code if target.platform == "tpu" else 0
    return {
        "peak_bytes": arguments + results - shared + temporary + resident,
        "temporary_bytes": temporary,
        "argument_bytes": arguments,
        "code_bytes": code,
    }


def of_tpu(
    counted: dict[str, float], found: Tally, once: Tally, target: Target
) -> Figures:
    """Sums as the compiler counts them, which takes a loop for one turn.

    What more turns add is taken from our own count of products and of bytes.
    """
    more = found.total.flops.total() - once.total.flops.total()
    flops = counted["flops"] + more
    moved = counted["bytes accessed"] + found.total.bytes - once.total.bytes
    return {
        "kernels": None,
        "bytes": round(moved),
        "flops": {"all": round(flops)},
        "modelled_ms": round(1e3 * target.seconds(moved, {"half": flops}, 0), 4),
    }


def costs(sums: Costs) -> Figures:
    """Of a part of the program."""
    return {
        "kernels": round(sums.kernels),
        "bytes": round(sums.bytes),
        "modelled_ms": round(1e3 * sums.time, 4),
        "flops": {kind: round(n) for kind, n in sums.flops.items()},
    }


def loop(each: Loop) -> Figures:
    """Of one loop; costs are of one turn."""
    inside = costs(each.inside)
    del inside["flops"]
    return {"place": each.place, "turns": each.turns, "within": each.within, **inside}


def shown(found: Figures) -> str:
    """Totals, loops, and a table by place."""
    flops = ", ".join(f"{n / 1e12:.3f} {kind}" for kind, n in found["flops"].items())
    kernels = "" if found["kernels"] is None else f"{found['kernels']} kernels, "
    least = "at least " if found["kernels"] is None else ""
    parts = {"temporary": "temporaries", "argument": "arguments", "code": "code"}
    sizes = ", ".join(
        f"{words} {found[f'{part}_bytes'] / 1e9:.3f}" for part, words in parts.items()
    )
    lines = [
        f"{kernels}{found['loops']} loops, {found['bytes'] / 1e9:.2f} GB moved, "
        f"modelled {least}{found['modelled_ms']:.2f} ms",
        f"TFLOP: {flops}",
        f"memory {found['peak_bytes'] / 1e9:.2f} GB ({sizes})",
        f"compiled in {found['compile_s']} s, {found['compile_cpu_s']} of all cores",
        *_counts("libraries", found.get("libraries", {})),
        *_counts("collectives", found["collectives"], 1e6, "MB"),
        *loops_shown(found["loop_list"]),
    ]
    if found["conditions"]:
        lines.append(f"{found['conditions']} conditions, the costliest branch counted")
    if places := list(found.get("places", {}).items()):
        rows = [place_row(place, each) for place, each in places[:SHOWN]]
        header = ("place", "ms", "kernels", "GB", *PRECISIONS)
        lines += ["", Table(header, "lrrrrrr", [Section(rows)]).as_text()]
    return "\n".join(lines)


def _counts(
    name: str, found: dict[str, float], per: float = 1, unit: str = ""
) -> list[str]:
    """A line of numbers, none without any."""
    cells = [
        f"{n / per:g} {unit} {kind}".replace("  ", " ") for kind, n in found.items()
    ]
    return [f"{name}: {', '.join(cells)}"] if cells else []


def loops_shown(found: list[Figures]) -> list[str]:
    """A line for all loops that are the same."""
    same = Counter(
        (x["place"], x["turns"], x["within"], x["kernels"], x["modelled_ms"])
        for x in found
    )
    return [
        f"{count} x loop of {'unknown' if turns is None else turns} turns"
        f"{f', inside another of {within}' if within > 1 else ''}: {kernels} kernels, "
        f"{1e3 * time:.0f} µs a turn, {place}"
        for (place, turns, within, kernels, time), count in same.items()
    ]


def place_row(place: str, each: Figures) -> tuple[str, ...]:
    """Cells of a place; operations in TFLOP."""
    return (
        place,
        f"{each['modelled_ms']:.3f}",
        str(each["kernels"]),
        f"{each['bytes'] / 1e9:.2f}",
        *(f"{each['flops'].get(kind, 0) / 1e12:.3f}" for kind in PRECISIONS),
    )
