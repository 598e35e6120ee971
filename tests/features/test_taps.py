"""Windows of features, with functions that need no network."""

import numpy as np
import pytest

from crossearth_jax.features.taps import image_features
from crossearth_jax.pixels.normalise import normalise
from crossearth_jax.scoring.windows import Windows

TOKEN, CROP, PATCH = 4, 16, 8


def picture(height, width):
    rng = np.random.default_rng(height)
    return rng.integers(0, 256, (height, width, 3)).astype(np.uint8)


def means(windows):
    """The mean of every token, as the features of one tap in two variants."""
    b, h, w, _ = windows.shape
    tokens = windows.reshape(b, h // TOKEN, TOKEN, w // TOKEN, TOKEN, 3).mean((2, 4))
    return np.stack([tokens, 2 * tokens], 1)[:, :, None]


@pytest.mark.parametrize("size", [(16, 16), (37, 50), (5, 90), (3, 2)])
@pytest.mark.parametrize("batch", [1, 4])
def test_features_lie_where_their_pixels_are(size, batch):
    image = picture(*size)
    windows = Windows(CROP, 11, PATCH, batch)
    seen = []

    def counted(windows):
        seen.append(windows.shape)
        return means(windows)

    features = image_features(counted, image, windows, token=TOKEN)
    grid = -(-size[0] // TOKEN), -(-size[1] // TOKEN)
    below, right = (g * TOKEN - n for g, n in zip(grid, size, strict=True))
    padded = np.pad(normalise(image), ((0, below), (0, right), (0, 0)))
    expected = means(padded[None])[0]
    assert features.shape == (2, 1, *grid, 3)
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert len(set(seen)) == 1 and seen[0][0] == batch
    assert all(n % PATCH == 0 and n <= CROP for n in seen[0][1:3])


def test_overlaps_are_averaged_with_less_weight_at_edges():
    """A function that knows where in its window a token lies."""

    def edges(windows):
        b, h, w, _ = windows.shape
        ramp = np.zeros((b, 1, 1, h // TOKEN, w // TOKEN, 1), np.float32)
        ramp[..., 0, :] = 1  # 1 in the first column of each window
        return ramp

    windows = Windows(CROP, 8, PATCH, batch=1)
    one = image_features(edges, picture(16, 32), windows, token=TOKEN)[0, 0, 0, :, 0]
    assert one[0] == 1  # nothing overlaps here
    inner = one[2]  # first of the second window, third of the first
    assert 0 < inner < 0.25
