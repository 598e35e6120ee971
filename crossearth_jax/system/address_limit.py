"""`ulimit -v`, which no library below JAX gets along with; imports no JAX."""

import sys

SMALL = 16 * 2**30  # bytes; libraries reserve far more than they use


def warn_of_address_limit() -> None:
    """Warns of `ulimit -v`: the libraries below JAX end a process that reaches it.

    They call `std::terminate`, which Python cannot turn into a message.
    """
    if sys.platform != "linux":
        return
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if 0 < limit < SMALL:
        print(
            f"warning: an address-space limit of {limit / 1e9:.1f} GB is set (ulimit "
            "-v); a library that reaches it ends the process with std::bad_alloc: "
            "bound the memory itself, e.g. systemd-run --user -p MemoryMax=8G",
            file=sys.stderr,
        )
