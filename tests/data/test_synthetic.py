"""The embedded scenes: repeatable, balanced, shadowed, and not solvable by colour."""

import hashlib
from functools import cache

import numpy as np
import pytest

from crossearth_jax.data.datasets import Record, Source
from crossearth_jax.data.known_classes import CASID
from crossearth_jax.data.prepare import casid
from crossearth_jax.data.synthetic import climates
from crossearth_jax.data.synthetic.source import (
    BUILDING,
    FIELD,
    FOREST,
    ROAD,
    WATER,
    SyntheticSource,
    draw_scene,
    field_images,
)
from crossearth_jax.paper.settings import CLIMATES

K = 5


def test_every_climate_of_the_paper_has_a_look_and_folders():
    assert tuple(climates.LOOKS) == tuple(casid.FOLDERS) == CLIMATES


@cache
def scenes(climate: str, count: int = 24, seed: int = 7) -> list[Record]:
    source = SyntheticSource(climate, count, seed=seed)
    return [source[i] for i in range(count)]


def pixels(climate: str, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    drawn = scenes(climate, seed=seed)
    colours = np.concatenate([scene.image.reshape(-1, 3) for scene in drawn])
    labels = np.concatenate([scene.label.ravel() for scene in drawn])
    return colours, labels.astype(np.intp)


def digest(scene: Record) -> str:
    return hashlib.sha256(scene.image.tobytes() + scene.label.tobytes()).hexdigest()


@pytest.mark.parametrize("climate", CLIMATES)
@pytest.mark.parametrize("size", [64, 128, 200])
def test_a_scene_is_a_record_of_the_asked_size(climate, size):
    scene = draw_scene(climate, 0, 3, size)
    assert scene.image.shape == (size, size, 3) and scene.image.dtype == np.uint8
    assert scene.label.shape == (size, size) and scene.label.dtype == np.uint8
    assert scene.valid and scene.label.max() < K == len(CASID.names)


def test_class_ids_are_casids():
    expected = {
        "background": FIELD,
        "building": BUILDING,
        "forest": FOREST,
        "road": ROAD,
        "water": WATER,
    }
    assert {name.lower(): i for i, name in enumerate(CASID.names)} == expected


def test_the_same_arguments_give_the_same_scene_and_others_another():
    def arguments():
        yield from ((c, s, i) for c in CLIMATES for s in (0, 1) for i in (0, 1))

    first = [digest(draw_scene(*a)) for a in arguments()]
    # drawn again, in another order: nothing may leak from scene to scene
    again = [digest(draw_scene(*a)) for a in reversed(list(arguments()))][::-1]
    assert first == again
    assert len(set(first)) == len(first)


@pytest.mark.parametrize("climate", CLIMATES)
def test_every_class_is_common_and_in_almost_every_scene(climate):
    shares = np.stack(
        [np.bincount(s.label.ravel(), minlength=K) / 128**2 for s in scenes(climate)]
    )
    assert shares.mean(0).min() >= 0.06, shares.mean(0)
    assert (shares > 0.005).all(1).mean() >= 0.9


def test_roads_cross_the_scene():
    for scene in scenes("sub"):
        road = scene.label == ROAD
        sides = [road[0], road[-1], road[:, 0], road[:, -1]]
        assert sum(side.any() for side in sides) >= 2


@pytest.mark.parametrize("climate", CLIMATES)
def test_cues_that_hold_in_every_climate(climate):
    """Forest is darker and rougher than the fields, water the smoothest of all."""
    bright, rough = np.zeros((2, K, len(scenes(climate))))
    for i, scene in enumerate(scenes(climate)):
        grey = scene.image.mean(-1)
        step = np.abs(np.diff(grey, axis=1))
        same = scene.label[:, 1:] == scene.label[:, :-1]
        for k in range(K):
            bright[k, i] = grey[scene.label == k].mean()
            rough[k, i] = step[same & (scene.label[:, 1:] == k)].mean()
    assert (bright[FOREST] < bright[FIELD]).mean() >= 0.9
    assert (rough[FOREST] > rough[WATER] * 1.5).all()
    assert (rough[FIELD] > rough[WATER] * 1.3).mean() >= 0.9
    assert rough[WATER].mean() < rough[[BUILDING, ROAD]].mean()


def test_houses_cast_shadows_on_one_side():
    """Ground within 4 px of a roof is darker on one side than on the opposite one."""
    contrast = []
    for scene in scenes("tem"):
        grey = scene.image.mean(-1)
        roof, open_ground = scene.label == BUILDING, scene.label == FIELD
        beside = []
        for shift in ((0, 4), (4, 0), (0, -4), (-4, 0)):
            near = np.roll(roof, shift, (0, 1)) & open_ground
            beside.append(grey[near].mean())
        contrast.append(
            max(abs(beside[0] - beside[2]), abs(beside[1] - beside[3]))
            / np.mean(beside)
        )
    assert np.mean(contrast) > 0.2


def histogram_classifier(colours, labels):
    """Most likely class per bin of 16³ RGB bins, with Laplace smoothing."""

    def bins(x):
        return (x // 16).astype(np.intp) @ [256, 16, 1]

    counts = np.bincount(bins(colours) * K + labels, minlength=16**3 * K)
    likely = (counts.reshape(-1, K) + 1.0).argmax(1)
    prior = np.bincount(labels).argmax()
    seen = counts.reshape(-1, K).sum(1) > 0
    return lambda x: np.where(seen, likely, prior)[bins(x)]


def gaussian_classifier(colours, labels):
    """One Gaussian per class over RGB: quadratic borders."""
    models = []
    for k in range(K):
        of_class = colours[labels == k].astype(np.float64)
        precision = np.linalg.inv(np.cov(of_class.T) + np.eye(3))
        constant = np.log(len(of_class)) + 0.5 * np.linalg.slogdet(precision)[1]
        models.append((of_class.mean(0), precision, constant))

    def predict(x):
        score = [
            c - 0.5 * (((x - mean) @ precision) * (x - mean)).sum(1)
            for mean, precision, c in models
        ]
        return np.argmax(score, axis=0)

    return predict


def miou(predicted, labels):
    confusion = np.bincount(labels * K + predicted, minlength=K * K).reshape(K, K)
    hit = np.diag(confusion)
    return (hit / (confusion.sum(0) + confusion.sum(1) - hit)).mean()


@pytest.mark.slow
@pytest.mark.parametrize("fit", [histogram_classifier, gaussian_classifier])
def test_colour_learnt_in_one_climate_misleads_in_the_others(fit):
    classify = fit(*pixels("sub"))
    held_out = pixels("sub", seed=8)
    at_home = miou(classify(held_out[0]), held_out[1])
    abroad = np.mean([miou(classify(x), y) for x, y in map(pixels, CLIMATES[1:])])
    assert at_home > 0.45  # the classifier is not a straw man
    assert abroad < 0.35


def test_source_draws_lazily_and_keeps_what_it_drew():
    source = SyntheticSource("trf", 200_000, size=64)
    assert isinstance(source, Source)
    assert len(source) == 200_000
    scene = source[123_456]
    assert source[123_456] is scene
    assert source[np.int64(123_456)] is scene
    assert source.names[123_456] == scene.name
    with pytest.raises(IndexError, match="199999"):
        source[200_000]


def test_an_unknown_climate_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'moon'.*sub.*trf"):
        draw_scene("moon", 0, 0)
    with pytest.raises(ValueError, match=r"'moon'.*sub.*trf"):
        SyntheticSource("moon", 4)


def test_field_pool_is_repeatable_and_varied():
    pool = field_images(12, 64, seed=0)
    assert pool.shape == (12, 64, 64, 3) and pool.dtype == np.uint8
    assert (pool == field_images(12, 64, seed=0)).all()
    assert (pool[:4] == field_images(4, 64, seed=0)).all()
    assert (pool != field_images(12, 64, seed=1)).any((1, 2, 3)).all()
    styles = pool.reshape(12, -1, 3).mean(1)
    assert styles.std(0).min() > 8


def test_field_pool_knows_nothing_of_the_climates(monkeypatch):
    expected = field_images(3, 64, seed=0)
    monkeypatch.setattr(climates, "LOOKS", {})
    assert (field_images(3, 64, seed=0) == expected).all()
