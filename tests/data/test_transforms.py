import colorsys
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from crossearth_jax.data import transforms

MMSEG_EDGES_512 = (
    256,
    307,
    358,
    409,
    460,
    512,
    563,
    614,
    665,
    716,
    768,
    819,
    870,
    921,
    972,
    1024,
)


def scene(height=40, width=56, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    label = rng.integers(0, 4, (height, width)).astype(np.uint8)
    return image, label


@pytest.mark.parametrize("size", [(40, 56), (56, 40)])
def test_resize_draws_the_authors_shortest_edges(size):
    # 512 · 0.1 · k rounded down, uniformly; checked at the sizes that come out.
    label = np.zeros((size[0] // 8, size[1] // 8), np.uint8)
    image = np.zeros((*label.shape, 3), np.uint8)
    seen = Counter()
    for seed in range(160):
        rng = np.random.default_rng(seed)
        out, _ = transforms.random_resize(image, label, rng, crop=512)
        seen[min(out.shape[:2])] += 1
        assert abs(max(out.shape[:2]) - min(out.shape[:2]) * 1.4) <= 0.5
    assert set(seen) == set(MMSEG_EDGES_512)
    assert max(seen.values()) < 30


def test_longest_edge_is_bounded():
    # 1000 x 100 at shortest edge 1024 would be 10240 long: the bound wins.
    assert transforms.resized_size((100, 1000), 1024, 2048) == (2048, 205)
    assert transforms.resized_size((1000, 100), 1024, 2048) == (205, 2048)
    assert transforms.resized_size((512, 512), 307, 2048) == (307, 307)
    assert transforms.resized_size((1, 4000), 256, 400) == (400, 1)


def test_resize_is_bilinear_for_the_image_and_nearest_for_the_label():
    image, label = scene()
    resized, labels = transforms.random_resize(
        image, label, np.random.default_rng(0), crop=60, ratios=(1.5,)
    )
    expected = Image.fromarray(image).resize((126, 90), Image.Resampling.BILINEAR)
    # Enlarging only: Pillow antialiases when it shrinks.
    difference = np.abs(resized.astype(int) - np.asarray(expected))
    assert difference.max() <= 1
    rows = np.arange(90) * 40 // 90
    columns = np.arange(126) * 56 // 126
    np.testing.assert_array_equal(labels, label[np.ix_(rows, columns)])


def test_crop_is_a_window_of_image_and_label_alike():
    image, _ = scene(30, 50)
    label = image[:, :, 0]
    corners = set()
    for seed in range(60):
        part, part_label = transforms.random_crop(
            image, label, np.random.default_rng(seed), crop=24
        )
        assert part.shape == (24, 24, 3)
        np.testing.assert_array_equal(part[:, :, 0], part_label)
        windows = np.lib.stride_tricks.sliding_window_view(label, (24, 24))
        found = np.argwhere((windows == part_label).all(axis=(2, 3)))
        assert len(found) == 1
        corners.add(tuple(found[0]))
    assert {c[0] for c in corners} >= {0, 6}  # both borders can be reached
    assert len({c[1] for c in corners}) > 15


def test_crop_keeps_shorter_sides():
    image, label = scene(10, 50)
    part, part_label = transforms.random_crop(
        image, label, np.random.default_rng(0), crop=24
    )
    assert part.shape == (10, 24, 3) and part_label.shape == (10, 24)


def share_of_largest(label):
    counts = Counter(label.reshape(-1).tolist())
    counts.pop(255, None)
    return max(counts.values()) / sum(counts.values())


def test_category_limit_prefers_mixed_windows():
    # Class 1 fills the right eighth: most windows show class 0 alone.
    label = np.zeros((64, 256), np.uint8)
    label[:, 224:] = 1
    image = np.zeros((64, 256, 3), np.uint8)

    def mixed(cat_max_ratio, label=label):
        crops = (
            transforms.random_crop(
                image,
                label,
                np.random.default_rng(seed),
                crop=64,
                cat_max_ratio=cat_max_ratio,
            )[1]
            for seed in range(200)
        )
        return np.mean([share_of_largest(c) < 0.75 for c in crops])

    # A window is good when 17 or more of its 64 columns are class 1: corners 177-192
    # of 0-192. Without limit 16/193; with 10 tries and an 11th, 1 - (1 - 16/193)^11.
    assert mixed(1.0) == pytest.approx(16 / 193, abs=0.05)
    assert mixed(0.75) == pytest.approx(1 - (1 - 16 / 193) ** 11, abs=0.1)
    # Ignored pixels do not dilute: with half of class 0 ignored, 10 columns suffice.
    ignored = label.copy()
    ignored[::2, :224] = 255
    assert mixed(0.75, ignored) == pytest.approx(1 - (1 - 23 / 193) ** 11, abs=0.1)


def test_category_limit_gives_up_on_one_class_or_none():
    image, label = scene()
    for value in (0, 255):
        part, _ = transforms.random_crop(
            image, np.full_like(label, value), np.random.default_rng(0), crop=24
        )
        assert part.shape == (24, 24, 3)


def test_flip_is_a_mirror_half_of_the_time():
    image, label = scene()
    flips = 0
    for seed in range(200):
        out, out_label = transforms.random_flip(
            image, label, np.random.default_rng(seed)
        )
        if flipped := not np.array_equal(out, image):
            np.testing.assert_array_equal(out[:, 3], image[:, -4])
            np.testing.assert_array_equal(out_label[:, 3], label[:, -4])
        else:
            np.testing.assert_array_equal(out_label, label)
        flips += flipped
    assert 75 < flips < 125


def test_scale_and_shift_clips_and_rounds_down():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for scale, shift in ((1.0, -31.7), (1.0, 20.3), (0.5, 0.0), (1.49, 0.0)):
        out = transforms.scale_and_shift(levels, scale=scale, shift=shift)
        for before, after in zip(levels.flat, out.flat, strict=True):
            exact = min(max(float(before) * scale + shift, 0), 255)
            assert after == int(exact + 1e-4)


def hsv(image):
    return np.array(
        [colorsys.rgb_to_hsv(*(p / 255)) for p in image.reshape(-1, 3).astype(float)]
    )


def rgb(values):
    return np.array([colorsys.hsv_to_rgb(*v) for v in values]) * 255


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.3])
def test_saturation_scales_s_of_hsv(scale):
    image, _ = scene(12, 12)
    values = hsv(image)
    values[:, 1] = (values[:, 1] * scale).clip(0, 1)
    out = transforms.adjust_saturation(image, scale).reshape(-1, 3)
    # 8-bit HSV (hue in steps of 2 degrees) is coarse; the mean shows any bias.
    assert np.abs(out - rgb(values)).max() <= 6
    assert np.abs(out - rgb(values)).mean() <= 1.5


@pytest.mark.parametrize("shift", [-18, 9, 17])
def test_hue_turns_by_twice_the_shift_in_degrees(shift):
    image, _ = scene(12, 12)
    values = hsv(image)
    values[:, 0] = (values[:, 0] + shift / 180) % 1
    out = transforms.shift_hue(image, shift).reshape(-1, 3)
    assert np.abs(out - rgb(values)).max() <= 6
    assert np.abs(out - rgb(values)).mean() <= 1.5


def test_distortion_order_and_frequency(monkeypatch):
    calls = []

    def recorded(name):
        def change(image, *args, **kwargs):
            calls.append((next(iter(kwargs), name), *args, *kwargs.values()))
            return image

        return change

    for name in ("scale_and_shift", "adjust_saturation", "shift_hue"):
        monkeypatch.setattr(transforms, name, recorded(name))
    image, label = scene(4, 4)
    orders, amounts = Counter(), {}
    for seed in range(800):
        calls.clear()
        _, out_label = transforms.photometric_distortion(
            image, label, np.random.default_rng(seed)
        )
        assert out_label is label
        orders[tuple(c[0] for c in calls)] += 1
        for name, amount in calls:
            amounts.setdefault(name, []).append(amount)
    short = {
        "shift": "b",
        "scale": "c",
        "adjust_saturation": "s",
        "shift_hue": "h",
    }
    orders = Counter({"".join(short[n] for n in k): v for k, v in orders.items()})
    assert 20 <= orders[""] <= 85  # 800 / 16 = 50 draw nothing
    full = {k: v for k, v in orders.items() if len(k) == 4}
    assert set(full) == {"bcsh", "bshc"} and min(full.values()) >= 8
    for letter in "bcsh":
        assert 340 < sum(v for k, v in orders.items() if letter in k) < 460
    bounds = {"shift": (-32, 32), "scale": (0.5, 1.5), "adjust_saturation": (0.5, 1.5)}
    for name, (low, high) in bounds.items():
        margin = 0.05 * (high - low)
        assert low <= min(amounts[name]) < low + margin
        assert high - margin < max(amounts[name]) <= high
    assert set(amounts["shift_hue"]) == set(range(-18, 18))


def test_distortion_leaves_its_input_alone():
    image, label = scene()
    kept = image.copy()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        out, _ = transforms.photometric_distortion(image[:, ::-1], label, rng)
        assert out.dtype == np.uint8 and out.shape == image.shape
    np.testing.assert_array_equal(image, kept)


def test_pad_fills_bottom_and_right():
    image, label = scene(10, 24)
    out, out_label = transforms.pad_to_crop(image, label, crop=24, fill=(1, 2, 3))
    np.testing.assert_array_equal(out[:10], image)
    np.testing.assert_array_equal(out_label[:10], label)
    assert (out[10:] == (1, 2, 3)).all() and (out_label[10:] == 255).all()
