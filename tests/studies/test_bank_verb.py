"""`python -m bench bank` as somebody types it."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.__main__ import main
from bench.studies.bank import find_rows, key_of, open_bank


@pytest.fixture
def given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("v.npy", np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32))
    (tmp_path / "n.csv").write_text("image,subject\n" + "".join(f"{k}.jpg,p{k // 2}\n" for k in range(6)))
    return tmp_path


def bank(*words):
    return main(["bank", *words])


def test_add_twice_list_and_check(given, capsys):
    assert bank("add", "train", "vectors=v.npy", "names=n.csv", "recogniser=arcface r100") == 0
    assert bank("add", "train", "vectors=v.npy", "names=n.csv") == 0
    assert bank("ls") == 0
    assert bank("check", "train") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[:2] == ["banks/train: 6 of 6 added, 6 in all", "banks/train: 0 of 6 added, 6 in all"]
    assert out[2] == "train: 6 vectors of 8 numbers by arcface r100"
    assert json.loads(out[3])["damaged"] == []
    (given / "banks/train/00000.npy").write_bytes(b"")
    assert bank("check", "train") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["add", "train", "vectors=v.npy", "names=n.csv"], "a new bank needs recogniser="),
        (["add", "train", "vectors=v.npy"], "bank add needs dataset=NAME, or vectors=FILE.npy and names=FILE.csv"),
        (["add", "../x", "vectors=v.npy", "names=n.csv", "recogniser=a"], "one name of a bank"),
        (["add", "a", "b"], "one name of a bank"),
        (["add", "train", "vectors=n.csv", "names=n.csv", "recogniser=a"], "cannot read n.csv"),
        (
            ["add", "train", "vectors=v.npy", "names=bad.csv", "recogniser=a"],
            "columns must be image,subject; found: a,b",
        ),
        (["add", "train", "vectors=v.npy", "names=few.csv", "recogniser=a"], "few.csv 1 rows"),
        (["chekc", "train"], "did you mean 'check'"),
        (["check", "train"], "no bank in banks/train"),
    ],
)
def test_mistakes_end_in_one_line(given, capsys, words, message):
    (given / "bad.csv").write_text("a,b\n")
    (given / "few.csv").write_text("image,subject\nx,y\n")
    assert bank(*words) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_vectors_of_another_network_are_refused(given, capsys):
    bank("add", "train", "vectors=v.npy", "names=n.csv", "recogniser=a")
    assert bank("add", "train", "vectors=v.npy", "names=n.csv", "recogniser=b") == 2
    assert "holds vectors of a, not of b" in capsys.readouterr().err


def test_a_dataset_is_embedded_and_added_once(given, capsys):
    """Renders of two people; the bank names their files by place below the root."""
    words = ("add", "train", "dataset=mini", "dataset.subjects=2", "dataset.targets=1")
    assert bank(*words) == 0
    assert bank(*words) == 0
    assert bank("add", "other", *words[2:], "recogniser=judge") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["banks/train: 4 of 4 added, 4 in all", "banks/train: 0 of 4 added, 4 in all"]
    train, other = open_bank(given / "banks/train"), open_bank(given / "banks/other")
    assert train.recogniser != other.recogniser
    photo = next(Path("runs/.mini").rglob("*.png"))
    names = [path.relative_to(root).as_posix() for root in photo.parents for path in [photo]]
    keys = set(find_rows(train, np.arange(train.rows))["key"])
    assert keys & {key_of(train, name) for name in names}
    assert bank("add", "train", "dataset=mini", "dataset.subjects=2", "dataset.targets=1", "recogniser=judge") == 2
    assert bank("add", "x", "dataset=mini", "recogniser=nobody") == 2
    assert bank("add", "x", "dataset=mini", "vectors=v.npy") == 2
    said = capsys.readouterr().err
    assert "holds vectors of" in said
    assert "has no recogniser 'nobody'; it has: arcface" in said
    assert "not both" in said
