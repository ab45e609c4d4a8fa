"""A metric and an extractor of another package appear in every report as the built-in ones do."""

import sys

import pytest

from bench import registry
from bench.cli.check import main as check
from bench.cli.compare import main as compare
from bench.metrics import declared
from bench.metrics.protocol import Number
from bench.report import golden, overview
from bench.report.compare import compare as compare_runs
from bench.report.frames import of_number
from bench.report.run import write_report
from tests.guard.scored import scored
from tests.plugin.packages import forget, on_path, write_package
from tests.report.world import write_run

MODULE = '''
"""A package that knows nothing of the project but its protocols."""

import numpy as np
import pandas as pd

from bench.metrics.protocol import Metric, Number, Result, Score, Statistic, Tolerance


class Mouth:
    role = "smile"
    pairwise = False


def compute(evaluation):
    scores, columns, tables = [], {}, []
    for name in evaluation.of_role("smile", evaluation.features):
        number = Number("smile_kept", name, "mean_items")
        features = evaluation.features[name]
        rows = pd.Index(evaluation.references["item"]).get_indexer(evaluation.samples["item"])
        values = -np.linalg.norm(features.samples - features.references[rows], axis=1).astype(float)
        good = np.isfinite(values)
        columns[f"smile_kept[{name}]"] = values
        frame = evaluation.samples[["item", "subject"]].assign(value=values)
        items = frame.groupby(["item", "subject"], as_index=False, sort=False)["value"].mean()
        tables.append(items.assign(**number._asdict()))
        scores.append(Score(number, float(values[good].mean()), n=int(good.sum()), n_failed=int((~good).sum())))
    return Result(tuple(scores), pd.DataFrame(columns), pd.concat(tables))


METRIC = Metric(
    name="smile_kept", version=1, title="smile kept", unit="", higher_is_better=True, range=(None, 0.0), source="here",
    needs=("smile",), statistics=(Statistic("mean_items", "mean of items", headline=True, tile=True),),
    compute=compute, tolerance=Tolerance(relative=0.5),
)
'''
ENTRIES = "[bench.metrics]\nsmile_kept = outside_smile:METRIC\n[bench.extractors]\nmouth_net = outside_smile:Mouth\n"
METRICS = ("id_similarity", "lpips_diversity", "smile_kept")
NAME = Number("smile_kept", "mouth", "mean_items")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    place = tmp_path_factory.mktemp("site")
    write_package(place, "outside-smile", ENTRIES, MODULE)
    with on_path(place, "outside_smile"):
        yield place


@pytest.fixture(scope="module")
def folders(package, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    networks = {"mouth": registry.get("extractors", "mouth_net").role}
    return [
        write_run(out / name, name, keep=keep, seed=k + 1, items=8, networks=networks, metrics=METRICS)
        for k, (name, keep) in enumerate({"one": 0.95, "two": 0.5}.items())
    ]


@pytest.fixture(scope="module")
def compared(folders, tmp_path_factory):
    """The folder of a comparison, and what the terminal showed."""
    out = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr("bench.cli.compare.show", lines.append)
        assert compare([*map(str, folders), "--to", str(out)]) == 0
    return out, "\n".join(lines)


def test_it_is_on_the_terminal_with_its_direction_and_its_mark(compared):
    [line] = [line for line in compared[1].splitlines() if line.startswith("smile kept, mean of items (mouth) ↑")]
    assert line.count("**") == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("table.md", "| smile kept, mean of items (mouth) ↑ |"),
        ("table.tex", r"smile kept, mean of items (mouth) $\uparrow$"),
        ("differences.csv", "smile_kept,mouth,mean_items,"),
    ],
)
def test_it_is_in_the_files_of_a_comparison(compared, file, text):
    assert text in (compared[0] / file).read_text()


def test_it_has_a_row_and_figures_on_the_page(compared):
    page = (compared[0] / "index.html").read_text()
    assert '<th scope="row"><bdi>smile kept, mean of items (mouth) ↑</bdi>' in page
    assert '{"similarity": false, "title": "smile kept"' in page
    for title, file in {
        "Paired differences: smile kept, mean of items (mouth)": "differences-smile_kept-mouth",
        "ID similarity against another number: smile kept, mean of items (mouth)": "tradeoff-arcface-smile_kept-mouth",
    }.items():
        assert title in page
        assert f'src="{file}.png"' in page
        assert (compared[0] / f"{file}.png").stat().st_size > 1000
        assert (compared[0] / f"{file}.pdf").exists()


def test_it_is_a_tile_and_a_line_in_the_report_of_a_run(folders):
    write_report(folders[0])
    assert "<dt>smile kept, mean of items (mouth)</dt>" in (folders[0] / "report/index.html").read_text()
    assert "| smile kept | mouth | mean of items |" in (folders[0] / "report/scores.md").read_text()


def test_check_takes_its_tolerance(package, tmp_path):
    file = tmp_path / "golden.json"
    numbers = {NAME: (-0.5, None, None)}
    assert check([str(scored(tmp_path / "a", numbers)), "--golden", str(file), "--update"]) == 0
    assert golden.read_golden(file).tolerances.metrics["smile_kept"].relative == 0.5
    for value, code in ((-0.7, 0), (-0.8, 1)):
        run = scored(tmp_path / str(code), {NAME: (value, None, None)})
        assert check([str(run), "--golden", str(file)]) == code


def test_without_the_package_its_numbers_are_still_compared(package, folders, monkeypatch):
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(package)])
    forget()
    try:
        assert declared.metric("smile_kept") is None
        comparison = compare_runs(folders)
        assert of_number(comparison.differences, NAME)["p_value"].item() < 0.05
        assert not any("smile" in row[0].text for row in overview.of_comparison(comparison).table.rows)
    finally:
        monkeypatch.undo()
        forget()
