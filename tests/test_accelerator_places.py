"""Which function of ours a kernel of a compiled program is told to be from."""

import pytest

from benchmarks.accelerator import hlo, places


def tables(*frames: tuple[int, int]) -> str:
    """Of three functions: of a library, of a module, of what every product calls."""
    rows = "\n".join(
        f"{i} {{file_location_id={spot} parent_frame_id={parent + 1}}}"
        for i, (spot, parent) in enumerate(frames, 1)
    )
    ours = places.OURS
    return f"""
FileNames
1 "/lib/optax/update.py"
2 "{ours}models/rein.py"
3 "{ours}models/precision.py"

FunctionNames
1 "update"
2 "Rein.__call__.<locals>.<lambda>"
3 "product"

FileLocations
1 {{file_name_id=1 function_name_id=1 line=5}}
2 {{file_name_id=2 function_name_id=2 line=5}}
3 {{file_name_id=3 function_name_id=3 line=5}}

StackFrames
{rows}
"""


ARGUMENT = "state_params____rein____mlp____kernel__.1"


@pytest.mark.parametrize(
    ("line", "place"),
    [
        (
            "copy(%x), metadata={stack_frame_id=1}",
            "models/rein.py:Rein.__call__.lambda",
        ),
        (
            "copy(%x), metadata={stack_frame_id=2}",
            "models/rein.py:Rein.__call__.lambda",
        ),
        ("copy(%x), metadata={stack_frame_id=4}", "elsewhere"),
        (f"copy(%{ARGUMENT})", "weights of rein.mlp"),
        ("fusion(%x), calls=%fused", "models/rein.py:Rein.__call__.lambda"),
        ("copy(%from_rein)", "models/rein.py:Rein.__call__.lambda"),
    ],
)
def test_the_place_of_a_kernel(line, place):
    fused = """
%fused (p: f32[8]) -> f32[8] {
  %p = f32[8] parameter(0)
  ROOT %q = f32[8] negate(%p), metadata={stack_frame_id=3}
}
"""
    # 1: of a library, called by us; 2: of a product, called by us; 3: ours; 4: neither.
    frames = tables((1, 3), (3, 3), (2, 0), (1, 0))
    entry = f"""  %x = f32[8] parameter(0)
  %{ARGUMENT} = f32[8] parameter(1)
  %from_rein = f32[8] copy(%x), metadata={{stack_frame_id=3}}
  ROOT %r = f32[8] {line}"""
    text = f"HloModule a\n{frames}{fused}\n\nENTRY %main () -> f32[8] {{\n{entry}\n}}\n"
    found = hlo.read(text)
    assert places.Places(found).of(found.entry.root, found.entry) == place
