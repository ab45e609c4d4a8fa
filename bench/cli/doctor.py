"""`python -m bench doctor`: is this machine fit, and what is there to run?

What may crash or hang with a broken driver (torch, ONNX Runtime) is asked in a process of its own, both at once, so
the doctor survives it and takes about as long as torch takes to import.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from bench import registry, resources
from bench.assets import ENVIRONMENT, Asset, Fault, find, remedy, table, verify, weights_folder
from bench.console import Parser, show
from bench.onnx import IDENTITY_MODEL

PYTHON = (3, 11)
OTHER_BUILDS = {"onnxruntime": "onnxruntime-gpu"}
"""Distribution -> another one that brings the same package."""
PATIENCE = 60.0
"""Seconds after which a probe counts as hung."""
ROOM = 2 << 30
"""Bytes that a run should find free for its samples and features."""

_TORCH = """
import json, torch
devices = []
if torch.cuda.is_available():
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        devices.append({"name": torch.cuda.get_device_name(index), "free": free, "total": total})
print(json.dumps({"version": torch.__version__, "threads": torch.get_num_threads(), "devices": devices}))
"""
_ONNX = """
import json, sys, onnxruntime
onnxruntime.set_default_logger_severity(4)
listed = onnxruntime.get_available_providers()
active = []
for provider in listed:
    if provider not in ("AzureExecutionProvider", "TensorrtExecutionProvider"):
        session = onnxruntime.InferenceSession(bytes.fromhex(sys.argv[1]), providers=[provider])
        active += [name for name in session.get_providers() if name == provider]
print(json.dumps({"version": onnxruntime.__version__, "listed": listed, "active": active}))
"""


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        ok: True: fine; False: broken; None: absent, which matters only to who needs it.
        detail: what was found.
        fix: what to do about it; empty where nothing is to be done.
        of_files: whether it is about the files of a method, extractor or dataset.
    """

    name: str
    ok: bool | None
    detail: str
    fix: str = ""
    of_files: bool = False


def checks(weights_dir: Path | None = None, deep: bool = False) -> list[Check]:
    """Return all findings.

    Args:
        weights_dir: None: the environment's IDBENCH_WEIGHTS, else `weights`.
        deep: reads every byte of the weights to compare their sha256.
    """
    root = weights_folder(weights_dir)
    torch = _start(_TORCH)
    onnx = _start(_ONNX, IDENTITY_MODEL)
    local = [_python(), *_packages(), _memory(), _disk("weights", root), _disk("runs", Path("runs"))]
    faults = {fault.asset: fault for fault in verify(table().assets, root, deep)}
    found = _answer(torch)
    devices = [_torch_check(found), _threads(found), _onnx_check(_answer(onnx), found)]
    return [*local, *devices, _embedded_world(), *added(), *_files(faults, root)]


def _start(code: str, *words: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code, *words], stdout=pipe, stderr=pipe, text=True)


def _answer(probe: subprocess.Popen[str]) -> dict[str, Any]:
    """Return what a probe found, or {"error": its last words}."""
    try:
        out, err = probe.communicate(timeout=PATIENCE)
        return dict(json.loads(out.strip().splitlines()[-1]))
    except subprocess.TimeoutExpired:
        probe.kill()
        probe.communicate()
        return {"error": f"no answer within {PATIENCE:.0f} s"}
    except (IndexError, ValueError):
        words = (err.strip() or f"ended with code {probe.returncode}").splitlines()
        return {"error": words[-1]}


def _python() -> Check:
    fits = sys.version_info >= PYTHON
    fix = "" if fits else f"use Python {PYTHON[0]}.{PYTHON[1]} or newer"
    return Check("python", fits, f"{platform.python_version()} on {platform.platform()}", fix)


def requirements() -> list[str]:
    """Return what the project says that it needs, without extras: of the installed package, else of the checkout."""
    try:
        found = requires("idbench") or []
    except PackageNotFoundError:
        pyproject = resources.PACKAGE.parent / "pyproject.toml"
        found = tomllib.loads(pyproject.read_text("utf-8"))["project"]["dependencies"] if pyproject.exists() else []
    return [line for line in found if "extra ==" not in line]


def _packages() -> Iterator[Check]:
    from packaging.requirements import Requirement

    wanted = [Requirement(line) for line in requirements()]
    faults = [check for requirement in wanted if (check := _package(requirement))]
    yield from faults
    yield Check("packages", not faults, f"{len(wanted) - len(faults)} of {len(wanted)} fit what the project asks for")


def _package(requirement: Any) -> Check | None:
    fix = f'python -m pip install "{requirement}"'
    found = _installed(requirement.name) or _installed(OTHER_BUILDS.get(requirement.name, ""))
    if found is None:
        return Check(requirement.name, False, "not installed", fix)
    if requirement.specifier.contains(found, prereleases=True):
        return None
    return Check(requirement.name, False, f"{found}, where {requirement.specifier} is asked for", fix)


def _installed(name: str) -> str | None:
    """Return the version of an installed distribution; None where there is none of that name."""
    try:
        return version(name) if name else None
    except PackageNotFoundError:
        return None


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    return Check("memory", True, f"{gib(memory.available)} of {gib(memory.total)} free")


def _disk(name: str, folder: Path) -> Check:
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    writable = os.access(existing, os.W_OK)
    ok = writable and free > ROOM
    detail = f"{gib(free)} free at {existing}" + ("" if writable else ", which may not be written to")
    return Check(f"disk for {name}", ok, detail, "" if ok else "free some room, or choose another folder")


def gib(count: int) -> str:
    """Return bytes in GiB.

    >>> gib(3 << 29)
    '1.5 GiB'
    """
    return f"{count / (1 << 30):.1f} GiB"


def _torch_check(found: Mapping[str, Any]) -> Check:
    if "error" in found:
        return Check("torch", False, found["error"], "python -m pip install --force-reinstall torch torchvision")
    cards = [f"{card['name']}, {gib(card['free'])} of {gib(card['total'])} free" for card in found["devices"]]
    return Check("torch", True, f"{found['version']}; {'; '.join(cards) or 'CPU only'}")


def _threads(found: Mapping[str, Any]) -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "not set")
    detail = f"{cores} cores for this process; OMP_NUM_THREADS {asked}; torch takes {found.get('threads', '?')}"
    return Check("threads", True, detail)


def _onnx_check(found: Mapping[str, Any], torch: Mapping[str, Any]) -> Check:
    """Return whether ONNX Runtime really runs where it says it could; it falls back to the CPU without an error."""
    # The two builds have the same files: the one for the GPU must be the last that is written.
    reinstall = (
        "python -m pip uninstall --yes onnxruntime; python -m pip install --force-reinstall --no-deps onnxruntime-gpu"
    )
    if "error" in found:
        return Check("onnxruntime", False, found["error"], "python -m pip install --force-reinstall onnxruntime")
    active = ", ".join(name.removesuffix("ExecutionProvider") for name in found["active"])
    detail = f"{found['version']}; active: {active or 'none'}"
    if "CUDAExecutionProvider" in found["active"] or not found["active"]:
        return Check("onnxruntime", bool(found["active"]), detail, "" if found["active"] else reinstall)
    slow = bool(torch.get("devices"))
    if "CUDAExecutionProvider" in found["listed"]:
        # Without a GPU that is as it should be.
        return Check(
            "onnxruntime", not slow, f"{detail}; CUDA is listed, but does not start", reinstall if slow else ""
        )
    return Check("onnxruntime", None if slow else True, detail, reinstall if slow else "")


def _embedded_world() -> Check:
    """Return whether the default run has its networks, which lie inside the package."""
    folder = resources.PACKAGE / "mini" / "weights"
    configured = (resources.folder("conf") / "evaluator" / "mini.yaml").read_text(encoding="utf-8")
    named = sorted(set(re.findall(r"mini/weights/([\w./]+)", configured)))
    missing = [name for name in named if not (folder / name).exists()]
    detail = f"{len(named) - len(missing)} of {len(named)} networks in {folder}"
    fix = "python -m pip install --force-reinstall idbench" if missing else ""
    return Check("embedded world", not missing, detail + (f"; missing: {', '.join(missing)}" if missing else ""), fix)


def added() -> Iterator[Check]:
    """Yield a finding per package that adds parts: whether all of them can be used."""
    for package, names in registry.packages().items():
        wrong = registry.faults(package)
        detail = "; ".join(wrong) or f"adds {', '.join(f'{group} {name}' for group, name in names)}"
        yield Check(str(package), not wrong, detail, f"update it, or {package.removal}" if wrong else "")


def _files(faults: Mapping[Asset, Fault], root: Path) -> Iterator[Check]:
    """Yield a finding per method, extractor and dataset of the table."""
    for kind, names in table().names.items():
        for name in names:
            title = f"{kind.removesuffix('s')} {name}"
            needed = table().wanted([name])
            found = [faults[asset] for asset in needed if asset in faults]
            yield _absent(title, name, found, len(needed), root) if found else _there(title, needed, root)


def _absent(title: str, name: str, found: Sequence[Fault], count: int, root: Path) -> Check:
    wrong = [fault for fault in found if not fault.is_missing]
    if wrong:
        faults = "; ".join(f"{fault.asset.path} {fault.detail}" for fault in wrong)
        return Check(title, False, faults, remedy(wrong[0].asset, root, name), of_files=True)
    detail = f"{len(found)} of {count} files are not there"
    return Check(title, None, detail, remedy(found[0].asset, root, name), of_files=True)


def _there(title: str, needed: Sequence[Asset], root: Path) -> Check:
    paths = [path for asset in needed if not asset.is_folder and (path := find(asset, root))]
    return Check(title, True, f"all there, {gib(sum(path.stat().st_size for path in paths))}", of_files=True)


def main(argv: Sequence[str]) -> int:
    """Check this machine and print what was found.

    Args:
        argv: what follows `doctor` on the command line.

    Returns:
        The exit code: 0 nothing is broken, 1 something is.

    Raises:
        UserError: a mistake in what was asked.
    """
    parser = Parser(prog="python -m bench doctor", description=__doc__)
    parser.add_argument("--deep", action="store_true", help="read every byte of the weights to compare their sha256")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--dir", type=Path, help=f"weights folder (default: ${ENVIRONMENT}, else ./weights)")
    options = parser.parse_args(argv)
    found = checks(options.dir, options.deep)
    show(json.dumps([asdict(check) for check in found], indent=1) if options.json else _text(found))
    return 1 if any(check.ok is False for check in found) else 0


def _text(found: Sequence[Check]) -> str:
    marks = {True: "ok", False: "BROKEN", None: "-"}
    width = max(len(check.name) for check in found)
    lines = []
    for check in found:
        lines.append(f"{marks[check.ok]:<7}{check.name:<{width}}  {check.detail}")
        if check.fix and (check.ok is False or not check.of_files):
            lines.append(f"{'':<{width + 9}}{check.fix}")
    lines.append("`python -m bench fetch --list` shows what gets the files that are not there")
    return "\n".join(lines)
