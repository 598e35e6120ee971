"""Where things lie in a synthetic scene: water, roads, houses and woods.

Lengths are in pixels, positions are (x, y), x to the right and y down. Distances are
signed: negative inside.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import atan, cos, pi, sin

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32

from crossearth_jax.data.synthetic.climates import Number

Plane = Float32[np.ndarray, "H W"]
Vector = Float[np.ndarray, "2"]
Mask = Bool[np.ndarray, "H W"]


@cache
def grid(size: int) -> tuple[Plane, Plane]:
    """The x and y coordinate of every pixel, two planes [H, W]."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    return x, y


def smooth_noise(rng: np.random.Generator, size: int, cell: Number) -> Plane:
    """Noise in about [-1, 1] whose bumps are `cell` pixels wide, [H, W]."""
    n = max(2, round(size / cell) + 1)
    coarse = rng.uniform(-1, 1, (n, n)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def rectangle(
    centre: np.ndarray, heading: Number, length: Number, width: Number
) -> Float[np.ndarray, "4 2"]:
    """Corners (x, y) of a box, round the outline, the long side along `heading`."""
    c, s = cos(heading), sin(heading)
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [length / 2, width / 2]
    return centre + half @ np.array([[c, s], [-s, c]])


def fill(
    canvas: np.ndarray, polygon: np.ndarray, colour: Sequence[float] | float
) -> None:
    """Fill a convex polygon [P, 2] of (x, y), in place; uint8 gets soft edges."""
    soft = cv2.LINE_AA if canvas.ndim == 3 else cv2.LINE_8
    points = np.rint(polygon * 16).astype(np.int32)
    cv2.fillConvexPoly(canvas, points, colour, soft, shift=4)


@dataclass(frozen=True)
class Curve:
    """A gently bending line: a sine around a straight axis through `centre`."""

    centre: Vector
    angle: Number
    bend: Number
    wavelength: Number
    phase: Number

    def coordinates(self, size: int) -> tuple[Plane, Plane]:
        """Distance along and signed distance across the curve, two planes [H, W]."""
        x, y = grid(size)
        dx, dy = x - float(self.centre[0]), y - float(self.centre[1])
        c, s = cos(self.angle), sin(self.angle)
        along, across = dx * c + dy * s, dy * c - dx * s
        k = 2 * pi / self.wavelength
        turn = along * k + self.phase
        offset = self.bend * (np.sin(turn) - sin(self.phase))
        slope = self.bend * k * np.cos(turn)
        return along, (across - offset) / np.sqrt(1 + slope**2)

    def at(self, along: Number, across: Number) -> tuple[Vector, float]:
        """The point (x, y) beside the curve, and the heading of the curve there."""
        k = 2 * pi / self.wavelength
        turn = k * along + self.phase
        offset = self.bend * (sin(turn) - sin(self.phase))
        heading = self.angle + atan(self.bend * k * cos(turn))
        c, s = cos(self.angle), sin(self.angle)
        x = self.centre[0] + along * c - offset * s - across * sin(heading)
        y = self.centre[1] + along * s + offset * c + across * cos(heading)
        return np.array([x, y]), heading


@dataclass(frozen=True)
class Road:
    """A strip along a curve; it begins at `start` (-inf crosses the scene)."""

    curve: Curve
    half: Number  # half the width
    start: Number
    along: Plane
    across: Plane
    distance: Plane  # signed distance to the kerb


@dataclass(frozen=True)
class House:
    """A rectangular footprint, its long axis along the road."""

    centre: Vector
    heading: Number
    length: Number
    width: Number

    def outline(self, margin: Number = 0) -> Float[np.ndarray, "4 2"]:
        """Corners (x, y) in order, `margin` pixels outside the walls."""
        return rectangle(
            self.centre,
            self.heading,
            self.length + 2 * margin,
            self.width + 2 * margin,
        )


def lay_water(rng: np.random.Generator, size: int) -> Plane:
    """Signed distance to the shore of one river or of lakes, [H, W]."""
    if rng.random() < 0.5:
        side = rng.choice([-1, 1]) * rng.uniform(0.12, 0.3) * size
        angle = rng.uniform(0, 2 * np.pi)
        middle = size / 2 + side * np.array([-np.sin(angle), np.cos(angle)])
        bend, wavelength = rng.uniform(5, 11), rng.uniform(100, 160)
        river = Curve(middle, angle, bend, wavelength, rng.uniform(0, 6.3))
        _, across = river.coordinates(size)
        return np.abs(across) - np.float32(rng.uniform(11, 15))
    count = max(1, round((size / 128) ** 2))
    centres = rng.uniform(0.1, 0.9, (count, 2)) * size
    return np.minimum.reduce([lake(rng, size, c, rng.uniform(25, 34)) for c in centres])


def lake(rng: np.random.Generator, size: int, centre: np.ndarray, r: Number) -> Plane:
    """Signed distance to the shore of a round body with an uneven rim, [H, W]."""
    x, y = grid(size)
    reach = np.hypot(x - np.float32(centre[0]), y - np.float32(centre[1]))
    return reach - np.float32(r) * (1 + np.float32(0.28) * smooth_noise(rng, size, 24))


def lay_roads(rng: np.random.Generator, size: int) -> list[Road]:
    """A main road across the scene and side roads that leave it at right angles."""

    def road(centre: np.ndarray, angle: Number, half: Number, start: Number) -> Road:
        bend, phase = rng.uniform(0, 5), rng.uniform(0, 2 * np.pi)
        curve = Curve(centre, angle, bend, 150, phase)
        along, across = curve.coordinates(size)
        distance = np.maximum(np.abs(across) - half, np.float32(start) - along)
        return Road(curve, half, start, along, across, distance)

    centre = size / 2 + rng.uniform(-0.15, 0.15, 2) * size
    main = road(centre, rng.uniform(0, 2 * np.pi), rng.uniform(5.2, 6.4), -np.inf)
    roads = [main]
    for along in np.arange(-0.45 * size, 0.45 * size, 88) + rng.uniform(0, 50):
        junction, heading = main.curve.at(along, 0)
        away = heading + rng.choice([-1, 1]) * np.pi / 2
        roads.append(road(junction, away, rng.uniform(4.7, 5.3), 0))
    return roads


def lay_houses(
    rng: np.random.Generator,
    roads: list[Road],
    taken: Mask,
    sides: tuple[Number, Number],
    density: Number,
) -> list[House]:
    """Houses on both sides of every road, two rows deep, where there is room.

    Args:
        rng: source of chance.
        roads: the roads to build along.
        taken: where nothing may be built.
        sides: shortest and longest side of a house.
        density: share of the free plots that are built on.

    Returns:
        Houses that do not overlap, each with its centre inside the scene.
    """
    occupied = taken.astype(np.uint8)
    size = len(occupied)
    houses = []
    for road in roads:
        for house in _plots(rng, road, sides, size):
            if rng.random() > density or _touches(occupied, house):
                continue
            fill(occupied, house.outline(margin=2), 1)
            houses.append(house)
    return houses


def _plots(
    rng: np.random.Generator, road: Road, sides: tuple[Number, Number], size: int
) -> Iterator[House]:
    for side in (-1, 1):
        along = max(-0.75 * size, road.start + 10)
        while along < 0.75 * size:
            length, width = rng.uniform(*sides, 2)
            for row in range(2):
                setback = road.half + 4 + (row + 0.5) * width + 6 * row
                centre, heading = road.curve.at(along + length / 2, side * setback)
                x, y = centre.tolist()
                if 0 < x < size and 0 < y < size:
                    yield House(centre, heading, length, width)
            along += length + rng.uniform(5, 9)


def footprints(houses: list[House], size: int, margin: Number = 0) -> Mask:
    """The ground under the houses and `margin` pixels around, [size, size]."""
    canvas = np.zeros((size, size), np.uint8)
    for house in houses:
        fill(canvas, house.outline(margin), 1)
    return canvas.astype(bool)


_PROBE = np.mgrid[-1:1:5j, -1:1:5j].reshape(2, -1).T / 2


def _touches(occupied: np.ndarray, house: House) -> bool:
    c, s = cos(house.heading), sin(house.heading)
    sides = np.array(
        [[c * house.length, s * house.length], [-s * house.width, c * house.width]]
    )
    x, y = (house.centre + _PROBE @ sides).clip(0, len(occupied) - 1).astype(np.intp).T
    return bool(occupied[y, x].any())


def lay_forest(rng: np.random.Generator, taken: Mask) -> Mask:
    """Woods where the scene is emptiest, [H, W]; single trees decide the edge."""
    size = len(taken)
    wood = np.zeros((size, size), bool)
    free = (~taken).astype(np.float32)
    for _ in range(max(1, round(1.5 * (size / 128) ** 2))):
        room = cv2.blur(free, (41, 41), borderType=cv2.BORDER_CONSTANT)
        room += 0.1 * smooth_noise(rng, size, 40)
        y, x = np.unravel_index(room.argmax(), room.shape)
        patch = lake(rng, size, np.array([x, y]), rng.uniform(27, 36)) < 0
        wood |= patch
        free[patch] = 0
    return wood & ~taken
