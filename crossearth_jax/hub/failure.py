"""Why a file could not be fetched, in one line that says how to get it all the same."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from crossearth_jax.system.escape import cut

# Libraries below huggingface_hub and pooch differ by version; their names for these
# do not.
_NETWORK = ("ConnectError", "ConnectionError", "ConnectTimeout", "TimeoutException")
_NETWORK += ("Timeout", "ReadTimeout", "ConnectTimeoutError", "NetworkError")
_BROKEN = ("RemoteProtocolError", "ReadError", "ChunkedEncodingError", "IncompleteRead")
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
_AGAIN = "run the same command again"


class NotFetched(OSError):
    """A file that could not be fetched; the message is the whole story."""


def not_fetched(error: BaseException, url: str, place: Path, page: str) -> NotFetched:
    """What to tell the user.

    Args:
      error: of the client library.
      url: of the file.
      place: where it can be put by hand.
      page: where its terms stand.
    """
    why, advice = _reason(error, page)
    return NotFetched(
        f"got no {url} ({why}): {advice}, or fetch it elsewhere and put it at {place}"
    )


def _reason(error: BaseException, page: str) -> tuple[str, str]:
    """Why, and what helps."""
    chain = list(_causes(error))
    names = {kind.__name__ for each in chain for kind in type(each).__mro__}
    status = next(filter(None, map(_status, chain)), None)
    if any(getattr(each, "errno", None) == errno.ENOSPC for each in chain):
        return "the disk is full", "free some space, or set HF_HOME or CROSSEARTH_CACHE"
    if "OfflineModeIsEnabled" in names:
        return "HF_HUB_OFFLINE is set", "unset it"
    if "GatedRepoError" in names:
        return "it is gated", f"accept the terms at {page} and set HF_TOKEN to a token"
    if "ProxyError" in names:
        return "the proxy refused", f"check {', '.join(_PROXIES)}"
    if status in (401, 403):
        return f"{status}, no access", f"ask for it at {page} and set HF_TOKEN"
    if status == 404 or names & {"EntryNotFoundError", "RepositoryNotFoundError"}:
        if "LocalEntryNotFoundError" not in names:
            return "404, there is no such file", f"look at {page} what became of it"
    if "Consistency" in str(error) or names & set(_BROKEN):
        return "the transfer broke off", _AGAIN
    if status is not None:
        return f"the server answered {status}", f"{_AGAIN} later"
    if names & set(_NETWORK):
        given = [each for each in _PROXIES if os.environ.get(each)]
        through = f", with {' and '.join(given)} set" if given else ""
        return f"no connection{through}", f"check the network and {_PROXIES[0]}"
    if "FileMetadataError" in names:
        return "no hub answered", "check HF_ENDPOINT and the proxy"
    return cut(" ".join(str(chain[-1]).split()), 200), _AGAIN


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it, outermost first."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _status(error: BaseException) -> int | None:
    """The answer of the server that an error came from."""
    return getattr(getattr(error, "response", None), "status_code", None)
