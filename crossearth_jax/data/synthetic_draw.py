"""Paint for the synthetic scenes: fields, crowns, water, roads, roofs, light.

Colours are RGB on 0-255 and images float32 [H, W, 3] until `expose`, the last step.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from crossearth_jax.data.synthetic_climates import Climate
from crossearth_jax.data.synthetic_layout import House, Road, fill, grid, smooth_noise

Plane = Float32[np.ndarray, "H W"]
Image = Float32[np.ndarray, "H W 3"]
Mask = Bool[np.ndarray, "H W"]


def cover(signed_distance: Plane, softness: float = 1.0) -> Plane:
    """Anti-aliased coverage of the inside (negative distance), [H, W] in [0, 1]."""
    return np.clip(0.5 - signed_distance / softness, 0, 1)


def blend(image: Image, paint: np.ndarray, alpha: Plane) -> Image:
    """Lay paint (a colour [3] or an image [H, W, 3]) over an image."""
    return image + (np.asarray(paint, np.float32) - image) * alpha[..., None]


def parcels(rng: np.random.Generator, size: int, look: Climate) -> Image:
    """Farmland: parcels of one crop each, furrowed along one of their sides."""
    x, y = grid(size)
    angle = rng.uniform(0, np.pi)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    bend = np.float32(look.warp) * smooth_noise(rng, size, 40)
    u = (x * c + y * s + bend) / np.float32(look.parcel[0]) + np.float32(
        rng.uniform(8, 9)
    )
    v = (y * c - x * s + bend) / np.float32(look.parcel[1]) + np.float32(
        rng.uniform(8, 9)
    )
    column = np.floor(v)
    shift = rng.uniform(0, 1, 64).astype(np.float32)
    u = u + shift[column.astype(np.intp) & 63]  # no borders across the whole scene
    row = np.floor(u)
    kind = (row.astype(np.intp) * 13 + column.astype(np.intp) * 29) & 255

    table = np.array(look.crops, np.float32)[rng.integers(len(look.crops), size=256)]
    table *= rng.uniform(0.92, 1.08, (256, 1)).astype(np.float32)
    across = np.where(
        rng.random(256)[kind] < 0.7, v * np.float32(look.parcel[1]), u * look.parcel[0]
    ).astype(np.float32)
    depth = (look.furrow * rng.uniform(0.6, 1.2, 256)).astype(np.float32)[kind]
    ripple = depth * np.sin(across * np.float32(2 * np.pi / look.period))
    image = table[kind] * (1 + ripple + 0.04 * smooth_noise(rng, size, 12))[..., None]

    border = np.minimum(
        (0.5 - np.abs(u - row - 0.5)) * np.float32(look.parcel[0]),
        (0.5 - np.abs(v - column - 0.5)) * np.float32(look.parcel[1]),
    )
    return blend(image, look.hedge, np.float32(0.7) * cover(border - 0.9))


def crowns(
    rng: np.random.Generator, size: int, diameter: float, sun: np.ndarray
) -> tuple[np.ndarray, Plane, Plane]:
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
    ends = [tuple(np.rint(p * 16).astype(int).tolist()) for p in (left, right)]
    cv2.line(canvas, *ends, (colour * 1.25).tolist(), 1, cv2.LINE_AA, shift=4)


def paint_yards(image: Image, plots: Mask, look: Climate) -> Image:
    """Trodden soil around the houses."""
    alpha = 0.6 * cv2.blur(plots.astype(np.float32), (7, 7))
    return blend(image, look.soil, alpha)


def paint_water(
    rng: np.random.Generator, image: Image, shore: Plane, look: Climate
) -> Image:
    """A bank of wet soil that fades into smooth water, darker towards the middle."""
    image = blend(image, np.multiply(look.soil, 0.8), 0.8 * cover(shore - 3, 5.0))
    deep = 1 - 0.012 * np.clip(-shore, 0, 14)
    deep = deep + np.float32(0.02) * smooth_noise(rng, len(shore), 30)
    return blend(image, deep[..., None] * np.float32(look.water), cover(shore, 3.0))


def paint_roads(
    rng: np.random.Generator, image: Image, roads: list[Road], look: Climate
) -> Image:
    """Even bands with lighter edge lines and a dashed centre line."""
    kerb = np.minimum.reduce([road.distance for road in roads])
    wear = 1 + np.float32(0.03) * smooth_noise(rng, len(kerb), 20)
    image = blend(image, wear[..., None] * np.float32(look.road), cover(kerb))
    edge = cover(np.abs(kerb + 1.2) - 0.6)
    for road in roads:
        dashes = (road.along % 9 < 5) & (road.along > road.start)
        middle = cover(np.abs(road.across) - 0.6) * dashes
        edge = np.maximum(edge, middle)
    return blend(image, look.marking, edge * (kerb < 0))


def cast_shadows(
    image: Image, houses: list[House], forest: Mask, sun: np.ndarray, length: float
) -> Image:
    """Darken, a little bluish, what houses and trees keep the sun from."""
    shade = np.zeros(forest.shape, np.uint8)
    away = -sun * length
    for house in houses:
        outline = house.outline()
        hull = cv2.convexHull(
            np.concatenate([outline, outline + away]).astype(np.float32)
        )
        fill(shade, hull[:, 0], 1)
    move = np.float32([[1, 0, 0.5 * away[0]], [0, 1, 0.5 * away[1]]])
    shade |= cv2.warpAffine(forest.astype(np.uint8), move, shade.shape[::-1])
    alpha = cv2.blur(shade.astype(np.float32), (2, 2))
    return image * (1 - alpha[..., None] * np.float32([0.58, 0.55, 0.48]))


def paint_forest(
    image: Image, forest: Mask, light: Plane, tone: Plane, look: Climate
) -> Image:
    """Crowns between two tones of the climate's canopy."""
    dark, pale = np.float32(look.canopy)
    trees = (dark + (pale - dark) * tone[..., None]) * light[..., None]
    return np.where(forest[..., None], trees, image)


def paint_roofs(
    rng: np.random.Generator,
    image: Image,
    houses: list[House],
    sun: np.ndarray,
    look: Climate,
) -> Image:
    """Gabled and flat roofs in the climate's colours."""
    canvas = image.clip(0, 255).astype(np.uint8)
    for house in houses:
        colour = np.array(look.roofs[rng.integers(len(look.roofs))])
        colour = colour * rng.uniform(0.9, 1.08)
        roof(canvas, house.outline(), colour, sun, rng.random() < look.gabled)
    return canvas.astype(np.float32)


def expose(
    rng: np.random.Generator, image: Image, look: Climate
) -> UInt8[np.ndarray, "H W 3"]:
    """Light, clouds' thin shade, haze and the sensor's noise."""
    size = len(image)
    gain = rng.uniform(0.92, 1.08) * (1 + 0.04 * smooth_noise(rng, size, 90))
    image = image * (gain[..., None] * np.float32(look.tint))
    image = image + np.float32(look.haze) * (np.float32(look.haze_colour) - image)
    image = image + 2.5 * rng.standard_normal(image.shape, np.float32)
    return image.clip(0, 255).astype(np.uint8)
