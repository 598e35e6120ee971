"""The page's server: named things alone, to this machine alone.

The address has a secret part, since others may be logged in here too. Other names in
the Host header are refused, so that no site can point its own at this server (DNS
rebinding). Nothing of a request becomes a path: files and layers have names of their
own.
"""

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from absl import logging

from crossearth_jax.system.escape import error_line
from crossearth_jax.view import about
from crossearth_jax.view.areas import AreaCount
from crossearth_jax.view.assets import assets
from crossearth_jax.view.gather import View
from crossearth_jax.view.layers import Layer
from crossearth_jax.view.placing import MOST_ZOOM
from crossearth_jax.view.polygons import geojson
from crossearth_jax.view.reading import needed

HOSTS = ["127.0.0.1", "localhost"]
AT_ONCE = 4  # tiles that are read at a time
MOST_LINES = 20  # of what went wrong, on the terminal
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
MEDIA = {"png": "image/png", "webp": "image/webp"}


@dataclass(frozen=True)
class Site:
    """What is served.

    Attributes:
      view: what the page shows.
      count: its areas.
      secret: first part of every address.
    """

    view: View
    count: AreaCount
    secret: str

    @cached_property
    def about(self) -> bytes:
        """The page's description."""
        return json.dumps(about.about(self.view)).encode()

    @cached_property
    def polygons(self) -> Mapping[str, Callable[[], str]]:
        """GeoJSON by name, made at the first request."""
        return {p.name: _once(lambda p=p: geojson(p)) for p in self.view.polygons}


def new_site(view: View) -> Site:
    """A site with a secret of its own."""
    return Site(view, AreaCount(view.maps), secrets.token_urlsafe(12))


def application(site: Site) -> Any:
    """The ASGI application."""
    routing, responses = needed("starlette.routing"), needed("starlette.responses")
    middleware = needed("starlette.middleware")
    trusted = needed("starlette.middleware.trustedhost").TrustedHostMiddleware
    respond, files, layers = responses.Response, assets(), site.view.layers
    turn, reports = threading.BoundedSemaphore(AT_ONCE), _Reports(respond)

    def asset(request: Any) -> Any:
        found = files.get(request.path_params.get("name", "index.html"))
        if found is None:
            return respond("no such file", 404)
        return respond(found.content, media_type=found.media)

    def description(_: Any) -> Any:
        return respond(site.about, media_type="application/json")

    def areas(_: Any) -> Any:
        return responses.JSONResponse(about.areas(site.view, site.count))

    def polygons(request: Any) -> Any:
        make = site.polygons.get(request.path_params["name"])
        if make is None:
            return respond("no such polygons", 404)
        return reports.guard(lambda: respond(make(), media_type="application/json"))

    def tile(request: Any) -> Any:
        layer = layers.get(request.path_params["layer"])
        place = tuple(request.path_params[k] for k in "zxy")
        if layer is None or not _is_tile(*place):
            return respond("no such tile", 404)
        with turn:
            return reports.guard(lambda: _tile(respond, layer, place))

    routes = [
        routing.Route("/", asset),
        routing.Route("/about.json", description),
        routing.Route("/areas.json", areas),
        routing.Route("/tiles/{layer}/{z:int}/{x:int}/{y:int}", tile),
        routing.Route("/{name}.json", polygons),
        routing.Route("/{name}", asset),
    ]
    starlette = needed("starlette.applications").Starlette
    return starlette(
        routes=[routing.Mount(f"/{site.secret}", routes=routes)],
        middleware=[
            middleware.Middleware(_Headers),
            middleware.Middleware(trusted, allowed_hosts=HOSTS, www_redirect=False),
        ],
    )


class _Headers:
    """Puts the headers that every answer has."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = ((k.lower().encode(), v.encode()) for k, v in HEADERS.items())
                message["headers"] = [*message["headers"], *own]
            await send(message)

        await self._app(scope, receive, with_headers)


def _tile(respond: Any, layer: Layer, place: tuple[int, int, int]) -> Any:
    found = layer.tile(*place)
    if found is None:
        return respond(status_code=204)
    return respond(found, media_type=MEDIA[layer.format])


def _is_tile(z: int, x: int, y: int) -> bool:
    return 0 <= z <= MOST_ZOOM and 0 <= x < 2**z and 0 <= y < 2**z


class _Reports:
    """Tells the page what is wrong with a file each time, and the terminal once."""

    def __init__(self, respond: Any) -> None:
        self._respond, self._lines = respond, set()

    def guard(self, answer: Callable[[], Any]) -> Any:
        """An answer, or what went wrong."""
        try:
            return answer()
        except (OSError, ValueError) as error:
            line = error_line(error)
            if line not in self._lines and len(self._lines) < MOST_LINES:
                self._lines.add(line)
                logging.warning("%s", line)
            return self._respond(line, 500, media_type="text/plain")


def _once(make: Callable[[], str]) -> Callable[[], str]:
    """A function whose first result is kept."""
    lock, kept = threading.Lock(), []

    def get() -> str:
        with lock:
            if not kept:
                kept.append(make())
            return kept[0]

    return get
