"""Paint for the synthetic scenes: fields, crowns, water, roads, roofs, light.

Colours are RGB on 0-255. Until `expose`, the last step, an image is float32 [3, H, W]:
with the channel first, a plane of light or coverage multiplies it without copies.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

from crossearth_jax.data.synthetic.climates import Climate, Number, Paint
from crossearth_jax.data.synthetic.layout import (
    House,
    Road,
    fill,
    grid,
    smooth_noise,
)

Plane = Float32[np.ndarray, "H W"]
Image = Float32[np.ndarray, "3 H W"]
Mask = Bool[np.ndarray, "H W"]


def ink(colour: Paint) -> Float32[np.ndarray, "3 1 1"]:
    """A colour that broadcasts over an image."""
    return np.array(colour, np.float32)[:, None, None]


def cover(signed_distance: Plane, softness: Number = 1.0) -> Plane:
    """Anti-aliased coverage of the inside (negative distance), [H, W] in [0, 1]."""
    return np.clip(0.5 - signed_distance * (1 / softness), 0, 1)


def blend(image: Image, paint: np.ndarray, alpha: Plane) -> Image:
    """Lay paint ([3, 1, 1] or [3, H, W]) over an image."""
    return image + (paint - image) * alpha


def parcels(rng: np.random.Generator, size: int, look: Climate) -> Image:
    """Farmland: parcels of one crop each, furrowed along one of their sides."""
    x, y = grid(size)
    angle = rng.uniform(0, np.pi)
    c, s = float(np.cos(angle)), float(np.sin(angle))
    length, width = look.parcel
    bend = look.warp * smooth_noise(rng, size, 40)
    u = (x * c + y * s + bend) * (1 / length) + rng.uniform(8, 9)
    v = (y * c - x * s + bend) * (1 / width) + rng.uniform(8, 9)
    column = np.floor(v)
    shift = rng.uniform(0, 1, 64).astype(np.float32)
    u += shift[column.astype(np.intp) & 63]  # no borders across the whole scene
    row = np.floor(u)
    kind = (row * 13 + column * 29).astype(np.intp) & 255  # [H, W], one a parcel

    crop = np.array(look.crops, np.float32)[rng.integers(len(look.crops), size=256)]
    crop *= rng.uniform(0.92, 1.08, (256, 1)).astype(np.float32)
    depth = (look.furrow * rng.uniform(0.6, 1.2, 256)).astype(np.float32)
    across = np.where((rng.random(256) < 0.7)[kind], v * width, u * length)
    ripple = depth[kind] * np.sin(across * (2 * np.pi / look.period))
    growth = 1 + ripple + 0.04 * smooth_noise(rng, size, 12)
    image = np.stack([channel[kind] for channel in crop.T]) * growth  # [3, H, W]

    border = np.minimum(
        (0.5 - np.abs(u - row - 0.5)) * length,
        (0.5 - np.abs(v - column - 0.5)) * width,
    )
    return blend(image, ink(look.hedge), 0.7 * cover(border - 0.9))


def crowns(
    rng: np.random.Generator, size: int, diameter: Number, sun: np.ndarray
) -> tuple[Int[np.ndarray, "2 H W"], Plane, Plane]:
    """Tree crowns that fill the plane: a jittered grid of domes lit by the sun.

    Args:
        rng: source of chance.
        size: side of the image.
        diameter: mean diameter of a crown.
        sun: unit vector (x, y) towards the sun.

    Returns:
        For every pixel the (y, x) of its crown's centre [2, H, W] int, the light on
        the crown [H, W] around 1, and a random number per crown [H, W] in [0, 1].
    """
    n = int(np.ceil(size / diameter)) + 1
    centres = (np.mgrid[:n, :n].reshape(2, -1) + rng.uniform(0, 0.75, (2, n * n))).T
    centres = np.clip(centres * diameter, 0, size - 1).astype(np.intp)
    seeds = np.ones((size, size), np.uint8)
    seeds[centres[:, 0], centres[:, 1]] = 0
    reach, owner = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner = owner.astype(np.intp)
    where = np.zeros((2, n * n + 1), np.intp)
    where[:, owner[seeds == 0]] = np.nonzero(seeds == 0)
    centre = where[:, owner]  # [2, H, W]
    x, y = grid(size)
    facing = (x - centre[1]) * np.float32(sun[0]) + (y - centre[0]) * np.float32(sun[1])
    relative = reach / np.float32(diameter * 0.62)
    light = 1.12 + 0.45 * facing / np.float32(diameter) - 0.62 * relative**2
    tone = rng.random(n * n + 1).astype(np.float32)[owner]
    return centre, np.maximum(light, 0.35).astype(np.float32), tone


def roof(
    canvas: np.ndarray,
    corners: Float[np.ndarray, "4 2"],
    colour: np.ndarray,
    sun: np.ndarray,
    gabled: bool,
) -> None:
    """Paint one roof in place: two slopes and a ridge, or a flat roof and its rim.

    Args:
        canvas: uint8 image [H, W, 3].
        corners: outline, the ridge parallel to the first side.
        colour: RGB of the roof in full light.
        sun: unit vector (x, y) towards the sun.
        gabled: two slopes if true.
    """
    if not gabled:
        fill(canvas, corners, (colour * 0.72).tolist())
        inner = corners + (corners.mean(0) - corners) * 0.16
        return fill(canvas, inner, (colour * 1.05).tolist())
    a, b, c, d = corners
    left, right = (a + d) / 2, (b + c) / 2
    out = (a - d) / np.linalg.norm(a - d)
    slope = 0.2 * float(out @ sun)
    fill(canvas, corners, (colour * (1 - slope)).tolist())
    fill(canvas, np.array([a, b, right, left]), (colour * (1 + slope)).tolist())
    start, end = (np.rint(p * 16).astype(int).tolist() for p in (left, right))
    cv2.line(canvas, start, end, (colour * 1.25).tolist(), 1, cv2.LINE_AA, shift=4)


def paint_yards(image: Image, plots: Mask, look: Climate) -> Image:
    """Trodden soil around the houses."""
    alpha = 0.6 * cv2.blur(plots.astype(np.float32), (7, 7))
    return blend(image, ink(look.soil), alpha)


def paint_water(
    rng: np.random.Generator, image: Image, shore: Plane, look: Climate
) -> Image:
    """A bank of wet soil that fades into smooth water, darker towards the middle."""
    image = blend(image, 0.8 * ink(look.soil), 0.8 * cover(shore - 3, 5))
    deep = 1 + 0.012 * np.clip(shore, -14, 0) + 0.02 * smooth_noise(rng, len(shore), 30)
    return blend(image, ink(look.water[0]) * deep, cover(shore, 3))


def paint_roads(
    rng: np.random.Generator,
    image: Image,
    roads: list[Road],
    kerb: Plane,
    look: Climate,
) -> Image:
    """Even bands with lighter edge lines and a dashed centre line."""
    lines = cover(np.abs(kerb + 1.2) - 0.6)
    for road in roads:
        dashes = (np.sin(road.along * (2 * np.pi / 9)) > -0.2) & (
            road.along > road.start
        )
        lines = np.maximum(lines, cover(np.abs(road.across) - 0.6) * dashes)
    wear = 1 + 0.03 * smooth_noise(rng, len(kerb), 20)
    band = ink(look.road[0]) * wear
    band += (235 - band) * (0.45 * lines)
    return blend(image, band, cover(kerb))


def cast_shadows(
    image: Image, houses: list[House], forest: Mask, sun: np.ndarray, length: Number
) -> Image:
    """Darken, a little bluish, what houses and trees keep the sun from."""
    away = -length * sun
    move = np.array([[1, 0, away[0] / 2], [0, 1, away[1] / 2]])
    shade = cv2.warpAffine(forest.astype(np.uint8), move, forest.shape[::-1])
    for house in houses:
        outline = house.outline()
        ends = np.concatenate([outline, outline + away]).astype(np.float32)
        fill(shade, cv2.convexHull(ends)[:, 0], 1)
    return image * (
        1 - ink((0.58, 0.55, 0.48)) * cv2.blur(shade.astype(np.float32), (2, 2))
    )


def paint_forest(
    image: Image, forest: Mask, light: Plane, tone: Plane, look: Climate
) -> Image:
    """Crowns of one kind, each a little paler or darker."""
    trees = ink(look.canopy[0]) * (light * (0.88 + 0.24 * tone))
    return np.where(forest, trees, image)


def paint_roofs(
    rng: np.random.Generator,
    image: Image,
    houses: list[House],
    sun: np.ndarray,
    look: Climate,
) -> Image:
    """Gabled and flat roofs in the climate's colours."""
    canvas = cv2.merge(list(image.clip(0, 255).astype(np.uint8)))
    for house in houses:
        colour = np.array(look.roofs[rng.integers(len(look.roofs))])
        colour = colour * rng.uniform(0.9, 1.08)
        roof(canvas, house.outline(), colour, sun, rng.random() < look.gabled)
    return np.stack(cv2.split(canvas)).astype(np.float32)


def expose(
    rng: np.random.Generator, image: Image, look: Climate
) -> UInt8[np.ndarray, "H W 3"]:
    """Sunlight, the thin shade of clouds, haze and the sensor's noise."""
    size = image.shape[-1]
    clouds = rng.uniform(0.92, 1.08) * (1 + 0.04 * smooth_noise(rng, size, 90))
    image = image * (ink(look.tint) * (1 - look.haze)) * clouds
    image += ink(look.haze_colour) * look.haze
    noise = rng.integers(256, size=image.shape, dtype=np.uint8)
    image += noise * np.float32(2.5 / 74) - 4.3  # a deviation of 2.5, mean 0
    return cv2.merge(list(image.clip(0, 255).astype(np.uint8)))
