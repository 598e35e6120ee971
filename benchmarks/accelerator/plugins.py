"""JAX's compilers for accelerators, which a computer without one has to install."""

import re
from importlib import metadata

import jax

from crossearth_jax.system.extras import install_command

EXTRAS = {"cuda": "aot-cuda", "tpu": "aot-tpu"}  # of this project
OF_JAX = {"cuda": "cuda13-local", "tpu": "tpu"}  # of jax, which fixes the versions
PLUGINS = {"cuda": ("jax-cuda13-plugin", "jax-cuda13-pjrt"), "tpu": ("libtpu",)}
LIBRARIES = {"cuda": ("nvidia-cudnn-cu13",), "tpu": ()}


def check_plugin(platform: str) -> None:
    """Refuses to start without the compiler of exactly this jax.

    Args:
      platform: "cuda" or "tpu".

    Raises:
      ImportError: it is not installed, or belongs to another jax.
    """
    for name in (*PLUGINS[platform], *LIBRARIES[platform]):
        found, wanted = version(name), wanted_version(name, platform)
        if found is None or not fits(found, wanted):
            got = f"no {name}" if found is None else f"{name} {found}"
            which = f"{wanted}, as jax {jax.__version__} needs" if wanted else "one"
            raise ImportError(
                f"got {got}, expected {which} to compile for {platform}: "
                f"{install_command(EXTRAS[platform])}"
            )


def version(name: str) -> str | None:
    """Of an installed library."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def wanted_version(name: str, platform: str) -> str:
    """What jax asks for, such as "0.0.42.*"; "" where it leaves it open."""
    if name.startswith("jax-"):
        return jax.__version__
    extra = re.compile(rf"""extra == ['"]{re.escape(OF_JAX[platform])}['"]""")
    for line in metadata.requires("jax") or ():
        asked = re.match(rf"{re.escape(name)}==([\w.*]+)", line)
        if asked and extra.search(line):
            return asked[1]
    return ""


def fits(found: str, wanted: str) -> bool:
    """Whether a version is the one that is wanted; "*" at the end leaves that open."""
    if wanted.endswith("*"):
        return found.startswith(wanted[:-1])
    return found == wanted or not wanted
