import numpy as np
import pytest

from crossearth_jax.scoring.counts import (
    BINS,
    Confidence,
    DomainCounts,
    ImageCounts,
    confidence,
    read_counts,
    write_counts,
)
from crossearth_jax.scoring.metrics import confusion_matrix, confusion_metrics

K = 4


def drawn_domain(images=12, seed=0):
    rng = np.random.default_rng(seed)
    kept = []
    for place in range(images):
        truth = rng.integers(0, K, (16, 16)).astype(np.uint8)
        found = np.where(rng.random((16, 16)) < 0.3, rng.integers(0, K), truth)
        matrix = confusion_matrix(truth, found.astype(np.uint8), K)
        kept.append(ImageCounts.of(place, f"image {place}", matrix))
    return DomainCounts(K, tuple(kept), Confidence.none())


def test_a_cost_is_what_the_domain_gains_without_the_image():
    counts = drawn_domain()
    matrices = [counts.confusion(i) for i in range(12)]
    whole = confusion_metrics(sum(matrices)).miou
    for i, cost in enumerate(counts.costs()):
        rest = sum(m for j, m in enumerate(matrices) if j != i)
        assert cost == pytest.approx(confusion_metrics(rest).miou - whole)
        assert counts.own_miou()[i] == pytest.approx(
            confusion_metrics(matrices[i]).miou
        )


def test_a_domain_comes_back_as_it_was_written(tmp_path):
    counts = drawn_domain()
    write_counts(tmp_path, "there", counts)
    again = read_counts(tmp_path, "there")
    assert [i.name for i in again.images] == [i.name for i in counts.images]
    np.testing.assert_array_equal(again.costs(), counts.costs())
    assert read_counts(tmp_path, "elsewhere") is None
    path = tmp_path / "there.npz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="crossearth eval"):
        read_counts(tmp_path, "there")


def test_five_thousand_images_of_twenty_classes_stay_small(tmp_path):
    rng = np.random.default_rng(0)
    cells = [np.sort(rng.choice(400, 60, replace=False)) for _ in range(5000)]
    images = [
        ImageCounts(i, f"tile_{i:05}.png", c, rng.integers(1, 10**5, 60))
        for i, c in enumerate(cells)
    ]
    write_counts(tmp_path, "big", DomainCounts(20, tuple(images), Confidence.none()))
    assert (tmp_path / "big.npz").stat().st_size < 2e6


def test_confidence_counts_what_was_right_and_nothing_unannotated():
    given = np.float32([[[3, 1], [1, 1]], [[0, 0], [9, 1]]])  # shares .75 .5 0 .9
    truth = np.uint8([[0, 1], [0, 255]])
    found = confidence(given, given.argmax(2).astype(np.uint8), truth)
    assert found.pixels.sum() == 3
    assert found.pixels[[15, 10, 0]].tolist() == [1, 1, 1]
    assert found.right[[15, 10, 0]].tolist() == [1, 0, 1]
    # |1 - .75| + |0 - .5| + |1 - 0| over three pixels
    assert found.ece == pytest.approx((0.25 + 0.5 + 1) / 3)
    assert len(found.pixels) == BINS
    assert np.isnan(Confidence.none().ece)
