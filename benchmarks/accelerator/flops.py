"""Operations of the products and convolutions in a kernel, by their precision."""

import re
from dataclasses import dataclass
from math import prod

from benchmarks.accelerator.hlo import Array, Computation, Instruction, Program

ALGORITHM = re.compile(r"dot_(bf16|f16|tf32|f32)_\1_f32(?:_x(\d))?", re.IGNORECASE)
KINDS = {"bf16": "half", "f16": "half", "tf32": "tf32", "f32": "float32"}


def product_flops(
    each: Instruction, computation: Computation, program: Program
) -> dict[str, float]:
    """FLOPs by "half", "tf32" and "float32"; empty without a product.

    Those of an algorithm of several passes count as often as it passes.
    """
    if each.op == "fusion":
        total: dict[str, float] = {}
        for name in each.called.get("calls", ()):
            inner = program.computations[name]
            for one in inner:
                for kind, n in product_flops(one, inner, program).items():
                    total[kind] = total.get(kind, 0) + n
        return total
    operands = [
        known.arrays[0]
        for name in each.operands
        if (known := computation.instructions.get(name)) and known.arrays
    ]
    count = _count(each, operands)
    if not count:
        return {}
    kind, passes = precision(each, operands[0])
    return {kind: count * passes}


def precision(each: Instruction, operand: Array) -> tuple[str, int]:
    """The kind of arithmetic that a product is done in, and its passes."""
    if found := ALGORITHM.search(each.rest):
        return KINDS[found[1].lower()], int(found[2] or 1)
    if operand.kind in ("bf16", "f16") or operand.kind.startswith("f8"):
        return "half", 1
    exact = re.search(
        r'operand_precision(=\{|":\[")\s*highest', each.rest, re.IGNORECASE
    )
    return ("float32" if exact else "tf32"), 1


def _count(each: Instruction, operands: list[Array]) -> float:
    if each.op == "dot" or "matmul" in each.target or "gemm" in each.target:
        return _product(each, operands)
    if each.op == "convolution" or each.target.startswith("__cudnn$conv"):
        return _convolution(each, operands)
    if each.target.startswith("__cudnn$fmha"):
        return _attention(each, operands)
    return 0


def _product(each: Instruction, operands: list[Array]) -> float:
    axes = each.dimensions("lhs_contracting_dim")
    return 2 * each.arrays[0].elements * prod(operands[0].dims[i] for i in axes)


def _convolution(each: Instruction, operands: list[Array]) -> float:
    """Two for each weight and place of the output, whichever of the three is made."""
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", each.rest)
    if not labels:
        return 0
    if each.op == "convolution":
        return _exactly(each, operands, *labels.groups())
    result = each.arrays[0]
    if each.target.endswith("BackwardFilter"):
        output, kernel = operands[1], result
    elif each.target.endswith("BackwardInput"):
        output, kernel = operands[0], operands[1]
    else:
        output, kernel = result, operands[1]
    channels = output.dims[labels[3].index("f")]
    return 2 * output.elements * kernel.elements / channels


def _exactly(
    each: Instruction, operands: list[Array], source: str, kernel: str, out: str
) -> float:
    """Without what meets padding or holes: a TPU has products as such convolutions."""
    result, weights = each.arrays[0].dims, operands[1].dims
    meetings = prod(
        _meetings(
            operands[0].dims[source.index(axis)],
            result[out.index(axis)],
            window,
        )
        for axis, window in windows(each.rest).items()
    )
    channels = weights[kernel.index("i")]  # of a group
    return 2 * result[out.index("b")] * result[out.index("f")] * channels * meetings


@dataclass(frozen=True)
class Window:
    """Of one axis of a convolution."""

    size: int = 1
    stride: int = 1
    before: int = 0
    holes_in_source: int = 1
    holes_in_kernel: int = 1


def windows(rest: str) -> dict[str, Window]:
    """By axis, "0" first; without a window there is none."""
    found = re.search(r"window=\{([^}]*)\}", rest)
    if not found:
        return {}
    parts = dict(part.split("=") for part in found[1].split())
    sizes = parts["size"].split("x")

    def each(name: str, default: str) -> list[str]:
        return parts[name].split("x") if name in parts else [default] * len(sizes)

    rows = zip(
        sizes,
        each("stride", "1"),
        (pad.split("_")[0] for pad in each("pad", "0_0")),
        each("lhs_dilate", "1"),
        each("rhs_dilate", "1"),
        strict=True,
    )
    return {str(axis): Window(*map(int, row)) for axis, row in enumerate(rows)}


def _meetings(source: int, out: int, window: Window) -> int:
    """How often a place of the kernel meets one of the source."""
    count = 0
    for place in range(window.size):
        first = place * window.holes_in_kernel - window.before
        for start in range(first, first + out * window.stride, window.stride):
            at, hole = divmod(start, window.holes_in_source)
            count += hole == 0 and 0 <= at < source
    return count


def _attention(each: Instruction, operands: list[Array]) -> float:
    """Two products [B, h, Q, S]; for the derivative five.

    Queries and keys are [B, N, h, d].
    """
    (batch, queries, heads, width), (_, keys, *_) = operands[0].dims, operands[1].dims
    products = 5 if each.target.endswith("Backward") else 2
    return products * 2 * batch * heads * queries * keys * width
