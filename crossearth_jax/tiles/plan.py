"""Where tiles lie and which split they belong to, from the sizes of the scenes alone.

Tiles lie on a lattice over each scene, the last row and column shifted inwards.
`blocks` groups neighbouring tiles and gives whole groups to validation; training tiles
beside them are laid anew behind a gap, so no tile of one split touches the other's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool

TRAIN, VAL = "train", "val"
BLOCKS = 8  # along the longer side of a scene at most
FEW_BLOCKS = 4  # with fewer, blocks become smaller
FEW_TILES, DRAWS = 256, 32
GAP = 16  # a gap between splits is the 16th part of a tile


@dataclass(frozen=True)
class Rect:
    """Rows [top, bottom) and columns [left, right)."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> int:
        """Pixels; 0 for what is turned inside out."""
        return max(0, self.bottom - self.top) * max(0, self.right - self.left)

    def meets(self, other: "Rect", gap: int) -> bool:
        """Whether less than `gap` pixels lie between the two."""
        rows = self.top < other.bottom + gap and other.top < self.bottom + gap
        columns = self.left < other.right + gap and other.left < self.right + gap
        return rows and columns


@dataclass(frozen=True, order=True)
class Tile:
    """A square of a scene.

    Attributes:
      scene: number of the scene.
      top: first row.
      left: first column.
      split: "train" or "val".
    """

    scene: int
    top: int
    left: int
    split: str


# Of tiles of one size at (top, left), which lie in the labelled area.
Allowed = Callable[[Sequence[tuple[int, int]]], Bool[np.ndarray, "n"]]


@dataclass(frozen=True)
class Ground:
    """What a plan needs of a scene: its rows and columns, and where it is labelled."""

    height: int
    width: int
    allowed: Allowed


def origins(size: int, tile: int, stride: int) -> tuple[int, ...]:
    """First pixels of the tiles along one side; none if it is shorter than a tile."""
    if size < tile:
        return ()
    return (*range(0, size - tile, stride), size - tile)


def plan_tiles(
    scenes: Sequence[Ground],
    *,
    size: int,
    stride: int,
    split: str,
    val: float,
    seed: int,
) -> list[Tile]:
    """All tiles of all scenes, in order.

    Args:
      scenes: their sizes.
      size: of a tile, pixels.
      stride: from tile to tile.
      split: "blocks", "scenes" or "none".
      val: wanted share of validation.
      seed: draws what validation gets.

    Raises:
      ValueError: there are too few tiles to split.
    """
    step = size, stride
    if split == "none":
        return [t for k, s in enumerate(scenes) for t in _tiles(k, s, TRAIN, step)]
    rng = np.random.default_rng(seed)
    if split == "scenes":
        tiles = _by_scenes(scenes, step, val, rng)
    else:
        tiles = _by_blocks(scenes, step, val, rng)
    counts = {name: sum(tile.split == name for tile in tiles) for name in (TRAIN, VAL)}
    if not all(counts.values()):
        raise ValueError(
            f"got {counts[TRAIN]} training and {counts[VAL]} validation tiles that do "
            "not touch, expected some of both: take a smaller --size, give more "
            "scenes, or pass --split none"
        )
    return sorted(tiles)


def _tiles(
    number: int,
    scene: Ground,
    split: str,
    step: tuple[int, int],
    rect: Rect | None = None,
) -> list[Tile]:
    """Tiles of a part of a scene that lie in the labelled area."""
    rect = rect or Rect(0, 0, scene.height, scene.width)
    corners = [
        (rect.top + y, rect.left + x)
        for y in origins(rect.bottom - rect.top, *step)
        for x in origins(rect.right - rect.left, *step)
    ]
    if not corners:
        return []
    kept = scene.allowed(corners)
    pairs = zip(corners, kept.tolist(), strict=True)
    return [Tile(number, y, x, split) for (y, x), keep in pairs if keep]


def _by_scenes(
    scenes: Sequence[Ground],
    step: tuple[int, int],
    val: float,
    rng: np.random.Generator,
) -> list[Tile]:
    if len(scenes) < 2:
        raise ValueError(
            "got --split scenes for one scene, expected several: pass --split blocks"
        )
    found = [_tiles(k, scene, TRAIN, step) for k, scene in enumerate(scenes)]
    chosen = _draw([len(tiles) for tiles in found], val, rng)
    return [
        Tile(t.scene, t.top, t.left, VAL if k in chosen else TRAIN)
        for k, tiles in enumerate(found)
        for t in tiles
    ]


def _by_blocks(
    scenes: Sequence[Ground],
    step: tuple[int, int],
    val: float,
    rng: np.random.Generator,
) -> list[Tile]:
    tiles: list[Tile] = []
    # From blocks of twice a tile down, until there are some that leave room for both.
    for per in range(-(-2 * step[0] // step[1]), 0, -1):
        blocks = [_blocks(scene, step, per) for scene in scenes]
        if per > 1 and sum(map(len, blocks)) < FEW_BLOCKS:
            continue
        tiles = _best_of(scenes, step, blocks, val, rng)
        if {tile.split for tile in tiles} == {TRAIN, VAL}:
            break
    return tiles


def _best_of(
    scenes: Sequence[Ground],
    step: tuple[int, int],
    blocks: Sequence[Sequence[Rect]],
    val: float,
    rng: np.random.Generator,
) -> list[Tile]:
    """Gives blocks to validation; of several draws the one that leaves most tiles."""
    parts = [(k, rect) for k, rects in enumerate(blocks) for rect in rects]
    inside = [_tiles(k, scenes[k], VAL, step, rect) for k, rect in parts]
    counts = [len(tiles) for tiles in inside]
    # Where there are few blocks, some draws leave far less for training than others.
    draws = DRAWS if sum(counts) <= FEW_TILES else 1
    plans = []
    for _ in range(draws):
        chosen = _draw(counts, val, rng)
        train = _beside(scenes, step, parts, chosen)
        plans.append((train, [tile for i in sorted(chosen) for tile in inside[i]]))
    train, validation = max(plans, key=lambda plan: len(plan[0]) + len(plan[1]))
    return train + validation


def _beside(
    scenes: Sequence[Ground],
    step: tuple[int, int],
    parts: Sequence[tuple[int, Rect]],
    chosen: set[int],
) -> list[Tile]:
    """Training tiles in the blocks that validation has not got."""
    gap = max(1, step[0] // GAP)
    taken = [parts[i] for i in sorted(chosen)]
    tiles = []
    for i, (k, rect) in enumerate(parts):
        if i in chosen:
            continue
        for scene, other in taken:
            if scene == k:
                rect = _behind(rect, other, gap)
        tiles += _tiles(k, scenes[k], TRAIN, step, rect)
    return tiles


def _blocks(scene: Ground, step: tuple[int, int], per: int) -> list[Rect]:
    """Groups of at least `per` by `per` tiles that cover a scene."""
    rows, columns = (_groups(side, step, per) for side in (scene.height, scene.width))
    return [Rect(y, x, below, right) for y, below in rows for x, right in columns]


def _groups(size: int, step: tuple[int, int], per: int) -> list[tuple[int, int]]:
    """First pixel and one past the last of groups of tiles along one side."""
    starts = origins(size, *step)
    if not starts:
        return []
    count = min(BLOCKS, max(1, len(starts) // per))
    edges = np.linspace(0, len(starts), count + 1).round().astype(int).tolist()
    return [(starts[a], starts[b - 1] + step[0]) for a, b in pairwise(edges)]


def _draw(counts: Sequence[int], val: float, rng: np.random.Generator) -> set[int]:
    """Which groups of tiles are validation: about that share, never none nor all."""
    wanted, taken = val * sum(counts), 0
    order = [i for i in rng.permutation(len(counts)).tolist() if counts[i]]
    chosen: set[int] = set()
    for i in order[:-1]:
        if taken + counts[i] / 2 <= wanted:
            chosen.add(i)
            taken += counts[i]
    return chosen or set(order[:1])


def _behind(rect: Rect, other: Rect, gap: int) -> Rect:
    """The largest part of a rectangle that keeps a gap to another one."""
    if not rect.meets(other, gap):
        return rect
    top, left, bottom, right = rect.top, rect.left, rect.bottom, rect.right
    parts = (
        Rect(other.bottom + gap, left, bottom, right),
        Rect(top, left, other.top - gap, right),
        Rect(top, other.right + gap, bottom, right),
        Rect(top, left, bottom, other.left - gap),
    )
    return max(parts, key=lambda part: part.area)
