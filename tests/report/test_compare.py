"""Comparison from tables alone: what must agree, what is paired, and by which unit."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bench.cli.compare import main
from bench.errors import UserError
from bench.metrics.protocol import NUMBER, Number
from bench.report.compare import compare
from bench.report.differences import differences
from bench.report.frames import headline, load_run
from bench.report.page import write_comparison_page
from bench.report.ranking import ranking
from bench.report.writers import write_comparison
from bench.store import read_table, write_json, write_table

ITEMS = [f"i{k}" for k in range(30)]


def run(folder, method, shift, *, protocol="p", groups=20, content="c" * 64):
    """A scored run whose items are worth `shift` + k/100, and whose FID and KID are 10 + `shift`."""
    value = shift + np.arange(30) / 100
    samples = pd.DataFrame({"item": ITEMS, "subject": ITEMS, "index": 0, "status": "ok", "id_similarity[r]": value})
    similarity = Number("id_similarity", "r", "mean_detected")
    distances = [Number("fid", "inception", "distance"), Number("kid", "inception", "excluded")]
    items = samples[["item", "subject"]].assign(**similarity._asdict(), value=value)
    left_out = pd.DataFrame({"item": [f"without group {k}" for k in range(groups)], "subject": ""}).assign(
        value=10 + shift + np.arange(groups) / 1000
    )
    replicates = [left_out.assign(**one._replace(statistic="replicate")._asdict()) for one in distances]
    common = {"n": 30, "n_failed": 0, "n_unavailable": 0, "n_items": 30, "n_pairs": None, "drawn": False, "note": "",
              "version": 1, "unit": "", "higher_is_better": True, "relation": "none"}  # fmt: skip
    scores = pd.DataFrame(
        [
            {**similarity._asdict(), "value": value.mean(), **common},
            *({**one._asdict(), "value": 10 + shift, **common, "higher_is_better": False} for one in distances),
        ]
    ).assign(low=None, high=None)
    write_json(
        folder / "run.json",
        {
            "method": method,
            "dataset": "d",
            "content": content,
            "shards": 1,
            "begun": 1.0,
            "command": ["python -m bench run", f"method={method}", "hydra.sweep.dir=/tmp/x"],
            "spec": {"dataset": {"name": "folder"}, "execution": {"device": "cpu", "threads": 1}},
        },
    )
    write_json(
        folder / "scores/scores.json",
        {
            "dataset": {"label": "d", "content": content},
            "protocol": {"name": protocol},
            "detector": "x",
            "extractors": {},
            "metrics": {},
        },
    )
    write_table(folder / "scores/scores.parquet", scores)
    write_table(folder / "scores/samples.parquet", samples)
    write_table(folder / "scores/items.parquet", pd.concat([items, *replicates], ignore_index=True))
    write_table(folder / "photos.parquet", pd.DataFrame({"item": ITEMS, "role": "reference", "path": ""}))
    return folder


@pytest.fixture
def two(tmp_path):
    return compare([run(tmp_path / "a", "one", 0.0), run(tmp_path / "b", "two", 0.1)])


def test_items_are_paired(two):
    row = two.differences.set_index("metric").loc["id_similarity"]
    assert row["difference"] == pytest.approx(-0.1)
    assert row["n"] == row["n_clusters"] == 30
    assert row["p_value"] < 1e-3


@pytest.mark.parametrize(("metric", "statistic"), [("fid", "distance"), ("kid", "excluded")])
def test_a_distance_is_compared_by_its_jackknife_and_its_replicates_are_no_items(two, metric, statistic):
    rows = two.differences[two.differences["metric"] == metric]
    assert rows["statistic"].tolist() == [statistic]
    assert rows["difference"].item() == pytest.approx(-0.1)
    assert rows["n"].item() == 20
    assert ranking(two, Number(metric, "inception", statistic)).marks == {"one": "best"}


def test_another_number_of_groups_gives_no_test(tmp_path):
    found = compare([run(tmp_path / "a", "one", 0.0), run(tmp_path / "b", "two", 0.1, groups=7)]).differences
    row = found.set_index("metric").loc["fid"]
    assert pd.isna(row["p_value"])
    assert "groups" in row["note"]


def test_runs_under_different_protocols_are_refused_by_field(tmp_path):
    with pytest.raises(UserError, match=r"differ in protocol\.name \('p' and 'q'\)"):
        compare([run(tmp_path / "a", "one", 0), run(tmp_path / "b", "two", 0, protocol="q")])


def test_different_conditions_are_one_line(tmp_path):
    folders = [run(tmp_path / name, name, k / 10) for k, name in enumerate("abc")]
    scores = folders[2] / "scores/scores.json"
    facts = {"name": "interpolation", "samples": 30, "content": "4" * 64}
    write_json(scores, {**json.loads(scores.read_text()), "conditions": facts})
    [line] = [one for one in compare(folders).warnings if "conditions" in one]
    assert line.endswith("(default: a, b; interpolation 44444444: c)")
    write_comparison_page(compare(folders), [], [], tmp_path / "out")
    assert line in (tmp_path / "out/index.html").read_text()
    assert not any("conditions" in one for one in compare(folders[:2]).warnings)


def test_runs_given_twice_are_refused(tmp_path):
    folder = run(tmp_path / "a", "one", 0.0)
    with pytest.raises(UserError, match="twice"):
        compare([folder, folder])


def test_figures_of_an_earlier_comparison_do_not_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.report.figures.main_numbers", lambda scores: [])
    first = [run(tmp_path / name, name, k / 10) for k, name in enumerate("ab")]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "identities-a-x.png").write_bytes(b"")
    (tmp_path / "out" / "notes.png").write_bytes(b"")
    write_comparison(compare(first), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert {"identities-a-b.png", "notes.png"} <= names
    assert "identities-a-x.png" not in names
    assert (tmp_path / "out" / "differences.csv").exists()


def test_hostile_names_do_no_harm_in_any_table(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.report.figures.of_comparison", lambda comparison: [])
    name = 'a<script>|b\n& "c" $x_{1}\\'
    comparison = compare([run(tmp_path / "a", name, 0.0), run(tmp_path / "b", "two", 0.1)])
    write_comparison(comparison, tmp_path / "out")
    for path in (tmp_path / "out").glob("*.md"):
        assert "<script>" not in path.read_text()
    assert len((tmp_path / "out/table1.md").read_text().split("\n\n")[1].splitlines()) == 2 + len(comparison.runs)
    latex = (tmp_path / "out/table1.tex").read_text()
    assert r"a\textless{}script\textgreater{}\textbar{}b" in latex
    assert r"\$x\_\{1\}\textbackslash{}" in latex
    assert {path.suffix for path in (tmp_path / "out").glob("table1.*")} == {
        ".csv",
        ".md",
        ".parquet",
        ".sha256",
        ".tex",
    }


@pytest.fixture
def places(monkeypatch):
    """The folders that `compare` writes to; nothing is drawn."""
    found = []
    monkeypatch.setattr("bench.cli.compare.write_comparison", lambda comparison, out: found.append(out))
    monkeypatch.setattr("bench.report.figures.over_datasets", lambda comparisons: None)
    return found


def test_the_place_is_the_dataset_and_has_digits_only_where_two_lists_share_it(tmp_path, places):
    for name in ("first", "second"):
        run(tmp_path / f"d/{name}-1", name, 0.0, content="1" * 64)
    run(tmp_path / "d/first-2", "first", 0.0, content="2" * 64)
    assert main(["--out", str(tmp_path)]) == 0
    assert places == [tmp_path / "compare/d"]
    run(tmp_path / "d/second-2", "second", 0.0, content="2" * 64)
    assert main(["--out", str(tmp_path)]) == 0
    assert places[1:] == [tmp_path / "compare/d-11111111", tmp_path / "compare/d-22222222"]
    assert (tmp_path / "compare/table1.md").exists()


def test_given_runs_go_to_their_dataset_or_where_one_says(tmp_path, places):
    folders = [str(run(tmp_path / name, name, 0.0)) for name in "ab"]
    assert main([*folders, "--out", str(tmp_path / "runs")]) == 0
    assert main([*folders, "--to", str(tmp_path / "there")]) == 0
    assert places == [tmp_path / "runs/compare/d", tmp_path / "there"]


def test_a_run_that_an_older_version_scored_names_the_command_that_scores_it(tmp_path):
    folder = run(tmp_path / "a", "one", 0.0)
    path = folder / "scores/scores.parquet"
    write_table(path, read_table(path).drop(columns=["level", "subset", "group", "member"]))
    with pytest.raises(UserError, match=r"/a was scored by .*; score it again: python -m bench score method=one$"):
        load_run(folder)


@pytest.mark.parametrize(("recorded", "found"), [({}, "r"), ({"generates": True}, None)])
def test_the_headline_asks_generators_alone(tmp_path, recorded, found):
    runs = [load_run(run(tmp_path / name, name, 0.0)) for name in ("copy", "two")]
    runs[0].record.update(recorded)
    runs[0].scores["relation"] = "conditioned"
    assert runs[0].is_control != bool(recorded)
    assert headline(runs) == found


def few_items(items, value):
    """A run as far as its differences by items need it."""
    name = dict(zip(NUMBER, Number("id_similarity", "r", "mean_detected"), strict=True))
    frame = pd.DataFrame([{**name, "item": item, "subject": item, "value": value} for item in items])
    return SimpleNamespace(is_control=False, items=frame, samples=frame[["item"]], scores=frame.iloc[:0])


def test_differences_are_over_the_items_that_all_runs_have():
    found = differences({"a": few_items("wxyz", 1.0), "b": few_items("wxyz", 0.0), "c": few_items("wxy", 0.5)})
    assert list(found["n"]) == [3, 3, 3]
