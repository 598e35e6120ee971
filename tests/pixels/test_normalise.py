import numpy as np

from crossearth_jax.pixels.imagenet import IMAGENET_GREY, IMAGENET_MEAN
from crossearth_jax.pixels.normalise import denormalise, normalise


def test_known_pixels():
    image = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    expected = [[-2.117904, -2.035714, -1.804444], [2.248908, 2.428571, 2.64]]
    np.testing.assert_allclose(normalise(image)[0], expected, rtol=1e-6)


def test_mean_is_zero_and_inverse():
    np.testing.assert_array_equal(normalise(IMAGENET_MEAN[None, None]), 0)
    image = np.random.default_rng(0).uniform(-20, 300, (2, 4, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(denormalise(normalise(image)), image, atol=1e-4)


def test_the_grey_of_nothing_is_whole_numbers_as_images_have():
    assert IMAGENET_GREY == (124, 116, 104)
    assert all(type(value) is int for value in IMAGENET_GREY)
