"""How often a loop turns, from the text of a compiled program."""

import re

from benchmarks.accelerator.hlo import Computation, Instruction, Program

HANDED_ON = ("bitcast", "copy", "copy-done", "copy-start", "reshape")
CONSTANT = re.compile(r"^-?\d+$")


def turns_of(
    loop: Instruction, computation: Computation, program: Program
) -> int | None:
    """As the compiler states them, or by the loop's condition.

    A condition `counter < constant` tells it where the counter begins with a constant:
    JAX's counted loops go up by one.

    Returns:
      None for a loop that ends by what it computes.
    """
    stated = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest)
    if stated:
        return int(stated[1])
    condition = program.computations[loop.called["condition"][0]]
    compared = condition.root
    if compared.op != "compare" or "direction=LT" not in compared.rest:
        return None
    counter, limit = (_origin(name, condition) for name in compared.operands)
    index = re.search(r"index=(\d+)", counter.rest)
    end = _number(limit)
    if counter.op != "get-tuple-element" or index is None or end is None:
        return None
    state = computation.instructions[loop.operands[0]]
    if state.op != "tuple":
        return None
    start = _number(_origin(state.operands[int(index[1])], computation))
    return None if start is None else max(0, end - start)


def _origin(name: str, computation: Computation) -> Instruction:
    """Behind what only hands a value on."""
    found = computation.instructions[name]
    while found.op in HANDED_ON:
        found = computation.instructions[found.operands[0]]
    return found


def _number(instruction: Instruction) -> int | None:
    """Of an integer constant."""
    if instruction.op != "constant" or len(instruction.operands) != 1:
        return None
    value = instruction.operands[0]
    return int(value) if CONSTANT.match(value) else None
