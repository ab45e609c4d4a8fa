"""The example programs of docs/examples, fed as `method=external` feeds them; the API is a server of our own."""

import base64
import io
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from baselines.external import External, ExternalOptions
from baselines.protocol import Reference, Request
from bench.runtime import Runtime
from tests.shared import ROOT

EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.full((4, 4, 3), 7, np.uint8)).save(path)
    return path


@pytest.fixture
def generate(photo):
    """Makes so many samples with a program, and returns their outputs."""

    def made(command, samples, **more):
        method = External(ExternalOptions(command=command, version="1", timeout=60, **more), Runtime())
        reference = Reference("anna", "anna", path=photo)
        try:
            return method.generate([Request(reference, k, 10 + k, "photo of a person") for k in range(samples)])
        finally:
            method.close()

    return made


MODEL = """
import numpy as np
from PIL import Image

def load():
    print("loading")
    def model(photos, prompt, seed):
        print("a progress bar")
        if seed == 11:
            raise RuntimeError("out of luck")
        value = np.asarray(Image.open(photos[0]))[0, 0, 0] + seed
        return Image.fromarray(np.full((8, 8, 3), value, np.uint8))
    return model
"""


def test_a_model_in_its_own_environment(generate, tmp_path, monkeypatch):
    (tmp_path / "my_model.py").write_text(MODEL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    first, second, third = generate(f"{sys.executable} {EXAMPLES / 'open_model.py'} my_model:load", 3)
    assert (first.image[0, 0, 0], third.image[0, 0, 0]) == (17, 19)
    assert second.error == "the program says: RuntimeError: out of luck"


class Api(BaseHTTPRequestHandler):
    """Busy at the first question; refuses seed 11; else an image whose grey is the seed."""

    asked: ClassVar[list[dict]] = []

    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(question | {"key": self.headers["Authorization"]})
        if len(self.asked) == 1:
            return self.say(429, {"error": "slowly"}, {"Retry-After": "0"})
        if question["seed"] == 11:
            return self.say(400, {"error": "a likeness of a person"})
        file = io.BytesIO()
        Image.fromarray(np.full((8, 8, 3), question["seed"], np.uint8)).save(file, "PNG")
        return self.say(200, {"image": base64.b64encode(file.getvalue()).decode()})

    def say(self, code, content, headers=()):
        data = json.dumps(content).encode()
        self.send_response(code)
        for name, value in {**dict(headers), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def api(monkeypatch):
    monkeypatch.setattr(Api, "asked", [])
    server = HTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def http_api(url, ledger, *more):
    given = ("--price", "0.5", "--budget", "1", "--ledger", ledger, "--per-minute", "6000", *more)
    return " ".join(map(str, (sys.executable, EXAMPLES / "http_api.py", url, *given)))


def test_an_api(generate, api, photo, tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGE_API_KEY", "secret")
    ledger = tmp_path / "paid.txt"
    first, refused, third, too_much = generate(http_api(api, ledger), 4)
    assert (first.image[0, 0, 0], third.image[0, 0, 0]) == (10, 12)
    assert "HTTP 400" in refused.error
    assert "a likeness of a person" in refused.error
    assert "the budget of 1 is used up" in too_much.error
    # The first was asked twice, the last not at all.
    assert [question["seed"] for question in Api.asked] == [10, 10, 11, 12]
    assert {question["key"] for question in Api.asked} == {"Bearer secret"}
    assert base64.b64decode(Api.asked[0]["images"][0]) == photo.read_bytes()
    # What was paid before counts in a new process.
    assert len(ledger.read_text().splitlines()) == 2
    assert "used up" in generate(http_api(api, ledger), 1)[0].error


def test_a_server_that_is_not_there(generate, tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGE_API_KEY", "secret")
    found = generate(http_api("http://127.0.0.1:9/", tmp_path / "paid.txt", "--tries", "1"), 1)
    assert "no answer in 1 tries" in found[0].error
    assert not (tmp_path / "paid.txt").exists()


def test_without_a_key(generate, tmp_path, monkeypatch):
    monkeypatch.delenv("IMAGE_API_KEY", raising=False)
    assert "exit code 1" in generate(http_api("http://127.0.0.1:9/", tmp_path / "paid.txt"), 1)[0].error
