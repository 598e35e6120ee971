"""The windows of a domain that are trusted least, as pictures."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.datasets import Record
from crossearth_jax.pixels.contact_sheet import (
    Picture,
    class_map,
    contact_sheet,
    fitted,
    fitted_ids,
)
from crossearth_jax.pixels.legend import class_entries, not_annotated

COLUMNS = ("image", "truth", "prediction", "trust (white: sure)")
MOST = 4  # of a domain


@dataclass(frozen=True, order=True)
class Patch:
    """A window; those of less mean chance are greater, for the heap.

    Attributes:
      doubt: 1 - the mean calibrated chance that a pixel's class is right.
      name: of the image.
      image: RGB.
      truth: class ids, 255 where nothing is annotated.
      prediction: class ids.
      chance: of each pixel.
    """

    doubt: float
    name: str = field(compare=False)
    image: UInt8[np.ndarray, "h w 3"] = field(compare=False)
    truth: UInt8[np.ndarray, "h w"] = field(compare=False)
    prediction: UInt8[np.ndarray, "h w"] = field(compare=False)
    chance: Float32[np.ndarray, "h w"] = field(compare=False)


class LeastTrusted:
    """Keeps the windows of least trust, `MOST` at a time, one of each image."""

    def __init__(self, side: int) -> None:
        """Nothing yet; `side` is a window's, pixels."""
        self.side = side
        self._heap: list[Patch] = []

    def add(
        self,
        record: Record,
        prediction: UInt8[np.ndarray, "H W"],
        chance: Float32[np.ndarray, "H W"],
    ) -> None:
        """Looks at the windows of one image, side by side."""
        height, width = chance.shape
        corners = [
            (top, left)
            for top in range(0, max(1, height - self.side + 1), self.side)
            for left in range(0, max(1, width - self.side + 1), self.side)
        ]
        areas = [np.s_[y : y + self.side, x : x + self.side] for y, x in corners]
        area = min(areas, key=lambda one: float(chance[one].mean()))
        doubt = 1 - float(chance[area].mean())
        if len(self._heap) == MOST and doubt <= self._heap[0].doubt:
            return
        image = record.image
        if image.shape[:2] != chance.shape:
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        parts = (image[area], record.label[area], prediction[area], chance[area])
        patch = Patch(doubt, record.name, *(np.array(part) for part in parts))
        push = heapq.heappushpop if len(self._heap) == MOST else heapq.heappush
        push(self._heap, patch)

    @property
    def patches(self) -> list[Patch]:
        """The least trusted first."""
        return sorted(self._heap, reverse=True)


def least_trusted_picture(
    found: Sequence[tuple[str, Sequence[Patch]]], classes: ClassSet
) -> Image.Image:
    """A row for each window, with its domain, image and mean chance.

    Args:
      found: windows by domain.
      classes: names and palette.
    """
    cells = [
        (f"{domain}, {one.name}: trust {1 - one.doubt:.2f}", _panels(one, classes))
        for domain, patches in found
        for one in patches
    ]
    entries = [*class_entries(classes.names, classes.palette), not_annotated()]
    groups = {"classes:": entries}
    return contact_sheet(cells, columns=COLUMNS, groups=groups, across=2)


def _panels(one: Patch, classes: ClassSet) -> list[Picture]:
    grey = np.repeat((255 * one.chance).astype(np.uint8)[..., None], 3, axis=2)
    image = fitted(one.image)
    maps = [
        class_map(fitted_ids(ids, image), classes.palette)
        for ids in (one.truth, one.prediction)
    ]
    return [image, *maps, fitted(grey)]
