"""Libraries that only some uses need, imported when they are."""

import importlib
from types import ModuleType


def needed(name: str, purpose: str, hint: str) -> ModuleType:
    """Imports a module of one of the package's extras.

    Args:
      name: dotted name, such as "rasterio.vrt".
      purpose: what it is for, to tell the user.
      hint: how to install it.

    Raises:
      ImportError: the library is not installed; tells how to get it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"got no {name.split('.')[0]} ({error}), expected it for {purpose}: {hint}"
        ) from error
