"""Operations of the products and convolutions in a kernel, by their precision."""

import re
from math import prod

from benchmarks.accelerator.hlo import Array, Computation, Instruction, Program

PASSES = re.compile(r"(bf16|tf32)_(?:bf16|tf32)_f32_x(\d)", re.IGNORECASE)


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
    found = PASSES.search(each.rest)
    if found:
        return ("half" if found[1].lower() == "bf16" else "tf32"), _passes(found[2])
    if operand.kind in ("bf16", "f16") or operand.kind.startswith("f8"):
        return "half", 1
    exact = re.search(
        r'operand_precision(=\{|":\[")\s*highest', each.rest, re.IGNORECASE
    )
    return ("float32" if exact else "tf32"), 1


def _passes(parts: str) -> int:
    return int(parts)


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
    labels = re.search(r"dim_labels=\w+_\w+->(\w+)", each.rest)
    if not labels:
        return 0
    result = each.arrays[0]
    if each.target.endswith("BackwardFilter"):
        output, kernel = operands[1], result
    elif each.target.endswith("BackwardInput"):
        output, kernel = operands[0], operands[1]
    else:
        output, kernel = result, operands[1]
    channels = output.dims[labels[1].index("f")]
    return 2 * output.elements * kernel.elements / channels


def _attention(each: Instruction, operands: list[Array]) -> float:
    """Two products [B, h, Q, S]; for the derivative five.

    Queries and keys are [B, N, h, d].
    """
    (batch, queries, heads, width), (_, keys, *_) = operands[0].dims, operands[1].dims
    products = 5 if each.target.endswith("Backward") else 2
    return products * 2 * batch * heads * queries * keys * width
