"""Colours that eyes with two kinds of cones tell apart, and those that they do not."""

import numpy as np
import pytest

from crossearth_jax.data import known_classes
from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.infer import distinct_colours
from crossearth_jax.pixels.colour_vision import FAR, accessible, closest, seen
from crossearth_jax.report.pictures import RIGHT, WRONG

KNOWN = {k: v for k, v in vars(known_classes).items() if isinstance(v, ClassSet)}


def test_coordinates_are_those_of_cielab():
    """White, black and the primaries as published."""
    palette = ((255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255))
    published = [
        *((100, 0, 0), (0, 0, 0), (53.24, 80.09, 67.20)),
        *((87.74, -86.18, 83.18), (32.30, 79.19, -107.86)),
    ]
    np.testing.assert_allclose(seen(palette), published, atol=0.05)


def test_a_palette_is_as_scikit_image_has_it():
    color = pytest.importorskip("skimage.color")
    palette = np.random.default_rng(0).integers(0, 256, (50, 3))
    np.testing.assert_allclose(seen(palette), color.rgb2lab(palette / 255), atol=0.02)


@pytest.mark.parametrize("vision", ["protanopia", "deuteranopia"])
def test_red_and_green_of_one_lightness_look_alike_to_them(vision):
    red, green = (200, 90, 0), (120, 130, 0)
    full, reduced = (
        float(np.linalg.norm(np.subtract(*seen((red, green), v))))
        for v in ("full colour vision", vision)
    )
    assert full > 50 and reduced < full / 2
    grey = seen(((40, 40, 40), (90, 90, 90), (255, 255, 255)), vision)
    assert np.abs(grey[:, 1:]).max() < 1  # greys stay grey


def test_the_least_distance_of_each_palette_is_known():
    """ISPRS' green and yellow, CASID's too: reasons for `--palette accessible`."""
    found = {name: round(closest(v.palette)[2]) for name, v in KNOWN.items()}
    several = {"ISPRS": 8, "ISPRS5": 8, "LOVEDA": 8, "CASID": 7}
    assert found == several | {"BUILDING": 100, "ROAD": 100}


@pytest.mark.parametrize("name", KNOWN)
def test_accessible_colours_of_the_benchmark_are_far_apart(name):
    palette = KNOWN[name].palette
    found = accessible(palette)
    assert len(found) == len(palette) and closest(found)[2] > 30 > FAR
    assert closest([*found, (128, 128, 128)])[2] >= 30  # and from ignored pixels
    assert found[0] == palette[0]  # a class keeps its colour where that is free
    assert accessible(found) == found


@pytest.mark.parametrize(("count", "least"), [(8, 30), (20, 17), (255, 2)])
def test_many_classes_are_as_far_apart_as_there_is_room(count, least):
    palette = distinct_colours(count)
    found = accessible(palette)
    assert len(set(found)) == count
    assert closest(found)[2] > max(least, closest(palette)[2])


def test_right_and_wrong_are_told_apart_by_everybody():
    assert closest([RIGHT, WRONG, (128, 128, 128)])[2] > 30
