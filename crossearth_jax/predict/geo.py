"""Optional geospatial libraries, imported where they are used."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from crossearth_jax.system import extras


def needed(name: str) -> ModuleType:
    """Imports a module of the extra `geo`.

    Args:
      name: dotted name, such as "rasterio.vrt".

    Raises:
      ImportError: the library is not installed; tells how to get it.
    """
    return extras.needed(name, "maps", "geo")


@contextmanager
def explained(path: str | Path, problem: str) -> Iterator[None]:
    """Turns GDAL's errors into one that names the file.

    Args:
      path: the file.
      problem: what it means, and what to do.

    Raises:
      OSError: GDAL failed.
    """
    base = needed("rasterio._err").CPLE_BaseError  # what rasterio does not wrap
    errors = needed("rasterio.errors").RasterioError, base
    try:
        yield
    except errors as error:
        # rasterio hides GDAL's reason: "See previous exception for details".
        reason = error.__cause__ or error
        raise OSError(f"{path}: {problem} ({reason})") from error
