"""The converter keeps tensors and runs nothing."""

import builtins
import collections
import io
import os
import pathlib
import pickle
import subprocess
import sys
import zipfile
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

from bench.cli.convert import convert, main
from bench.errors import UserError
from bench.networks import load_state

TENSORS = {
    "deca.E_flame.layers.2.bias": torch.arange(3.0),
    "deca.E_expression.layers.2.weight": torch.ones(2, 2, dtype=torch.float16),
    "deca.render.buffer": torch.zeros(9),
}


class Attack:
    """Pickles to the call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def lightning(tmp_path):
    """A checkpoint with what Lightning and EMOCA leave in theirs."""
    content = {
        "state_dict": TENSORS,
        "hyper_parameters": OmegaConf.create({"model": {"lr": 1e-4, "losses": ["a", "b"]}, "none": None}),
        "callbacks": {torch.nn.Linear: {"best": np.float64(3.2), "path": pathlib.PosixPath("a/b")}},
        "groups": collections.defaultdict(list, {"x": [1]}),
        "array": np.zeros(3),
    }
    path = tmp_path / "emoca.ckpt"
    torch.save(content, path)
    return path


def test_the_loader_names_the_command(lightning):
    with pytest.raises(UserError, match=r"python -m bench convert .*emoca\.ckpt"):
        load_state(lightning)


def test_only_named_tensors_are_kept(lightning, tmp_path):
    count, objects = convert(lightning, tmp_path / "out.safetensors")
    kept = load_file(tmp_path / "out.safetensors")
    assert count == 2
    assert sorted(kept) == sorted(key for key in TENSORS if "render" not in key)
    for key, tensor in kept.items():
        assert tensor.dtype == TENSORS[key].dtype
        assert torch.equal(tensor, TENSORS[key])
    assert "omegaconf.dictconfig.DictConfig" in objects
    assert load_state(tmp_path / "out.safetensors")["deca.E_expression.layers.2.weight"].dtype == torch.float32


def attacks(marker):
    line = f"open({str(marker)!r}, 'w').close()"
    return {
        "eval": Attack(builtins.eval, line),
        "exec": Attack(builtins.exec, line),
        "subprocess": Attack(subprocess.call, [sys.executable, "-c", line]),
        "path": Attack(pathlib.Path.touch, marker),
        "system": Attack(os.system, f"touch {marker}"),
    }


@pytest.mark.parametrize("name", ["eval", "exec", "subprocess", "path", "system"])
def test_no_code_of_the_file_runs(name, tmp_path):
    marker, path = tmp_path / "it ran", tmp_path / "attack.ckpt"
    attack = attacks(marker)[name]
    torch.save({"state_dict": TENSORS, "z": attack}, path)
    with pytest.raises(UserError):
        load_state(path)
    refused = name in ("system", "path")
    with pytest.raises(UserError) if refused else nullcontext():
        assert convert(path, tmp_path / "out.safetensors")[0] == 2
    assert not marker.exists()


@pytest.mark.parametrize("name", ["eval", "exec", "subprocess"])
def test_the_attacks_are_real(name, tmp_path):
    marker = tmp_path / "it_ran"
    pickle.loads(pickle.dumps(attacks(marker)[name]))
    assert marker.exists()


def test_names_of_the_operating_system_are_refused(tmp_path):
    path = tmp_path / "attack.ckpt"
    torch.save({"state_dict": TENSORS, "z": Attack(os.system, "true")}, path)
    with pytest.raises(UserError, match="posix"):
        convert(path, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_says_what_it_does_and_needs_consent(lightning, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(UserError, match="--yes"):
        main([str(lightning)])
    assert "could run any program" in capsys.readouterr().out
    assert not lightning.with_suffix(".safetensors").exists()
    assert main([str(lightning), "--yes"]) == 0
    assert "2 tensors written" in capsys.readouterr().out
    assert lightning.with_suffix(".safetensors").exists()


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1), ("", 1)])
def test_asks_a_person(lightning, monkeypatch, answer, code):
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda _: answer)
    assert main([str(lightning)]) == code
    assert lightning.with_suffix(".safetensors").exists() == (code == 0)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_prefixes_that_are_not_there(lightning, tmp_path):
    with pytest.raises(UserError, match=r"--keep one of: .*deca\."):
        convert(lightning, tmp_path / "out.safetensors", ["nothing."])


def test_never_overwrites(lightning, tmp_path):
    target = tmp_path / "out.safetensors"
    target.write_text("mine")
    with pytest.raises(UserError, match="exists"):
        convert(lightning, target)
    assert target.read_text() == "mine"


@pytest.mark.parametrize("kind", ["text", "pickle", "zip", "missing"])
def test_other_files(kind, tmp_path):
    path = tmp_path / "file.ckpt"
    if kind == "text":
        path.write_text("<html>please log in</html>")
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"a": 1}))
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", "a")
    with pytest.raises(UserError, match=r"file\.ckpt"):
        convert(path, tmp_path / "out.safetensors")
