"""A loopback server, a table that points at it, and the command line as a real process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants, file_download

from bench import assets
from bench.__main__ import main
from bench.fetching import transport
from tests.assets.server import serving

ROOT = Path(__file__).resolve().parents[2]
NAMES = {"methods": {"one": (), "two": ("one",)}, "extractors": {"net": ()}, "datasets": {"faces": ()}}
KINDS = ("methods", "recognisers", "detectors", "landmarkers", "parsers", "extractors", "datasets")


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Short pauses, and no environment of whoever runs the tests."""
    monkeypatch.setattr(transport, "PAUSE", 0.01)
    for name in ("IDBENCH_WEIGHTS", "IDBENCH_MIRROR", "HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


HUB_URL = "{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
Done = namedtuple("Done", "returncode stdout stderr")


class World:
    """A table of our own, a weights folder, and `fetch` as a process."""

    def __init__(self, folder: Path, server, monkeypatch, capture) -> None:
        self.folder, self.server, self.monkeypatch, self.capture = folder, server, monkeypatch, capture
        self.root = folder / "weights"
        self.path = folder / "assets.yaml"
        self.sources: list[dict] = []
        self.add = lambda **source: self.table({"folder": "f", "licence": "MIT", "use": "open", "page": "P", **source})
        self.environment = {
            **{
                k: v
                for k, v in os.environ.items()
                if not k.startswith(("HF_", "IDBENCH_")) and "proxy" not in k.lower()
            },
            "PYTHONPATH": str(ROOT),
            "HF_HOME": str(folder / "hf"),
            "HF_ENDPOINT": server.address,
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def table(self, source: dict) -> None:
        """Adds a source, and makes the grown table the project's."""
        source.setdefault("used_by", ["one"])
        self.sources.append(source)
        names = {kind: {name: list(needs) for name, needs in NAMES.get(kind, {}).items()} for kind in KINDS}
        whole = {"version": 1, "names": names, "profiles": {"small": ["one"]}, "sources": self.sources}
        self.path.write_text(yaml.safe_dump(whole), "utf-8")
        self.monkeypatch.setattr(assets, "TABLE", self.path)
        assets.read_table.cache_clear()

    def serve(self, name: str, data: bytes, sha256=None, size=None, **how) -> None:
        """One plain file, on the server and in the table."""
        url = self.server.put(f"/{name}", data, **how)
        self.add(url=url, files=[{"file": name, "sha256": sha256, "size": size}])

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "tests.assets.cli", str(self.path), "fetch", "--dir", str(self.root), *words]

    def fetch(self, *words: str) -> Done:
        """The verb, in this process."""
        before = self.capture.readouterr()
        assert not before.err
        code = main(["fetch", "--dir", str(self.root), *words])
        return Done(code, *self.capture.readouterr())

    def process(self, *words: str, **environment: str) -> subprocess.CompletedProcess:
        """The verb as a process of its own."""
        return subprocess.run(
            self.command(*words),
            env=self.environment | environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def world(tmp_path, server, monkeypatch, capsys):
    return World(tmp_path, server, monkeypatch, capsys)


@pytest.fixture
def hub(world, monkeypatch):
    """The same, with the library's constants (read from the environment at its import) set to our server."""
    template = HUB_URL.format(address=world.server.address)
    for module in (constants, file_download):  # Old versions read the second.
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(world.folder / "hf/hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return world


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
