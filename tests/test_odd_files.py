"""Files that are not what their names say: one line each, within bounded memory."""

import os

import pytest
import torch

from bench.__main__ import main
from bench.cli.convert import convert
from bench.errors import UserError
from bench.report.frames import load_run
from bench.report.runs import runs
from bench.stages.plan import load
from bench.store import read_json, write_json
from bench.weights import read

RECORDS = ["{}", "[]", "null", "3", '"run"', '{"id": 1}', "{", "", "[" * 100_000]


@pytest.mark.parametrize("text", RECORDS, ids=lambda text: ascii(text[:12]))
def test_an_odd_record_is_one_line_for_every_reader(tmp_path, text, capsys):
    folder = tmp_path / "mini" / "copy-01234567"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(text)
    for reader in (load, load_run):
        with pytest.raises(UserError) as caught:
            reader(folder)
        assert "\n" not in str(caught.value)
        assert str(folder) in str(caught.value)
    assert [row["state"] for row in runs(tmp_path)] == ["run.json is damaged"]
    assert main(["report", str(folder)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_record_whose_fields_have_other_types_is_refused(tmp_path):
    record = {"id": "x", "content": "x", "gallery": "x", "shard_size": "4", "spec": [], "weights": {}}
    write_json(tmp_path / "run.json", record)
    with pytest.raises(UserError, match=r"no valid shard_size, spec\); execution\.on_existing=always"):
        load(tmp_path)


def test_a_tensor_without_its_numbers_is_refused_before_it_takes_memory(tmp_path):
    path = tmp_path / "small.pth"
    torch.save({"net": [{"model.weight": torch.ones(1).expand(200_000, 200_000)}]}, path)
    assert path.stat().st_size < 3000
    for reader in (read, lambda source: convert(source, tmp_path / "out.safetensors")):
        with pytest.raises(UserError, match=r"shape \(200000, 200000\) without its numbers"):
            reader(path)


def test_views_that_share_their_numbers_are_read(tmp_path):
    whole = torch.arange(6.0).reshape(2, 3)
    torch.save({"a": whole, "b": whole.T, "c": whole[0]}, tmp_path / "views.pth")
    assert torch.equal(read(tmp_path / "views.pth")["b"], whole.T)


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['touch PWNED']", "!!python/name:os.system", "!x y"])
def test_a_tag_in_a_yaml_file_is_one_line_and_runs_nothing(tmp_path, tag, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "evaluator").mkdir(parents=True)
    (tmp_path / "conf" / "evaluator" / "bad.yaml").write_text(f"name: {tag}\n")
    assert main(["run", "--config-dir", str(tmp_path / "conf"), "evaluator=bad"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[-1].startswith("error: ")
    assert not any("Traceback" in line or "unexpected" in line for line in told)
    assert not list(tmp_path.rglob("PWNED"))


def test_a_place_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "runs").write_text("a file, not a folder")
    with pytest.raises(UserError, match=r"cannot write .*runs"):
        write_json(tmp_path / "runs" / "mini" / "run.json", {})


def test_a_folder_in_place_of_a_file_is_one_line(tmp_path):
    (tmp_path / "run.json").mkdir()
    with pytest.raises(UserError, match="cannot read"):
        read_json(tmp_path / "run.json")
    assert os.listdir(tmp_path) == ["run.json"]
