"""The labels of one scene, whatever file they come from: class ids of any window."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from jaxtyping import UInt8

from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.tiles.area import Area
from crossearth_jax.tiles.scenes import TiledScene

# Class ids of the window (top, left, height, width), 255 where ignored.
ReadIds = Callable[[int, int, int, int], UInt8[np.ndarray, "h w"]]


class Ids(Protocol):
    """Class ids of a scene's pixels, from polygons or rasters."""

    def opened(self) -> AbstractContextManager[ReadIds]:
        """Opens what it needs for one thread; windows may reach beyond the scene."""
        ...


class Labels(Protocol):
    """Label files.

    Attributes:
      names: of the classes, by id.
      background: id of the class without which a tile is empty; None without one.
    """

    names: tuple[str, ...]
    background: int | None

    def over(self, scene: TiledScene) -> "SceneLabels":
        """The labels of one scene.

        Raises:
          ValueError: they do not reach it, or are unusable.
        """
        ...


@dataclass(frozen=True)
class SceneLabels:
    """Labels over one scene.

    Attributes:
      scene: the scene.
      ids: what files say of its pixels.
      area: the labelled one.
      edge_ignore: pixels ignored to either side of an edge between classes.
      came_from: coordinate systems of the files.
      repaired: invalid geometries.
      unclassified: polygons without a class, which are ignored.
    """

    scene: TiledScene
    ids: Ids
    area: Area
    edge_ignore: int
    came_from: tuple[str, ...]
    repaired: int = 0
    unclassified: int = 0

    @contextmanager
    def opened(self) -> Iterator[ReadIds]:
        """Yields what reads windows that lie in the scene."""
        margin = self.edge_ignore
        with self.ids.opened() as read:

            def ids_of(
                top: int, left: int, height: int, width: int
            ) -> UInt8[np.ndarray, "h w"]:
                if margin:
                    size = height + 2 * margin, width + 2 * margin
                    around = read(top - margin, left - margin, *size)
                    ids = without_edges(around, margin)
                    ids = ids[margin : margin + height, margin : margin + width]
                else:
                    ids = read(top, left, height, width)
                self.area.ignore_outside(ids, top, left)
                return ids

            yield ids_of


def without_edges(ids: UInt8[np.ndarray, "h w"], pixels: int) -> np.ndarray:
    """Ignores what lies within some pixels of an edge between two classes."""
    side = 2 * pixels + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    # What is beyond the border is taken as the border's own, so it makes no edge.
    low = cv2.erode(ids, disc, borderType=cv2.BORDER_REPLICATE)
    high = cv2.dilate(ids, disc, borderType=cv2.BORDER_REPLICATE)
    return np.where(low == high, ids, np.uint8(IGNORE))


def no_overlap(
    scene: TiledScene,
    path: Path,
    labels: Sequence[float] | None,
    here: Sequence[float] | None,
    crs: str,
) -> ValueError:
    """The error for labels that do not reach a scene.

    Args:
      scene: the scene.
      path: of the labels.
      labels: their extent.
      here: the scene's extent in the same coordinate system.
      crs: its name.
    """
    there, mine = (", ".join(f"{x:.7g}" for x in box or ()) for box in (labels, here))
    return ValueError(
        f"{scene.source}: got labels in {path} at {there or '?'} and the scene at "
        f"{mine or '?'} (west, south, east, north in {crs}), expected them to overlap: "
        "give the labels of this scene, correct a coordinate system, or leave the "
        "scene out"
    )
