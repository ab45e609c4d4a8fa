"""Numbers that are stored with the project: Fig. 3 and 9 without models."""

import pytest

import bench
from bench.errors import UserError
from bench.paper import ablations
from bench.report.model import Cell, Column, Table
from bench.report.results import FILE, Finding, read_finding, write_finding

FOLDER = ablations.resources.folder


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A folder of stored numbers with those of Fig. 3 alone."""
    columns = [Column("people"), Column("recogniser", numeric=False), Column("ID similarity")]
    rows = [
        [Cell(str(n), n), Cell("judge"), Cell(value=0.1 * k, low=0.0, high=0.5)] for k, n in enumerate((10, 1000), 1)
    ]
    finding = Finding("fig3", "Size", "mini", "arc2face", "mini", [Table("along", columns, rows)])
    folder = write_finding(tmp_path / "made", finding)
    (tmp_path / "stored").mkdir()
    (folder / FILE).rename(tmp_path / "stored" / "fig3.json")
    monkeypatch.setattr(ablations.resources, "folder", lambda name: _place(tmp_path, name))
    return tmp_path


def _place(base, name):
    return base / "stored" if name == ablations.STORED else FOLDER(name)


def test_stored_numbers_become_a_report_with_a_figure(stored):
    folder = bench.run_experiment("fig3", [f"out={stored}/runs"])
    found = read_finding(folder / FILE)
    assert found.again == list(ablations.AGAIN["fig3"])
    assert [row[2].value for row in found.tables[0].rows] == [0.1, 0.2]
    assert [(folder / figure.file).exists() for figure in found.figures] == [True]


def test_stored_numbers_are_those_of_one_dataset_and_method(stored):
    with pytest.raises(UserError, match=r"the stored numbers are of arc2face on mini, profile mini"):
        bench.run_experiment("fig3", [f"out={stored}/runs", "dataset=mini500"])
    with pytest.raises(UserError, match=r"no numbers of fig9 are stored; fig9\.models=\[FOLDER,\.\.\.\]"):
        bench.run_experiment("fig9", [f"out={stored}/runs"])


def test_every_stored_file_is_a_finding_of_its_experiment():
    for path in FOLDER(ablations.STORED).glob("*.json"):
        found = read_finding(path)
        assert found.experiment == path.stem
        assert [table.title for table in found.tables][1:] == [ablations.TRAINED]


def test_the_commands_name_the_experiment_and_the_recipe():
    for experiment, commands in ablations.AGAIN.items():
        assert f"experiment={experiment}" in commands[-1]
        assert f"{experiment}.models=[" in commands[-1]
        assert all(command.startswith(ablations.TRAIN) for command in commands[:-1])
