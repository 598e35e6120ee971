"""Transforms against independent implementations, over many shapes.

Ours use OpenCV; here are scikit-image, NumPy and the steps of mmsegmentation's own code
written out.
"""

import math
from itertools import islice

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from crossearth_jax.data import transforms
from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.datasets import FolderSource
from crossearth_jax.data.folders import parse_domain
from crossearth_jax.data.pipeline import Augment, train_batches

few = settings(max_examples=25, derandomize=True, deadline=None, database=None)
sides = st.integers(1, 70)
seeds = st.integers(0, 10_000)


def scene(height, width, seed=0, classes=4):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    label = rng.integers(0, classes + 1, (height, width)).astype(np.uint8)
    label[label == classes] = 255
    return image, label


def authors_size(height, width, short, longest):
    """Two steps and two roundings, as mmsegmentation resizes to a shortest edge."""
    scale = short / min(height, width)
    new = [short, scale * width] if height < width else [scale * height, short]
    if max(new) > longest:
        scale = longest / max(new)
        new = [n * scale for n in new]
    new = [int(n + 0.5) for n in new]
    factor = min(max(new) / max(height, width), min(new) / min(height, width))
    return int(width * factor + 0.5), int(height * factor + 0.5)


@few
@given(st.integers(200, 6000), st.integers(200, 6000), st.integers(5, 20))
def test_resized_size_is_the_authors(height, width, tenths):
    short = int(51.2 * tenths)
    ours = transforms.resized_size((height, width), short, 2048)
    theirs = authors_size(height, width, short, 2048)
    if max(ours) < 2048:
        assert ours == theirs and min(ours) == short
    else:  # the authors round twice, which makes long strips a little shorter
        assert max(ours) == 2048 and min(ours) == min(theirs)
        assert max(theirs) == pytest.approx(2048, rel=0.5 / min(ours) + 0.5 / 2048)


@few
@given(sides, sides, st.integers(20, 60), st.integers(5, 20))
def test_resize_is_bilinear_and_nearest(height, width, crop, tenths):
    resize = pytest.importorskip("skimage.transform").resize
    image, label = scene(height, width)
    rng = np.random.default_rng(0)
    out, out_label = transforms.random_resize(
        image, label, rng, crop=crop, ratios=(tenths / 10,)
    )
    expected = resize(
        image, out.shape, order=1, mode="edge", anti_aliasing=False, preserve_range=True
    )
    assert np.abs(out - expected).max() <= 1  # OpenCV's weights have 11 bits
    # The corner of the pixel decides, as in the authors' training; where the product is
    # whole, OpenCV may come out just below.
    above, below = (corner_pixels(label, out_label.shape, e) for e in (1e-9, -1e-9))
    whole = above != below
    np.testing.assert_array_equal(out_label[~whole], above[~whole])


def corner_pixels(label, shape, epsilon):
    rows, columns = (
        [max(0, math.floor(i * old / new + epsilon)) for i in range(new)]
        for old, new in zip(label.shape, shape, strict=True)
    )
    return label[np.ix_(rows, columns)]


@few
@given(sides, sides, seeds, st.integers(1, 5))
def test_share_of_the_largest_class(height, width, seed, classes):
    _, label = scene(height, width, seed, classes)
    values, counts = np.unique(label[label != 255], return_counts=True)
    expected = counts.max() / counts.sum() if len(values) else 1.0
    assert transforms._largest_share(label) == pytest.approx(expected)
    assert transforms._largest_share(label[::2, ::-1]) <= 1.0


@few
@given(sides, sides, seeds, st.integers(1, 80))
def test_crop_is_one_window_that_the_limit_accepts(height, width, seed, crop):
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    place = np.dstack([rows, columns, rows])
    _, label = scene(height, width, seed)
    part, part_label = transforms.random_crop(
        place, label, np.random.default_rng(seed), crop=crop
    )
    shape = (min(crop, height), min(crop, width))
    assert part_label.shape == shape and part.shape == (*shape, 3)
    top, left = part[0, 0, :2].tolist()
    window = slice(top, top + crop), slice(left, left + crop)
    np.testing.assert_array_equal(part, place[window])
    np.testing.assert_array_equal(part_label, label[window])


@few
@given(sides, sides, seeds)
def test_flip_is_numpys(height, width, seed):
    image, label = scene(height, width, seed)
    out, out_label = transforms.random_flip(
        image, label, np.random.default_rng(seed), probability=1.0
    )
    np.testing.assert_array_equal(out, np.fliplr(image))
    np.testing.assert_array_equal(out_label, np.fliplr(label))
    still = transforms.random_flip(image, label, np.random.default_rng(seed))
    flipped = np.random.default_rng(seed).random() < 0.5
    np.testing.assert_array_equal(still[0], out if flipped else image)


@few
@given(sides, sides, st.integers(1, 70))
def test_pad_is_numpys(height, width, crop):
    image, label = scene(min(height, crop), min(width, crop))
    out, out_label = transforms.pad_to_crop(image, label, crop=crop, fill=(1, 2, 3))
    margins = [(0, crop - side) for side in label.shape]
    np.testing.assert_array_equal(
        out_label, np.pad(label, margins, constant_values=255)
    )
    for channel, colour in enumerate((1, 2, 3)):
        expected = np.pad(image[:, :, channel], margins, constant_values=colour)
        np.testing.assert_array_equal(out[:, :, channel], expected)


def eight_bit_hsv(image):
    """H in half degrees, S and V to 255, as integers."""
    rgb2hsv = pytest.importorskip("skimage.color").rgb2hsv
    return np.rint(rgb2hsv(image) * (180, 255, 255))


def from_eight_bit(hsv):
    hsv2rgb = pytest.importorskip("skimage.color").hsv2rgb
    return np.rint(hsv2rgb(hsv / (180, 255, 255)) * 255)


@few
@given(seeds, st.floats(0.5, 1.5))
def test_saturation_is_scikit_images(seed, scale):
    image, _ = scene(24, 24, seed)
    hsv = eight_bit_hsv(image)
    hsv[:, :, 1] = np.floor((hsv[:, :, 1] * np.float32(scale)).clip(0, 255))
    out = transforms.adjust_saturation(image, scale)
    assert_rounding_only(np.abs(out - from_eight_bit(hsv)))


@few
@given(seeds, st.integers(-18, 17))
def test_hue_is_scikit_images(seed, shift):
    image, _ = scene(24, 24, seed)
    hsv = eight_bit_hsv(image)
    hsv[:, :, 0] = (hsv[:, :, 0] + shift) % 180
    out = transforms.shift_hue(image, shift)
    assert_rounding_only(np.abs(out - from_eight_bit(hsv)))


def assert_rounding_only(difference):
    """A half rounded the other way moves hue by 2 degrees, 8.5 levels at most."""
    assert np.quantile(difference, 0.97) <= 1
    assert difference.max() <= 9


@few
@given(seeds, st.floats(0.5, 1.5), st.floats(-32, 32))
def test_levels_are_numpys(seed, scale, shift):
    image, _ = scene(16, 16, seed)
    exact = (image.astype(np.float64) * scale + shift).clip(0, 255)
    out = transforms.scale_and_shift(image, scale=scale, shift=shift)
    np.testing.assert_array_less(out - exact, 1e-4)
    np.testing.assert_array_less(exact - out, 1 + 1e-4)


@few
@given(seeds, st.integers(60, 200), st.integers(60, 200))
def test_label_and_image_move_together(seed, height, width):
    """Both show the same blocks; after all changes the image still tells the label."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 5, (height // 20, width // 20), np.uint8)
    label = label.repeat(20, 0).repeat(20, 1)
    image = np.repeat(label[:, :, None] * 50, 3, axis=2)
    augment = Augment(crop=64, photometric=False)
    out, out_label = augment(image, label, np.random.default_rng(seed))
    seen = out_label != 255
    told = np.rint(out[:, :, 1] / 50)
    # Borders of blocks are blended over up to three pixels of a block's 10 or more.
    assert np.mean(told[seen] == out_label[seen]) > 0.75
    inner = seen & (out[:, :, 1] % 50 == 0) & (np.ptp(out, axis=2) == 0)
    assert np.mean(told[inner] == out_label[inner]) > 0.93


@pytest.mark.parametrize("colour", [(255, 0, 0), (210, 90, 30)])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_channels_reach_the_batch_in_the_files_order(tmp_path, suffix, colour):
    """Red stays channel 0, and IR-R-G stays IR, R, G."""
    image = np.full((40, 50, 3), colour, np.uint8)
    label = (np.arange(40 * 50).reshape(40, 50) % 2).astype(np.uint8)
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    if suffix == "tif":
        tifffile.imwrite(tmp_path / "images/a.tif", image, photometric="rgb")
    else:
        Image.fromarray(image).save(tmp_path / "images/a.png")
    Image.fromarray(label).save(tmp_path / "labels/a.png")
    classes = ClassSet(("ground", "building"), ((0, 0, 0), (255, 0, 0)))
    source = FolderSource(parse_domain(str(tmp_path)).find_pairs(), classes, "ids")
    for photometric in (False, True):
        augment = Augment(crop=32, photometric=photometric)
        stream = train_batches(source, augment, batch_size=2, seed=0)
        for batch in islice(stream, 6):
            pixels = batch.image[batch.label != 255].astype(int)
            if photometric:  # hue moves by 36 degrees at most: no channel overtakes
                assert (pixels[:, 0] >= pixels[:, 1:].max(axis=1)).all()
            else:
                assert (pixels == colour).all()
        stream.close()
