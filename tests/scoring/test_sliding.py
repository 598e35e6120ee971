import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from outside import FIXTURES, needs_fixtures

from crossearth_jax.scoring.sliding import sliding_scores, stream_scores
from crossearth_jax.scoring.windows import Windows, window_length, window_origins

WINDOWS = Windows(crop=32, stride=21, patch=16, batch=2)


def image(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(height, width, 3)).astype(np.float32)


def position_score(windows):
    """Depends on the pixel and on its place in the window, so overlaps differ."""
    place = jnp.arange(windows.shape[1])[:, None] + jnp.arange(windows.shape[2])
    return jnp.concatenate([windows, windows[..., :2] * place[..., None]], -1)


def plain_loop(picture, crop, stride):
    """The definition, for images no shorter than the crop."""
    height, width, _ = picture.shape
    total, count = np.zeros((height, width, 5)), np.zeros((height, width, 1))
    for y in range(0, height, stride):
        for x in range(0, width, stride):
            y, x = min(y, height - crop), min(x, width - crop)
            area = np.s_[y : y + crop, x : x + crop]
            total[area] += position_score(picture[area][None])[0]
            count[area] += 1
            if x + crop == width:
                break
        if y + crop == height:
            break
    return total / count


@pytest.mark.parametrize(
    ("size", "crop", "stride", "expected"),
    [
        (150, 64, 43, [0, 43, 86]),
        (110, 64, 43, [0, 43, 46]),
        (64, 64, 43, [0]),
        (65, 64, 43, [0, 1]),
        (107, 64, 43, [0, 43]),
        (40, 64, 43, [0]),
        (1500, 1024, 683, [0, 476]),
    ],
)
def test_window_origins(size, crop, stride, expected):
    assert window_origins(size, crop, stride) == expected


def test_every_pixel_is_covered_and_no_window_leaves_the_image():
    for size in range(1, 90):
        for crop, stride in ((16, 11), (16, 16), (16, 1)):
            origins = window_origins(size, crop, stride)
            covered = {p for o in origins for p in range(o, min(o + crop, size))}
            assert covered == set(range(size))
            assert len(set(origins)) == len(origins)
            assert max(origins) + min(crop, size) == size


@pytest.mark.parametrize("bad", [(10, 8, 9), (0, 8, 4), (10, 8, 0)])
def test_gaps_are_refused(bad):
    with pytest.raises(ValueError, match="stride <= crop"):
        window_origins(*bad)


def test_short_axes_are_rounded_up_to_patches():
    lengths = [window_length(n, 128, 16) for n in (96, 97, 127, 128, 500, 1)]
    assert lengths == [96, 112, 128, 128, 128, 16]


@pytest.mark.parametrize("batch", [1, 4, 50])
def test_equals_a_plain_loop(batch):
    picture = image(75, 50)
    got = sliding_scores(position_score, picture, WINDOWS.changed(batch=batch))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, plain_loop(picture, 32, 21), atol=1e-4)


def test_short_image_is_padded_and_cut():
    seen = []

    def score(windows):
        seen.append(np.asarray(windows))
        return windows

    picture = image(20, 70)
    got = sliding_scores(score, picture, WINDOWS)
    np.testing.assert_allclose(got, picture, atol=1e-6)
    assert {w.shape for w in seen} == {(2, 32, 32, 3)}
    assert not any(w[:, 20:].any() for w in seen)

    seen.clear()
    picture = image(9, 70)
    got = sliding_scores(score, picture, WINDOWS)
    np.testing.assert_allclose(got, picture, atol=1e-6)
    assert {w.shape for w in seen} == {(2, 16, 32, 3)}


def test_images_share_batches_and_keep_their_order():
    sizes = [(32, 32), (75, 50), (20, 40), (32, 32), (33, 32), (40, 64)]
    pictures = [image(*size, seed=i) for i, size in enumerate(sizes)]
    four, one = WINDOWS.changed(batch=4), WINDOWS.changed(batch=1)
    together = list(stream_scores(position_score, pictures, four))
    assert len(together) == len(pictures)
    for picture, got in zip(pictures, together, strict=True):
        alone = sliding_scores(position_score, picture, one)
        np.testing.assert_allclose(got, alone, atol=1e-5)


def test_one_window_images_fill_the_batches():
    calls = []

    def score(windows):
        calls.append(windows.shape)
        return windows

    pictures = [image(32, 32, seed=i) for i in range(9)]
    list(stream_scores(score, pictures, WINDOWS.changed(batch=4)))
    assert calls == [(4, 32, 32, 3)] * 3


def test_images_are_read_only_as_they_are_needed():
    read = []

    def pictures():
        for i in range(20):
            read.append(i)
            yield image(32, 32, seed=i)

    stream = stream_scores(position_score, pictures(), WINDOWS)
    next(stream)
    assert len(read) <= 4


def test_a_jitted_function_compiles_once():
    traces = []

    @jax.jit
    def score(windows):
        traces.append(windows.shape)
        return position_score(windows)

    for size in ((75, 50), (33, 90), (32, 32)):
        sliding_scores(score, image(*size), WINDOWS.changed(batch=4))
    assert traces == [(4, 32, 32, 3)]


def test_bad_arguments_are_refused():
    for changes, message in (
        ({"crop": 30}, "got crop 30 and patch 16, expected a crop of whole patches"),
        ({"stride": 33}, "got crop 32, stride 33, .* stride <= crop"),
        ({"stride": 0}, "stride <= crop"),
        ({"batch": 0}, "got batch 0, expected 1 or more windows"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(WINDOWS, **changes)
    picture = image(40, 40)
    with pytest.raises(ValueError, match="keep the size"):
        sliding_scores(lambda w: w[:, ::2], picture, WINDOWS)
    with pytest.raises(ValueError, match="got 1 results, expected 2"):
        sliding_scores(lambda w: w[:1], picture, WINDOWS)


@needs_fixtures("slide.npz")
@pytest.mark.parametrize("case", ["S64", "S128", "S128small"])
def test_the_authors_windows_and_average(case):
    recorded = np.load(FIXTURES / "slide.npz")
    crop, _, stride, _ = recorded[f"{case}/crop_size_stride"].tolist()
    picture = recorded[f"{case}/input"][0].transpose(1, 2, 0)  # [H, W, 3]
    corners = recorded[f"{case}/windows_y1y2x1x2"]
    height, width, _ = picture.shape
    origins = [
        (y, x)
        for y in window_origins(height, crop, stride)
        for x in window_origins(width, crop, stride)
    ]
    np.testing.assert_array_equal(origins, corners[:, [0, 2]])
    replayed = iter(range(len(corners)))

    def replay(windows):
        results = []
        for window in windows:
            i = next(replayed, None)
            if i is None:  # a repeated window that only fills the batch
                results.append(np.full_like(results[-1], np.nan))
                continue
            y1, y2, x1, x2 = corners[i]
            np.testing.assert_array_equal(window, picture[y1:y2, x1:x2])
            results.append(recorded[f"{case}/window{i}_logits"][0].transpose(1, 2, 0))
        return np.stack(results)

    got = sliding_scores(replay, picture, Windows(crop, stride, 16, batch=4))
    assert next(replayed, None) is None
    expected = recorded[f"{case}/logits"][0].transpose(1, 2, 0)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(got.argmax(-1), recorded[f"{case}/argmax"][0])
