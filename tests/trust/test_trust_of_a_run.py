"""What a run keeps of its source, and how it judges other domains by it."""

import dataclasses

import numpy as np
import pytest
from trust.painted import CLASSES, WINDOWS, baseline, bright_is_roof, colours, domain

from crossearth_jax.trust import kept
from crossearth_jax.trust.baseline import measure_baseline
from crossearth_jax.trust.estimate import entry, estimate, sentence
from crossearth_jax.trust.evidence import Evidence
from crossearth_jax.trust.judge import judge_domain
from crossearth_jax.trust.watched import watched


@pytest.fixture(scope="module")
def own():
    return baseline()


def judged(own, **painted):
    return judge_domain(own, bright_is_roof, colours, domain(**painted), WINDOWS)


def test_the_source_is_expected_as_it_is(own):
    found = judged(own)
    assert 0.6 < found.accuracy < 0.99
    assert found.found.accuracy == pytest.approx(found.accuracy, abs=0.02)
    assert found.found.miou == pytest.approx(found.miou, abs=0.06)
    assert found.found.low <= found.found.accuracy <= found.found.high
    assert found.found.outside < 0.03
    assert found.found.distance < 0.05


def test_fog_lowers_what_is_expected_and_looks_strange(own):
    near, far = judged(own), judged(own, name="fog", role="unseen", fog=0.7)
    assert far.accuracy < near.accuracy - 0.1
    assert far.found.accuracy < near.found.accuracy - 0.05
    assert far.found.miou < near.found.miou
    assert far.found.distance > 10 * near.found.distance
    assert set(entry(far.found)) >= {"estimated_accuracy", "low", "high", "outside"}
    words = sentence(far.found, own.accuracy)
    assert f"expected accuracy {far.found.accuracy:.2f}" in words
    assert "% of the area looks like nothing seen in training" in words


def test_labels_of_an_unseen_domain_change_no_estimate(own):
    plain = judged(own, name="far", role="unseen", fog=0.3)
    source = domain(name="far", role="unseen", fog=0.3)
    turned = source.source.__class__.__getitem__

    class Wrong(source.source.__class__):
        def __getitem__(self, index):
            record = turned(self, index)
            label = np.where(record.label == 255, 255, 1 - record.label)
            return dataclasses.replace(record, label=label.astype(np.uint8))

    wrong = dataclasses.replace(source, source=Wrong(fog=0.3))
    other = judge_domain(own, bright_is_roof, colours, wrong, WINDOWS)
    assert other.accuracy == pytest.approx(1 - plain.accuracy)
    assert other.found.accuracies == plain.found.accuracies


def test_what_is_kept_comes_back(own, tmp_path):
    kept.write_baseline(tmp_path, own, "weights")
    again = kept.read_baseline(tmp_path, CLASSES.names, "weights")
    assert again.accuracy == own.accuracy
    first, second = judged(own, fog=0.4), judged(again, fog=0.4)
    assert first.found.accuracies == second.found.accuracies
    assert first.found.distance == second.found.distance
    assert (tmp_path / kept.FOLDER / kept.NAME).stat().st_size < 200_000


@pytest.mark.parametrize(
    ("classes", "weights", "message"),
    [
        (CLASSES.names, "others", r"of weights w, expected those .* others"),
        (("a", "b"), "w", "of classes ground, roof & wall, expected a, b"),
    ],
)
def test_another_runs_file_is_refused(own, tmp_path, classes, weights, message):
    kept.write_baseline(tmp_path, own, "w")
    with pytest.raises(ValueError, match=message):
        kept.read_baseline(tmp_path, classes, weights)


def test_a_missing_or_damaged_file_says_what_to_do(own, tmp_path):
    with pytest.raises(ValueError, match=r"set data\.source and eval\.trust"):
        kept.read_baseline(tmp_path, CLASSES.names, "w")
    file = kept.write_baseline(tmp_path, own, "w")
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"damaged .*score the run again"):
        kept.read_baseline(tmp_path, CLASSES.names, "w")


def test_a_source_of_one_class_tells_nothing():
    with pytest.raises(ValueError, match="labels show 1 class, expected two or more"):
        measure_baseline(
            bright_is_roof,
            colours,
            domain(classes=1),
            classes=CLASSES.names,
            windows=WINDOWS,
        )


def test_no_valid_pixel_is_an_error(own):
    with pytest.raises(ValueError, match="no valid pixel"):
        estimate(own, Evidence.none(2))


def test_padding_and_repeated_windows_are_not_seen():
    windows = np.random.default_rng(0).normal(size=(3, 32, 32, 3))
    windows[0, :8] = 0  # a row of tokens without data
    windows[2] = windows[1]  # fills the batch
    seen = []
    scores = watched(bright_is_roof, colours, seen.append)(windows)
    np.testing.assert_array_equal(scores, bright_is_roof(windows))
    assert [one.shape for one in seen] == [(2, 12 + 16, 6)]
