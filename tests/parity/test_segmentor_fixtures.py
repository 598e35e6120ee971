"""The forward pass against the authors' PyTorch, stage by stage."""

from functools import cache

import numpy as np
import pytest
from outside import needs_fixtures
from parity_fixtures import nhwc, recorded, relative, same_argmax
from parity_segmentor import compute_stages, resized_case, slide_errors, stage_errors

from crossearth_jax.pixels.normalise import normalise

pytestmark = [
    pytest.mark.slow,
    needs_fixtures(
        "tiny_segmentor.npz", "tiny_segmentor.pth", "tiny_config.json", "slide.npz"
    ),
]
LIMIT = 1e-4
# Fractions of what PyTorch's own float32 loses against its float64.
TIGHT = 2e-5

stages = cache(compute_stages)


@pytest.mark.parametrize("case", ["A", "B"])
def test_every_stage(case):
    errors = stage_errors(case, stages(case))
    wrong = {name: error for name, error in errors.items() if not error <= LIMIT}
    assert not wrong
    assert np.mean([error <= TIGHT for error in errors.values()]) > 0.9


@pytest.mark.parametrize("case", ["A", "B"])
def test_every_recorded_array_is_compared(case):
    known = stage_errors(case, stages(case)).keys()
    keys = {k for k in recorded("tiny_segmentor.npz") if k.startswith(f"{case}/")}
    left = {k.removeprefix(f"{case}/") for k in keys} - known
    sizes = {k for k in left if "attn_size" in k} | {"pd/spatial_shapes"}
    assert left - sizes == {"raw_bgr", "input", "argmax"}


@pytest.mark.parametrize("case", ["A", "B"])
def test_against_double_precision(case):
    exact = recorded("tiny_segmentor_f64.npz")
    for key in exact:
        if key.startswith(f"{case}/"):
            got = stages(case)[key.removeprefix(f"{case}/")]
            assert relative(got, exact[key]) <= LIMIT, key


@pytest.mark.parametrize("case", ["A", "B"])
def test_attention_masks_are_identical(case):
    expected = recorded("tiny_segmentor.npz")
    names = [k for k in expected if k.startswith(f"{case}/dec/attn_mask")]
    assert names
    for name in names:
        got = stages(case)[name.removeprefix(f"{case}/")]
        np.testing.assert_array_equal(got, expected[name], name)


@pytest.mark.parametrize("case", ["A", "B"])
def test_classes_are_identical(case):
    expected = recorded("tiny_segmentor.npz")
    got = stages(case)["seg_logits"][0].argmax(0)
    assert same_argmax(got, expected[f"{case}/seg_logits"][0]) == 1


def test_input_is_normalised_alike():
    expected = recorded("tiny_segmentor.npz")
    for case in "AB":
        rgb = expected[f"{case}/raw_bgr"][None, ..., ::-1]
        got = normalise(np.ascontiguousarray(rgb))
        assert relative(got, nhwc(expected[f"{case}/input"])) <= 1e-6


def test_scores_at_another_label_size():
    error, equal = resized_case(stages("A"))
    assert error <= LIMIT
    assert equal == 1


def test_sliding_windows():
    errors, classes = slide_errors()
    assert errors
    assert max(errors.values()) <= LIMIT, errors
    assert set(classes.values()) == {1}, classes
