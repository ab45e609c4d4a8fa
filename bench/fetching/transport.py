"""One address, one whole file: resumed where it broke off, tried again, and refused if it is not what was asked for.

Only https, and http to the machine itself. A download grows in a `.part` file that survives a crash; it is continued
only if the server says that it still is the same file (If-Range). What is wrong never gets a final name.
"""

from __future__ import annotations

import http.client
import re
import shutil
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

CHUNK = 1 << 20
ATTEMPTS = 5
"""Tries in a row that bring nothing before it gives up."""
PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds before the second try, doubled each time, and their bound."""
TIMEOUT = 30.0
"""Seconds without a byte."""
SPARE = 64 << 20
"""Bytes of the disk that stay free."""

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_HTML = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype html|html|head)\b", re.IGNORECASE | re.DOTALL)
_HUB = ("x-repo-commit", "x-linked-etag")
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
_TORCH = (b"PK\x03\x04", b"\x80")
_STARTS = {
    ".bin": _TORCH,
    ".ckpt": _TORCH,
    ".json": (b"{", b"["),
    ".onnx": (b"\x08",),
    ".pt": _TORCH,
    ".pth": _TORCH,
    ".zip": (b"PK\x03\x04",),
}
"""ending -> how such a file begins (torch: a zip or a pickle; ONNX: the field of its version)."""


class DownloadError(Exception):
    """A file could not be got, or was not what it must be: nobody's mistake in typing, so exit code 1."""


class NotThereError(DownloadError):
    """The server has no such file."""


class _BrokenOffError(Exception):
    """Worth another try; `wait` seconds at least."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class Remote:
    """Where a file is to be had.

    Attributes:
        url: https, or http on this machine.
        size: bytes, where known.
        headers: (an authorization) for the first host only.
        hint: what helps where access is refused.
    """

    url: str
    size: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""


Progress = Callable[[int], None]
"""Called with the length of every stretch of bytes that was written; a negative number takes back what was lost."""


def check_url(url: str, from_loopback: bool = True) -> None:
    """Refuse what is neither https nor http to this machine.

    Args:
        url: where a request is about to go.
        from_loopback: False for a redirect from elsewhere, which must not lead to this machine.

    Raises:
        DownloadError: it is not allowed.
    """
    local = is_loopback(url)
    allowed = ("http", "https") if local else ("https",)
    if urlsplit(url).scheme not in allowed or (local and not from_loopback):
        raise DownloadError(f"{bare(url)}: only https is allowed, and none leads from elsewhere to this machine")


def is_loopback(url: str) -> bool:
    """Return whether an address is this very machine's.

    >>> is_loopback("http://127.0.0.1:80/x"), is_loopback("http://localhost/"), is_loopback("http://10.0.0.1/")
    (True, True, False)
    """
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def bare(url: str) -> str:
    """Return the address without what may be secret: a query holds a signature, the host's part a password.

    >>> bare("https://me:pw@cdn.org:8443/a/b.bin?Signature=s")
    'https://cdn.org:8443/a/b.bin'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class _Redirects(HTTPRedirectHandler):
    """Checks every hop, keeps the authorization to its own host, and collects what a Hub says on the way."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        check_url(newurl, from_loopback=is_loopback(req.full_url))
        self.seen |= _hub_headers(headers)
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
            request.headers = {k: v for k, v in request.headers.items() if k.lower() != "authorization"}
        return request


def _hub_headers(headers: Message) -> dict[str, str]:
    return {name: headers[name] for name in _HUB if headers[name] is not None}


@contextmanager
def _open(remote: Remote, extra: Mapping[str, str]) -> Iterator[tuple[Any, dict[str, str]]]:
    """Yield the reply (also where it says that nothing is left to send) and a Hub's headers; errors in our words."""
    check_url(remote.url)
    redirects = _Redirects()
    request = Request(remote.url, headers={"User-Agent": "idbench", **remote.headers, **extra})
    try:
        with _reply(build_opener(redirects), request) as reply:
            yield reply, redirects.seen | _hub_headers(reply.headers)
    except HTTPError as error:
        raise _refusal(remote, error) from error
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DownloadError(f"{bare(remote.url)}: {error.reason}") from error
        raise _BrokenOffError(f"no connection: {error.reason}") from error
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise _BrokenOffError(f"{type(error).__name__}: {error}") from error


def _reply(opener: OpenerDirector, request: Request) -> Any:
    try:
        return opener.open(request, timeout=TIMEOUT)
    except HTTPError as error:
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return error
        raise


def _refusal(remote: Remote, error: HTTPError) -> Exception:
    said = f"{bare(remote.url)}: the server answered {error.code} {error.reason}"
    error.close()
    if error.code in _TRANSIENT:
        return _BrokenOffError(said, _seconds(error.headers["Retry-After"]))
    if error.code in (401, 403):
        return DownloadError(f"{said}; {remote.hint}" if remote.hint else said)
    return (NotThereError if error.code in (404, 410) else DownloadError)(said)


def _seconds(text: str | None) -> float:
    return min(float(text), LONGEST_PAUSE) if text and text.isdecimal() else 0.0


def download(remote: Remote, part: Path, name: str, progress: Progress = lambda count: None) -> dict[str, str]:
    """Bring a whole file to `part`, continuing what already lies there.

    Args:
        remote: where from, and its size where known.
        part: where it grows; `part`.etag next to it holds the server's mark of the version.
        name: of the file, for messages.
        progress: called with the number of bytes that were written.

    Returns:
        What a Hub said of the file: headers `x-repo-commit`, `x-linked-etag`, in small letters.

    Raises:
        DownloadError: refused, not there, of another size, or nothing came in `ATTEMPTS` tries in a row.
    """
    failures = 0
    while True:
        before = _length(part)
        try:
            return _attempt(remote, part, name, progress)
        except _BrokenOffError as error:
            failures = 1 if _length(part) > before else failures + 1
            if failures >= ATTEMPTS:
                raise DownloadError(f"{name}: {error}; gave up after {failures} tries") from error
            _pause(max(error.wait, min(PAUSE * 2 ** (failures - 1), LONGEST_PAUSE)), progress)


def _pause(seconds: float, progress: Progress) -> None:
    """Wait in short steps, for `progress` may raise to end it all."""
    while seconds > 0:
        progress(0)
        time.sleep(min(seconds, 0.2))
        seconds -= 0.2


def _attempt(remote: Remote, part: Path, name: str, progress: Progress) -> dict[str, str]:
    have = _length(part)
    with _open(remote, _continuation(part, have)) as (reply, hub):
        start, total = _extent(reply, have)
        if start is None:
            _start_again(part, have, progress)
        if None not in (total, remote.size) and total != remote.size:
            discard(part)
            raise DownloadError(f"{name}: the server offers {total} bytes, not {remote.size}; nothing was kept")
        if start == total:
            return hub
        if reply.headers.get_content_type() == "text/html":
            raise DownloadError(f"{name}: {bare(remote.url)} sent a web page instead of the file")
        _check_space(part, (total or 0) - start)
        progress(start - have)
        _write(reply, part, start, progress)
    whole = remote.size if total is None else total
    if whole is not None and _length(part) < whole:
        raise _BrokenOffError(f"broke off at {_length(part)} of {whole} bytes")
    return hub


def _extent(reply: Any, have: int) -> tuple[int | None, int | None]:
    """Return where the reply's bytes begin (None: of no use) and the file's length (None: the server doesn't say)."""
    if reply.status == HTTPStatus.OK:
        length = reply.headers["Content-Length"]
        return 0, int(length) if length and length.isdecimal() else None
    match = _CONTENT_RANGE.fullmatch(reply.headers["Content-Range"] or "")
    if match is None:
        return None, None
    first, total = (None if text in (None, "*") else int(text) for text in match.groups())
    begins = have if first is None and total == have else first
    return (begins if begins == have else None), total


def _start_again(part: Path, have: int, progress: Progress) -> NoReturn:
    discard(part)
    progress(-have)
    raise _BrokenOffError("the server could not continue where it broke off")


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _mark(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def discard(part: Path) -> None:
    """Remove what arrived so far."""
    part.unlink(missing_ok=True)
    _mark(part).unlink(missing_ok=True)


def _continuation(part: Path, have: int) -> dict[str, str]:
    """Ask for the rest, but only if the server can know that it is the rest of the same file."""
    if not have or not _mark(part).exists():
        return {}
    return {"Range": f"bytes={have}-", "If-Range": _mark(part).read_text("utf-8")}


def _write(reply: Any, part: Path, start: int, progress: Progress) -> None:
    if start == 0:
        discard(part)
        _remember(part, reply.headers)
    with open(part, "ab", buffering=0) as file:
        while chunk := reply.read1(CHUNK):
            file.write(chunk)
            progress(len(chunk))


def _remember(part: Path, headers: Message) -> None:
    """Keep the strongest mark of this version that the server gives; a weak ETag may not be used for ranges."""
    etag = headers["ETag"]
    mark = etag if etag and not etag.startswith("W/") else headers["Last-Modified"]
    if mark:
        _mark(part).write_text(mark, "utf-8")


def _check_space(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < needed + SPARE:
        raise DownloadError(f"{part.parent} has {free >> 20} MiB free, {(needed + SPARE) >> 20} MiB are needed")


def check_content(path: Path, name: str) -> None:
    """Refuse a web page, and what does not begin as a file with this ending does.

    Args:
        path: the file.
        name: the name it is to get.

    Raises:
        DownloadError: it is something else.
    """
    with open(path, "rb") as file:
        head = file.read(4096)
    if _HTML.match(head):
        raise DownloadError(f"{name}: a web page came instead of the file")
    starts = _STARTS.get(Path(name).suffix, ())
    if not head or (starts and not head.lstrip(b"\xef\xbb\xbf").startswith(starts)):
        raise DownloadError(f"{name}: what came is not a {Path(name).suffix} file (it begins {head[:16]!r})")
    if name.endswith(".safetensors") and not _is_safetensors(head, path.stat().st_size):
        raise DownloadError(f"{name}: what came is not a .safetensors file (it begins {head[:16]!r})")


def _is_safetensors(head: bytes, size: int) -> bool:
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") + 8 <= size
