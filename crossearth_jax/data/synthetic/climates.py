"""What the climates of the synthetic scenes look like: palettes, textures, light."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

Number = int | float  # palettes are written in whole numbers
Paint = tuple[Number, Number, Number]


@dataclass(frozen=True)
class Climate:
    """How the five classes look under one climate; lengths in pixels, RGB 0-255."""

    crops: tuple[Paint, ...]
    hedge: Paint
    soil: Paint
    canopy: tuple[Paint, ...]
    water: tuple[Paint, ...]
    roofs: tuple[Paint, ...]
    road: tuple[Paint, ...]
    parcel: tuple[Number, Number]
    warp: Number
    furrow: Number
    period: Number
    crown: Number
    density: Number  # share of the building plots that are built on
    house: tuple[Number, Number]  # range of a house's sides
    gabled: Number  # share of roofs with two slopes
    shadow: Number  # length of a house's shadow
    tint: Paint  # light per channel, about 1
    haze: Number
    haze_colour: Paint


LOOKS: dict[str, Climate] = {
    "sub": Climate(
        crops=((104, 138, 66), (134, 158, 80), (158, 146, 104), (120, 128, 92)),
        hedge=(86, 96, 62),
        soil=(164, 142, 108),
        canopy=((56, 92, 48), (46, 72, 54), (94, 104, 50)),
        water=((96, 116, 98), (142, 126, 94), (56, 72, 66), (104, 124, 142)),
        roofs=((64, 108, 176), (170, 166, 160), (168, 90, 68), (120, 124, 130)),
        road=((186, 183, 176), (104, 104, 108), (176, 154, 122)),
        parcel=(34, 18),
        warp=7,
        furrow=0.13,
        period=4.5,
        crown=7.5,
        density=0.85,
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
        canopy=((106, 90, 44), (84, 92, 48), (124, 84, 44)),
        water=((46, 82, 86), (92, 104, 84), (66, 78, 100)),
        roofs=((192, 96, 62), (84, 84, 92), (206, 120, 84), (104, 98, 96)),
        road=((98, 98, 102), (124, 118, 110), (190, 166, 124)),
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
        canopy=((48, 72, 70), (62, 78, 60), (52, 60, 66)),
        water=((124, 148, 180), (84, 108, 140), (160, 172, 184)),
        roofs=((86, 150, 160), (146, 76, 56), (208, 208, 212), (72, 80, 98)),
        road=((190, 172, 142), (118, 116, 118), (164, 156, 148)),
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
        canopy=((40, 98, 44), (36, 86, 52), (60, 108, 42)),
        water=((146, 110, 74), (122, 116, 78), (96, 84, 60)),
        roofs=((152, 98, 78), (204, 206, 200), (120, 112, 96), (96, 128, 110)),
        road=((196, 116, 74), (178, 138, 104), (132, 122, 112)),
        parcel=(44, 30),
        warp=3,
        furrow=0.17,
        period=6.0,
        crown=9,
        density=0.75,
        house=(14, 20),
        gabled=0.85,
        shadow=4,
        tint=(1.04, 1.03, 0.92),
        haze=0.14,
        haze_colour=(208, 214, 206),
    ),
}


def season(rng: np.random.Generator, look: Climate) -> Climate:
    """The climate in one place on one day: one kind of wood, water and road.

    Crops ripen, rivers carry silt, concrete weathers: every material also shifts in
    hue, saturation and value. Without this, colour alone would tell the classes of one
    climate apart and nothing else would be learnt.

    Args:
        rng: source of chance.
        look: the climate, with all its kinds.

    Returns:
        The same climate with one canopy, one water and one road.
    """
    one = [
        kinds[rng.integers(len(kinds))]
        for kinds in (look.canopy, look.water, look.road)
    ]
    rgb = np.array([*look.crops, *look.roofs, *one], np.float32)
    hsv = cv2.cvtColor(rgb[None] / 255, cv2.COLOR_RGB2HSV)[0]
    shift = rng.uniform(-1, 1, hsv.shape).astype(np.float32)
    hsv[:, 0] = (hsv[:, 0] + 14 * shift[:, 0]) % 360
    hsv[:, 1:] *= 1 + np.array([0.35, 0.2], np.float32) * shift[:, 1:]
    rgb = (
        cv2.cvtColor(
            hsv.clip(0, [360, 1, 1])[None].astype(np.float32), cv2.COLOR_HSV2RGB
        )[0]
        * 255
    )
    rows = tuple(tuple(row) for row in rgb.tolist())
    n, m = len(look.crops), len(look.roofs)
    return replace(
        look,
        crops=rows[:n],
        roofs=rows[n : n + m],
        canopy=rows[-3:-2],
        water=rows[-2:-1],
        road=rows[-1:],
    )


def random_climate(rng: np.random.Generator) -> Climate:
    """A made-up climate, drawn without a look at `LOOKS`."""

    def colour(hue: tuple[int, int], saturation: float, value: float) -> Paint:
        hsv = [rng.uniform(*hue), saturation, value] * rng.uniform(0.7, 1.3, 3)
        hsv = np.array([[[hsv[0] % 360, min(hsv[1], 1), min(hsv[2], 1)]]], np.float32)
        return tuple((cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0] * 255).tolist())

    any_hue = (0, 360)
    shade = rng.uniform(0.4, 0.8)
    return Climate(
        crops=tuple(colour((20, 120), rng.uniform(0.2, 0.6), shade) for _ in range(4)),
        hedge=colour((30, 120), 0.4, 0.6 * shade),
        soil=colour((10, 50), 0.35, 0.65),
        canopy=(colour((40, 170), 0.45, 0.55 * shade),),
        water=(colour((20, 230), 0.35, rng.uniform(0.25, 0.75)),),
        roofs=tuple(
            colour(any_hue, rng.uniform(0, 0.6), rng.uniform(0.35, 0.85))
            for _ in range(4)
        ),
        road=(colour((10, 60), rng.uniform(0, 0.5), rng.uniform(0.35, 0.8)),),
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
