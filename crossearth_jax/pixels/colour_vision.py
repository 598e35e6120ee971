"""How far apart colours look, to those who see two kinds of cones as well.

One man in twelve lacks the cones for long (protanopia) or middle (deuteranopia) waves,
or has weak ones. Their view of a colour is a linear map of its light (Machado, Oliveira
and Fernandes, "A physiologically-based model for simulation of color vision
deficiency", 2009, severity 1); distances are those of CIELAB (CIE 1976), in which 2.3
is just noticeable beside each other.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from crossearth_jax.pixels.labels import IGNORED, Colour

# Light seen from light shown, both linear RGB.
VISION = {
    "full colour vision": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
# XYZ from linear sRGB, relative to its white (D65).
XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
XYZ = XYZ / XYZ.sum(1, keepdims=True)
FAR = 20.0  # in CIELAB: told apart in a map, where colours lie away from each other
PALETTES = ("run", "accessible")  # `shown_palette`
WANTED = 30.0  # in palettes that are made here
STEPS = (0, 36, 73, 109, 146, 182, 219, 255)  # of a channel
GRID: list[Colour] = [(r, g, b) for r in STEPS for g in STEPS for b in STEPS]


def seen(
    palette: Sequence[Colour], vision: str = "full colour vision"
) -> Float[np.ndarray, "K 3"]:
    """CIELAB coordinates of colours as such eyes see them.

    Args:
      palette: K colours, sRGB.
      vision: a key of `VISION`.
    """
    srgb = np.asarray(palette, float).reshape(-1, 3) / 255
    light = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    light = np.clip(light @ VISION[vision].T, 0, 1)  # [K, 3]
    xyz = light @ XYZ.T
    root = np.where(
        xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29
    )
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def distances(
    colours: Sequence[Colour], others: Sequence[Colour]
) -> Float[np.ndarray, "K L"]:
    """Distance of each colour to each other one, to the eyes that see it smallest."""
    each = [
        np.linalg.norm(seen(colours, v)[:, None] - seen(others, v)[None], axis=2)
        for v in VISION
    ]
    return np.minimum.reduce(each)  # [K, L]


def closest(palette: Sequence[Colour]) -> tuple[int, int, float]:
    """The two colours of a palette that look most alike, and their distance.

    Args:
      palette: at least two colours.

    Returns:
      Their places, the smaller first, and the distance in CIELAB.
    """
    apart = distances(palette, palette)
    apart[np.tril_indices(len(palette))] = np.inf
    i, j = divmod(int(apart.argmin()), len(palette))
    return i, j, float(apart[i, j])


def accessible(palette: Sequence[Colour]) -> tuple[Colour, ...]:
    """Colours that everybody tells apart, near those of a palette.

    A class keeps its colour where that is far enough from the classes before it and
    from the grey of ignored pixels; otherwise it takes the nearest colour that is. The
    distance is `WANTED`, and less where so many classes leave no room for it.
    """
    every = [*palette, *GRID]
    apart = distances(every, every)  # [K + 512, K + 512]
    free = distances(every, [IGNORED])[:, 0]
    change = np.linalg.norm(seen(palette)[:, None] - seen(every)[None], axis=2)
    wanted = WANTED
    while not (places := _spread(apart, free, change, wanted)):
        wanted *= 0.9
    return tuple(every[place] for place in places)


def shown_palette(palette: Sequence[Colour], how: str) -> tuple[Colour, ...]:
    """The colours of a run as they are to be shown.

    Args:
      palette: of its classes.
      how: one of `PALETTES`.

    Raises:
      ValueError: it is none of them.
    """
    if how not in PALETTES:
        raise ValueError(f"got palette {how!r}, expected one of {', '.join(PALETTES)}")
    return accessible(palette) if how == "accessible" else tuple(palette)


def _spread(
    apart: Float[np.ndarray, "M M"],
    free: Float[np.ndarray, " M"],
    change: Float[np.ndarray, "K M"],
    wanted: float,
) -> list[int]:
    """A candidate for each class in turn; [] where one finds no room."""
    places: list[int] = []
    for cost in change:
        if free.max() < wanted:
            return []
        places.append(int(np.where(free >= wanted, cost, np.inf).argmin()))
        free = np.minimum(free, apart[places[-1]])
    return places
