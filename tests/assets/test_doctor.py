"""The doctor: what it finds on this machine, and what it says of machines that are worse off."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from bench.__main__ import main
from bench.cli import doctor
from bench.cli.doctor import Check, checks
from tests.assets.conftest import ROOT, sha256

DATA = b"\x08\x06data"


@pytest.fixture
def fast(monkeypatch):
    """Without torch's import: what is asked of it is tested by itself."""
    monkeypatch.setattr(doctor, "_TORCH", 'print(\'{"version": "9", "threads": 3, "devices": []}\')')


def by_name(found):
    return {check.name: check for check in found}


def test_this_machine_is_fit():
    """The real probes, each in its own process."""
    found = by_name(checks())
    assert {name for name, check in found.items() if check.ok is False} == set()
    assert found["torch"].detail.startswith("2.")
    assert "CPU" in found["onnxruntime"].detail
    assert found["packages"].detail.split()[0] == found["packages"].detail.split()[2] != "0"


def test_the_stored_model_computes_what_it_says():
    import onnxruntime

    session = onnxruntime.InferenceSession(bytes.fromhex(doctor.IDENTITY_MODEL), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.float32([2.5])})[0].tolist() == [2.5]


def test_every_name_of_the_table_has_a_finding(fast, tmp_path):
    found = by_name(checks(tmp_path))
    assert found["method arc2face"] == Check(
        "method arc2face",
        None,
        "16 of 16 files are not there",
        f"`python -m bench fetch method=arc2face --dir {tmp_path}` gets it",
        of_files=True,
    )
    assert "by hand" in found["extractor deca"].fix
    assert "--accept-licence" in found["extractor emoca"].fix


def test_files_are_found_wrong_by_size_at_once_and_by_hash_if_asked(fast, world):
    world.serve("a.onnx", DATA, sha256(DATA), len(DATA))
    (world.root / "f").mkdir(parents=True)
    path = world.root / "f/a.onnx"
    path.write_bytes(DATA)
    assert by_name(checks(world.root, deep=True))["method one"].detail == "all there, 0.0 GiB"
    path.write_bytes(DATA[::-1])
    assert by_name(checks(world.root))["method one"].ok is True
    check = by_name(checks(world.root, deep=True))["method one"]
    assert (check.ok, f"not {sha256(DATA)}" in check.detail, "fetch method=one" in check.fix) == (False, True, True)
    path.write_bytes(b"short")
    assert by_name(checks(world.root))["method one"].detail == f"f/a.onnx has 5 bytes, not {len(DATA)}"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("import os; os.abort()", "ended with code -6"),
        ("print('chatter')", "ended with code 0"),
    ],
)
def test_a_crashing_library_is_a_finding_not_a_crash(code, said):
    found = doctor._answer(doctor._start(code))
    assert found == {"error": said}
    assert doctor._torch_check(found).ok is False
    assert doctor._onnx_check(found, {}).ok is False


def test_a_hanging_library_is_a_finding(monkeypatch):
    monkeypatch.setattr(doctor, "PATIENCE", 0.2)
    assert doctor._answer(doctor._start("import time; time.sleep(60)")) == {"error": "no answer within 0 s"}


CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
CARD = {"devices": [{"name": "H", "free": 1 << 30, "total": 2 << 30}]}


@pytest.mark.parametrize(
    ("listed", "active", "torch", "ok"),
    [
        ([CPU], [CPU], {}, True),
        ([CPU], [CPU], CARD, None),  # it works, but on the slow device
        ([CUDA, CPU], [CUDA, CPU], CARD, True),
        ([CUDA, CPU], [CPU], CARD, False),  # the silent fall back to the CPU
        ([CUDA, CPU], [CPU], {}, True),  # the build for a GPU on a machine that has none
        ([CPU], [], {}, False),
    ],
)
def test_onnx_runtime_is_judged_by_what_really_starts(listed, active, torch, ok):
    check = doctor._onnx_check({"version": "1", "listed": listed, "active": active}, torch)
    assert (check.ok, bool(check.fix)) == (ok, ok is not True)
    # Installing idbench[gpu] again would bring both builds again.
    assert "idbench" not in check.fix


def test_cards_and_their_memory_are_told():
    check = doctor._torch_check({"version": "2", **CARD})
    assert check.detail == "2; H, 1.0 GiB of 2.0 GiB free"


def test_packages_that_are_missing_or_too_old_are_named(monkeypatch):
    monkeypatch.setattr(doctor, "requirements", lambda: ["numpy>=1", "numpy>=999", "no-such-package>=1"])
    found = list(doctor._packages())
    assert [(check.name, check.ok) for check in found] == [
        ("numpy", False),
        ("no-such-package", False),
        ("packages", False),
    ]
    assert found[0].fix == 'python -m pip install "numpy>=999"'
    assert found[2].detail.startswith("1 of 3 fit")


def test_requirements_come_from_the_checkout_where_nothing_is_installed(monkeypatch):
    def absent(name):
        raise doctor.PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "requires", absent)
    assert any(line.startswith("torch>=") for line in doctor.requirements())
    assert not any("pytest" in line for line in doctor.requirements())


def test_an_old_python_is_refused(monkeypatch):
    monkeypatch.setattr(doctor, "PYTHON", (9, 0))
    assert doctor._python() == Check("python", False, doctor._python().detail, "use Python 9.0 or newer")


def test_a_full_disk_is_said(monkeypatch, tmp_path):
    assert doctor._disk("runs", tmp_path / "not/yet/there").ok is True
    monkeypatch.setattr(doctor, "ROOM", 1 << 62)
    assert doctor._disk("runs", tmp_path).ok is False


def test_the_verb_prints_a_table_or_json_and_tells_by_its_code(fast, world, capsys):
    world.serve("a.onnx", DATA, sha256(DATA), len(DATA))
    arguments = ["doctor", "--dir", str(world.root)]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("-      method one") for line in lines)
    assert main([*arguments, "--json"]) == 0
    assert {"name", "ok", "detail", "fix", "of_files"} == set(json.loads(capsys.readouterr().out)[0])
    (world.root / "f").mkdir(parents=True)
    (world.root / "f/a.onnx").write_bytes(b"short")
    assert main(arguments) == 1
    assert "BROKEN method one" in capsys.readouterr().out
    assert main(["doctor", "--depe"]) == 2
    assert capsys.readouterr().err.startswith("error: unrecognized arguments: --depe")


def test_neither_verb_imports_what_is_heavy():

    heavy = "{'torch', 'onnxruntime', 'huggingface_hub', 'tqdm'}"
    code = f"import bench.cli.doctor, bench.cli.fetch, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
