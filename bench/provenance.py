"""Under which versions, on which machine a number was made."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bench.resources import PACKAGE

PACKAGES = (
    "idbench", "torch", "torchvision", "diffusers", "transformers", "insightface", "onnxruntime", "lpips",
    "pytorch-fid", "facexlib", "face-alignment", "timm", "numpy", "scipy", "pandas", "pillow", "opencv-python",
    "hydra-core",
)  # fmt: skip


@lru_cache(maxsize=1)
def environment() -> dict[str, Any]:
    """Return Python, platform, package versions, commit and whether the checkout has uncommitted changes."""
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "packages": {name: v for name in PACKAGES if (v := _version(name))},
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """Return git's answer about the checkout that this package lies in; None in a wheel."""
    if not (PACKAGE.parent / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE.parent), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
