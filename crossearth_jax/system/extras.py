"""Libraries that only some uses need, imported when they are."""

import importlib
import re
import shlex
from importlib import metadata
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]  # of a clone; of all packages otherwise


def needed(name: str, purpose: str, extra: str) -> ModuleType:
    """Imports a module of one of the package's extras.

    Args:
      name: dotted name, such as "rasterio.vrt".
      purpose: what it is for, to tell the user.
      extra: that brings it, such as "geo".

    Raises:
      ImportError: the library is not installed; tells how to get it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"got no {name.split('.')[0]} ({error}), expected it for {purpose}: "
            f"{install_command(extra)}"
        ) from error


def install_command(extra: str) -> str:
    """What installs an extra here: from the clone, or what it consists of.

    Args:
      extra: such as "geo".
    """
    if (ROOT / "pyproject.toml").is_file():
        return f"pip install -e {shlex.quote(f'{ROOT}[{extra}]')}"
    wanted = metadata.requires("crossearth_jax") or ()
    marked = re.compile(rf"""extra == ['"]{extra}['"]""")
    own = [line.partition(";")[0].strip() for line in wanted if marked.search(line)]
    return f"pip install {shlex.join(own)}"
