"""Matching: the optimum, whatever classes are absent (method.md section 5)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from crossearth_jax.losses.matcher import (
    FEW_CLASSES,
    dice_terms,
    match,
    matching_costs,
    without_loops,
)

WEIGHTS = {"class_weight": 2.0, "mask_weight": 5.0, "dice_weight": 5.0}


@pytest.mark.parametrize(("queries", "classes"), [(7, 7), (20, 5), (100, 7), (6, 1)])
def test_matching_is_the_optimal_assignment(queries, classes):
    rng = np.random.default_rng(queries)
    run = jax.jit(match)
    for _ in range(20):
        cost = rng.normal(size=(queries, classes)).astype(np.float32)
        present = rng.random(classes) < 0.6
        got = np.asarray(run(cost, present))
        rows, columns = linear_sum_assignment(cost[:, present])
        expected = dict(
            zip(np.flatnonzero(present)[columns], rows, strict=True)
        )  # class: query
        assert {k: got[k] for k in np.flatnonzero(present)} == expected
        assert len(set(got.tolist())) == classes  # no query twice


@pytest.mark.parametrize(("queries", "classes"), [(100, 5), (20, 3), (6, 1)])
def test_a_gpu_finds_the_same_without_loops(queries, classes):
    rng = np.random.default_rng(classes)
    costs = rng.normal(size=(200, queries, classes)).astype(np.float32)
    costs[100:150] = rng.integers(0, 3, costs[100:150].shape)  # full of ties
    costs[150:, :, 0] = 0  # an absent class
    everyone = np.ones(classes, bool)
    expected = jax.jit(jax.vmap(lambda cost: match(cost, everyone)))(costs)
    np.testing.assert_array_equal(jax.jit(jax.vmap(without_loops))(costs), expected)


@pytest.mark.parametrize(
    ("platform", "classes", "loops"),
    [("cuda", 5, False), ("cpu", 5, True), ("cuda", FEW_CLASSES + 1, True)],
)
def test_loops_are_for_other_platforms_and_many_classes(platform, classes, loops):
    shapes = [
        jax.ShapeDtypeStruct((20, classes), np.float32),
        jax.ShapeDtypeStruct((classes,), bool),
    ]
    traced = jax.jit(match).trace(*shapes)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert ("stablehlo.while" in text) is loops


def test_absent_classes_cannot_disturb():
    """Tempting costs in the column of an absent class change nothing."""
    cost = jnp.array([[0.0, -100.0], [1.0, -50.0]])
    assert match(cost, jnp.array([True, False]))[0] == 0
    assert match(cost, jnp.array([True, True])).tolist() == [1, 0]


def test_costs_that_are_not_finite_do_not_hang_it():
    cost = jnp.full((4, 3), jnp.nan)
    got = match(cost, jnp.array([True, True, False]))
    assert set(got.tolist()) <= set(range(4))


def test_fewer_queries_than_classes_is_refused():
    with pytest.raises(ValueError, match=r"got 2 queries for 3 classes.*num_tokens"):
        match(jnp.zeros((2, 3)), jnp.ones(3, bool))


def inputs(points=50):
    rng = np.random.default_rng(0)
    return (
        rng.normal(size=(4, 4)).astype(np.float32),
        rng.normal(size=(4, points)).astype(np.float32),
        rng.random((3, points)).astype(np.float32),
    )


costs_of = jax.jit(lambda *arrays: matching_costs(*arrays, **WEIGHTS))


def test_costs_are_the_equations():
    classes, masks, targets = inputs()
    costs = costs_of(classes, masks, targets, np.ones(50, np.float32))
    share = np.exp(classes) / np.exp(classes).sum(-1, keepdims=True)
    np.testing.assert_allclose(costs["class"], -2 * share[:, :3], rtol=1e-5)
    m, t = masks[:, None], targets[None]
    bce = (np.log1p(np.exp(m)) - m * t).mean(-1)
    np.testing.assert_allclose(costs["mask"], 5 * bce, rtol=1e-4)
    s = 1 / (1 + np.exp(-m))
    dice = 1 - (2 * (s * t).sum(-1) + 1) / (s.sum(-1) + t.sum(-1) + 1)
    np.testing.assert_allclose(costs["dice"], 5 * dice, rtol=1e-4)


def test_invalid_points_count_nowhere():
    classes, masks, targets = inputs()
    valid = (np.arange(50) < 30).astype(np.float32)
    got = costs_of(classes, masks, targets, valid)
    kept = np.ones(30, np.float32)
    expected = costs_of(classes, masks[:, :30], targets[:, :30], kept)
    for name in expected:
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-4, atol=1e-6)


def test_dice_of_a_hit_and_a_miss():
    target = jnp.array([1.0, 1.0, 0.0, 0.0])
    hit = dice_terms(jnp.where(target > 0, 50.0, -50.0), target)
    miss = dice_terms(jnp.where(target > 0, -50.0, 50.0), target)
    assert float(hit) == pytest.approx(0, abs=1e-6)
    assert float(miss) == pytest.approx(1 - 1 / 5)  # +1 smoothing on 2 + 2 pixels
