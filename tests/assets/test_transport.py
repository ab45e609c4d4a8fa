"""One address to one whole file, against a real server that behaves well and badly."""

from __future__ import annotations

import http.server
import threading

import pytest

from bench.fetching import transport
from bench.fetching.transport import DownloadError, NotThereError, Remote, check_content, check_url, download

DATA = bytes(range(256)) * 40


@pytest.fixture
def part(tmp_path):
    return tmp_path / "x.part"


def test_a_file_arrives_whole_and_its_progress_adds_up(server, part):
    steps = []
    download(Remote(server.put("/x", DATA), len(DATA)), part, "x", steps.append)
    assert part.read_bytes() == DATA
    assert sum(steps) == len(DATA)


def test_what_broke_off_is_continued_not_begun_anew(server, part):
    steps = []
    download(Remote(server.put("/x", DATA, breaks=[3000, 4000])), part, "x", steps.append)
    assert part.read_bytes() == DATA
    assert [asked.get("Range") for asked in server.gets("/x")] == [None, "bytes=3000-", "bytes=7000-"]
    assert sum(steps) == len(DATA)


def test_a_line_that_breaks_often_is_no_reason_to_give_up_as_long_as_bytes_come(server, part):
    breaks = [1000] * (transport.ATTEMPTS + 3)
    download(Remote(server.put("/x", DATA, breaks=breaks)), part, "x")
    assert part.read_bytes() == DATA


def test_a_download_of_an_earlier_process_is_continued(server, part, monkeypatch):
    monkeypatch.setattr(transport, "ATTEMPTS", 1)
    remote = Remote(server.put("/x", DATA, breaks=[5000]))
    with pytest.raises(DownloadError, match="broke off at 5000 of 10240 bytes"):
        download(remote, part, "x")
    download(remote, part, "x")
    assert part.read_bytes() == DATA
    assert server.gets("/x")[-1]["Range"] == "bytes=5000-"


def test_a_file_that_changed_meanwhile_is_not_sewn_together(server, part, monkeypatch):
    monkeypatch.setattr(transport, "ATTEMPTS", 1)
    with pytest.raises(DownloadError):
        download(Remote(server.put("/x", DATA, breaks=[5000])), part, "x")
    newer = DATA[::-1]
    download(Remote(server.put("/x", newer)), part, "x")
    assert part.read_bytes() == newer


def test_a_server_that_ignores_ranges_starts_over(server, part):
    steps = []
    download(Remote(server.put("/x", DATA, breaks=[3000], ranges=False)), part, "x", steps.append)
    assert part.read_bytes() == DATA
    assert sum(steps) == len(DATA)


def test_without_a_mark_of_the_version_nothing_is_continued(server, part):
    download(Remote(server.put("/x", DATA, breaks=[3000], etag=False)), part, "x")
    assert part.read_bytes() == DATA
    assert all("Range" not in asked for asked in server.gets("/x"))


def test_a_part_that_is_already_whole_is_kept(server, part):
    remote = Remote(server.put("/x", DATA))
    download(remote, part, "x")
    download(remote, part, "x")
    assert part.read_bytes() == DATA
    assert server.gets("/x")[-1]["Range"] == f"bytes={len(DATA)}-"


def test_a_part_longer_than_the_file_is_thrown_away(server, part):
    remote = Remote(server.put("/x", DATA))
    download(remote, part, "x")
    part.write_bytes(DATA + b"more")
    download(remote, part, "x")
    assert part.read_bytes() == DATA


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_fault_is_tried_again(server, part, status):
    download(Remote(server.put("/x", DATA, errors=[status, status])), part, "x")
    assert part.read_bytes() == DATA
    assert len(server.gets("/x")) == 3


def test_a_server_that_asks_for_patience_gets_it_within_bounds(server, part, monkeypatch):
    waited = []
    monkeypatch.setattr(transport, "_pause", lambda seconds, progress: waited.append(seconds))
    download(Remote(server.put("/x", DATA, errors=[429], headers={"Retry-After": "7"})), part, "x")
    part.unlink()
    download(Remote(server.put("/x", DATA, errors=[503], headers={"Retry-After": "86400"})), part, "x")
    assert waited == [7, transport.LONGEST_PAUSE]


def test_it_gives_up_after_a_bounded_number_of_tries(server, part):
    url = server.put("/x", DATA, errors=[500] * 50)
    with pytest.raises(DownloadError, match="500 Internal Server Error; gave up after 5 tries"):
        download(Remote(url), part, "x")
    assert len(server.gets("/x")) == transport.ATTEMPTS


def test_a_stop_is_heard_between_tries(server, part):
    def stop(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(Remote(server.put("/x", DATA, errors=[500])), part, "x", stop)


@pytest.mark.parametrize(("status", "kind"), [(404, NotThereError), (410, NotThereError), (403, DownloadError)])
def test_a_refusal_is_final(server, part, status, kind):
    url = server.put("/x", DATA, errors=[status])
    with pytest.raises(kind, match=f"answered {status}"):
        download(Remote(url), part, "x")
    assert len(server.gets("/x")) == 1


def test_a_refused_token_says_what_helps(server, part):
    url = server.put("/x", DATA, errors=[401])
    with pytest.raises(DownloadError, match="accept the terms"):
        download(Remote(url, hint="accept the terms"), part, "x")


def test_another_size_is_refused_before_the_first_byte(server, part):
    with pytest.raises(DownloadError, match="offers 10240 bytes, not 99"):
        download(Remote(server.put("/x", DATA), 99), part, "x")
    assert not part.exists()


def test_a_web_page_with_status_200_is_refused(server, part):
    url = server.put("/x", b"<!DOCTYPE html><title>Log in</title>", kind="text/html; charset=utf-8")
    with pytest.raises(DownloadError, match="sent a web page"):
        download(Remote(url), part, "x.bin")


def test_nobody_listening_is_said_plainly(part, monkeypatch):
    monkeypatch.setattr(transport, "ATTEMPTS", 2)
    with pytest.raises(DownloadError, match="no connection"):
        download(Remote("http://127.0.0.1:9/x"), part, "x")


def test_a_full_disk_is_noticed_before_writing(server, part, monkeypatch):
    monkeypatch.setattr(transport, "SPARE", 1 << 60)
    with pytest.raises(DownloadError, match="MiB free"):
        download(Remote(server.put("/x", DATA)), part, "x")
    assert not part.exists()


def test_without_a_told_length_the_known_size_decides(server, part):
    download(Remote(server.put("/x", DATA, length=False, breaks=[3000]), len(DATA)), part, "x")
    assert part.read_bytes() == DATA


@pytest.mark.parametrize("url", ["http://example.org/x", "ftp://example.org/x", "file:///etc/passwd", "x"])
def test_only_https_is_allowed(url):
    with pytest.raises(DownloadError, match="only https"):
        check_url(url)


def test_https_may_not_lead_to_this_machine_or_to_http():
    check_url("https://cdn.example.org/x", from_loopback=False)
    for url in ("http://127.0.0.1/x", "https://localhost/x", "http://cdn.example.org/x"):
        with pytest.raises(DownloadError):
            check_url(url, from_loopback=False)


@pytest.mark.parametrize("target", ["http://example.org/x", "ftp://127.0.0.1/x"])
def test_a_redirect_to_elsewhere_is_refused(server, part, target):
    with pytest.raises(DownloadError, match="only https"):
        download(Remote(server.put("/x", b"", redirect=target)), part, "x")


def test_redirects_are_bounded(server, part):
    url = server.put("/x", b"", redirect="/x")
    with pytest.raises(DownloadError, match="302"):
        download(Remote(url), part, "x")
    assert len(server.gets("/x")) < 20


def test_an_authorization_stays_with_its_host(server, part):
    seen = []

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(dict(self.headers))
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"data")

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Elsewhere) as other:
        threading.Thread(target=other.handle_request, daemon=True).start()
        url = server.put("/x", b"", redirect=f"http://127.0.0.1:{other.server_port}/y")
        download(Remote(url, headers={"authorization": "Bearer secret"}), part, "x")
    assert server.gets("/x")[0]["Authorization"] == "Bearer secret"
    assert "Authorization" not in seen[0]


def test_a_proxy_of_the_environment_is_used(server, part, monkeypatch):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", server.address)
    server.put("http://127.0.0.1:9/x", DATA)  # a proxy is asked for the whole address
    download(Remote("http://127.0.0.1:9/x"), part, "x")
    assert part.read_bytes() == DATA


SAFETENSORS = (2).to_bytes(8, "little") + b"{}"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.bin", b"PK\x03\x04rest"),
        ("a.pth", b"\x80\x02rest"),
        ("a.onnx", b"\x08\x06rest"),
        ("a.json", b'\xef\xbb\xbf{"a": 1}'),
        ("a.safetensors", SAFETENSORS),
        ("a.txt", b"anything"),
        ("a.pth.tar", b"anything"),
    ],
)
def test_what_begins_as_its_ending_says_passes(tmp_path, name, data):
    path = tmp_path / "x"
    path.write_bytes(data)
    check_content(path, name)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.txt", b"  <html>", "web page"),
        ("a.bin", b"<!-- quota -->\n<!doctype HTML>", "web page"),
        ("a.bin", b"You have reached the limit of downloads", "not a .bin file"),
        ("a.onnx", b'{"error": "rate limit"}', "not a .onnx file"),
        ("a.json", b"not json", "not a .json file"),
        ("a.safetensors", b"{}", "not a .safetensors file"),
        ("a.safetensors", (99).to_bytes(8, "little") + b"{}", "not a .safetensors file"),
        ("a.txt", b"", "not a .txt file"),
    ],
)
def test_what_is_something_else_is_refused(tmp_path, name, data, said):
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(DownloadError, match=said):
        check_content(path, name)
