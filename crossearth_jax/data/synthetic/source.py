"""The embedded demo: overhead scenes with CASID's five classes in four climates.

Nothing is downloaded and nothing is read: a scene is a function of (climate, seed,
index). What a thing *is* does not depend on the climate: fields are furrowed parcels,
forest is a cover of crowns darker than its surroundings, water is large and smooth
with a soft bank, roads are long even bands with markings, houses are boxes that cast a
shadow. What it *looks like* does: colours, texture scale, density, road material,
light and haze all differ, so that colour learned in one climate misleads in another.

The climates carry the names of CASID's domains: subtropical monsoon (sub), temperate
monsoon (tem), tropical monsoon (tms, in a dry season) and tropical rainforest (trf).
"""

import operator
from typing import SupportsIndex

import numpy as np
from jaxtyping import UInt8

from crossearth_jax.data.datasets import Record
from crossearth_jax.data.synthetic import climates, draw, layout
from crossearth_jax.paper.settings import CLIMATES

FIELD, BUILDING, FOREST, ROAD, WATER = range(5)


def draw_scene(climate: str, seed: int, index: int, size: int = 128) -> Record:
    """Draw one labelled scene, the same for the same arguments.

    Args:
        climate: one of `CLIMATES`.
        seed: chooses the set of scenes.
        index: chooses the scene of the set.
        size: side of the square scene in pixels; objects keep their size.

    Returns:
        Record with image [size, size, 3] and label [size, size].

    Raises:
        ValueError: for an unknown climate.
    """
    look = _look(climate)
    rng = np.random.default_rng([CLIMATES.index(climate), seed, index])
    image, label = _draw(rng, climates.season(rng, look), size)
    return Record(image=image, label=label, name=_name(climate, seed, index))


def _look(climate: str) -> climates.Climate:
    if climate not in CLIMATES:
        known = ", ".join(CLIMATES)
        raise ValueError(f"got climate {climate!r}, expected one of {known}")
    return climates.LOOKS[climate]


def _name(climate: str, seed: int, index: int) -> str:
    return f"{climate}_{seed}_{index:05d}"


class SyntheticSource:
    """Random access to scenes of one climate, drawn when first asked for.

    Attributes:
      climate: one of `CLIMATES`.
      size: side of a scene in pixels.
      seed: chooses the set of scenes.
      names: the name of every scene.

    Raises:
      ValueError: for an unknown climate.
    """

    def __init__(
        self, climate: str, count: int, size: int = 128, seed: int = 0
    ) -> None:
        _look(climate)
        self.climate, self.size, self.seed = climate, size, seed
        self.names = tuple(_name(climate, seed, i) for i in range(count))
        self._drawn: dict[int, Record] = {}

    def __len__(self) -> int:
        return len(self.names)

    def fingerprint(self) -> str:
        """Names and size: everything else follows from them."""
        return f"{self.names} {self.size}"

    def __getitem__(self, index: SupportsIndex) -> Record:
        index = operator.index(index)  # a sampler's np.int64 and an int are one key
        if not 0 <= index < len(self):
            raise IndexError(f"got scene {index}, expected 0 to {len(self) - 1}")
        if index not in self._drawn:
            self._drawn[index] = draw_scene(self.climate, self.seed, index, self.size)
        return self._drawn[index]


def field_images(count: int, size: int, seed: int) -> UInt8[np.ndarray, "N H W 3"]:
    """Unlabelled scenes of made-up climates, the pool of Earth styles.

    They stand in for Million-AID's field imagery (method §6). Palette, texture and
    light of every image are drawn at random and know nothing of `CLIMATES`.

    Args:
        count: number of images.
        size: side of an image in pixels.
        seed: chooses the pool.

    Returns:
        Images [count, size, size, 3].
    """
    pool = np.empty((count, size, size, 3), np.uint8)
    for index in range(count):
        rng = np.random.default_rng([len(CLIMATES), seed, index])
        pool[index] = _draw(rng, climates.random_climate(rng), size)[0]
    return pool


def _draw(
    rng: np.random.Generator, look: climates.Climate, size: int
) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"]]:
    """Lay out one scene, then paint it from the ground up: image and label."""
    azimuth = rng.uniform(0, 2 * np.pi)
    sun = np.array([np.cos(azimuth), np.sin(azimuth)])

    shore = layout.lay_water(rng, size)
    roads = layout.lay_roads(rng, size)
    kerb = np.minimum.reduce([road.distance for road in roads])
    taken = (shore < 5) | (kerb < 2)
    houses = layout.lay_houses(rng, roads, taken, look.house, look.density)
    plots = layout.footprints(houses, size, margin=4)
    wood = layout.lay_forest(rng, (shore < 6) | plots | (kerb < 4))
    centre, light, tone = draw.crowns(rng, size, look.crown, sun)
    forest = wood[centre[0], centre[1]] & (kerb > 0) & (shore > 0)

    label = np.full((size, size), FIELD, np.uint8)
    label[shore < 0] = WATER
    label[forest] = FOREST
    label[kerb < 0] = ROAD
    label[layout.footprints(houses, size)] = BUILDING

    image = draw.parcels(rng, size, look)
    image = draw.paint_yards(image, plots, look)
    image = draw.paint_water(rng, image, shore, look)
    image = draw.paint_roads(rng, image, roads, kerb, look)
    image = draw.cast_shadows(image, houses, forest, sun, look.shadow)
    image = draw.paint_forest(image, forest, light, tone, look)
    image = draw.paint_roofs(rng, image, houses, sun, look)
    return draw.expose(rng, image, look), label
