"""Bounded samples of tokens, and the numbers that are made of them."""

import importlib

import numpy as np
import pytest

from crossearth_jax.data.datasets import Record, ScoredDomain
from crossearth_jax.features import gap, plot
from crossearth_jax.features.sample import (
    Bounds,
    Sample,
    sample_domain,
    token_classes,
)


class Drawn:
    """Images whose pixels say their place and class; the last one cannot be read."""

    def __init__(self, count, size=(16, 20)):
        self.count, self.size = count, size
        self.names = [f"i{place}" for place in range(count)]

    def __len__(self):
        return self.count

    def fingerprint(self):
        return ""

    def __getitem__(self, place):
        label = np.zeros(self.size, np.uint8)
        label[:, 8:] = 1
        label[8:, 8:12] = 255
        image = np.stack([np.full(self.size, place), label, label], 2).astype(np.uint8)
        return Record(image, label, self.names[place], valid=place + 1 < self.count)


def corner_pixels(image):
    return image[::4, ::4].astype(np.float32)


def sampled(count=9, **bounds):
    domain = ScoredDomain("d", "unseen", Drawn(count))
    bounds = Bounds(**{"per_class": 10, **bounds})
    return sample_domain(corner_pixels, domain, num_classes=3, token=4, bounds=bounds)


def test_a_token_has_the_class_of_most_of_its_pixels():
    label = np.full((5, 8), 2, np.uint8)
    label[:4, :3] = 1  # three quarters of the first token
    label[:, 6:] = 255
    classes = token_classes(label, 4, 3, 0.75)
    assert classes.tolist() == [[1, 255], [255, 255]]
    assert token_classes(label, 4, 3, 0.76)[0, 0] == 255
    # Beyond the image there is no class: 1 of 4 rows is there.
    assert token_classes(np.ones((5, 4), np.uint8), 4, 3, 0.75).tolist() == [[1], [255]]


def test_a_sample_is_bounded_pure_and_the_same_for_the_same_seed():
    sample = sampled()
    assert np.bincount(sample.classes).tolist() == [10, 10]
    labels, places = sample.features[:, 1], sample.features[:, 0]
    assert (labels == sample.classes).all() and (places == sample.images).all()
    assert len(np.unique(places)) > 3 and 8 not in places  # 8 cannot be read
    again, other = sampled(), sampled(seed=1)
    assert (again.features == sample.features).all()
    assert (other.images != sample.images).any()
    assert len(np.unique(sampled(images=2).images)) <= 2
    assert len(sampled(per_class=500).classes) == 8 * (8 + 10)  # all there are


def test_every_token_has_the_same_chance():
    images = np.concatenate([sampled(seed=seed).images for seed in range(60)])
    counts = np.bincount(images, minlength=8)
    assert counts.min() > 0.6 * counts.mean() and counts.max() < 1.4 * counts.mean()


def test_bounds_that_do_not_fit_and_labels_without_a_class_are_refused():
    with pytest.raises(ValueError, match=r"purity 0.5, expected"):
        Bounds(purity=0.5)
    domain = ScoredDomain("empty", "unseen", Drawn(3))
    with pytest.raises(ValueError, match="no token of one class in domain empty"):
        sample_domain(
            corner_pixels, domain, num_classes=1, token=16, bounds=Bounds(images=2)
        )


def cloud(domain, shift, seed, classes=(80, 80), images=8):
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.repeat(np.arange(len(classes)), classes))
    features = rng.normal(size=(len(ids), 3)) + 3 * ids[:, None] * (1, 0, 0)
    features = features + np.array((0, shift, 0))
    places = rng.integers(0, images, len(ids))
    return Sample(domain, features.astype(np.float32), ids, places)


def test_frechet_of_shifted_and_scaled_clouds_is_known():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(20000, 3))
    assert gap.frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert gap.frechet(a, a + np.array((3, 0, 0))) == pytest.approx(9, rel=1e-6)
    # Standard deviations 1 and 2 in each of three directions: 3 · (2 - 1)².
    assert gap.frechet(a, 2 * rng.normal(size=(20000, 3))) == pytest.approx(3, rel=0.05)


def test_pairs_have_as_many_tokens_of_each_class():
    a, b = cloud("a", 0, 0, (90, 10)), cloud("b", 0, 1, (20, 70, 30))
    one, two = gap.matched(a, b)
    assert np.bincount(one.classes).tolist() == np.bincount(two.classes).tolist()
    assert np.bincount(one.classes).tolist() == [20, 10]


@pytest.mark.slow
def test_gaps_grow_with_the_shift_and_halves_show_the_floor():
    pytest.importorskip("sklearn", reason="needs the extra umap")
    samples = [cloud("a", 0, 0), cloud("near", 0.5, 1), cloud("far", 6, 2)]
    gaps = {(g.first, g.second): g for g in gap.domain_gaps(samples, 0)}
    assert len(gaps) == 6 and gap.domain_gaps(samples, 0) == list(gaps.values())
    floor, near, far = (gaps["a", other] for other in ("a", "near", "far"))
    assert floor.frechet < near.frechet < far.frechet
    assert floor.proxy_a < near.proxy_a < far.proxy_a == pytest.approx(2, abs=0.05)
    assert abs(floor.proxy_a) < 0.5


def test_what_cannot_be_compared_has_no_number():
    pytest.importorskip("sklearn", reason="needs the extra umap")
    a, b = cloud("a", 0, 0, (50,)), cloud("b", 0, 1, (0, 50))
    assert gap.domain_gaps([a, b], 0)[-1] == gap.Gap("a", "b", 0, None, None)
    assert gap.proxy_a(a, cloud("c", 0, 2, (50,), images=1), 0) is None
    # Two images, nearly all tokens in one of them: a number or none, but no crash.
    few = cloud("few", 0, 3, (50,), images=2)
    few.images[:] = np.arange(50) > 0
    assert gap.proxy_a(few, few, 0) is None or gap.proxy_a(few, few, 0) <= 2
    with pytest.raises(ValueError, match="got 3 tokens, expected 5 or more"):
        plot.embed(a.features[:3], 0)
    alone = np.zeros(50, int)
    assert gap.silhouettes(a.features, a.classes, alone, ["a"]) == {
        "all": None,
        "a": None,
    }


def test_silhouettes_are_by_domain():
    pytest.importorskip("sklearn", reason="needs the extra umap")
    rng = np.random.default_rng(0)
    classes, domains = np.tile([0, 1], 100), np.repeat([0, 1], 100)
    apart = rng.normal(size=(200, 2)) + 20 * (classes * (domains == 0))[:, None]
    found = gap.silhouettes(apart, classes, domains, ["good", "bad"])
    assert found["good"] > 0.8 and abs(found["bad"]) < 0.1
    assert found["bad"] < found["all"] < found["good"]


def test_a_missing_library_is_named(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"got no umap .*\[umap\]"):
        gap.needed("umap")
