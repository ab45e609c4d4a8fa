"""The page of the whole paper: what was found, what was published, what is missing; and the experiments' configs."""

from dataclasses import replace

import pytest
from hydra import compose, initialize_config_dir

from bench.__main__ import main
from bench.cli.run import register_resolvers
from bench.errors import UserError
from bench.experiment import check
from bench.paper.contents import CONTENTS
from bench.paper.page import missing, write_page
from bench.registry import BUILT_IN
from bench.report.model import Cell, Column, Kind, Mark, Table, Written
from bench.report.results import FILE, Finding, findings, folder_of, write_finding
from tests.shared import ROOT

HOSTILE = '<script>alert("x")</script>'
TABLE = Table(
    HOSTILE, [Column("a", "group", HOSTILE, "higher"), Column("b")],
    [[Cell(HOSTILE, note=HOSTILE), Cell(value=0.5, low=0.4, high=0.6, mark=Mark.BEST)]], [HOSTILE], {0: HOSTILE},
)  # fmt: skip
FIGURE = Written(Kind("path", HOSTILE, "caption", True), "v", "path.png", "path.pdf")
FINDING = Finding("fig10", "Interpolation", "mini", HOSTILE, "mini", [TABLE], [FIGURE], [HOSTILE])


def test_a_finding_is_read_as_it_was_written(tmp_path):
    folder = write_finding(folder_of(tmp_path, "fig10", "mini"), FINDING)
    assert findings(tmp_path) == [(folder, FINDING)]
    assert HOSTILE not in (folder / "index.html").read_text()
    (folder / FILE).write_text("{")
    with pytest.raises(UserError, match="is damaged; delete it"):
        findings(tmp_path)


def test_the_page_has_every_item_in_order_and_escapes_what_it_shows(tmp_path):
    write_finding(folder_of(tmp_path, "fig10", "mini"), FINDING)
    text = write_page(tmp_path, ["out=my runs"]).read_text()
    places = [text.index(f'<section id="{item.id}">') for item in CONTENTS]
    assert places == sorted(places)
    assert HOSTILE not in text
    assert 'src="fig10/mini/path.png"' in text
    for item in CONTENTS:
        assert item.title in text
        assert (f"experiment={item.experiment} " in text) == bool(item.experiment and item.experiment != "fig10")
    # Published numbers with their sources.
    assert "0.37" in text
    assert "Arc2Face, ECCV 2024, section 4.4" in text


def test_what_is_missing_is_asked_by_dataset(tmp_path):
    everything = [item.experiment for item in CONTENTS if item.experiment]
    assert missing(tmp_path, "mini") == everything
    write_finding(folder_of(tmp_path, "fig10", "agedb"), replace(FINDING, dataset="agedb"))
    assert missing(tmp_path, "mini") == everything
    assert "fig10" not in missing(tmp_path, "agedb")


def test_every_experiment_is_on_the_page():
    assert {item.experiment for item in CONTENTS if item.experiment} == set(BUILT_IN["experiments"])


@pytest.mark.parametrize("profile", ["mini", "paper"])
def test_every_experiment_composes(profile):
    register_resolvers()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for name in BUILT_IN["experiments"]:
            check(compose("config", [f"experiment={name}", f"profile={profile}"]))


def test_the_verb_refuses_what_it_does_not_take(tmp_path, capsys):
    assert main(["paper", "fig10"]) == 2
    assert main(["paper", "experiment=fig10"]) == 2
    assert "runs every experiment" in capsys.readouterr().err
