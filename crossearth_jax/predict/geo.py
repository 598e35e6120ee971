"""Optional geospatial libraries, imported where they are used."""

import errno
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from crossearth_jax.system import extras

FULL = 2**16  # free bytes of a disk on which nothing more can be written


def needed(name: str) -> ModuleType:
    """Imports a module of the extra `geo`.

    Args:
      name: dotted name, such as "rasterio.vrt".

    Raises:
      ImportError: the library is not installed; tells how to get it.
    """
    return extras.needed(name, "maps", "geo")


def gdal_error() -> type[Exception]:
    """GDAL's errors that rasterio does not wrap."""
    return needed("rasterio._err").CPLE_BaseError


@contextmanager
def explained(path: str | Path, problem: str) -> Iterator[None]:
    """Turns GDAL's errors into one that names the file.

    Args:
      path: the file.
      problem: what it means, and what to do.

    Raises:
      OSError: GDAL failed.
    """
    errors = needed("rasterio.errors").RasterioError, gdal_error()
    try:
        yield
    except errors as error:
        # rasterio hides GDAL's reason: "See previous exception for details".
        reason = error.__cause__ or error
        raise OSError(f"{path}: {problem} ({reason})") from error


@contextmanager
def written(path: str | Path) -> Iterator[None]:
    """Turns errors of writing into one that names the file, and a full disk as such.

    Raises:
      OSError: the file cannot be written.
    """
    try:
        with explained(path, "cannot be written"):
            yield
    except OSError as error:
        if not _is_full(Path(path), error):
            raise
        raise OSError(
            errno.ENOSPC, f"{path}: the disk is full: free some space, run again"
        ) from error


def _is_full(path: Path, error: OSError) -> bool:
    """GDAL and pyogrio keep no error number, so the text and the disk must do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    if "No space left" in str(error) or "quota exceeded" in str(error):
        return True
    return shutil.disk_usage(path.parent).free < FULL


@contextmanager
def quiet() -> Iterator[None]:
    """No warning for each file without georeference."""
    errors = needed("rasterio.errors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.NotGeoreferencedWarning)
        yield
