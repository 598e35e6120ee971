"""Several hosts (processes) as one run, on JAX's distributed runtime.

With one process alone every function returns at once.
"""

import logging as python_logging
import os
import pickle
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

HEARTBEAT_SECONDS = 7  # a host that is silent for longer is taken for dead
JOIN_SECONDS = 25  # that host 0 may start later than the others
GATHER_SECONDS = 300  # that all together may need to start
PATIENCE = "CROSSEARTH_JOIN_SECONDS"  # of the environment, sets both
SHUTDOWN_SECONDS = 10  # that hosts wait for each other at the end
FAILED = 17  # exit status of a host that ended because of an error
HTTP2_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # an empty frame of RFC 9113


def expected() -> bool:
    """Whether the environment shows that this process is one of several.

    Slurm (`srun`), Open MPI, TPU slices on GKE and `JAX_COORDINATOR_ADDRESS` are
    known; `--distributed` asks JAX to look further, for a TPU VM's metadata server.
    """
    env = os.environ
    return (
        int(env.get("SLURM_STEP_NUM_TASKS", 1)) > 1
        or int(env.get("OMPI_COMM_WORLD_SIZE", 1)) > 1
        or "," in env.get("TPU_WORKER_HOSTNAMES", "")
        or "," in env.get("TPU_PROCESS_ADDRESSES", "")
        or "MEGASCALE_COORDINATOR_ADDRESS" in env
        or "JAX_COORDINATOR_ADDRESS" in env
    )


def join(
    coordinator: str | None = None, count: int | None = None, index: int | None = None
) -> None:
    """Joins the other hosts; must come before anything else asks JAX for devices.

    Args:
      coordinator: HOST:PORT of host 0; None lets JAX find it (Slurm, TPU, ...).
      count: number of hosts.
      index: of this host, 0 first.

    Raises:
      ValueError: only some are given, they cannot be, or the cluster cannot be found.
    """
    given = f"got --coordinator={coordinator} --hosts={count} --host={index}, expected "
    if coordinator is not None and count is not None and index is not None:
        if not _is_address(coordinator) or not 0 <= index < count:
            raise ValueError(f"{given}HOST:PORT and a host from 0 to hosts - 1")
    elif (coordinator, count, index) != (None, None, None):
        raise ValueError(f"{given}all three or none")
    address = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    own = os.environ.get("JAX_PROCESS_ID", "0") if index is None else index
    if address and int(own) > 0:
        _wait_for_first(address)
    patience_s = _patience(GATHER_SECONDS)
    watch = threading.Timer(patience_s, _give_up, (patience_s,))
    watch.daemon = True
    watch.start()
    try:
        jax.distributed.initialize(
            coordinator,
            count,
            index,
            # Later than `watch`: JAX would end the process with a trace of its C++.
            initialization_timeout=int(patience_s) + 60,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"could not join the other hosts ({error}): give --coordinator=HOST:PORT, "
            "--hosts=N and --host=I"
        ) from error
    finally:
        watch.cancel()


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal() and int(port) < 1 << 16


def _patience(usual_s: float) -> float:
    """Seconds that hosts wait for each other, which the environment may set.

    Raises:
      ValueError: it is no number of seconds.
    """
    text = os.environ.get(PATIENCE)
    try:
        patience_s = usual_s if text is None else float(text)
    except ValueError:
        patience_s = -1.0
    if not 0 < patience_s < 1e6:
        raise ValueError(f"got {PATIENCE}={text}, expected seconds, such as 60")
    return patience_s


def _wait_for_first(address: str) -> None:
    """Returns when host 0 answers, which may start a little later.

    JAX would wait for five minutes without a word and then end the process.

    Raises:
      ValueError: nothing answers, or something else than host 0.
    """
    if not _is_address(address):
        raise ValueError(f"got the coordinator {address}, expected HOST:PORT")
    patience_s = _patience(JOIN_SECONDS)
    end = time.monotonic() + patience_s
    while True:
        try:
            return _greet(address)
        except OSError as error:
            if time.monotonic() > end:
                raise ValueError(
                    f"got no answer from host 0 at --coordinator={address} within "
                    f"{patience_s:.0f} s ({error}), expected it to listen there: start "
                    "it first, correct the address, or open the port"
                ) from error
        time.sleep(0.2)


def _greet(address: str) -> None:
    """Returns if a gRPC service answers, as host 0's is; proxies accept anything.

    Raises:
      OSError: nothing listens there, or it speaks another language.
    """
    host, _, port = address.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=5) as there:
        there.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HTTP2_SETTINGS)
        if there.recv(9)[3:4] != HTTP2_SETTINGS[3:4]:
            raise OSError("what listens there is not host 0 of a run")


def _give_up(patience_s: float) -> None:
    """Ends this process, which waits in JAX's C++ code for a host that never comes."""
    logging.error(
        "got no answer from some of the other hosts within %.0f s, expected --hosts of "
        "them: start all, or set %s where they start at very different times",
        *(patience_s, PATIENCE),
    )
    python_logging.shutdown()
    os._exit(FAILED)


def is_first() -> bool:
    """Whether this host writes logs, reports and pictures."""
    return jax.process_index() == 0


def gather(value: Any) -> list[Any]:
    """Every host's picklable value, by host index, on every host; all must call it."""
    if jax.process_count() == 1:
        return [value]
    own = np.frombuffer(pickle.dumps(value), np.uint8)
    # Arrays of one length only can be gathered.
    lengths = multihost_utils.process_allgather(np.int32(own.size)).reshape(-1)
    padded = np.zeros(lengths.max(), np.uint8)
    padded[: own.size] = own
    rows = multihost_utils.process_allgather(padded)
    return [
        pickle.loads(row[:n].tobytes()) for row, n in zip(rows, lengths, strict=True)
    ]


def wait_for_all() -> None:
    """Returns when every host has come here, however long that takes.

    Without it, hosts at their end give up on one that still writes its report after
    `SHUTDOWN_SECONDS`, and end it with them.
    """
    gather(None)


def from_first(value: Any) -> Any:
    """Host 0's value on every host."""
    return gather(value if is_first() else None)[0]


def check_agreement(facts: dict[str, Any]) -> None:
    """Raises if hosts differ in what they are about to run.

    Args:
      facts: by name, such as the configuration and the hash of the data.

    Raises:
      ValueError: names the facts and the hosts.
    """
    everyone = gather(facts)
    for host, theirs in enumerate(everyone):
        differing = [name for name in facts if theirs[name] != everyone[0][name]]
        if differing:
            raise ValueError(
                f"got host {host} with another {', '.join(differing)} than host 0, "
                "expected the same on every host: start all with one command line, "
                "on the same data, weights, code and package versions"
            )


@contextmanager
def leave_together() -> Iterator[None]:
    """Ends this process at once on an error where there are several hosts.

    Python's ordinary exit would wait for the others, which wait in a collective for
    this one. They notice its end and stop too.
    """
    try:
        yield
    except BaseException as error:
        if jax.process_count() == 1:
            raise
        if isinstance(error, SystemExit) and not error.code:
            raise
        logging.error("host %d ends: %s", jax.process_index(), _text(error))
        python_logging.shutdown()
        os._exit(FAILED)


def _text(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return str(error.code)
    return "".join(traceback.format_exception(error))
