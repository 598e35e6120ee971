"""`benchmarks.accelerator` reads compiled programs: short ones, written by hand."""

from collections import Counter

import pytest

from benchmarks.accelerator import hlo
from benchmarks.accelerator.flops import precision, product_flops
from benchmarks.accelerator.kernels import tally
from benchmarks.accelerator.targets import targets

H100 = targets()["h100"]
MIB = 1 << 20


def program(entry: str, others: str = "") -> hlo.Program:
    return hlo.read(
        f"HloModule a\n{others}\n\nENTRY %main (x: f32[8]) -> f32[8] {{\n{entry}\n}}\n"
    )


def count(entry: str, others: str = ""):
    return tally(program(entry, others), H100)


def flops_of(line: str, *operands: str) -> dict[str, float]:
    shapes = "\n".join(
        f"  %x{i} = {shape} parameter({i})" for i, shape in enumerate(operands)
    )
    found = program(f"{shapes}\n{line}")
    last = list(found.entry)[-1]
    return product_flops(last, found.entry, found)


# ---- text ---------------------------------------------------------------------------


def test_a_line_is_taken_apart():
    line = (
        "  ROOT %a.1 = (bf16[2,3]{1,0:T(8,128)(2,1)}, s8[7]{0}) "
        "custom-call(%b, /*index=1*/%c.2), "
        'custom_call_target="lib$f", metadata={op_name="jit(f)/dot(x)"}'
    )
    found = hlo.instruction(line)
    assert (found.name, found.op, found.root) == ("a.1", "custom-call", True)
    assert found.operands == ("b", "c.2") and found.target == "lib$f"
    assert [(x.kind, x.dims, x.bytes) for x in found.arrays] == [
        ("bf16", (2, 3), 12),
        ("s8", (7,), 7),
    ]


@pytest.mark.parametrize(
    ("shape", "size"),
    [("pred[4]", 4), ("f8e4m3fn[4]", 4), ("s4[4]", 4), ("c64[2]", 16), ("token[]", 0)],
)
def test_bytes_by_type(shape, size):
    assert hlo.arrays(shape)[0].size == size


def test_what_is_beside_a_tpus_units_is_not_moved():
    near, far = hlo.arrays("(f32[8]{0:T(8)S(1)}, f32[8]{0:T(8)})")
    assert (near.bytes, near.size, far.bytes) == (0, 32, 32)


def test_a_text_that_is_no_program_is_refused():
    with pytest.raises(ValueError, match="without ENTRY"):
        hlo.read("HloModule a")


# ---- loops and conditions -----------------------------------------------------------

BODY = """
%inner_body (s: (s32[], f32[8])) -> (s32[], f32[8]) {
  %s = (s32[], f32[8]) parameter(0)
  %v = f32[8] get-tuple-element(%s), index=1
  %one = f32[8] fusion(%v), kind=kLoop, calls=%fused
  %i = s32[] get-tuple-element(%s), index=0
  ROOT %t = (s32[], f32[8]) tuple(%i, %one)
}
%fused (p: f32[8]) -> f32[8] {
  ROOT %p = f32[8] parameter(0)
}
%until (s: (s32[], f32[8])) -> pred[] {
  %s.1 = (s32[], f32[8]) parameter(0)
  %i.1 = s32[] get-tuple-element(%s.1), index=0
  %c = s32[] constant(7)
  ROOT %lt = pred[] compare(%i.1, %c), direction=LT
}
%found (s: (s32[], f32[8])) -> pred[] {
  %s.2 = (s32[], f32[8]) parameter(0)
  ROOT %f = pred[] fusion(%s.2), kind=kLoop, calls=%fused
}
%outer_body (s: (s32[], f32[8])) -> (s32[], f32[8]) {
  %s.3 = (s32[], f32[8]) parameter(0)
  %zero = s32[] constant(2)
  %v.3 = f32[8] get-tuple-element(%s.3), index=1
  %t.3 = (s32[], f32[8]) tuple(%zero, %v.3)
  %w.3 = (s32[], f32[8]) while(%t.3), condition=%until, body=%inner_body
  ROOT %two = (s32[], f32[8]) copy(%w.3)
}
"""
STATE = """
  %x = f32[8] parameter(0)
  %start = s32[] constant(0)
  %begin = s32[] copy(%start)
  %state = (s32[], f32[8]) tuple(%begin, %x)
"""
KNOWN = 'backend_config={"known_trip_count":{"n":"3"}}'


@pytest.mark.parametrize(
    ("line", "turns", "kernels"),
    [
        # One copy is made before the loop.
        (f"condition=%found, body=%inner_body, {KNOWN}", 3, 1 + 3),
        ("condition=%until, body=%inner_body", 7, 1 + 7),
        ("condition=%found, body=%inner_body", None, 1 + 2),
    ],
)
def test_the_inside_of_a_loop_counts_times_its_turns(line, turns, kernels):
    found = count(f"{STATE}  ROOT %w = (s32[], f32[8]) while(%state), {line}", BODY)
    assert [loop.turns for loop in found.loops] == [turns]
    assert found.total.kernels == kernels
    assert found.total.time == pytest.approx(2e-6 * kernels)


def test_a_loop_in_a_loop_counts_times_both():
    line = "while(%state), condition=%until, body=%outer_body"
    text = f"{STATE}  ROOT %w = (s32[], f32[8]) {line}"
    found = count(text, BODY)
    # The inner one goes from 2 to 7; beside it is a copy.
    assert [(loop.turns, loop.within) for loop in found.loops] == [(7, 1), (5, 7)]
    assert found.total.kernels == 1 + 7 * (5 + 1)
    assert tally(program(text, BODY), H100, once=True).total.kernels == 3


def test_of_a_condition_the_costliest_branch_counts():
    text = f"""{STATE}
  %p = s32[] constant(1)
  ROOT %r = (s32[], f32[8]) conditional(%p, %state, %state),
    branch_computations={{%inner_body, %outer_body}}""".replace(",\n   ", ",")
    found = count(text, BODY)
    assert found.conditions == 1 and len(found.loops) == 1
    assert found.total.kernels == 1 + 6


# ---- bytes --------------------------------------------------------------------------


def test_results_and_operands_are_moved():
    found = count(f"  %x = u8[{4 * MIB}] parameter(0)\n  ROOT %r = u8[{MIB}] copy(%x)")
    assert found.total.bytes == 5 * MIB
    assert found.total.time == pytest.approx(max(2e-6, 5 * MIB / 3352e9))


def test_what_is_written_in_place_counts_as_its_slice():
    fused = """
%fused (a: f32[1024,1024], b: f32[1,1024]) -> f32[1024,1024] {
  %a = f32[1024,1024] parameter(0)
  %b = f32[1,1024] parameter(1)
  %z = s32[] constant(0)
  ROOT %d = f32[1024,1024] dynamic-update-slice(%a, %b, %z, %z)
}
"""
    found = count(
        """  %x = f32[1024,1024] parameter(0)
  %y = f32[1,1024] parameter(1)
  ROOT %r = f32[1024,1024] fusion(%x, %y), kind=kLoop, calls=%fused""",
        fused,
    )
    assert found.total.bytes == 2 * 4096


@pytest.mark.parametrize(
    ("lines", "read"),
    [
        ("ROOT %r = f32[1,1024] slice(%a), slice={[0:1],[0:1024]}", 4096),
        # What is computed of the whole and then sliced is computed of the slice.
        (
            "%n = f32[1024,1024] negate(%a)\n"
            "  %m = f32[1024,1024] multiply(%n, %a)\n"
            "  ROOT %r = f32[1,1024] slice(%m), slice={[0:1],[0:1024]}",
            2 * 4096,
        ),
        (
            "%z = s32[] constant(0)\n"
            "  %d = f32[1,1024] dynamic-slice(%a, %z, %z)\n"
            "  ROOT %r = f32[1024] bitcast(%d)",
            4096,
        ),
        ("ROOT %r = f32[1024] reduce(%a, %a), dimensions={0}, to_apply=%add", 4 * MIB),
        (
            "%s = f32[1024] reduce(%a, %a), dimensions={0}, to_apply=%add\n"
            "  ROOT %r = f32[1] slice(%s), slice={[0:1]}",
            4096 * 2,
        ),
        ("ROOT %r = f32[1024,1024] add(%a, %a)", 4 * MIB),
    ],
)
def test_of_an_operand_counts_what_the_result_needs(lines, read):
    fused = f"""
%fused (a: f32[1024,1024]) -> f32[1] {{
  %a = f32[1024,1024] parameter(0)
  {lines}
}}
"""
    shape = program("  ROOT %x = f32[8] parameter(0)", fused).computations["fused"]
    found = count(
        f"""  %x = f32[1024,1024] parameter(0)
  ROOT %r = {shape.root.shape} fusion(%x), kind=kLoop, calls=%fused""",
        fused,
    )
    assert found.total.bytes == shape.root.bytes + read


def test_a_librarys_workspace_is_not_moved():
    found = count(
        """  %x = bf16[512,512] parameter(0)
  ROOT %r = (bf16[512,512], s8[33554432]) custom-call(%x, %x), \
custom_call_target="__cublas$lt$matmul", \
backend_config={"lhs_contracting_dimensions":["1"]}"""
    )
    assert found.total.bytes == 3 * 512 * 512 * 2
    assert found.libraries == Counter({"__cublas$lt$matmul": 1})
    assert found.total.flops == {"half": 2 * 512**3}


def test_what_devices_exchange():
    found = count(
        """  %x = f32[256] parameter(0)
  %s = (f32[256], f32[1024]) all-gather-start(%x), dimensions={0}
  %d = f32[1024] all-gather-done(%s)
  ROOT %r = f32[1024]{0:S(1)} all-reduce(%d), to_apply=%add"""
    )
    assert found.collectives == {"all-gather": 4096, "all-reduce": 4096}
    assert found.total.kernels == 2


# ---- products -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "kind", "expected"),
    [
        ("", "bf16", ("half", 1)),
        ("", "f32", ("tf32", 1)),
        ("operand_precision={highest,highest}", "f32", ("float32", 1)),
        (
            'backend_config={"operand_precision":["HIGHEST","HIGHEST"]}',
            "f32",
            ("float32", 1),
        ),
        ("algorithm=dot_tf32_tf32_f32", "f32", ("tf32", 1)),
        ("algorithm=dot_f32_f32_f32", "f32", ("float32", 1)),
        ('"algorithm":"ALG_DOT_BF16_BF16_F32"', "f32", ("half", 1)),
        ('"algorithm":"ALG_UNSET"', "f32", ("tf32", 1)),
        ("algorithm=dot_tf32_tf32_f32_x3", "f32", ("tf32", 3)),
        ('"algorithm":"ALG_DOT_BF16_BF16_F32_X6"', "f32", ("half", 6)),
        ("algorithm=dot_bf16_bf16_f32_x3", "f32", ("half", 3)),
    ],
)
def test_precision_of_a_product(attributes, kind, expected):
    line = f"  %r = f32[4,4] dot(%a, %b), {attributes}"
    assert precision(hlo.instruction(line), hlo.Array(kind, (4, 4))) == expected


def test_passes_count_as_products():
    line = (
        "  ROOT %r = f32[4,5] dot(%x0, %x1), lhs_contracting_dims={1}, "
        "rhs_contracting_dims={0}, algorithm=dot_bf16_bf16_f32_x3"
    )
    assert flops_of(line, "f32[4,6]", "f32[6,5]") == {"half": 3 * 2 * 4 * 5 * 6}


def test_a_product_within_a_fusion_counts():
    fused = """
%fused (a: f32[4,6], b: f32[6,5]) -> f32[4,5] {
  %a = f32[4,6] parameter(0)
  %b = f32[6,5] parameter(1)
  ROOT %d = f32[4,5] dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}
"""
    found = count(
        """  %x = f32[4,6] parameter(0)
  %y = f32[6,5] parameter(1)
  ROOT %r = f32[4,5] fusion(%x, %y), kind=kCustom, calls=%fused""",
        fused,
    )
    assert found.total.flops == {"tf32": 2 * 4 * 5 * 6}


@pytest.mark.parametrize(
    ("target", "operands", "result"),
    [
        ("Forward", ("f32[1,8,8,3]", "f32[16,3,3,3]"), "f32[1,8,8,16]"),
        ("BackwardInput", ("f32[1,8,8,16]", "f32[16,3,3,3]"), "f32[1,8,8,3]"),
        ("BackwardFilter", ("f32[1,8,8,3]", "f32[1,8,8,16]"), "f32[16,3,3,3]"),
    ],
)
def test_a_convolution_costs_the_same_three_times(target, operands, result):
    line = (
        f"  ROOT %r = ({result}, u8[0]) custom-call(%x0, %x1), "
        "window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_o01i->b01f, "
        "operand_precision={highest,highest}, "
        f'custom_call_target="__cudnn$conv{target}"'
    )
    assert flops_of(line, *operands) == {"float32": 2 * 8 * 8 * 16 * 3 * 3 * 3}


def test_a_tpus_batched_product_is_a_convolution_with_holes():
    line = (
        "  ROOT %r = f32[16,5,7] convolution(%x0, %x1), "
        "window={size=16 stride=15 lhs_dilate=16}, dim_labels=0bf_0io->0bf"
    )
    found = flops_of(line, "bf16[16,5,6]", "bf16[16,6,7]")
    assert found == {"half": 2 * 16 * 5 * 6 * 7}


def test_padding_of_a_convolution_costs_nothing():
    line = (
        "  ROOT %r = f32[1,4,1] convolution(%x0, %x1), window={size=3 pad=1_1}, "
        "dim_labels=b0f_0io->b0f"
    )
    assert flops_of(line, "bf16[1,4,1]", "bf16[3,1,1]") == {"half": 2 * (4 + 3 + 3)}


def test_attention_of_cudnn():
    forward = (
        "  ROOT %r = (bf16[2,16,10,64], f32[2,16,10], u8[0]) "
        'custom-call(%x0, %x1, %x1), custom_call_target="__cudnn$fmhaSoftmax"'
    )
    shapes = "bf16[2,10,16,64]", "bf16[2,12,16,64]"
    product = 2 * 2 * 16 * 10 * 12 * 64
    assert flops_of(forward, *shapes) == {"half": 2 * product}
    backward = forward.replace("fmhaSoftmax", "fmhaSoftmaxBackward")
    assert flops_of(backward, *shapes) == {"half": 5 * product}
