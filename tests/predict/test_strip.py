"""The strip against `sliding`, the evaluation's windows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.pixels.normalise import normalise
from crossearth_jax.predict.predictor import Predictor
from crossearth_jax.predict.strip import WindowBatch, read_windows
from crossearth_jax.scoring.sliding import sliding_scores
from crossearth_jax.scoring.windows import Windows

CLASSES = ClassSet(tuple("abcd"), tuple((k, k, k) for k in range(4)))
CROP, STRIDE, PATCH = 32, 21, 16
WINDOWS = Windows(CROP, STRIDE, PATCH, batch=2)


def position_score(windows):
    """Depends on the pixel and on its place in the window, so overlaps differ."""
    down = jnp.linspace(0, 1, windows.shape[1])[:, None, None]
    along = jnp.linspace(1, 0, windows.shape[2])[:, None]
    features = jnp.concatenate([windows, windows[..., :1] * 2], -1)
    return jax.nn.softmax(features) * (1 + down + along)


def predictor(score_fn=position_score, *, batch=4):
    return Predictor(score_fn, CLASSES, WINDOWS.changed(batch=batch))


def picture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3)).astype(np.uint8)


SIZES = [(32, 32), (75, 50), (64, 90), (53, 33), (20, 70), (9, 9), (1, 77), (77, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch", [1, 3, 40])
def test_flat_blending_equals_the_evaluation(size, batch):
    image = picture(*size)
    expected = sliding_scores(position_score, np.asarray(normalise(image)), WINDOWS)
    p = predictor(batch=batch)
    np.testing.assert_allclose(p.scores(image), expected, atol=1e-6)
    share = expected / expected.sum(2, keepdims=True)
    np.testing.assert_allclose(p.probabilities(image), share, atol=1e-6)
    np.testing.assert_array_equal(p(image), expected.argmax(2))


def test_cosine_blending_is_the_weighted_mean_of_the_windows():
    image = picture(75, 50)
    pixels = np.asarray(normalise(image))
    ramp = np.sin(np.pi * (np.arange(CROP) + 0.5) / CROP) ** 2
    weight = np.outer(ramp, ramp)[..., None]
    layout = WINDOWS.lay(75, 50, "cosine")
    total, weights = np.zeros((75, 50, 4)), np.zeros((75, 50, 1))
    for y in layout.tops:
        for x in layout.lefts:
            area = np.s_[y : y + CROP, x : x + CROP]
            total[area] += weight * np.asarray(position_score(pixels[area][None])[0])
            weights[area] += weight
    got = predictor().scores(image, "cosine")
    np.testing.assert_allclose(got, total / weights, atol=1e-5)


def jump_at_borders(blend, crop=256, stride=171):
    """Largest step of a probability across a window border, in shares of its mean.

    The image is constant, the scores are not: as with a network, they depend on the
    place in the window. The slope inside the windows is taken off.
    """

    def ramps(windows):
        along = jnp.linspace(-1, 1, windows.shape[2])[:, None]
        one = jnp.ones((*windows.shape[1:3], 1)) + 0.2 * along
        scores = jnp.concatenate([one, 3 - one], -1)
        return jnp.broadcast_to(scores, (len(windows), *scores.shape))

    two = ClassSet(("a", "b"), ((0, 0, 0), (9, 9, 9)))
    p = Predictor(ramps, two, Windows(crop, stride, patch=32, batch=2))
    image = np.full((40, 700, 3), 90, np.uint8)
    row = p.probabilities(image, blend)[0, :, 0].astype(np.float64)
    steps = np.diff(row)
    lefts = p.windows.lay(40, 700, blend).lefts
    borders = [b - 1 for x in lefts for b in (x, x + crop) if 2 < b < 698]
    beyond = [abs(steps[b] - (steps[b - 1] + steps[b + 1]) / 2) for b in borders]
    return max(beyond) / row.mean()


def test_cosine_blending_has_no_seam_where_flat_has():
    assert jump_at_borders("cosine") < 1e-4
    assert jump_at_borders("flat") > 1e-2


@pytest.mark.parametrize("blend", ["flat", "cosine"])
def test_equal_windows_give_a_constant_map(blend):
    image = np.full((300, 217, 3), 77, np.uint8)
    p = predictor(lambda w: jax.nn.softmax(jnp.concatenate([w, w[..., :1]], -1)))
    probabilities = p.probabilities(image, blend)
    spread = np.ptp(probabilities, axis=(0, 1)) / probabilities.mean((0, 1))
    assert spread.max() < 1e-4


def test_scenes_of_any_size_share_one_compiled_shape():
    traced = []

    @jax.jit
    def score(windows):
        traced.append(windows.shape)
        return position_score(windows)

    for size in ((32, 32), (75, 50), (64, 90), (33, 300), (200, 32)):
        predictor(score)(picture(*size))
    assert traced == [(4, 32, 32, 3)]
    # Sides below the crop are rounded up to patches, as in the evaluation.
    for size in ((9, 90), (16, 40), (3, 33)):
        predictor(score)(picture(*size))
    assert traced == [(4, 32, 32, 3), (4, 16, 32, 3)]


def test_rows_are_read_once_and_in_order():
    asked = []

    def read_rows(start, stop):
        asked.append((start, stop))
        return np.zeros((stop - start, 50, 3), np.float32), np.ones(
            (stop - start, 50), bool
        )

    layout = WINDOWS.lay(200, 50)
    list(read_windows(read_rows, layout, 4, np.float32))
    assert asked[0][0] == 0 and asked[-1][1] == 200
    assert [a[1] for a in asked[:-1]] == [a[0] for a in asked[1:]]
    assert max(stop - start for start, stop in asked) <= CROP


def test_windows_without_data_are_left_out_and_hold_nothing_back():
    def read_rows(start, stop):
        valid = np.zeros((stop - start, 500), bool)
        rows = np.arange(start, stop)
        valid[rows < 3, :5] = True  # one corner of the scene
        return np.zeros((stop - start, 500, 3), np.float32), valid

    layout = WINDOWS.lay(2000, 500)
    batches: list[WindowBatch] = list(read_windows(read_rows, layout, 8, np.float32))
    sent = [b for b in batches if b.windows is not None]
    assert len(sent) == 1 and sent[0].windows.shape == (8, 32, 32, 3)
    assert max(len(b.steps) for b in batches) < 10  # their masks are not piled up


def test_nodata_is_255_and_changes_nothing_elsewhere():
    image = picture(75, 90)
    valid = np.zeros((75, 90), bool)
    valid[40:, 50:] = True
    pixels = np.where(valid[..., None], np.asarray(normalise(image)), 0)

    def read_rows(start, stop):
        return image[start:stop], valid[start:stop]

    p = predictor()
    layout = p.windows.lay(75, 90)
    blocks = list(p.blocks(read_windows(read_rows, layout, 4, image.dtype), layout))
    labels = np.concatenate([b.labels() for b in blocks])
    expected = sliding_scores(position_score, pixels, WINDOWS)
    assert (labels[~valid] == IGNORE).all()
    np.testing.assert_array_equal(labels[valid], expected.argmax(2)[valid])
    shares = np.concatenate([b.probabilities() for b in blocks])
    assert np.isnan(shares[~valid]).all() and np.isfinite(shares[valid]).all()


def test_windows_are_normalised_and_0_without_data():
    image = picture(CROP, CROP)
    valid = np.zeros((CROP, CROP), bool)
    valid[10:, 5:] = True

    def read_rows(start, stop):
        return image[start:stop], valid[start:stop]

    layout = WINDOWS.lay(CROP, CROP)
    batch = next(read_windows(read_rows, layout, 1, image.dtype))
    expected = np.where(valid[..., None], np.asarray(normalise(image)), 0)
    np.testing.assert_allclose(batch.windows[0], expected, atol=1e-6)


def test_scores_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="keep the size"):
        predictor(lambda w: position_score(w)[:, ::2])(picture(40, 40))
    with pytest.raises(ValueError, match="not finite"):
        predictor(lambda w: position_score(w) * jnp.nan)(picture(40, 40))
    with pytest.raises((ValueError, TypeError), match="flat"):  # or by its annotation
        predictor()(picture(40, 40), "sharp")
