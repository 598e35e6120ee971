"""Folders of tiles as `crossearth tiles` writes them, by their manifest.json.

    DIR/{train,val}/{images,labels}/*.tif    DIR/classes.yaml    DIR/manifest.json

The manifest says what the scenes were, which the run keeps for `predict`, and what the
tiles are: 8 bits that are scaled already, or the scenes' own values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from crossearth_jax.data.folders import Pair
from crossearth_jax.data.packed import Packed
from crossearth_jax.data.raw_images import RawImages, raw_images
from crossearth_jax.system.escape import quoted
from crossearth_jax.system.read_json import read_json

MANIFEST, CLASSES = "manifest.json", "classes.yaml"
FORMAT, VERSION = "crossearth tiles", 1
MAX_BYTES = 64 * 2**20  # an entry for each scene


@dataclass(frozen=True)
class TileFolder:
    """What a manifest says.

    Attributes:
      root: the folder.
      scenes: what the scenes were.
      tiles: how a tile is read.
    """

    root: Path
    scenes: RawImages
    tiles: RawImages

    def part(self, name: str) -> bool:
        """Whether there are tiles of "train" or "val", loose or packed."""
        return any(self.root.glob(f"{name}/images")) or any(
            self.root.glob(f"{name}.array_record")
        )


def tile_folder(root: Path) -> TileFolder | None:
    """The tiles in a folder; None where no manifest of theirs is in it.

    Raises:
      ValueError: it is of another version, or damaged.
    """
    path = root / MANIFEST
    try:
        content = read_json(path, max_bytes=MAX_BYTES)
    except OSError:
        return None
    except ValueError as error:
        if not _is_ours(path):
            return None
        raise _damaged(path, str(error)) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return None
    if content.get("version") != VERSION:
        raise ValueError(
            f"got {path} of version {quoted(content.get('version'))}, expected "
            f"{VERSION}: make the tiles again, or use the crossearth_jax that wrote "
            "them"
        )
    try:
        scenes, tiles = _part(content, "scenes"), _part(content, "images")
        return TileFolder(
            root,
            raw_images(scenes["bands"], scenes["scale"], scenes["gsd"]),
            raw_images(tiles["bands"], tiles["scale"]),
        )
    except KeyError as error:
        raise _damaged(path, f"it has no {error}") from error
    except ValueError as error:
        raise _damaged(path, str(error)) from error


def _part(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if not isinstance(content[name], dict):
        raise ValueError(f"got {name} of {quoted(content[name])}")
    return content[name]


def _is_ours(path: Path) -> bool:
    """Whether what cannot be read begins as a manifest of tiles."""
    with path.open("rb") as file:
        return FORMAT.encode() in file.read(4096)


def _damaged(path: Path, reason: str) -> ValueError:
    return ValueError(
        f"got a damaged {path} ({reason}), expected what `crossearth tiles` wrote: "
        "make the tiles again"
    )


def with_raw(
    pairs: Sequence[Pair], stated: RawImages, root: Path | None = None
) -> tuple[Pair, ...]:
    """Pairs that know how their images are read: tiles by their manifest.

    Args:
      pairs: of any folders.
      stated: what the run states of raw images.
      root: `data.root`; of the tiles there that kept their bits, the run's scale is
        taken, which a configuration may change.

    Raises:
      ValueError: a manifest is of another version, or damaged.
    """
    home = None if root is None else root.expanduser().resolve()

    @cache
    def of_folder(place: Path) -> RawImages:
        folder = place.resolve()
        found = tile_folder(folder)
        if found is None:
            return stated
        if found.tiles.scale and folder == home:
            return replace(found.tiles, scale=stated.scale or found.tiles.scale)
        return found.tiles

    return tuple(replace(pair, raw=of_folder(_root_of(pair.image))) for pair in pairs)


def _root_of(file: Path | Packed) -> Path:
    """DIR of DIR/train/images/a.tif and of DIR/train.array_record."""
    return file.archive.parent if isinstance(file, Packed) else file.parent / "../.."
