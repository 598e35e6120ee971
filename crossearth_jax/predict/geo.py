"""Optional geospatial libraries, imported where they are used."""

import importlib
from types import ModuleType

HINT = "pip install 'crossearth_jax[geo]'"


def needed(name: str) -> ModuleType:
    """Imports a module of the extra `geo`.

    Args:
      name: dotted name, such as "rasterio.vrt".

    Raises:
      ImportError: the library is not installed; says how to get it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"got no {name.split('.')[0]} ({error}), expected it for maps: {HINT}"
        ) from error
