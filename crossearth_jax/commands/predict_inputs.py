"""The inputs of `crossearth predict`: files, addresses, STAC."""

from collections.abc import Sequence
from pathlib import Path

from crossearth_jax.commands.options import find_scenes, listed
from crossearth_jax.predict.sources import Source, is_remote, source_of
from crossearth_jax.predict.stac import is_stac, items_of


def find_sources(inputs: Sequence[str], asset: str | None = None) -> list[Source]:
    """Scenes in the order in which they are given, each once.

    Args:
      inputs: rasters, folders, patterns, addresses that GDAL opens, STAC items and item
        collections, and list files of all these as @FILE.
      asset: of STAC items.

    Raises:
      ValueError: there is no such input.
    """
    found: list[Source] = []
    for text in listed(inputs):
        if is_stac(text) and (is_remote(text) or Path(text).is_file()):
            found += items_of(text, asset)
        elif is_remote(text):
            found.append(source_of(text))
        else:
            found += find_scenes([text])
    return list(dict.fromkeys(found))
