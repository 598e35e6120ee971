"""Figures of a compiled program, and how they are shown."""

from typing import Any

from benchmarks.accelerator import hlo
from benchmarks.accelerator.compiling import Compiled
from benchmarks.accelerator.kernels import Costs, Loop, Tally, tally
from benchmarks.accelerator.targets import Target
from crossearth_jax.report.table import Section, Table

SHOWN = 40  # places
Figures = dict[str, Any]


def figures(made: Compiled, target: Target) -> Figures:
    """All that can be told of a program, as it is kept in a file."""
    found = tally(hlo.read(made.program.as_text()), target)
    return {
        "target": target.key,
        "compile_s": round(made.seconds, 1),
        **memory(made),
        **counted(found),
    }


def memory(made: Compiled) -> Figures:
    """Bytes on a device."""
    stats = made.program.memory_analysis()
    arguments, results = stats.argument_size_in_bytes, stats.output_size_in_bytes
    shared, temporary = stats.alias_size_in_bytes, stats.temp_size_in_bytes
    return {
        "peak_bytes": arguments + results - shared + temporary,
        "temporary_bytes": temporary,
        "argument_bytes": arguments,
        "code_bytes": stats.generated_code_size_in_bytes,
    }


def counted(found: Tally) -> Figures:
    """Sums, and by place."""
    places = sorted(found.places.items(), key=lambda item: -item[1].time)
    return {
        **costs(found.total),
        "loops": len(found.loops),
        "conditions": found.conditions,
        "loop_list": [loop(each) for each in found.loops],
        "libraries": dict(found.libraries.most_common()),
        "places": {place: costs(sums) for place, sums in places},
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
    return {
        "place": each.place,
        "turns": each.turns,
        "within": each.within,
        **costs(each.inside),
    }


def shown(found: Figures) -> str:
    """Totals, loops, and a table by place."""
    flops = ", ".join(f"{n / 1e12:.2f} {kind}" for kind, n in found["flops"].items())
    calls = ", ".join(f"{n} {name}" for name, n in found["libraries"].items())
    lines = [
        f"{found['kernels']} kernels, {found['loops']} loops, "
        f"{found['bytes'] / 1e9:.1f} GB, modelled {found['modelled_ms']:.2f} ms",
        f"TFLOP: {flops}",
        f"memory {found['peak_bytes'] / 1e9:.2f} GB, of which temporaries "
        f"{found['temporary_bytes'] / 1e9:.2f}; compiled in {found['compile_s']} s",
        f"libraries: {calls}",
    ]
    for each in found["loop_list"]:
        turns = "unknown" if each["turns"] is None else each["turns"]
        lines.append(
            f"loop of {turns} turns in {each['place']} (within {each['within']}): "
            f"{each['kernels']} kernels, {each['modelled_ms']:.4f} ms a turn"
        )
    rows = [
        (
            place,
            f"{each['modelled_ms']:.3f}",
            str(each["kernels"]),
            f"{each['bytes'] / 1e9:.2f}",
            f"{sum(each['flops'].values()) / 1e12:.3f}",
        )
        for place, each in list(found["places"].items())[:SHOWN]
    ]
    header = ("place", "ms", "kernels", "GB", "TFLOP")
    lines.append(Table(header, "lrrrr", [Section(rows)]).as_text())
    return "\n".join(lines)
