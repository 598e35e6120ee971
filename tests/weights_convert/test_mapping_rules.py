"""The mapping engine: strict, both ways, and clear about what does not fit."""

import numpy as np
import pytest

from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.inspect_file import inspect, table
from weights_convert.mapping import (
    Pattern,
    apply_rules,
    drop,
    invert,
    plan_moves,
    rule,
)
from weights_convert.transforms import (
    CONV,
    KEEP,
    LINEAR,
    POINTWISE,
    Chain,
    Squeeze,
)

QKV = tuple(f"layer.{{i}}.{part}.kernel" for part in ("query", "key", "value"))
RULES = [
    rule("blocks.{i}.norm.{leaf:weight|bias}", "layer.{i}.norm.{leaf}"),
    rule("blocks.{i}.in_proj_weight", QKV, LINEAR),
    rule("patch.weight", "patch.kernel", CONV),
    rule("lateral.weight", "lateral.kernel", POINTWISE),
    rule(("q.weight", "k.weight", "v.weight"), "qkv.kernel", LINEAR),
    rule("cls_token", "cls", Squeeze((0, 1))),
    rule("scale", "scale"),
    drop("mask_token", "never used"),
]


def arrays():
    draw = np.random.default_rng(0)
    shapes = {f"blocks.{i}.norm.{leaf}": (4,) for i in (0, 11) for leaf in LEAVES}
    shapes |= {f"blocks.{i}.in_proj_weight": (12, 4) for i in (0, 11)}
    shapes |= {"patch.weight": (5, 3, 2, 2), "lateral.weight": (6, 4, 1, 1)}
    shapes |= {f"{part}.weight": (4, 3) for part in "qkv"}
    shapes |= {"cls_token": (1, 1, 4), "scale": (), "mask_token": (1, 4)}
    return {name: draw.normal(size=shape) for name, shape in shapes.items()}


LEAVES = ("weight", "bias")


def lazy(table):
    return {name: LazyTensor.of(np.asarray(array)) for name, array in table.items()}


def shapes_of(table):
    return {name: np.shape(array) for name, array in table.items()}


def wanted():
    return shapes_of(apply_rules(lazy(arrays()), RULES, None))


def failure(source, shapes, rules=RULES, **options):
    with pytest.raises(ValueError, match="do not fit") as caught:
        plan_moves(shapes_of(source), rules, shapes, **options)
    return str(caught.value)


def test_values_land_where_the_rules_say():
    source = arrays()
    made = apply_rules(lazy(source), RULES, wanted())
    assert all(array.flags.c_contiguous for array in made.values())
    np.testing.assert_array_equal(
        made["layer.11.key.kernel"], source["blocks.11.in_proj_weight"][4:8].T
    )
    np.testing.assert_array_equal(
        made["patch.kernel"][1, 0, 2], source["patch.weight"][:, 2, 1, 0]
    )
    np.testing.assert_array_equal(
        made["lateral.kernel"], source["lateral.weight"][:, :, 0, 0].T
    )
    np.testing.assert_array_equal(made["qkv.kernel"][:, 4:8], source["k.weight"].T)
    np.testing.assert_array_equal(made["cls"], source["cls_token"][0, 0])
    np.testing.assert_array_equal(
        made["layer.0.norm.bias"], source["blocks.0.norm.bias"]
    )
    assert made["scale"].shape == ()
    assert len(made) == len(wanted()) == 4 + 6 + 5


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i8"])
def test_round_trip_is_exact(dtype):
    source = {name: np.asarray(a, dtype) for name, a in arrays().items()}
    there = apply_rules(lazy(source), RULES, wanted())
    del source["mask_token"]
    back = apply_rules(lazy(there), invert(RULES), shapes_of(source))
    assert set(back) == set(source)
    for name in source:
        assert back[name].dtype == source[name].dtype
        assert back[name].shape == source[name].shape
        assert back[name].tobytes() == source[name].tobytes()
    assert invert(invert(RULES)) == [each for each in RULES if each.targets]


def test_dropped_keys_are_told():
    plan = plan_moves(shapes_of(arrays()), RULES, wanted())
    assert plan.dropped == {"mask_token": "never used"}
    assert plan.unused == ()


def test_unmatched_key_with_near_miss():
    source = arrays()
    source["patch.weigth"] = source.pop("patch.weight")
    message = failure(source, wanted())
    assert "1 match no rule:\n  patch.weigth (did you mean patch.weight?)" in message
    assert "1 are not filled:\n  patch.kernel (from patch.weight)" in message


def test_unknown_module_is_reported_and_only_spelled_out_ignored():
    source = arrays() | {"gse.conv.0.weight": np.zeros((2, 2)), "gse.bias": np.zeros(2)}
    assert "2 match no rule:\n  gse.conv.0.weight" in failure(source, wanted())
    assert "1 match" in failure(source, wanted(), allow_unused=["gse.conv.*"])
    plan = plan_moves(shapes_of(source), RULES, wanted(), ["gse.*"])
    assert plan.unused == ("gse.conv.0.weight", "gse.bias")


def test_allowed_keys_are_used_where_they_have_a_place():
    part = {name: shape for name, shape in wanted().items() if "layer.11" not in name}
    message = failure(arrays(), part)
    assert "5 are not part of the target:" in message
    made = apply_rules(lazy(arrays()), RULES, part, ["blocks.*"])
    assert set(made) == set(part)


def test_missing_source_and_unfilled_target():
    source = arrays()
    del source["scale"], source["k.weight"]
    message = failure(source, wanted() | {"extra": (2,)})
    assert "1 are missing from the file:\n  k.weight (for qkv.kernel)" in message
    assert "scale (from scale)\n  extra (no rule)" in message


def test_wrong_shapes_name_both_sides():
    source = arrays() | {"patch.weight": np.zeros((5, 3, 14, 14))}
    source |= {"cls_token": np.zeros((1, 2, 4)), "k.weight": np.zeros((4, 7))}
    source |= {"blocks.0.in_proj_weight": np.zeros((13, 4))}
    message = failure(source, wanted())
    assert "4 have another shape:" in message
    assert (
        "patch.weight (5, 3, 14, 14) → patch.kernel (14, 14, 3, 5), expected "
        "(2, 2, 3, 5)"
    ) in message
    assert "blocks.0.in_proj_weight (13, 4) → layer.0.query.kernel" in message
    assert "cls_token (1, 2, 4) → cls: " in message


def test_two_rules_for_a_key_and_two_fillers_of_a_target():
    source = {"a.0": np.zeros(2), "b": np.zeros(2)}
    rules = [rule("a.{i}", "x.{i}"), rule("a.0", "y"), rule("b", "z")]
    assert "1 match several rules:\n  a.0" in failure(source, None, rules)
    rules = [rule("a.{i}", "x.{i}"), rule("b", "x.0")]
    assert "1 would be filled twice:\n  x.0" in failure(source, None, rules)


def test_nothing_is_read_before_the_plan_holds():
    def fail():
        raise AssertionError("read")

    source = {"a": LazyTensor((2,), np.dtype("f4"), fail)}
    with pytest.raises(ValueError, match="match no rule"):
        apply_rules(source, RULES, {})


def test_long_lists_are_cut_but_counted():
    source = {f"strange.{i}": np.zeros(1) for i in range(500)}
    message = failure(source, {})
    assert "500 match no rule:" in message
    assert "… and 480 more" in message
    assert len(message) < 3000


def test_names_match_as_a_whole_and_literally():
    pattern = Pattern("a.{i}.b{n:1|2}")
    assert pattern.match("a.12.b2") == {"i": "12", "n": "2"}
    for other in ("a.1.b3", "axx1.b1", "x.a.1.b1", "a.1.b12", "a..b1", "a.1.b1\n"):
        assert pattern.match(other) is None
    assert pattern.fill({"i": "3", "n": "1"}) == "a.3.b1"


@pytest.mark.parametrize(
    ("source", "target"),
    [("a.{i}", "b"), ("a", "b.{i}"), ("a.{i}.{i}", "b.{i}.{i}"), ("a.{i}", "b.{j}")],
)
def test_captures_must_agree(source, target):
    with pytest.raises(ValueError, match="captures"):
        rule(source, target)


def test_an_expression_holds_on_both_sides_and_is_written_once():
    for names in ("a.{n:x|y}", "b.{n}"), ("a.{n}", "b.{n:x|y}"):
        made = rule(*names)
        assert (
            made.sources[0].match("a.y") == made.targets[0].match("b.y") == {"n": "y"}
        )
        assert made.targets[0].match("b.1") is None
    with pytest.raises(ValueError, match="write it once"):
        rule("a.{n:x|y}", "b.{n:z}")


@pytest.mark.parametrize("transform", [KEEP, LINEAR, CONV, POINTWISE, Chain(())])
def test_transforms_invert(transform):
    shape = {LINEAR: (3, 5), POINTWISE: (3, 5, 1, 1)}.get(transform, (3, 5, 2, 4))
    x = np.random.default_rng(1).normal(size=shape)
    np.testing.assert_array_equal(transform.backward(transform.forward(x)), x)


def test_inspect_lists_without_reading(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **{"scale": np.float32(np.nan), "mask_token": np.zeros((1, 2000))})
    rows = inspect(path, RULES)
    assert [(row.key, row.shape, row.dtype, row.nbytes) for row in rows] == [
        ("scale", (), "float32", 4),
        ("mask_token", (1, 2000), "float64", 16000),
    ]
    assert [row.target for row in rows] == ["scale", "dropped: never used"]
    assert inspect(path)[0].target == ""
    lines = table(rows).splitlines()
    assert lines[1].split()[:4] == ["mask_token", "(1,", "2000)", "float64"]
    assert lines[-1].split() == ["2", "tensors", "16,004"]
    assert table([]).split() == ["0", "tensors", "0"]
