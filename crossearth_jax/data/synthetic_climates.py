"""What the climates of the synthetic scenes look like: palettes, textures, light."""

from dataclasses import dataclass

import cv2
import numpy as np

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Climate:
    """How the five classes look under one climate; lengths in pixels, RGB 0-255."""

    crops: tuple[Colour, ...]
    hedge: Colour
    soil: Colour
    canopy: tuple[Colour, Colour]
    water: Colour
    roofs: tuple[Colour, ...]
    road: Colour
    marking: Colour
    parcel: tuple[float, float]
    warp: float
    furrow: float
    period: float
    crown: float
    density: float  # share of the building plots that are built on
    house: tuple[float, float]  # range of a house's sides
    gabled: float  # share of roofs with two slopes
    shadow: float  # length of a house's shadow
    tint: Colour  # light per channel, about 1
    haze: float
    haze_colour: Colour


CLIMATES: dict[str, Climate] = {
    "sub": Climate(
        crops=((104, 138, 66), (134, 158, 80), (158, 146, 104), (120, 128, 92)),
        hedge=(86, 96, 62),
        soil=(164, 142, 108),
        canopy=((48, 84, 46), (64, 100, 52)),
        water=(96, 116, 98),
        roofs=((64, 108, 176), (170, 166, 160), (168, 90, 68), (120, 124, 130)),
        road=(186, 183, 176),
        marking=(232, 230, 222),
        parcel=(34, 18),
        warp=7,
        furrow=0.13,
        period=4.5,
        crown=7.5,
        density=0.95,
        house=(14, 19),
        gabled=0.5,
        shadow=5,
        tint=(1.0, 1.02, 0.99),
        haze=0.08,
        haze_colour=(206, 214, 220),
    ),
    "tem": Climate(
        crops=((192, 164, 108), (170, 148, 100), (136, 132, 74), (128, 100, 74)),
        hedge=(104, 92, 58),
        soil=(184, 160, 124),
        canopy=((92, 90, 44), (120, 92, 46)),
        water=(46, 82, 86),
        roofs=((192, 96, 62), (84, 84, 92), (206, 120, 84), (104, 98, 96)),
        road=(98, 98, 102),
        marking=(206, 202, 186),
        parcel=(60, 14),
        warp=0,
        furrow=0.15,
        period=4.0,
        crown=6.5,
        density=0.8,
        house=(15, 20),
        gabled=0.9,
        shadow=8,
        tint=(1.08, 1.0, 0.88),
        haze=0.04,
        haze_colour=(214, 206, 196),
    ),
    "tms": Climate(
        crops=((206, 192, 152), (152, 136, 116), (98, 84, 76), (164, 160, 108)),
        hedge=(132, 122, 98),
        soil=(188, 176, 156),
        canopy=((40, 64, 66), (56, 76, 70)),
        water=(124, 148, 180),
        roofs=((86, 150, 160), (146, 76, 56), (208, 208, 212), (72, 80, 98)),
        road=(190, 172, 142),
        marking=(218, 204, 178),
        parcel=(64, 52),
        warp=0,
        furrow=0.12,
        period=5.5,
        crown=5.5,
        density=0.7,
        house=(16, 23),
        gabled=0.75,
        shadow=9,
        tint=(0.94, 1.0, 1.1),
        haze=0.02,
        haze_colour=(210, 220, 236),
    ),
    "trf": Climate(
        crops=((88, 152, 50), (116, 166, 62), (176, 98, 60), (138, 142, 60)),
        hedge=(58, 98, 40),
        soil=(182, 108, 70),
        canopy=((26, 74, 34), (40, 94, 40)),
        water=(146, 110, 74),
        roofs=((152, 98, 78), (204, 206, 200), (120, 112, 96), (96, 128, 110)),
        road=(196, 116, 74),
        marking=(214, 144, 104),
        parcel=(44, 30),
        warp=3,
        furrow=0.17,
        period=6.0,
        crown=10,
        density=0.75,
        house=(14, 20),
        gabled=0.85,
        shadow=4,
        tint=(1.04, 1.03, 0.92),
        haze=0.17,
        haze_colour=(208, 214, 206),
    ),
}


def random_climate(rng: np.random.Generator) -> Climate:
    """A made-up climate, drawn without a look at `CLIMATES`."""

    def colour(hue: tuple[int, int], saturation: float, value: float) -> Colour:
        hsv = [rng.uniform(*hue), saturation, value] * rng.uniform(0.7, 1.3, 3)
        hsv = np.array([[[hsv[0] % 360, min(hsv[1], 1), min(hsv[2], 1)]]], np.float32)
        return tuple((cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0] * 255).tolist())

    any_hue = (0, 360)
    shade = rng.uniform(0.4, 0.8)
    road = colour((10, 60), rng.uniform(0, 0.5), rng.uniform(0.35, 0.8))
    return Climate(
        crops=tuple(colour((20, 120), rng.uniform(0.2, 0.6), shade) for _ in range(4)),
        hedge=colour((30, 120), 0.4, 0.6 * shade),
        soil=colour((10, 50), 0.35, 0.65),
        canopy=tuple(colour((40, 170), 0.45, 0.55 * shade) for _ in range(2)),
        water=colour((20, 230), 0.35, rng.uniform(0.25, 0.75)),
        roofs=tuple(
            colour(any_hue, rng.uniform(0, 0.6), rng.uniform(0.35, 0.85))
            for _ in range(4)
        ),
        road=road,
        marking=tuple(min(255.0, 1.25 * c) for c in road),
        parcel=(rng.uniform(30, 70), rng.uniform(14, 50)),
        warp=rng.uniform(0, 7),
        furrow=rng.uniform(0.1, 0.18),
        period=rng.uniform(4, 6.5),
        crown=rng.uniform(5, 11),
        density=rng.uniform(0.3, 0.9),
        house=(14, rng.uniform(16, 23)),
        gabled=rng.uniform(0, 1),
        shadow=rng.uniform(3, 10),
        tint=tuple(rng.uniform(0.88, 1.12, 3).tolist()),
        haze=rng.uniform(0, 0.2),
        haze_colour=tuple(rng.uniform(195, 235, 3).tolist()),
    )
