"""A Hugging Face Hub of a few files on loopback, with all that goes wrong on one."""

import hashlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40


@dataclass
class Hub:
    """What it serves, how it fails, and what it was asked for.

    Attributes:
      files: content by "REPOSITORY/FILE".
      gated: repositories that want a token.
      breaks: how often a transfer of a file breaks off in its middle.
      short: files of which fewer bytes come than are announced at first.
      told: digests that are told instead of the right ones.
      status: answer to everything about a file, such as 503.
      asked: (method, path, range) of every request.
    """

    files: dict = field(default_factory=dict)
    gated: set = field(default_factory=set)
    breaks: dict = field(default_factory=dict)
    short: set = field(default_factory=set)
    told: dict = field(default_factory=dict)
    status: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    address: str = ""

    def transfers(self, name):
        """Times that a file's content was asked for."""
        return sum(m == "GET" and p.endswith(name) for m, p, _ in self.asked)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        return self.server.hub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, *, body):
        hub, span = self.hub, self.headers.get("Range")
        hub.asked.append((self.command, self.path, span))
        name = self.path.partition("?")[0].lstrip("/").replace("/resolve/main/", "/")
        repository = name.rpartition("/")[0]
        if repository in hub.gated and not self.headers.get("Authorization"):
            return self._refuse(401, "GatedRepo")
        if name in hub.status:
            return self._refuse(hub.status[name], None)
        if name not in hub.files:
            known = any(each.startswith(f"{repository}/") for each in hub.files)
            return self._refuse(404, "EntryNotFound" if known else "RepoNotFound")
        content = hub.files[name]
        start = int(span[6:-1]) if span else 0
        part = content[start:]
        if name in hub.short and body:
            part = part[:-1]
        self.send_response(206 if span else 200)
        digest = hub.told.get(name, hashlib.sha256(content).hexdigest())
        self.send_header("ETag", f'"{digest}"')
        self.send_header("X-Linked-ETag", f'"{digest}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        if span:
            end = f"{start}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", f"bytes {end}")
        self.end_headers()
        if not body:
            return None
        if hub.breaks.get(name, 0) > 0:
            hub.breaks[name] -= 1
            self.wfile.write(part[: len(part) // 2])
            self.wfile.flush()
            self.close_connection = True
            return None
        self.wfile.write(part)
        return None

    def _refuse(self, status, code):
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", "refused")
        self.send_header("Content-Length", "0")
        self.end_headers()


def start():
    """A hub, and what stops it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.hub = Hub()
    server.hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()

    def stop():
        server.shutdown()
        server.server_close()

    return server.hub, stop
