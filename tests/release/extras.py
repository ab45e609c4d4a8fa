"""`make extras`: install the wheel with each extra into an empty environment, and use there what it adds.

It needs a package index and `uv`, whose environments share their files on the disk. The suite does not run it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 1.0
"""Seconds that `--help` may take."""
SMALL = ("run", "method=copy", "dataset.subjects=2", "protocol.samples_per_item=1")
PLAIN = ""
USES = {
    PLAIN: [SMALL],
    "gpu": [SMALL, ("doctor",)],
    "ray": [(*SMALL, "execution=ray", "execution.workers=1")],
    "slurm": [(*SMALL, "execution=slurm", "--cfg", "job")],
    "tracking": [(*SMALL, "tracker=tensorboard"), (*SMALL, "tracker=wandb", "out=other")],
}
"""Extra -> arguments of `python -m bench` that use what it adds. What the other extras add is imported."""

DATA = {"face-recognition-models"}
"""Packages whose files are read and that are never imported."""
_IMPORT = """
import importlib, sys
from importlib.metadata import packages_distributions
from packaging.utils import canonicalize_name
for name, owners in packages_distributions().items():
    # Stubs of types have names that cannot be imported.
    if name.isidentifier() and {canonicalize_name(owner) for owner in owners} & set(sys.argv[1:]):
        importlib.import_module(name)
        print("imported", name)
"""


@dataclass(frozen=True)
class Outcome:
    """What was found in one environment.

    Attributes:
        extra: its name; empty for the plain install.
        packages: number of installed distributions.
        bytes: size of the environment.
        first: seconds of the first `--help`, which also compiles its modules.
        second: seconds of the next one.
        failed: commands that failed.
    """

    extra: str
    packages: int
    bytes: int
    first: float
    second: float
    failed: tuple[str, ...]


def main() -> int:
    """Print a row per extra, all or those that are named; return 0 where every command worked and was fast enough."""
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="idbench-extras-") as place:
        wheel = built(Path(place))
        for extra, requirements in asked(extras(), sys.argv[1:]).items():
            outcomes.append(tried(wheel, extra, requirements, Path(place) / (extra or "plain")))
            sys.stdout.write(f"{shown(outcomes[-1])}\n")
            sys.stdout.flush()
    return int(any(outcome.failed or outcome.first > LIMIT for outcome in outcomes))


def asked(every: dict[str, list[str]], names: Sequence[str]) -> dict[str, list[str]]:
    """Return the named extras of every one; all of them where none is named."""
    return {extra: every[extra] for extra in names or every}


def built(place: Path) -> Path:
    """Return the wheel, made in a folder."""
    words = ["wheel", "--quiet", "--no-deps", "--wheel-dir", str(place), str(ROOT)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    [wheel] = place.glob("*.whl")
    return wheel


def extras() -> dict[str, list[str]]:
    """Return extra -> names of the packages that it brings and that are imported; the plain install comes first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    every = {PLAIN: [], **project["optional-dependencies"]}
    names = {extra: [canonicalize_name(Requirement(line).name) for line in lines] for extra, lines in every.items()}
    return {extra: [name for name in own if name not in DATA] for extra, own in names.items()}


def tried(wheel: Path, extra: str, requirements: list[str], place: Path) -> Outcome:
    """Install the wheel with an extra into a new environment and use it there.

    Args:
        wheel: file.
        extra: name; empty for none.
        requirements: names of the packages that it asks for.
        place: new folder.
    """
    python = place / "venv" / "bin" / "python"
    installed(wheel, extra, python)
    bench = [str(python), "-m", "bench"]
    first, second = _seconds([*bench, "--help"], place), _seconds([*bench, "--help"], place)
    commands = [[*bench, "ls", "methods"], *([*bench, *words] for words in USES.get(extra, []))]
    if requirements:
        commands.append([str(python), "-c", _IMPORT, *requirements])
    failed = tuple(" ".join(words[2:4]) for words in commands if not _succeeds(words, place))
    packages = len(list(place.glob("venv/lib/*/site-packages/*.dist-info")))
    size = sum(path.stat().st_size for path in (place / "venv").rglob("*") if path.is_file())
    return Outcome(extra, packages, size, first, second, failed)


def installed(wheel: Path, extra: str, python: Path) -> None:
    """Make the environment of a Python that is not there yet, and install the wheel with an extra there."""
    _uv("venv", "--python", sys.executable, str(python.parents[1]))
    name = f"idbench[{extra}]" if extra else "idbench"
    target = ("--python", str(python))
    _uv("pip", "install", *target, "--constraint", str(ROOT / "constraints.txt"), f"{name} @ {wheel.as_uri()}")
    if extra == "gpu":
        # ONNX Runtime's two builds have the same files; README says to install one over the other.
        _uv("pip", "uninstall", *target, "onnxruntime")
        _uv("pip", "install", *target, "--reinstall", "--no-deps", "onnxruntime-gpu")


def _uv(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "uv", "--quiet", *words], check=True)


def _seconds(words: Sequence[str], place: Path) -> float:
    begun = time.perf_counter()
    subprocess.run(words, cwd=place, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def _succeeds(words: Sequence[str], place: Path) -> bool:
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
    return done.returncode == 0


def shown(outcome: Outcome) -> str:
    """Return an outcome as a row of a Markdown table."""
    times = f"{outcome.first:.2f} | {outcome.second:.2f}"
    size = f"{outcome.packages} | {outcome.bytes / 1e9:.1f}"
    return f"| {outcome.extra or 'none'} | {size} | {times} | {', '.join(outcome.failed) or 'none'} |"


if __name__ == "__main__":
    sys.exit(main())
