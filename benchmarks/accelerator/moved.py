"""Bytes that a kernel moves: its result and its operands.

Of a result that is written into an operand, its slice counts; of an operand, the
elements that the result needs. Workspaces of libraries do not count.
"""

from benchmarks.accelerator.hlo import Array, Computation, Instruction, Program

SLICES = ("slice", "dynamic-slice", "gather")
# An element of their results needs many of their operands.
WHOLE = ("reduce", "reduce-window", "dot", "convolution", "sort", "scatter", "fusion")
BOTH = ("copy-start", "all-gather-start", "collective-permute-start")  # operands too


def moved_bytes(each: Instruction, computation: Computation, program: Program) -> int:
    """From and to the device's large memory."""
    fused = each.called.get("calls", ()) if each.op == "fusion" else ()
    inner = program.computations[fused[0]] if fused else None
    total, in_place = _written(each, computation, inner)
    read = _read(inner, in_place) if inner else []
    for place, name in enumerate(each.operands):
        known = computation.instructions.get(name)
        if known is None or place in in_place:
            continue
        if inner:
            total += round(read[place])
        elif each.op in SLICES and place == 0:
            total += min(known.bytes, each.bytes)
        else:
            total += known.bytes
    return total


def exchanged_bytes(each: Instruction, computation: Computation) -> int:
    """Of a collective's result, wherever it is kept."""
    whole = sum(array.size for array in each.arrays)
    return whole - sum(x.size for x in _held(each, computation))


def _written(
    each: Instruction, computation: Computation, inner: Computation | None
) -> tuple[int, set[int]]:
    """Bytes of the result, and which operands it is written into."""
    if each.target:
        return sum(x.bytes for x in each.arrays if not _workspace(x, each)), set()
    if each.op == "dynamic-update-slice":
        return computation.instructions[each.operands[1]].bytes, {0}
    if inner is None:
        return each.bytes - sum(x.bytes for x in _held(each, computation)), set()
    root = inner.root
    names = root.operands if root.op == "tuple" else (root.name,)
    out, in_place = 0, set()
    for name in names:
        result = _behind(inner.instructions[name], inner)
        if result.op != "dynamic-update-slice":
            out += result.bytes
            continue
        out += inner.instructions[result.operands[1]].bytes
        whole = _behind(inner.instructions[result.operands[0]], inner)
        if whole.op == "parameter":
            in_place.add(int(whole.operands[0]))
    return out, in_place


def _held(each: Instruction, computation: Computation) -> list[Array]:
    """Operands that are part of the result as it is written."""
    if each.op not in BOTH:
        return []
    known = (computation.instructions.get(name) for name in each.operands)
    return [array for x in known if x for array in x.arrays]


def _workspace(array: Array, each: Instruction) -> bool:
    """Whether an array of a library's result is its workspace: the last, of bytes."""
    last = each.arrays[-1]
    return array is last and len(each.arrays) > 1 and last.kind in ("s8", "u8")


def _behind(result: Instruction, inner: Computation) -> Instruction:
    """What a result is, without what only names it otherwise."""
    while result.op in ("bitcast", "copy") and result.operands[0] in inner.instructions:
        result = inner.instructions[result.operands[0]]
    return result


def _read(inner: Computation, in_place: set[int]) -> list[float]:
    """Bytes of each operand that a fusion reads.

    It computes no element that its result does not need: of what is added up and then
    sliced, only the slice is added up.
    """
    needed = dict.fromkeys(inner.instructions, 0.0)  # elements
    names = inner.root.operands if inner.root.op == "tuple" else (inner.root.name,)
    for name in names:
        needed[name] = _elements(inner.instructions[name])
    for each in reversed([*inner]):
        if each.op == "tuple" or not needed[each.name]:
            continue
        for place, name in enumerate(each.operands):
            source = inner.instructions.get(name)
            if source is None or (each.op == "dynamic-update-slice" and place == 0):
                continue
            whole = _elements(source)
            share = needed[each.name] / max(1, _elements(each))
            wanted = whole * share if each.op in WHOLE else needed[each.name]
            if each.op in SLICES and place > 0:
                wanted = whole
            needed[name] = min(whole, needed[name] + wanted)
    return [
        0 if place in in_place else x.bytes * needed[x.name] / max(1, _elements(x))
        for place, x in enumerate(inner.parameters)
    ]


def _elements(each: Instruction) -> int:
    return sum(array.elements for array in each.arrays)
