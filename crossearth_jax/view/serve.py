"""From a view to a running server: a free port, a browser, and an end by Ctrl-C."""

import errno
import os
import socket
import sys
import webbrowser
from typing import Any

from crossearth_jax.view.gather import View
from crossearth_jax.view.reading import needed
from crossearth_jax.view.server import application, new_site

HOST = "127.0.0.1"  # nobody else's
PORT, PORTS = 8008, 20  # the first that is tried, and how many are
PATIENCE = 2  # seconds that open requests get at the end


def serve(view: View, port: int | None, *, browser: bool) -> None:
    """Serves a page until Ctrl-C.

    Args:
      view: what it shows.
      port: None takes the first free one from `PORT` on; 0 any.
      browser: open it.

    Raises:
      OSError: the port cannot be had.
      KeyboardInterrupt: as it ends.
    """
    uvicorn = needed("uvicorn")
    site = new_site(view)
    with bound(port) as listening:
        address = f"http://{HOST}:{listening.getsockname()[1]}/{site.secret}/"

        class Server(uvicorn.Server):
            async def startup(self, sockets: Any = None) -> None:
                await super().startup(sockets=sockets)
                print(f"{address}\nCtrl-C ends it", flush=True)
                if browser and has_display():
                    webbrowser.open(address)

        config = uvicorn.Config(
            application(site),
            log_level="error",
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=PATIENCE,
        )
        site.count.start()
        try:
            Server(config).run(sockets=[listening])
        finally:
            site.count.stop()


def bound(port: int | None) -> socket.socket:
    """A socket of this machine alone.

    Raises:
      OSError: the port is in use, or there is no free one.
    """
    wanted = range(PORT, PORT + PORTS) if port is None else [port]
    for one in wanted:
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if os.name == "posix":  # elsewhere it takes ports that are in use
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((HOST, one))
            found.listen()
            return found
        except OSError as error:
            found.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    shown = f"--port {port}" if port is not None else f"ports {PORT} to {wanted[-1]}"
    raise OSError(f"got {shown}, in use or not allowed, expected a free one: --port 0")


def has_display() -> bool:
    """Whether a browser has a screen; without one a terminal's browser would start."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
