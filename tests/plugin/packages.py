"""Packages of others, as pip leaves them: a folder on the path with their modules and what they register."""

import importlib
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from bench import installed, provenance, registry, resources
from bench.metrics import declared
from bench.report import golden


def forget():
    """Let the next question look at the installed packages again."""
    caches = (
        installed.registered, registry.entries, registry.find, resources._conf_folder, provenance.environment,
        declared.metric, golden.spread,
    )  # fmt: skip
    for known in caches:
        known.cache_clear()
    importlib.invalidate_caches()


@contextmanager
def on_path(site: Path, *modules: str):
    """A folder of installed packages, found by this process until the end of the block; it forgets the modules then."""
    sys.path.insert(0, str(site))
    forget()
    try:
        yield site
    finally:
        sys.path.remove(str(site))
        for name in [name for name in sys.modules if name.split(".")[0] in modules]:
            del sys.modules[name]
        forget()


def write_package(site: Path, name: str, entry_points: str, code: str = "") -> None:
    """Write a package of one module, with the information that pip leaves of it."""
    module = name.replace("-", "_")
    (site / f"{module}.py").write_text(code, encoding="utf-8")
    information = site / f"{module}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(entry_points)


def install(source: Path, site: Path) -> None:
    """Install a package into a folder by pip, without a network."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    flags = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    subprocess.run([*pip, *flags, str(source)], check=True)
