"""The slots of the paper's Table 1: which are empty, what fills them, and what a failure leaves."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.__main__ import main
from bench.cli import contribute
from bench.cli.configured import composed
from bench.cli.run import spec_of
from bench.errors import UserError
from bench.images import write_png
from bench.report.published import published
from bench.store import write_json


def done(out, method, dataset, protocol=contribute.PROTOCOL, name=None):
    folder = out / dataset / f"{name or method}-1"
    record = {"method": method, "dataset": dataset, "content": "c" * 64, "shards": 1, "begun": 1.0}
    write_json(folder / "run.json", record)
    write_json(folder / "scores" / "scores.json", {"protocol": {"name": protocol}})
    return folder


def test_there_is_a_slot_for_every_row_of_the_paper():
    assert len(contribute.METHODS) == published()["method"].nunique()
    every = contribute.slots(Path("no such folder"))
    assert len(every) == 2 * (7 + 3)
    assert {slot.folder for slot in every} == {None}


def test_a_complete_run_under_the_protocol_fills_its_slot(tmp_path, capsys):
    folder = done(tmp_path, "arc2face", "agedb")
    done(tmp_path, "instantid", "agedb", protocol="mine")
    filled = [slot for slot in contribute.slots(tmp_path) if slot.folder]
    assert filled == [contribute.Slot("arc2face", "agedb", folder)]
    assert contribute.main(["--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert str(folder) in printed
    assert f"python -m bench export {folder} --to contribution/agedb-arc2face.zip" in printed


def test_the_commands_compose(tmp_path):
    found = contribute.commands(contribute.slots(tmp_path / "none"), tmp_path, tmp_path / "to")
    runs = [arguments for arguments in found if arguments[0] == "run"]
    assert [arguments[3] for arguments in runs] == ["dataset=synth500", "dataset=agedb"]
    for arguments in runs:
        sweep = arguments[4].removeprefix("method=").split(",")
        assert sweep == [*contribute.METHODS, *contribute.CONTROLS]
        fixed = [word for word in arguments[2:] if not word.startswith("method=")]
        spec = spec_of([*fixed, f"method={sweep[-4]}", "execution.device=cpu"])
        assert spec.dataset.name == arguments[3].removeprefix("dataset=")
        assert spec.protocol.name == contribute.PROTOCOL


def test_what_fails_leaves_its_slot_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    ran = []

    def succeeds(arguments):
        ran.append(arguments[0])
        if arguments[0] == "run":
            done(tmp_path, "copy", arguments[3].removeprefix("dataset="))
        return arguments[0] != "fetch"

    monkeypatch.setattr(contribute, "_succeeds", succeeds)
    assert contribute.main(["--out", str(tmp_path), "--to", str(tmp_path / "to"), "--go"]) == 1
    assert ran.count("run") == 2
    assert ran.count("export") == 2
    assert capsys.readouterr().err.count("failed:") == 20


def test_nothing_is_run_where_a_recogniser_misses_its_published_accuracy(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(contribute, "_succeeds", lambda arguments: ran.append(arguments[0]) or arguments[0] == "fetch")
    with pytest.raises(UserError, match="nothing was run: the recognisers that measure failed"):
        contribute.main(["--out", str(tmp_path), "--pairs", str(tmp_path), "--go"])
    assert ran == ["fetch", "recognition"]


def test_lists_are_made_and_recognisers_are_tested_on_request(tmp_path):
    every = contribute.slots(tmp_path / "none")
    assert "recognition" not in [arguments[0] for arguments in contribute.commands(every, tmp_path, tmp_path / "to")]
    found = contribute.commands(every, tmp_path, tmp_path / "to", tmp_path / "pairs")
    verbs = [arguments[0] for arguments in found]
    assert verbs.index("recognition") < verbs.index("run")
    tested = next(arguments for arguments in found if arguments[0] == "recognition")
    assert tested[-1] == "recognition.recognisers=[arcface,adaface_ir101_ms1mv3,adaface_ir18_vggface2]"
    assert tested[:2] == ["recognition", "gate"]
    composed("recognition", tested[2:])
    lists = [arguments for arguments in found if arguments[0] == "data"]
    assert [Path(arguments[-1]).name for arguments in lists] == ["synth500.csv", "agedb.csv"]
    for arguments in lists:
        root = tmp_path / arguments[1]
        write_png(np.zeros((8, 8, 3), np.uint8), root / "1_Ann_30_f.png", {})
        at = arguments.index("--root") + 1
        assert main([*arguments[:at], str(root), *arguments[at + 1 :], "--count", "1"]) == 0
        assert pd.read_csv(arguments[-1])["sha256"].str.len().eq(64).all()


def test_without_any_run_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(contribute, "_succeeds", lambda arguments: False)
    with pytest.raises(UserError, match="no slot is filled"):
        contribute.main(["--out", str(tmp_path), "--go"])
