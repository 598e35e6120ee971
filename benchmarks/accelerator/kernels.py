"""What a GPU would launch and move for a compiled program, and how long by a model.

A kernel takes the longest of bytes / bandwidth, FLOPs of its products / their rate, and
2 µs, its launch. Bytes are those of the result and of every operand, an operand counted
as at most eight times the result or 1 MiB, since many kernels read a slice. Where the
program says which slice is read or written, that counts. Libraries' workspaces are not
counted as moved, and a link between devices not as slower than memory. The inside of a
loop counts times its turns (as one where the compiler does not know them), and of the
branches of a condition the costliest. A model to steer by, not a measurement.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.accelerator.flops import product_flops
from benchmarks.accelerator.hlo import Array, Computation, Instruction, Program
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
FEW = 1 << 20  # bytes


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
        moved = self._moved(each, computation)
        costs = Costs(
            1, moved, self.target.seconds(moved, flops, LAUNCH), Counter(flops)
        )
        place = self.places.of(each, computation)
        found = Tally(costs, {place: costs})
        if each.target:
            found.libraries[each.target] = 1
        if (kind := each.op.removesuffix(STARTS)) in COLLECTIVES:
            found.collectives[kind] = _exchanged(each, computation)
        return found

    def _moved(self, each: Instruction, computation: Computation) -> int:
        """Bytes of the result and of the operands."""
        called = each.called.get("calls", ()) if each.op == "fusion" else ()
        inner = self.program.computations[called[0]] if called else None
        out, in_place = self._written(each, computation, inner)
        most = max(8 * out, FEW)
        moved = out
        for place, name in enumerate(each.operands):
            if place in in_place or name not in computation.instructions:
                continue
            size = computation.instructions[name].bytes
            if inner:
                size = min(size, _read(inner, place, size))
            moved += min(size, most)
        return moved

    def _written(
        self, each: Instruction, computation: Computation, inner: Computation | None
    ) -> tuple[int, set[int]]:
        """Bytes of the result, and which operands it is written into."""
        if each.target:
            return sum(x.bytes for x in each.arrays if not _workspace(x, each)), set()
        if each.op == "dynamic-update-slice":
            return computation.instructions[each.operands[1]].bytes, {0}
        if inner is None:
            return _result(each, computation), set()
        root = inner.root
        results = [root]
        if root.op == "tuple":
            results = [inner.instructions[name] for name in root.operands]
        out, in_place = 0, set()
        for result in results:
            result = _behind(result, inner)
            if result.op != "dynamic-update-slice":
                out += result.bytes
                continue
            out += inner.instructions[result.operands[1]].bytes
            whole = _behind(inner.instructions[result.operands[0]], inner)
            if whole.op == "parameter":
                in_place.add(int(whole.operands[0]))
        return out, in_place


def _result(each: Instruction, computation: Computation) -> int:
    """Bytes of what an instruction makes."""
    if each.op in ("copy-start", "all-gather-start", "collective-permute-start"):
        # Their result has the operands in it.
        known = (computation.instructions.get(name) for name in each.operands)
        return each.bytes - sum(x.bytes for x in known if x)
    return each.bytes


def _exchanged(each: Instruction, computation: Computation) -> int:
    """Bytes of a collective's result, wherever it is kept."""
    whole = sum(array.size for array in each.arrays)
    if each.op in ("all-gather-start", "collective-permute-start"):
        known = (computation.instructions.get(name) for name in each.operands)
        whole -= sum(array.size for x in known if x for array in x.arrays)
    return whole


def _workspace(array: Array, each: Instruction) -> bool:
    """Whether an array of a library's result is its workspace: the last, of bytes."""
    last = each.arrays[-1]
    return array is last and len(each.arrays) > 1 and last.kind in ("s8", "u8")


def _behind(result: Instruction, inner: Computation) -> Instruction:
    """What a result is, without what only names it otherwise."""
    while result.op in ("bitcast", "copy") and result.operands[0] in inner.instructions:
        result = inner.instructions[result.operands[0]]
    return result


def _read(inner: Computation, place: int, size: int) -> int:
    """Bytes of a fusion's operand that are read, where only slices of it are."""
    users = inner.users.get(inner.parameters[place].name, [])
    if users and all(x.op in ("dynamic-slice", "slice") for x in users):
        return sum(x.bytes for x in users)
    return size
