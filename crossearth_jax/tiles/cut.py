"""Pieces of a scene to tiles: read once, labelled once, written tile by tile."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from crossearth_jax.data.prepare.tiles import tile_name
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.tiles.pixels import ReadPixels, pixel_reader
from crossearth_jax.tiles.plan import TRAIN, Rect, Tile
from crossearth_jax.tiles.scene_labels import ReadIds, SceneLabels
from crossearth_jax.tiles.scenes import TiledScene
from crossearth_jax.tiles.settings import TileSettings
from crossearth_jax.tiles.write import CrsTags, Georeference, write_image, write_label

PIECE = 1024  # pixels of the side of what a thread reads at a time
STRIPED_PIECE = 2**22  # pixels of the same in scenes that are stored in strips
MADE, EMPTY, NOTHING = "made", "empty", "nothing"


@dataclass(frozen=True)
class CutTile:
    """What became of a tile.

    Attributes:
      split: "train" or "val".
      name: stem of its files.
      state: "made", "empty" (no object in it, and not kept) or "nothing" (no pixel of
        it is labelled).
      pixels: by class id, the ignored ones last; of made tiles alone.
    """

    split: str
    name: str
    state: str
    pixels: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Split and name."""
        return self.split, self.name


@dataclass(frozen=True)
class Piece:
    """Neighbouring tiles that are read and labelled together.

    Attributes:
      tiles: to make.
      rect: that covers all tiles of the piece, also those that are made already, so
        that every restart labels the same pixels in the same call.
    """

    tiles: tuple[Tile, ...]
    rect: Rect


def name_of(tile: Tile, scene: TiledScene, size: int) -> str:
    """Stem of a tile's files: SCENE_x0_y0_x1_y1."""
    return tile_name(scene.name, tile.top, tile.left, size)


def pieces_of(tiles: Sequence[Tile], scene: TiledScene, size: int) -> list[Piece]:
    """Groups the tiles of a scene, so that no block of its file is read many times.

    Args:
      tiles: of the scene.
      scene: whose file is stored in blocks, or in strips as wide as it is.
      size: of a tile.
    """
    side = width = max(size, PIECE)
    if scene.is_striped:
        side, width = size, max(size, STRIPED_PIECE // size)
    groups: dict[tuple[int, int, str], list[Tile]] = defaultdict(list)
    for tile in tiles:
        groups[tile.top // side, tile.left // width, tile.split].append(tile)
    pieces = []
    for members in groups.values():
        top, left = min(t.top for t in members), min(t.left for t in members)
        bottom = max(t.top for t in members) + size
        right = max(t.left for t in members) + size
        pieces.append(Piece(tuple(members), Rect(top, left, bottom, right)))
    return pieces


class Cutter:
    """Cuts pieces of one scene, in one thread.

    Args:
      scene: the scene.
      read_pixels: reads windows as tiles have them.
      read_ids: reads class ids.
      asked: settings.
      labels: number of classes, and id of the background.
      folder: gets train/ and val/.
    """

    def __init__(
        self,
        scene: TiledScene,
        read_pixels: ReadPixels,
        read_ids: ReadIds,
        asked: TileSettings,
        labels: tuple[int, int | None],
        folder: Path,
    ) -> None:
        self.scene, self.asked, self.folder = scene, asked, folder
        self.read_pixels, self.read_ids = read_pixels, read_ids
        self.num_classes, self.background = labels
        self.crs = CrsTags.of(scene.grid.crs)

    def cut(self, piece: Piece) -> Iterator[CutTile]:
        """Writes the tiles of a piece that are wanted; yields what became of each."""
        rect, size = piece.rect, self.asked.size
        window = rect.top, rect.left, rect.bottom - rect.top, rect.right - rect.left
        ids = self.read_ids(*window)
        places = [
            (
                tile,
                slice(tile.top - rect.top, tile.top - rect.top + size),
                slice(tile.left - rect.left, tile.left - rect.left + size),
            )
            for tile in piece.tiles
        ]
        states = [self._state(tile, ids[y, x]) for tile, y, x in places]
        if MADE not in states:
            for tile, state in zip(piece.tiles, states, strict=True):
                yield self._noted(tile, state)
            return
        pixels, valid = self.read_pixels(*window)
        ids[~valid] = IGNORE
        for (tile, y, x), state in zip(places, states, strict=True):
            # What has no object by its labels alone stays so, wherever data is missing:
            # a restart, which may read less, says the same.
            if state == MADE:
                state = self._state(tile, ids[y, x])
            if state == MADE:
                self._write(tile, pixels[:, y, x], ids[y, x])
            yield self._noted(tile, state, ids[y, x])

    def _state(self, tile: Tile, ids: UInt8[np.ndarray, "s s"]) -> str:
        labelled = ids != IGNORE
        if not labelled.any():
            return NOTHING
        has_objects = (
            self.background is None or (ids[labelled] != self.background).any()
        )
        if has_objects or tile.split != TRAIN or self._is_kept(tile):
            return MADE
        return EMPTY

    def _is_kept(self, tile: Tile) -> bool:
        """Drawn from the tile's own place, so it depends on nothing else."""
        text = f"{self.asked.seed} {self.scene.name} {tile.top} {tile.left}"
        number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
        return number < self.asked.keep_empty * 2**64

    def _write(
        self,
        tile: Tile,
        pixels: np.ndarray,
        ids: UInt8[np.ndarray, "s s"],
    ) -> None:
        transform = self.scene.transform_at(tile.top, tile.left)
        place = Georeference(self.crs, transform)
        name = f"{name_of(tile, self.scene, self.asked.size)}.tif"
        folder = self.folder / tile.split
        write_image(folder / "images" / name, pixels, place)
        write_label(folder / "labels" / name, ids, place)

    def _noted(
        self, tile: Tile, state: str, ids: UInt8[np.ndarray, "s s"] | None = None
    ) -> CutTile:
        name = name_of(tile, self.scene, self.asked.size)
        if state != MADE or ids is None:
            return CutTile(tile.split, name, state)
        counts = np.bincount(ids.reshape(-1), minlength=IGNORE + 1)
        pixels = (*counts[: self.num_classes].tolist(), int(counts[IGNORE]))
        return CutTile(tile.split, name, state, pixels)


@contextmanager
def cutter(
    scene: TiledScene,
    labels: SceneLabels,
    asked: TileSettings,
    classes: tuple[int, int | None],
    folder: Path,
) -> Iterator[Cutter]:
    """Opens a scene and its labels for one thread.

    Args:
      scene: the scene.
      labels: over it.
      asked: settings.
      classes: their number, and id of the background.
      folder: gets train/ and val/.
    """
    with ExitStack() as stack:
        opened = stack.enter_context(scene.opened())
        read_ids = stack.enter_context(labels.opened())
        read_pixels = pixel_reader(scene, opened, asked.keep_bits)
        yield Cutter(scene, read_pixels, read_ids, asked, classes, folder)
