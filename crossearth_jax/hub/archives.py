"""Archives of data sets from open servers, resumed and checked by size and MD5."""

import hashlib
import logging
import shutil
from pathlib import Path

from crossearth_jax.hub import cache
from crossearth_jax.hub.failure import NotFetched, not_fetched
from crossearth_jax.hub.fetch import resuming
from crossearth_jax.system.extras import needed

PURPOSE = "downloads of data sets"


def fetch_archive(url: str, place: Path, *, size: int, md5: str, page: str) -> bool:
    """Puts a published file at `place`, where it is not there yet.

    Two processes that want the same one wait for each other; what a broken transfer
    left is gone on with.

    Args:
      url: of the file.
      place: gets it when it is complete and is the published one.
      size: published bytes.
      md5: published MD5.
      page: for people.

    Returns:
      Whether it was fetched; False where it is here already, known by its size.

    Raises:
      NotFetched: it could not be, or another file has its place.
    """
    pooch = needed("pooch", PURPOSE, cache.EXTRA)
    pooch.get_logger().setLevel(logging.WARNING)
    place.parent.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(str(place.resolve()).encode()).hexdigest()[:16]
    with cache.locked(f"{place.name}.{key}"):
        if place.exists():
            _check_here(place, size)
            return False
        _check_room(place, size)
        try:
            pooch.retrieve(
                url, f"md5:{md5}", place.name, place.parent, downloader=resuming
            )
        except ValueError as error:  # of pooch, which removed it
            raise NotFetched(
                f"got a file from {url} that is not the published one ({error}), "
                f"expected MD5 {md5}: run the same command again, or look at {page}"
            ) from error
        except Exception as error:  # of several libraries, without a common base
            raise not_fetched(error, url, place, page) from error
    return True


def _check_here(place: Path, size: int) -> None:
    if (here := place.stat().st_size) != size:
        raise NotFetched(
            f"{place}: got a file of {here:,} bytes, expected {size:,} as published: "
            "remove it, then run the same command again"
        )


def _check_room(place: Path, size: int) -> None:
    if (free := shutil.disk_usage(place.parent).free) < size:
        raise NotFetched(
            f"{place.parent}: got {free:,} bytes of free disk, expected {size:,} for "
            f"{place.name}: free some, or give another --raw"
        )
