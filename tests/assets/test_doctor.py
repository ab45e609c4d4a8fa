"""The doctor: what it finds on this machine, and what it says of machines that are worse off."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import astuple

import numpy as np
import pytest
from safetensors.numpy import save_file

from bench import doctor
from bench.assets import table
from bench.doctor import Check, Device, checks, main
from bench.footprint import BASES, BATCHES, MARGIN, RESERVE, Base, footprint, numbers, resident
from bench.spec import Execution, Protocol
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


def test_the_handmade_model_computes_what_it_says():
    import onnxruntime

    session = onnxruntime.InferenceSession(doctor.IDENTITY_MODEL, providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.float32([2.5])})[0].tolist() == [2.5]


def test_every_name_of_the_table_has_a_finding(fast, tmp_path):
    found = by_name(checks(tmp_path))
    assert found["method arc2face"] == Check(
        "method arc2face",
        None,
        "16 of 16 files are not there",
        f"`python -m bench fetch method=arc2face --dir {tmp_path}` gets it",
    )
    assert "by hand" in found["extractor deca"].mend
    assert "--accept-licence" in found["extractor emoca"].mend


def test_files_are_found_wrong_by_size_at_once_and_by_hash_if_asked(fast, world):
    world.serve("a.onnx", DATA, sha256(DATA), len(DATA))
    (world.root / "f").mkdir(parents=True)
    path = world.root / "f/a.onnx"
    path.write_bytes(DATA)
    assert by_name(checks(world.root, deep=True))["method one"].detail == "all there, 0.0 GiB"
    path.write_bytes(DATA[::-1])
    assert by_name(checks(world.root))["method one"].ok is True
    check = by_name(checks(world.root, deep=True))["method one"]
    assert (check.ok, f"not {sha256(DATA)}" in check.detail, "fetch method=one" in check.mend) == (False, True, True)
    path.write_bytes(b"short")
    assert by_name(checks(world.root))["method one"].detail == f"f/a.onnx has 5 bytes, not {len(DATA)}"


GIB = 1 << 30


def weights(path, *shape, dtype=np.float16):
    """A .safetensors file of zeros."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"w": np.zeros(shape, dtype), "b": np.zeros(shape[:1], dtype)}, path)
    return path


def all_of(name, root):
    """The files of a method, of tiny size, at their places."""
    needed = table().wanted([name])
    for asset in needed:
        path = root / asset.path
        path.parent.mkdir(parents=True, exist_ok=True)
        weights(path, 1) if path.suffix == ".safetensors" else path.write_bytes(b"{}")
    return needed


def test_weights_count_at_the_precision_that_they_run_in(tmp_path):
    half = weights(tmp_path / "unet/model.fp16.safetensors", 4, 3)
    full = weights(tmp_path / "unet/model.safetensors", 4, 3, dtype=np.float32)
    assert numbers(half) == numbers(full) == 16
    assert [resident(path, width) for path in (half, full) for width in (2, 4)] == [32, 64, 32, 64]
    assert resident(weights(tmp_path / "vae/model.safetensors", 4, 3), 2) == 64
    for name, sizes in (("a.bin", [7, 14]), ("a.onnx", [7, 7])):
        (tmp_path / name).write_bytes(b"1234567")
        assert [resident(tmp_path / name, width) for width in (2, 4)] == sizes


def test_a_sample_costs_twice_as_much_in_full_precision(tmp_path):
    file = weights(tmp_path / "unet/model.safetensors", 4, 3)
    half, full = (footprint(Base(100, 1000), [file], width) for width in (2, 4))
    assert (half.fixed, full.fixed) == (RESERVE + 1000 + 32, RESERVE + 1000 + 64)
    assert (half.per_sample, full.per_sample) == (MARGIN * 100, MARGIN * 200)
    assert [footprint(Base(100, 48), [file], width).fixed - RESERVE for width in (2, 4)] == [48 + 32, 64 + 64]


def test_a_batch_divides_a_shard():
    shard = Execution().shard_size * Protocol(name="").samples_per_item
    assert [shard % size for size in BATCHES] == [0] * len(BATCHES)
    assert list(BATCHES) == sorted(BATCHES, reverse=True)


def counted(name):
    """Whether a method's base model has a counted cost."""
    return any(asset.path.split("/")[0] in BASES for asset in table().wanted([name]))


@pytest.mark.parametrize("name", sorted(filter(counted, table().names["methods"])))
def test_every_method_on_stable_diffusion_gets_a_batch(name, tmp_path):
    check = doctor._there(f"method {name}", all_of(name, tmp_path), tmp_path, Device("cuda:1", 140 * GIB, 2))
    assert (check.ok, check.batch) == (True, 20)
    assert check.detail.endswith("; method.batch=20 fits: cuda:1 has 140.0 GiB free")


def test_the_batch_follows_the_memory_and_is_nothing_where_one_sample_does_not_fit(tmp_path):
    needed, base = all_of("arc2face", tmp_path), BASES["sd15"]
    fixed = RESERVE + base.decoding + 10_000  # the toys' own weights are less
    for samples, batch in ((1, 1), (3, 2), (5, 5), (7, 5), (1000, 20)):
        free = fixed + samples * MARGIN * base.per_sample
        assert doctor._there("method arc2face", needed, tmp_path, Device("cuda:0", free, 2)).batch == batch
    check = doctor._there("method arc2face", needed, tmp_path, Device("cpu", fixed, 4))
    assert (check.ok, check.batch) == (False, 0)
    assert check.detail == "one sample at a time takes about 2.3 GiB; cpu has 1.8 GiB free"
    assert check.mend


def test_only_methods_get_a_batch_and_only_where_torch_answers(tmp_path):
    needed = all_of("arc2face", tmp_path)
    assert doctor._there("method arc2face", needed, tmp_path, None).batch is None
    assert doctor._there("extractor emoca", needed, tmp_path, Device("cpu", 0, 4)).ok is True


def test_a_broken_file_is_a_finding_not_a_crash(tmp_path):
    needed = all_of("arc2face", tmp_path)
    (tmp_path / "sd15/vae/diffusion_pytorch_model.safetensors").write_bytes(b"no header")
    check = doctor._there("method arc2face", needed, tmp_path, Device("cpu", GIB, 4))
    assert (check.ok, check.detail.startswith("a .safetensors file is broken: ")) == (False, True)


def test_the_roomiest_gpu_is_taken_else_the_cpu():
    cards = [{"name": "toy", "free": free, "total": 9} for free in (3, 5, 4)]
    assert doctor._device({"devices": cards}) == Device("cuda:1", 5, 2)
    assert doctor._device({"devices": []}).name == "cpu"
    assert doctor._device({"error": "no torch"}) is None


@pytest.mark.slow
def test_the_activations_are_those_that_are_counted():
    """The stored counts of SD 1.5, by the script that made all of them, to a MiB."""
    from tests.perf.activations import SD_UNET, decoding, step

    for name, size in (("sd15", (512, 512)), ("realistic_vision_v4", (768, 512))):
        counted = Base(step(SD_UNET, size), decoding(size))
        assert [round(value / 2**20) for value in astuple(counted)] == [v >> 20 for v in astuple(BASES[name])]


def test_what_lives_together_is_counted_and_what_is_gone_is_not():
    import torch

    from tests.perf.activations import peak

    given = torch.empty(1000, device="meta")

    def call():
        first = given + 1  # 4,000 bytes
        second = first * 2  # 4,000 more
        del first
        return second.view(10, 100).sum(), second.half()  # 4 and 2,000 beside the second

    assert peak(call) == 8000
    assert peak(lambda: (given + 1).add_(1)) == 4000


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
        ([CPU], [], {}, False),
    ],
)
def test_onnx_runtime_is_judged_by_what_really_starts(listed, active, torch, ok):
    check = doctor._onnx_check({"version": "1", "listed": listed, "active": active}, torch)
    assert (check.ok, bool(check.mend)) == (ok, ok is not True)


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
    assert found[0].mend == 'python -m pip install "numpy>=999"'
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
    arguments = ["--dir", str(world.root)]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("-      method one") for line in lines)
    assert main([*arguments, "--json"]) == 0
    assert {"name", "ok", "detail", "mend", "batch"} == set(json.loads(capsys.readouterr().out)[0])
    (world.root / "f").mkdir(parents=True)
    (world.root / "f/a.onnx").write_bytes(b"short")
    assert main(arguments) == 1
    assert "BROKEN method one" in capsys.readouterr().out
    assert main(["--depe"]) == 2
    assert capsys.readouterr().err.startswith("error: unrecognized arguments: --depe")


def test_neither_verb_imports_what_is_heavy():

    heavy = "{'torch', 'onnxruntime', 'huggingface_hub', 'tqdm'}"
    code = f"import bench.doctor, bench.fetch, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
