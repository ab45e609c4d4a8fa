"""`push` sends a bundle to the Hub with a token and a yes, and nothing without."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.__main__ import main
from bench.exchange.export import bundle
from bench.report.frames import load_run
from tests.report.runs import scored

TOKEN = "hf_test"
REPO = "ann/results"


class Hub(BaseHTTPRequestHandler):
    """The two endpoints of the Hub that a small commit needs."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path.partition("?")[0], self.headers.get("Authorization"), body))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "Invalid credentials"})
        if "/preupload/" in self.path:
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        address = f"{self.server.address}/datasets/{REPO}/commit/{'0' * 40}"
        pull = (
            {"pullRequestUrl": f"{self.server.address}/datasets/{REPO}/discussions/1"}
            if "create_pr=1" in self.path
            else {}
        )
        return self.answer(200, {"success": True, "commitOid": "0" * 40, "commitUrl": address, **pull})

    def answer(self, code, value):
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.address = [], f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return scored(tmp_path_factory.mktemp("push") / "arc-01234567", pictures=True)


def sent(hub):
    """Name -> content of the files of the commits that the hub was given."""
    lines = [json.loads(line) for path, _, body in hub.asked if "/commit/" in path for line in body.splitlines()]
    return {one["value"]["path"]: base64.b64decode(one["value"]["content"]) for one in lines if one["key"] == "file"}


def test_it_sends_what_export_writes_and_nothing_else(run, hub, capsys):
    assert main(["push", str(run), "--repo", REPO, "--yes"]) == 0
    assert sent(hub) == {"arc-01234567.zip": bundle(load_run(run))}
    assert [path for path, _, _ in hub.asked] == [
        f"/api/datasets/{REPO}/preupload/main", f"/api/datasets/{REPO}/commit/main",
    ]  # fmt: skip
    assert capsys.readouterr().out.startswith(f"{hub.address}/datasets/{REPO}/commit/")


def test_it_opens_a_pull_request_on_request(run, hub, capsys):
    assert main(["push", str(run), "--repo", REPO, "--yes", "--pull-request"]) == 0
    assert capsys.readouterr().out.strip().endswith("/discussions/1")


def test_without_a_yes_or_a_token_nothing_is_sent(run, hub, capsys, monkeypatch, tmp_path):
    assert main(["push", str(run), "--repo", REPO]) == 2
    assert "arc-01234567.zip would go to the dataset ann/results; add --yes" in capsys.readouterr().err
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    assert main(["push", str(run), "--repo", REPO, "--yes"]) == 2
    error = capsys.readouterr().err
    assert "set HF_TOKEN" in error
    assert len(error.splitlines()) == 1
    assert hub.asked == []


@pytest.mark.parametrize(
    ("token", "repo", "reason"),
    [("hf_wrong", REPO, "401"), (TOKEN, "no/such/name", "Repo id must be"), (TOKEN, "ann/ results", "Repo id must")],
)
def test_a_refusal_is_one_line(run, hub, capsys, monkeypatch, token, repo, reason):
    monkeypatch.setenv("HF_TOKEN", token)
    assert main(["push", str(run), "--repo", repo, "--yes"]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert len(error.splitlines()) == 1
    assert sent(hub) == {}
