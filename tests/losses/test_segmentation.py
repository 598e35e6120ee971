"""L_Seg: ignored pixels, empty labels, normalisation; numbers are in tests/parity."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from crossearth_jax.losses import segmentation
from crossearth_jax.losses.segmentation import (
    SegmentationLoss,
    class_masks,
    draw_points,
    segmentation_terms,
    uncertain_points,
)

pytestmark = pytest.mark.usefixtures("quick_compile")
P, B, Q, K, SIDE = 2, 2, 6, 3, 8
LOSS = SegmentationLoss(num_points=64)
EXCLUDE = SegmentationLoss(num_points=64, exclude_ignored=True)


def logits(seed=0, batch=B):
    rng = np.random.default_rng(seed)
    classes = rng.normal(size=(P, batch, Q, K + 1)).astype(np.float32)
    masks = 3 * rng.normal(size=(P, batch, Q, SIDE, SIDE)).astype(np.float32)
    return classes, masks


def labels(batch=B):
    """Class 0 left, class 2 right; class 1 is absent."""
    label = np.zeros((batch, 16, 16), np.uint8)
    label[:, :, 8:] = 2
    return label


@pytest.fixture(scope="module")
def terms():
    run = jax.jit(
        lambda c, m, y, key, loss: segmentation_terms(
            c, m, y, draw_points(key, loss, (*c.shape[:2], K)), loss
        ),
        static_argnums=4,
    )

    def call(classes, masks, label, loss=LOSS, key=0):
        return jax.device_get(run(classes, masks, label, jax.random.key(key), loss))

    return call


def test_terms_of_an_ordinary_batch(terms):
    got = terms(*logits(), labels())
    assert got.keys() == {"class", "mask", "dice", "query"}
    assert got["query"].shape == (P, B, K)
    assert (got["query"][..., 1] == -1).all()  # absent
    present = got["query"][..., [0, 2]]
    assert ((present >= 0) & (present < Q)).all()
    assert (present[..., 0] != present[..., 1]).all()
    for name in ("class", "mask", "dice"):
        assert got[name].shape == (P,)
        assert (got[name] > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("loss", [LOSS, EXCLUDE], ids=["default", "exclude"])
def test_no_ground_truth_at_all(terms, loss):
    """Everything ignored: no mask loss, every query learns "no object"."""
    classes, masks = logits()
    label = jnp.full((B, 16, 16), 255, "u1")
    got = terms(classes, masks, label, loss)
    assert not got["mask"].any()
    assert not got["dice"].any()
    assert (got["query"] == -1).all()
    share = jax.nn.log_softmax(classes)[..., K]
    np.testing.assert_allclose(got["class"], -2 * share.mean((1, 2)), rtol=1e-5)

    def total(classes, masks):
        points = draw_points(jax.random.key(0), loss, (P, B, K))
        found = segmentation_terms(classes, masks, label, points, loss)
        return (found["class"] + found["mask"] + found["dice"]).sum()

    by_class, by_mask = jax.jit(jax.grad(total, argnums=(0, 1)))(classes, masks)
    assert np.isfinite(by_class).all() and np.any(by_class)
    assert not np.any(by_mask)


def mask_of(label, present):
    """Confident predictions: query k is the mask of class k, drawn as labelled."""
    classes = np.full((1, 1, Q, K + 1), -9.0, np.float32)
    masks = np.full((1, 1, Q, 16, 16), -9.0, np.float32)
    for k in range(Q):
        classes[0, 0, k, k if k in present else K] = 9.0
    for k in present:
        masks[0, 0, k][label == k] = 9.0
    return classes, masks


@pytest.mark.slow
@pytest.mark.parametrize("predicted", [0, 2])
def test_ignored_pixels_are_negatives_unless_excluded(terms, predicted):
    """A mask that also covers the ignored part is wrong only by default."""
    label = np.zeros((16, 16), np.uint8)
    label[:, 8:] = 2
    label[14:] = 255
    classes, masks = mask_of(label, (0, 2))
    tight = {x: terms(classes, masks, label[None], x) for x in (LOSS, EXCLUDE)}
    masks[0, 0, predicted, 14:] = 9.0
    wide = {x: terms(classes, masks, label[None], x) for x in (LOSS, EXCLUDE)}
    for x in (LOSS, EXCLUDE):
        assert wide[x]["query"][0, 0].tolist() == [0, -1, 2]
    for name in ("mask", "dice"):
        assert wide[LOSS][name][0] > 1.1 * tight[LOSS][name][0]
        # Excluded points see no difference but at the border, where pixels mix.
        change = wide[EXCLUDE][name][0] - tight[EXCLUDE][name][0]
        assert abs(change) < 0.5 * (wide[LOSS][name][0] - tight[LOSS][name][0])


def test_matched_classes_weigh_as_stated(terms):
    """Σ w_c CE / Σ w_c by hand; matching, mask and Dice losses stay as they are."""
    loss = dataclasses.replace(LOSS, class_weights=(0.5, 7.0, 4.0))
    classes, masks = logits()
    plain, got = terms(classes, masks, labels()), terms(classes, masks, labels(), loss)
    for name in ("query", "mask", "dice"):
        np.testing.assert_array_equal(got[name], plain[name])
    entropy = -np.asarray(jax.nn.log_softmax(classes))
    for p in range(P):
        total = weight = 0.0
        for image in range(B):
            wanted = np.full(Q, K)
            for c in (0, 2):
                wanted[got["query"][p, image, c]] = c
            own = np.array([0.5, 7.0, 4.0, loss.no_object])[wanted]
            total += (own * entropy[p, image][np.arange(Q), wanted]).sum()
            weight += own.sum()
        assert got["class"][p] == pytest.approx(2 * total / weight, rel=1e-5)
    assert not np.allclose(got["class"], plain["class"])


def test_unmatched_queries_weigh_a_tenth(terms):
    classes, masks = logits(batch=1)
    got = terms(classes, masks, labels(1))
    for p in range(P):
        query = got["query"][p, 0]
        wanted = np.full(Q, K)
        for k in (0, 2):
            wanted[query[k]] = k
        weight = np.where(wanted == K, 0.1, 1.0)
        entropy = -np.asarray(jax.nn.log_softmax(classes[p, 0]))[np.arange(Q), wanted]
        expected = 2 * (entropy * weight).sum() / weight.sum()
        assert got["class"][p] == pytest.approx(expected, rel=1e-5)


def test_predictions_as_labelled_are_matched_to_their_classes(terms):
    label = labels(1)[0]
    classes, masks = mask_of(label, (0, 2))
    good = terms(classes, masks, label[None])
    assert good["query"][0, 0].tolist() == [0, -1, 2]
    assert good["class"][0] < 1e-3
    swapped = terms(classes[:, :, [2, 1, 0, *range(3, Q)]], masks, label[None])
    assert swapped["class"][0] > 1
    shifted = terms(classes, np.roll(masks, 3, -1), label[None])
    for name in ("mask", "dice"):
        assert shifted[name][0] > 1.2 * good[name][0]


def test_class_masks_leave_ignored_pixels_out():
    label = jnp.array([[0, 2], [255, 1]])
    masks = class_masks(label, 3)
    assert masks.shape == (2, 2, 3)
    assert masks.sum(-1).tolist() == [[1, 1], [0, 1]]
    assert masks[0, 1].tolist() == [0, 0, 1]


def test_uncertain_points_are_where_the_mask_is_undecided():
    mask = jnp.full((8, 8), 9.0).at[:, 4:].set(-9.0)  # undecided between 3 and 4
    rng = np.random.default_rng(0)
    # Not near the image border: zero padding makes that undecided too.
    candidates = jnp.asarray(rng.uniform(0.1, 0.9, (60, 2)), jnp.float32)
    extra = jnp.full((4, 2), 0.123)
    chosen = np.asarray(uncertain_points(mask, candidates, extra, 9))
    assert chosen.shape == (9, 2)
    assert np.array_equal(chosen[5:], extra)
    distance = np.abs(candidates[:, 0] - 0.5)
    assert np.abs(chosen[:5, 0] - 0.5).max() <= np.sort(distance)[4] + 1e-6


def test_both_ways_to_order_agree_also_on_equal_values():
    values = np.random.default_rng(0).integers(0, 9, 60).astype(np.float32)
    by_top_k = segmentation._order_by_top_k(values, 25)
    assert np.array_equal(segmentation._order_by_sort(values, 25), by_top_k)
    assert np.array_equal(by_top_k, np.argsort(values, kind="stable")[:25])


def test_points_have_the_counts_of_the_settings():
    loss = SegmentationLoss(num_points=100, oversample=3.0, importance=0.75)
    points = draw_points(jax.random.key(0), loss, (P, B, K))
    assert points.match.shape == (P, B, 100, 2)
    assert points.candidates.shape == (P, B, K, 300, 2)
    assert points.extra.shape == (P, B, K, 25, 2)
    for x in (points.match, points.candidates, points.extra):
        assert 0 <= float(x.min()) and float(x.max()) <= 1
        assert float(x.mean()) == pytest.approx(0.5, abs=0.05)


@pytest.mark.slow
def test_mean_over_parts_is_the_loss_of_the_whole_batch():
    """Gradient accumulation: parts of unequal content still give one mean."""
    shape = (2, 4, 3)  # P, B, K
    loss = SegmentationLoss(num_points=16)
    compiled = jax.jit(segmentation_terms, static_argnums=4)
    keys = jax.random.split(jax.random.key(0), 4)
    points = draw_points(keys[0], loss, shape)
    classes = jax.random.normal(keys[1], (2, 4, 5, 4))
    masks = jax.random.normal(keys[2], (2, 4, 5, 8, 8))
    label = jax.random.randint(keys[3], (4, 16, 16), 0, 3).at[0].set(1).at[3].set(255)

    def terms(part: slice, labels: jax.Array | None) -> dict[str, jax.Array]:
        chosen = jax.tree.map(lambda x: x[:, part], points)
        return compiled(
            classes[:, part], masks[:, part], label[part], chosen, loss, labels
        )

    whole = terms(slice(None), None)
    parts = [terms(slice(i, i + 2), label) for i in (0, 2)]
    for name in ("class", "mask", "dice"):
        mean = (parts[0][name] + parts[1][name]) / 2
        np.testing.assert_allclose(mean, whole[name], rtol=1e-5)
        assert not np.allclose(parts[0][name], parts[1][name])
