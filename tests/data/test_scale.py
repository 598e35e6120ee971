"""Trainer and scorer see an object with the same number of pixels."""

import jax
import numpy as np
import pytest

from crossearth_jax.build_data import warn_of_scale
from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.datasets import Record, ScoredDomain
from crossearth_jax.data.pipeline import Augment
from crossearth_jax.data.transforms import native_crop
from crossearth_jax.run_settings import read_settings
from crossearth_jax.scoring.domain import evaluate_domain
from crossearth_jax.scoring.windows import Windows

measure = pytest.importorskip("skimage.measure", reason="needs scikit-image")

CROP, HOUSE = 64, 10
CLASSES = ClassSet(("ground", "house"), ((0, 0, 0), (255, 255, 255)))


def houses(side):
    """Bright houses of 10 x 10 pixels, 20 pixels apart, on dark ground."""
    label = np.zeros((side, side), np.uint8)
    for top in range(5, side - HOUSE, 30):
        for left in range(5, side - HOUSE, 30):
            label[top : top + HOUSE, left : left + HOUSE] = 1
    return np.repeat(label[:, :, None] * 255, 3, axis=2), label


def areas(mask):
    """Pixels of every house that no edge cuts."""
    found = measure.regionprops(measure.label(mask))
    inside = [r for r in found if min(r.bbox) > 0 and max(r.bbox[2:]) < max(mask.shape)]
    return [r.area for r in inside]


def trained(augment, side, draws=20):
    image, label = houses(side)
    rng = np.random.default_rng(0)
    crops = [augment(image, label, rng) for _ in range(draws)]
    return [area for crop, _ in crops for area in areas(crop[:, :, 0] > 127)]


def scored(side):
    """The areas in the windows that a scored image is cut into."""
    image, label = houses(side)
    seen = []

    def score_fn(windows):
        seen.extend(areas(w[:, :, 0] > 0.5) for w in np.asarray(windows))
        return jax.nn.one_hot(np.zeros(windows.shape[:3], int), 2)

    class Source:
        names = ("a",)

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return Record(image, label, "a")

    domain = ScoredDomain("a", "unseen", Source())
    windows = Windows(CROP, CROP, patch=1, batch=1)
    evaluate_domain(score_fn, domain, classes=CLASSES, windows=windows, examples=0)
    return [area for window in seen for area in window]


PLAIN = {"crop": CROP, "ratios": (1.0,), "photometric": False, "cat_max_ratio": 1.0}


def test_native_scale_is_what_scoring_sees():
    native = Augment(**PLAIN, scale_from="native")
    assert set(trained(native, 300)) == set(scored(300)) == {HOUSE**2}
    # The paper's way makes the houses of this image a fifth as long.
    assert max(trained(Augment(**PLAIN), 300)) < (HOUSE / 3) ** 2


@pytest.mark.parametrize("ratio", [0.6, 1.5, 2.0])
def test_factors_are_of_the_files_own_pixels(ratio):
    native = Augment(**PLAIN | {"ratios": (ratio,)}, scale_from="native")
    found = np.mean(trained(native, 300))
    assert found == pytest.approx((HOUSE * ratio) ** 2, rel=0.15)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (10, 300), (1, 1), (63, 65)])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0, 1.7, 40.0])
def test_any_size_gives_a_crop(height, width, ratio):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    label = rng.integers(0, 3, (height, width)).astype(np.uint8)
    cut, cut_label = native_crop(image, label, rng, crop=CROP, ratios=(ratio,))
    assert cut.shape[:2] == cut_label.shape
    assert max(cut_label.shape) <= CROP
    augment = Augment(crop=CROP, ratios=(ratio,), scale_from="native")
    assert augment(image, label, rng)[1].shape == (CROP, CROP)


def test_one_draw_of_the_ratio_and_the_labels_of_the_window():
    image, label = houses(200)
    cut, cut_label = native_crop(
        image, label, np.random.default_rng(3), crop=CROP, ratios=(1.0,)
    )
    assert ((cut[:, :, 0] > 127) == cut_label).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale_from": "own"}, r'data\.scale_from="own", expected shortest_edge or n'),
        ({"ratios": ()}, r"data\.scales=\(\), expected one or more"),
        ({"ratios": (1.0, 0.0)}, r"data\.scales=\(1\.0, 0\.0\)"),
        ({"ratios": (-1.0,)}, r"data\.scales"),
        ({"ratios": (float("nan"),)}, r"data\.scales"),
        ({"crop": 0}, r"data\.crop=0"),
    ],
)
def test_scales_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Augment(**settings)


def test_large_images_in_the_papers_way_are_warned_of(caplog):
    warn_of_scale("shortest_edge", 256, [(512, 512), (4000, 300)])
    warn_of_scale("native", 256, [(3000, 3000)])
    warn_of_scale("shortest_edge", 256, [])
    assert not caplog.text
    warn_of_scale("shortest_edge", 256, [(300, 300), (3000, 3000)])
    assert "11.7 times" in caplog.text and "data.scale_from=native" in caplog.text


def test_the_configurations_choose(tiny_config):
    from configs import folder, whu_building

    made = folder.get_config(), folder.get_config("small"), whu_building.get_config()
    found = [read_settings(config).augment.scale_from for config in made]
    assert found == ["native", "native", "shortest_edge"]
