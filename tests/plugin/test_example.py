"""The example package, installed by pip: its parts keep the contracts, and are everywhere where ours are."""

import json
import re

import pandas as pd
import pytest

from bench import registry, resources
from bench.__main__ import main
from bench.cli import doctor
from bench.images import read_image
from bench.testing import contracts
from bench.testing.images import write_photos
from tests.plugin.packages import install, on_path
from tests.shared import ROOT

SOURCE = ROOT / "docs" / "examples" / "plugin"
PARTS = {
    "methods": ["blend"],
    "extractors": ["brightness", "colour_distance"],
    "metrics": ["colour_diversity", "mean_brightness"],
    "datasets": ["flat"],
    "conditions": ["detail"],
}
LIGHTS = {"s000": "day", "s001": "night", "s002": "day"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    install(SOURCE, folder)
    with on_path(folder, "idbench_example"):
        yield folder


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Three people of the embedded world, two images each, named as the example's dataset wants them."""
    from bench.mini.dataset import make

    made = tmp_path_factory.mktemp("made")
    make(made / "people", 3, 1, 96)
    flat = tmp_path_factory.mktemp("flat")
    for subject, light in LIGHTS.items():
        for number, path in enumerate(sorted((made / "people" / subject).glob("*.png"))):
            path.rename(flat / f"{subject}_{light}_{number}.png")
    return flat


@pytest.fixture(scope="module")
def runs(site, people, tmp_path_factory):
    """The folder of two runs, made by one sweep."""
    out = tmp_path_factory.mktemp("runs")
    parts = ["method=blend", "dataset=flat", "conditions=detail", "evaluator=example"]
    options = ["method.strength=0.1,0.4", f"dataset.root={people}", "dataset.redistributable=true"]
    assert main(["run", "-m", *parts, *options, "protocol.samples_per_item=1", f"out={out}"]) == 0
    return out


@pytest.fixture(scope="module")
def folders(runs):
    return sorted(path.parent for path in runs.glob("flat/blend-*/run.json"))


def test_it_is_installed(site):
    for group, names in PARTS.items():
        assert [
            n for n, entry in registry.entries(group).items() if str(entry.package) == "idbench-example 1.0"
        ] == names


def test_it_keeps_the_contracts(site, tmp_path):
    write_photos(tmp_path, ["anna_day_1.png", "anna_night_2.png", "ben_day_1.png"])
    found = contracts("idbench-example", {"flat": {"root": tmp_path}})
    assert {param.id.split(":")[0] for param in found} == {name for names in PARTS.values() for name in names}
    for param in found:
        [check] = param.values
        check()


def test_a_sweep_measures_by_its_parts(folders):
    assert len(folders) == 2
    for folder in folders:
        report = (folder / "report" / "scores.md").read_text()
        assert "| mean brightness | brightness | mean |" in report
        assert "| colour diversity | colours | mean |" in report


def test_each_sample_is_made_from_its_condition(folders):
    table = pd.read_parquet(folders[0] / "conditions.parquet")
    assert table["components"].tolist() == [8, 32] * len(LIGHTS)
    for item in LIGHTS:
        few, many = (read_image(folders[0] / "samples" / item / f"{index}.png") for index in range(2))
        assert few.shape == many.shape
        assert (few != many).any()


def test_a_run_records_the_package_of_each_part(folders):
    stages = {stage["stage"]: stage for stage in json.loads((folders[0] / "run.json").read_text())["stages"]}
    package = {"name": "idbench-example", "version": "1.0"}
    assert {name: part["package"] for name, part in stages["generate"]["parts"].items()} == {
        "method": package, "conditions": package, "detector": None,
    }  # fmt: skip
    assert stages["extract"]["parts"]["brightness"]["package"] == package
    assert stages["extract"]["environment"]["packages"]["idbench-example"] == "1.0"


def test_its_group_column_survives(folders):
    scores = (folders[0] / "scores" / "scores.csv").read_text()
    assert re.search(r"^groups,arcface,\w+,[^,]*,[^,]*,light,day,", scores, flags=re.MULTILINE)
    assert "light" in (folders[0] / "report" / "index.html").read_text()


def test_compare(folders, runs, capsys):
    place = runs / "compared"
    assert main(["compare", *map(str, folders), "--to", str(place)]) == 0
    assert "mean brightness (brightness) ↑" in capsys.readouterr().out
    assert "| mean brightness (brightness) ↑ |" in (place / "table.md").read_text()
    assert r"mean brightness (brightness) $\uparrow$" in (place / "table.tex").read_text()
    assert "mean_brightness,brightness,mean_detected," in (place / "differences.csv").read_text()
    assert "colour diversity" in (place / "index.html").read_text()
    assert (place / "differences-colour_diversity-colours.png").exists()


def test_check(folders, tmp_path, capsys):
    golden = tmp_path / "golden.json"
    assert main(["check", str(folders[0]), "--golden", str(golden), "--update"]) == 0
    assert main(["check", str(folders[0]), "--golden", str(golden)]) == 0
    text = golden.read_text()
    assert "mean_brightness[brightness].mean_detected" in text
    data = json.loads(text)
    data["scores"]["mean_brightness[brightness].mean_detected"]["value"] += 0.1
    golden.write_text(json.dumps(data))
    assert main(["check", str(folders[0]), "--golden", str(golden)]) == 1
    assert "mean_brightness[brightness].mean_detected" in capsys.readouterr().out


def test_export_and_leaderboard(folders, tmp_path):
    for folder in folders:
        assert main(["export", str(folder), "--to", str(tmp_path / f"{folder.name}.zip")]) == 0
    assert main(["leaderboard", str(tmp_path), "--to", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page" / "index.html").read_text()
    assert "mean brightness" in page
    assert ", conditions detail (" in page


@pytest.mark.parametrize("kind", PARTS)
def test_ls(site, kind, capsys):
    assert main(["ls", kind, "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    for name in PARTS[kind]:
        assert rows[name]["package"] == "idbench-example 1.0"
        assert rows[name]["code"].startswith("idbench_example.")


def test_help_and_errors_know_it(site, capfd):
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    shown = capfd.readouterr().out
    assert re.search(r"^method: .*\bblend\b", shown, flags=re.MULTILINE)
    assert re.search(r"^evaluator: .*\bexample\b", shown, flags=re.MULTILINE)
    assert re.search(r"^conditions: .*\bdetail\b", shown, flags=re.MULTILINE)
    assert main(["run", "method=blent"]) == 2
    assert "did you mean 'blend'?" in capfd.readouterr().err
    assert main(["run", "method=blend", "method.strenght=0.1"]) == 2
    assert "method.strength" in capfd.readouterr().err
    assert main(["run", "method=copy", "conditions=detial"]) == 2
    assert "did you mean 'detail'?" in capfd.readouterr().err


def test_doctor(site):
    [found] = list(doctor.added())
    assert (found.name, found.ok) == ("idbench-example 1.0", True)
    assert "metrics mean_brightness" in found.detail


def test_its_configuration_is_found_after_ours(site):
    ours, theirs = resources.conf_folders()
    assert ours == resources.folder("conf")
    assert theirs == site / "idbench_example" / "conf"
