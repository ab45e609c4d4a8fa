"""By which command, under which versions, on which machine and how long something was made."""

from __future__ import annotations

import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bench import registry
from bench.resources import PACKAGE

PACKAGES = (
    "idbench", "torch", "torchvision", "diffusers", "transformers", "insightface", "onnxruntime", "onnxruntime-gpu",
    "lpips", "pytorch-fid", "facexlib", "face-alignment", "timm", "numpy", "scipy", "pandas", "pillow",
    "opencv-python", "hydra-core",
)  # fmt: skip
SECRET = re.compile(r"key|token|secret|password|passwd|credential", re.IGNORECASE)
"""In the name of an option: its value is never written down."""
MASK = "***"
_VALUE = r"[^\s,;}\]\"']+"
_ASSIGNED = re.compile(
    rf"((?<![\w.\-])[\w.\-]*(?:{SECRET.pattern})[\w\-]*)(\s*[=:]\s*){_VALUE}"
    rf"|(?<![\w\-])(--[\w\-]*(?:{SECRET.pattern})[\w\-]*)(\s+){_VALUE}",
    re.IGNORECASE,
)
"""A secret's name and its value: `key=…`, `key: …` or `--key …`."""


@lru_cache(maxsize=1)
def environment() -> dict[str, Any]:
    """Return Python, platform, package versions, commit and whether the checkout has uncommitted changes."""
    added = {package.name: package.version for package in registry.packages()}
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "packages": {name: v for name in PACKAGES if (v := _version(name))} | added,
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def command(words: Sequence[str]) -> list[str]:
    """Return a command line with the values of options that look like secrets masked.

    >>> command(["bench", "method.api_key=abc", "--token", "abc", "--password=abc", "protocol.seed=0"])
    ['bench', 'method.api_key=***', '--token', '***', '--password=***', 'protocol.seed=0']
    >>> command(["method.command=\\"run --api-key abc\\"", "method.env={API_TOKEN: abc}"])
    ['method.command="run --api-key ***"', 'method.env={API_TOKEN: ***}']
    """
    hidden: list[str] = []
    for word in words:
        follows = (
            bool(hidden)
            and hidden[-1].startswith("--")
            and "=" not in hidden[-1]
            and SECRET.search(hidden[-1]) is not None
        )
        hidden.append(MASK if follows else _masked(word))
    return hidden


def masked(value: Any) -> Any:
    """Return plain JSON types with the secrets in their texts masked, as `command` masks a word.

    >>> masked({"command": "run --api-key abc", "batch": 5})
    {'command': 'run --api-key ***', 'batch': 5}
    """
    if isinstance(value, dict):
        return {key: masked(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner) for inner in value]
    return _masked(value) if isinstance(value, str) else value


def _masked(text: str) -> str:
    return _ASSIGNED.sub(lambda match: "".join(filter(None, match.groups())) + MASK, text)


def device(name: str) -> dict[str, Any]:
    """Return what a device is: its name, and of a GPU the driver, CUDA's version and the providers of ONNX Runtime.

    The providers are those that sessions have: `bench.onnx.open_session` refuses a session without them.
    """
    from bench.onnx import providers

    of_onnx = [provider for provider, _ in providers(name)]
    if name == "cpu":
        return {"device": name, "name": platform.processor() or platform.machine(), "onnx_providers": of_onnx}
    import torch

    return {
        "device": name,
        "name": torch.cuda.get_device_name(name),
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "onnx_providers": of_onnx,
    }


@lru_cache(maxsize=1)
def _driver() -> str | None:
    """Return the version of NVIDIA's driver; None where its own tool cannot be asked."""
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.splitlines()[0].strip() if done.stdout.strip() else None


@dataclass
class Cost:
    """What a piece of work took.

    Attributes:
        seconds: of wall time.
        peak_memory: bytes: "process" (the most since this process started), "workers" (of the largest process that it
            started) and, where this process used a GPU, "gpu" (of torch's tensors during the work).
    """

    seconds: float
    peak_memory: dict[str, int]


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure a piece of work; the cost is complete after the block."""
    cost = Cost(0.0, {})
    torch = _torch_on_gpu()
    if torch is not None:
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds = round(time.perf_counter() - started, 3)
        cost.peak_memory = _peak_memory()


def how(cost: Cost, workers: int, threads: int, device: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record says of how this command made something.

    Args:
        cost: time and memory.
        workers: processes.
        threads: of each.
        device: that made it (`device`).
    """
    return {
        "ended": time.time(),
        "seconds": cost.seconds,
        "peak_memory": cost.peak_memory,
        "workers": workers,
        "threads": threads,
        "device": device,
        "command": command(sys.argv),
        "environment": environment(),
    }


def _peak_memory() -> dict[str, int]:
    # Linux counts in kibibytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    of = {"process": resource.RUSAGE_SELF, "workers": resource.RUSAGE_CHILDREN}
    found = {name: resource.getrusage(who).ru_maxrss * unit for name, who in of.items()}
    torch = _torch_on_gpu()
    return found if torch is None else found | {"gpu": int(torch.cuda.max_memory_allocated())}


def _torch_on_gpu() -> Any:
    """Return torch where this process has used a GPU by it; else None. Loading it for the question would take time."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_initialized() else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """Return git's answer about the checkout that this package lies in; None in a wheel."""
    if not (PACKAGE.parent / ".git").exists():
        return None
    asked = ["git", "-C", str(PACKAGE.parent), *arguments]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"})
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
