"""Bytes that a kernel moves: its result and its operands.

Of a result that is written into an operand, its slice counts; of an operand of which
slices or gathered places alone are read, these. Workspaces of libraries do not count.
"""

from benchmarks.accelerator.hlo import Array, Computation, Instruction, Program

SLICES = ("slice", "dynamic-slice", "gather")
ELEMENTWISE = ("bitcast", "is-finite", "select", "multiply", "add", "convert", "negate")
BOTH = ("copy-start", "all-gather-start", "collective-permute-start")  # operands too


def moved_bytes(each: Instruction, computation: Computation, program: Program) -> int:
    """From and to the device's large memory."""
    fused = each.called.get("calls", ()) if each.op == "fusion" else ()
    inner = program.computations[fused[0]] if fused else None
    total, in_place = _written(each, computation, inner)
    for place, name in enumerate(each.operands):
        known = computation.instructions.get(name)
        if known is None or place in in_place:
            continue
        if inner:
            total += min(known.bytes, _read(inner, place, known.bytes))
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


def _read(inner: Computation, place: int, size: int) -> int:
    """Bytes of a fusion's operand that are read, where only slices of it are.

    Also where they are slices of what is computed of it element by element.
    """
    rest, total = [inner.parameters[place].name], 0
    seen = set(rest)
    while rest:
        name = rest.pop()
        for user in inner.users.get(name, ()):
            if user.op in SLICES and user.operands[0] == name:
                total += user.bytes
            elif user.op in ELEMENTWISE and user.name != inner.root.name:
                rest += {user.name} - seen
                seen.add(user.name)
            else:
                return size
    return total
