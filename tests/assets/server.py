"""A real HTTP server on loopback that serves chosen bytes, and misbehaves as real servers do."""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class File:
    """What a path answers with.

    `breaks` and `errors` are used up: the connection is cut after so many bytes, or the status sent, once each.
    `slow`: seconds after each 1000 bytes. `ranges`: whether Range is honoured. `length`: whether a length is told.
    """

    data: bytes
    kind: str = "application/octet-stream"
    breaks: list[int] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    length: bool = True
    etag: bool = True
    slow: float = 0.0
    redirect: str | None = None


class Server:
    """Holds the files, and remembers the requests: (method, path, headers)."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.files: dict[str, File] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []

    def put(self, path: str, data: bytes, **how) -> str:
        self.files[path] = File(data, **how)
        return self.address + path

    def put_on_hub(self, repository: str, name: str, data: bytes, **how) -> None:
        """As the Hub serves a big file: a redirect that tells commit and sha256, then the bytes from elsewhere."""
        self.put(f"/cdn/{repository}/{name}", data, **how)
        told = {
            "X-Repo-Commit": COMMIT,
            "X-Linked-ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "X-Linked-Size": str(len(data)),
            "ETag": f'"{hashlib.sha1(data).hexdigest()}"',
        }
        elsewhere = self.address.replace("127.0.0.1", "localhost")  # another host, for what follows redirects
        location = f"{elsewhere}/cdn/{repository}/{name}?Signature=secret"
        for revision in ("main", COMMIT):
            self.put(f"/{repository}/resolve/{revision}/{name}", b"", redirect=location, headers=told)

    def gets(self, path: str) -> list[dict[str, str]]:
        return [headers for method, at, headers in self.requests if method == "GET" and at == path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: Server

    def log_message(self, *arguments) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(self.path.split("?")[0])
        self.world.requests.append((self.command, path, dict(self.headers)))
        file = self.world.files.get(path)
        if file is None:
            return self._plain(404, {"X-Error-Code": "EntryNotFound"} if "/resolve/" in path else {})
        if file.errors:
            return self._plain(file.errors.pop(0), file.headers)
        if file.redirect:
            return self._plain(302, {**file.headers, "Location": file.redirect})
        return self._send(file)

    def _plain(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, file: File) -> None:
        etag = f'"{hashlib.md5(file.data).hexdigest()}"'
        asked, total = self.headers.get("Range"), len(file.data)
        same = self.headers.get("If-Range") in (None, etag)
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked and file.ranges and same else None
        if start is not None and start >= total:
            return self._plain(416, {"Content-Range": f"bytes */{total}"})
        self.send_response(200 if start is None else 206)
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        body = file.data[start or 0 :]
        if file.length:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        if file.etag:
            self.send_header("ETag", etag)
        self.send_header("Content-Type", file.kind)
        for name, value in file.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self._body(file, body)
        return None

    def _body(self, file: File, body: bytes) -> None:
        cut = file.breaks.pop(0) if file.breaks else None
        try:
            for at in range(0, len(body[:cut]), 1000):
                self.wfile.write(body[:cut][at : at + 1000])
                if file.slow:
                    self.wfile.flush()
                    time.sleep(file.slow)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True


@contextmanager
def serving():
    """The server, running in a thread."""
    handler = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listener:
        listener.daemon_threads = True
        handler.world = Server(f"http://127.0.0.1:{listener.server_port}")
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield handler.world
        finally:
            listener.shutdown()
            thread.join()
