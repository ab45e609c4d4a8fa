"""A run in the formats of others: it fits their schemas, reads back to the same numbers, and holds no person."""

import json
import xml.etree.ElementTree as ET

import pytest
import yaml

from bench.cli.export import main
from bench.errors import UserError
from bench.exchange.formats import every_eval, hub, readme
from bench.exchange.formats.rows import rows
from bench.exchange.public import public
from bench.metrics.protocol import Number
from bench.report.frames import load_run, of_number
from bench.report.numbers import headlines
from tests.report.runs import HOSTILE, scored

SOURCE = every_eval.Source("org/model", "the testers", "third_party")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    names = {"rename": lambda at, name: f"{HOSTILE[at % len(HOSTILE)]} {at}"}
    return scored(tmp_path_factory.mktemp("formats") / "run", failed=10, **names)


@pytest.fixture(scope="module")
def run(folder):
    return public(load_run(folder), pictures=False)


def test_every_eval_reads_back_to_the_same_numbers(run):
    (path, data), (lines_path, lines) = every_eval.files(run, SOURCE).items()
    assert path.startswith("data/idbench/org/model/")
    found = every_eval.read(data)
    expected = {str(row.number): row.value for row in rows(run)}
    assert found == expected
    assert len(found) > 20
    record = json.loads(data)
    assert record["detailed_evaluation_results"]["file_path"] == lines_path
    assert record["detailed_evaluation_results"]["total_rows"] == len(lines.splitlines())
    low = next(one for one in record["evaluation_results"] if one["metric_config"]["metric_kind"] == "fid")
    assert low["metric_config"]["lower_is_better"]
    assert low["metric_config"]["max_score"] == "Infinity"


def test_the_mean_of_the_lines_is_the_number_with_failures_as_zero(run):
    lines = [json.loads(line) for line in list(every_eval.files(run, SOURCE).values())[1].splitlines()]
    for recogniser in run.recognisers:
        number = Number("id_similarity", recogniser, every_eval.ZERO)
        scores = [one["evaluation"]["score"] for one in lines if one["evaluation_result_id"] == str(number)]
        assert len(scores) == 120
        assert sum(scores) / 120 == pytest.approx(of_number(run.scores, number)["value"].item(), abs=1e-12)
    assert sum(not one["evaluation"]["is_correct"] for one in lines) == 20


def test_files_are_the_same_every_time_and_hold_no_name(run):
    files = {**every_eval.files(run, SOURCE), **hub.files(run, "org/bench"), **readme.files(run)}
    assert files == {**every_eval.files(run, SOURCE), **hub.files(run, "org/bench"), **readme.files(run)}
    text = b"\n".join(files.values()).decode()
    assert not [name for name in HOSTILE if name in text]
    assert "/home/jo" not in text


def test_what_does_not_fit_the_schema_is_refused(run):
    with pytest.raises(UserError, match=r"source_metadata\.evaluator_relationship does not fit eval\.schema\.json"):
        every_eval.files(run, every_eval.Source("org/model", "x", "a friend"))
    with pytest.raises(UserError, match="not ORGANISATION/NAME"):
        every_eval.files(run, every_eval.Source("model", "x"))


def test_the_hub_reads_back_the_headline_numbers(run):
    files = hub.files(run, "org/bench")
    found = hub.read(files[hub.RESULTS])
    wanted = set(headlines(run.scores))
    assert found == {hub.task(row.number): row.value for row in rows(run) if row.number in wanted}
    declared = yaml.safe_load(files[hub.BENCHMARK])
    assert [task["id"] for task in declared["tasks"]] == list(found)
    assert len(set(found)) == len(found) > 4
    assert declared["evaluation_framework"] == "idbench"
    with pytest.raises(UserError, match="not ORGANISATION/NAME"):
        hub.files(run, "bench")


def test_the_badge_is_an_image_and_shows_the_independent_judge(run):
    files = readme.files(run)
    root = ET.fromstring(files[readme.BADGE])
    value = of_number(run.scores, Number("id_similarity", "adaface", "mean_detected"))["value"].item()
    assert root.attrib["aria-label"] == f"idbench: ID similarity {value:.3f} (adaface)"
    assert b"http" not in files[readme.BADGE].replace(b"http://www.w3.org/2000/svg", b"")
    text = files[readme.TABLE].decode()
    assert text.startswith(f"![idbench: ID similarity {value:.3f} (adaface)](idbench.svg)")
    assert "| number | value | samples n | samples failed |" in text


def test_the_command_writes_each_format_and_asks_for_what_it_needs(folder, tmp_path, capsys):
    for name, options in {
        "readme": [], "hub": ["--hub-dataset", "o/b"], "every-eval": ["--model", "o/m", "--organization", "we"],
    }.items():  # fmt: skip
        assert main([str(folder), "--format", name, "--to", str(tmp_path / name), *options]) == 0
        printed = capsys.readouterr().out.splitlines()
        assert len(printed) == 2
        assert sorted(printed) == sorted(str(path) for path in (tmp_path / name).rglob("*") if path.is_file())
    for name, missing in {"hub": "--hub-dataset", "every-eval": "--model"}.items():
        with pytest.raises(UserError, match=f"--format {name} needs {missing}"):
            main([str(folder), "--format", name])
    with pytest.raises(UserError, match="have no effect with --format readme"):
        main([str(folder), "--format", "readme", "--thumbnails"])
