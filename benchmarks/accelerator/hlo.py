"""The text of a compiled program, read into computations and instructions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

BITS = {"pred": 8, "f8e4m3fn": 8, "f8e5m2": 8, "bf16": 16, "c64": 64, "c128": 128}
ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,<=]*)\](\{[^}]*\})?")
HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
START = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = ")
NAME = re.compile(r"%([\w.\-]+)")
CALLED = re.compile(
    r"\b(?:calls|to_apply|body|condition|branch_computations|true_computation|"
    r"false_computation|called_computations)=(\{[^}]*\}|%[\w.\-]+)"
)


@dataclass(frozen=True)
class Array:
    """Type and shape of one array of a result.

    Attributes:
      kind: such as "bf16".
      dims: sizes.
      near: in the memory beside a TPU's units, so that nothing is moved.
    """

    kind: str
    dims: tuple[int, ...]
    near: bool = False

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        return prod(self.dims)

    @property
    def bytes(self) -> int:
        """In the device's large memory, which is what it takes to move."""
        return 0 if self.near else self.size

    @property
    def size(self) -> int:
        """Bytes; 0 for what is no array, such as a token."""
        width = BITS.get(self.kind)
        if width is None:
            digits = re.fullmatch(r"[suf](\d+)\w*", self.kind)
            width = max(8, int(digits[1])) if digits else 0
        return self.elements * width // 8


@dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
      name: unique in the program.
      shape: of the result, as text.
      op: such as "fusion".
      operands: names; of a parameter its number, of a constant its value.
      rest: attributes, metadata and the backend's settings, as text.
      root: whether it is its computation's result.
    """

    name: str
    shape: str
    op: str
    operands: tuple[str, ...]
    rest: str
    root: bool = False

    @cached_property
    def arrays(self) -> tuple[Array, ...]:
        """Of the result; several of a tuple."""
        return arrays(self.shape)

    @property
    def bytes(self) -> int:
        """Of the result."""
        return sum(array.bytes for array in self.arrays)

    @cached_property
    def called(self) -> dict[str, tuple[str, ...]]:
        """Names of computations by attribute."""
        return {
            found[0].partition("=")[0]: tuple(NAME.findall(found[1]))
            for found in CALLED.finditer(self.rest)
        }

    @cached_property
    def target(self) -> str:
        """Of a custom call."""
        found = re.search(r'custom_call_target="([^"]+)"', self.rest)
        return found[1] if found else ""

    def dimensions(self, attribute: str) -> tuple[int, ...]:
        """Of an attribute such as lhs_contracting_dims, by either of its spellings."""
        found = re.search(rf'\b{attribute}\w*"?[=:][\[{{]([^\]}}]*)[\]}}]', self.rest)
        return tuple(int(n) for n in re.findall(r"\d+", found[1])) if found else ()


@dataclass
class Computation:
    """Instructions by name, in their order."""

    name: str
    instructions: dict[str, Instruction] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Instruction]:
        return iter(self.instructions.values())

    @property
    def root(self) -> Instruction:
        """The result."""
        return next(x for x in self if x.root)

    @cached_property
    def users(self) -> dict[str, list[Instruction]]:
        """Who takes an instruction's result."""
        found: dict[str, list[Instruction]] = {}
        for each in self:
            for name in each.operands:
                found.setdefault(name, []).append(each)
        return found

    @cached_property
    def parameters(self) -> list[Instruction]:
        """In the order in which they are given."""
        own = [x for x in self if x.op == "parameter"]
        return sorted(own, key=lambda x: int(x.operands[0]))


@dataclass(frozen=True)
class Program:
    """All computations by name, and which of them is the program itself."""

    computations: dict[str, Computation]
    entry: Computation
    text: str = field(repr=False)


def arrays(shape: str) -> tuple[Array, ...]:
    """The arrays of a shape such as "(f32[2,3]{1,0}, s32[])"."""
    return tuple(
        Array(
            kind,
            tuple(int(n.lstrip("<=")) for n in dims.split(",") if n),
            near="S(1)" in layout,
        )
        for kind, dims, layout in ARRAY.findall(shape)
    )


def read(text: str) -> Program:
    """Reads what `Compiled.as_text()` gives.

    Raises:
      ValueError: it has no entry computation.
    """
    computations, entry, current = {}, None, None
    for line in text.splitlines():
        if current is None:
            if head := HEAD.match(line):
                current = computations[head[2]] = Computation(head[2])
                entry = current if head[1] else entry
        elif line.startswith("}"):
            current = None
        elif found := instruction(line):
            current.instructions[found.name] = found
    if entry is None:
        raise ValueError("got a text without ENTRY, expected a compiled HLO module")
    return Program(computations, entry, text)


def instruction(line: str) -> Instruction | None:
    """Of one line; None for any other line."""
    start = START.match(line)
    if not start:
        return None
    shape, rest = _shape(line[start.end() :])
    op, _, rest = rest.partition("(")
    inside, rest = _closed(rest)
    operands = NAME.findall(inside)
    if op.strip() in ("parameter", "constant"):
        operands = [inside]  # its number, its value
    return Instruction(
        start[2], shape, op.strip(), tuple(operands), rest, root=bool(start[1])
    )


def _shape(text: str) -> tuple[str, str]:
    """The shape that a text begins with, and what follows."""
    if not text.startswith("("):
        shape, _, rest = text.partition(" ")
        return shape, rest
    inside, rest = _closed(text[1:])
    return f"({inside})", rest


def _closed(text: str) -> tuple[str, str]:
    """What stands before the bracket that closes one already open, and after it."""
    depth = 1
    for place in re.finditer(r"[()]", text):
        depth += 1 if place[0] == "(" else -1
        if depth == 0:
            return text[: place.start()], text[place.end() :]
    return text, ""
