"""One `prepare` a folder: the second gets one line instead of the first's files."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from crossearth_jax.system.held_file import held_file

NAME = ".prepare.lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds a folder while it is filled; the system lets go when the process ends.

    Args:
      folder: of a domain; made if it is not there.

    Raises:
      ValueError: another process on this machine fills it.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    taken = (
        f"{folder}: got a folder that another `crossearth prepare` fills, expected to "
        "be alone: wait for it, then start again, or give another --out"
    )
    try:
        with held_file(folder / NAME, taken):
            yield
    except BaseException:
        _remove_if_empty(folder, made)
        raise


def _remove_if_empty(folder: Path, made: list[Path]) -> None:
    """What was refused before anything was written leaves nothing behind."""
    if made and [path.name for path in folder.iterdir()] == [NAME]:
        (folder / NAME).unlink()
        with suppress(OSError):  # another domain's folder is in it
            for place in made:
                place.rmdir()
