"""What a GPU would launch and move for a compiled program, and how long by a model.

A kernel takes the longest of its bytes / bandwidth, FLOPs of its products / their rate,
and 2 µs, its launch; one follows another. The inside of a loop counts times its turns
(as one where the compiler does not know them), and of the branches of a condition the
costliest. A link between devices counts as fast as memory. A model to steer by, not a
measurement.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.accelerator.flops import product_flops
from benchmarks.accelerator.hlo import Computation, Instruction, Program
from benchmarks.accelerator.moved import exchanged_bytes, moved_bytes
from benchmarks.accelerator.places import Places
from benchmarks.accelerator.targets import LAUNCH, Target
from benchmarks.accelerator.turns import turns_of

FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all",
    "partition-id", "replica-id", "opt-barrier", "add-dependency", "domain",
}  # fmt: skip
STARTS = "-start"  # the first half of what runs beside other kernels
WAITS = ("-done", "-update")  # its second half
COLLECTIVES = {
    "all-gather", "all-reduce", "all-to-all", "collective-broadcast",
    "collective-permute", "ragged-all-to-all", "reduce-scatter",
}  # fmt: skip


@dataclass
class Costs:
    """Sums over kernels; `time` in seconds."""

    kernels: float = 0
    bytes: float = 0
    time: float = 0
    flops: Counter = field(default_factory=Counter)

    def add(self, other: "Costs", times: float = 1) -> None:
        """Adds what another costs so many times."""
        self.kernels += times * other.kernels
        self.bytes += times * other.bytes
        self.time += times * other.time
        for kind, n in other.flops.items():
            self.flops[kind] += times * n


@dataclass
class Loop:
    """One loop, wherever it stands.

    Attributes:
      place: the function that it is from.
      turns: as the compiler knows them, None where it does not: counted as one.
      within: turns of the loops around it, multiplied.
      inside: costs of a turn.
    """

    place: str
    turns: int | None
    within: int
    inside: Costs


@dataclass
class Tally:
    """All that a program does.

    Attributes:
      total: of everything.
      places: the same by function.
      loops: from first to last.
      libraries: calls by target, times turns.
      collectives: bytes of the results of exchanges between devices, times turns.
      conditions: how many; the costliest branch of each is counted.
    """

    total: Costs = field(default_factory=Costs)
    places: dict[str, Costs] = field(default_factory=dict)
    loops: list[Loop] = field(default_factory=list)
    libraries: Counter = field(default_factory=Counter)
    collectives: Counter = field(default_factory=Counter)
    conditions: int = 0

    def merge(self, other: "Tally", times: int = 1) -> None:
        """Adds what happens so many times."""
        self.total.add(other.total, times)
        for place, costs in other.places.items():
            self.places.setdefault(place, Costs()).add(costs, times)
        self.loops += other.loops
        self.conditions += other.conditions
        for name, n in other.libraries.items():
            self.libraries[name] += times * n
        for name, n in other.collectives.items():
            self.collectives[name] += times * n


def tally(program: Program, target: Target, *, once: bool = False) -> Tally:
    """Of a whole program; `once` counts loops as one turn."""
    return Counting(program, target, Places(program), once).of(program.entry)


@dataclass
class Counting:
    """Walks through a program's computations.

    Attributes:
      program: all of them.
      target: what it is compiled for.
      places: of its instructions.
      once: counts loops as one turn.
    """

    program: Program
    target: Target
    places: Places
    once: bool = False

    def of(self, computation: Computation, within: int = 1) -> Tally:
        """Of one computation; `within` are the turns of the loops around it."""
        found = Tally()
        for each in computation:
            if each.op == "while":
                found.merge(*self._loop(each, computation, within))
            elif each.op == "conditional":
                found.merge(self._condition(each, within))
            elif each.op in ("call", "async-start"):
                for name in self._called(each):
                    found.merge(self.of(self.program.computations[name], within))
            elif each.op not in FREE and not each.op.endswith(WAITS):
                found.merge(self._kernel(each, computation))
        return found

    def _called(self, each: Instruction) -> Iterator[str]:
        for attribute in ("to_apply", "calls", "called_computations"):
            yield from each.called.get(attribute, ())

    def _loop(
        self, each: Instruction, computation: Computation, within: int
    ) -> tuple[Tally, int]:
        known = turns_of(each, computation, self.program)
        turns = 1 if self.once or known is None else known
        inside = Tally()
        # A GPU counts known turns on the host, and asks no condition.
        for attribute in ("condition", "body") if known is None else ("body",):
            for name in each.called[attribute]:
                part = self.program.computations[name]
                inside.merge(self.of(part, within * turns))
        place = self.places.of(each, computation)
        # The list has every loop once, so its own turns do not multiply it.
        inside.loops.insert(0, Loop(place, known, within, inside.total))
        return inside, turns

    def _condition(self, each: Instruction, within: int) -> Tally:
        branches = [
            self.of(self.program.computations[name], within)
            for names in each.called.values()
            for name in names
        ]
        costliest = max(branches, key=lambda branch: branch.total.time)
        costliest.conditions += 1
        return costliest

    def _kernel(self, each: Instruction, computation: Computation) -> Tally:
        flops = product_flops(each, computation, self.program)
        moved = moved_bytes(each, computation, self.program)
        seconds = self.target.seconds(moved, flops, LAUNCH)
        costs = Costs(1, moved, seconds, Counter(flops))
        place = self.places.of(each, computation)
        found = Tally(costs, {place: costs})
        if each.target:
            found.libraries[each.target] = 1
        if (kind := each.op.removesuffix(STARTS)) in COLLECTIVES:
            found.collectives[kind] = exchanged_bytes(each, computation)
        return found
