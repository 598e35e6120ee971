"""Cutting a large image into squares that cover it, the last ones shifted inwards."""


def origins(size: int, tile: int) -> tuple[int, ...]:
    """Where tiles start along one side: every `tile`, the last at `size - tile`.

    6000 pixels in tiles of 512 give 12 (the last at 5488), 5000 in 1024 give 5. These
    are the distinct tiles that mmsegmentation's converters keep.

    Raises:
      ValueError: the side is shorter than a tile.
    """
    if size < tile:
        raise ValueError(
            f"got a side of {size} pixels, expected at least a tile of {tile}"
        )
    return (*range(0, size - tile, tile), size - tile)


def tile_corners(height: int, width: int, tile: int) -> list[tuple[int, int]]:
    """Upper left corners (y, x) of all tiles, row by row."""
    return [(y, x) for y in origins(height, tile) for x in origins(width, tile)]


def tile_name(name: str, y: int, x: int, tile: int) -> str:
    """File stem of a tile: NAME_x0_y0_x1_y1."""
    return f"{name}_{x}_{y}_{x + tile}_{y + tile}"
