"""How a run ends: with its numbers, its failures by their reasons, and an exit code that says whether it was of use."""

import json
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.__main__ import main
from bench.metrics.protocol import Metric, Number, Result, Score, Statistic
from bench.report.compare import compare
from bench.report.frames import load_run
from bench.stages.score import in_range
from tests.e2e.small import bench, make_people, measured, record
from tests.plugin.packages import on_path, write_package
from tests.shared import ROOT


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return make_people(tmp_path_factory.mktemp("people") / "w", subjects=5)


@pytest.fixture(scope="module")
def named(people, tmp_path_factory):
    """Five people whose images are named in five ways, and files that nobody asked for."""
    base = tmp_path_factory.mktemp("named")
    composed, decomposed = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))
    ways = {composed: "{}.png", "anna": "{}.PNG", "ben": "{}.png", "carl": "0000{}.png", "dora": "{}.webp"}
    for (name, way), folder in zip(ways.items(), sorted(people.glob("s*")), strict=True):
        (base / "people" / name).mkdir(parents=True)
        shutil.copy(folder / "reference.png", base / "people" / name / "1.png")
        samples = base / "samples" / (decomposed if name == composed else name)
        samples.mkdir(parents=True)
        for number in range(2):
            shutil.copy(folder / "reference.png", samples / way.format(number + (name == "ben")))
    shutil.copytree(base / "samples" / "anna", base / "samples" / "zoe")
    shutil.copy(people / "s000" / "reference.png", base / "samples" / "dora" / "2.png")
    (base / "samples" / "notes.txt").write_text("made on Monday")
    return base


def test_folders_are_read_as_people_name_them_and_what_is_not_used_is_named(named, tmp_path, capsys):
    given = ("method=folder", f"method.root={named / 'samples'}", f"dataset.root={named / 'people'}", f"out={tmp_path}")
    assert bench("run", *given, "protocol.samples_per_item=2") == 0
    told = capsys.readouterr()
    assert "unused people unknown to the dataset (1): zoe" in told.err
    assert "unused images beyond protocol.samples_per_item=2 (1): dora/2.png" in told.err
    assert "unused files that do not fit {item}/{index}.{ext} (1): notes.txt" in told.err
    samples = load_run(record(tmp_path)["folder"]).samples
    assert set(samples["status"]) == {"ok"}
    assert len(samples) == 10
    # Numbers, counts and the place of the report are the last thing that is said.
    assert "ID similarity [arcface]" in told.out
    assert told.out.rstrip().endswith("report/index.html")


@pytest.mark.parametrize(
    ("pattern", "file", "count"),
    [
        ("{item}/out.jpg", "{}/out.jpg", 1),
        ("{item}_{index:04d}.{ext}", "{}_0001.JPG", 1),
        ("{item}.{ext}", "{}.webp", 1),
        ("v1/{item}-{index}-512.{ext}", "v1/{}-0-512.png", 1),
    ],
)
def test_patterns(pattern, file, count, people, tmp_path):
    for folder in sorted(people.glob("s*")):
        place = tmp_path / "samples" / file.format(folder.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "reference.png", place)
    given = ("method=folder", f"method.root={tmp_path / 'samples'}", f"method.pattern='{pattern}'")
    assert bench("generate", *given, f"dataset.root={people}", f"out={tmp_path / 'runs'}") == 0
    rows = pd.read_parquet(next((tmp_path / "runs").glob("folder/folder-*/tables/samples/*.parquet")))
    assert list(rows["status"]) == ["ok"] * 5 * count


def test_a_run_in_which_nothing_was_measured_fails(people, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    given = ("method=folder", f"method.root={tmp_path / 'empty'}", f"dataset.root={people}", f"out={tmp_path / 'runs'}")
    assert bench("run", *given) == 1
    told = capsys.readouterr()
    assert "5 of 5: generation_error: no image number 0 of this item that fits {item}/{index}.{ext}" in told.out
    assert "error: folder: nothing was measured: 5 samples failed" in told.err
    assert "Traceback" not in told.err


def test_a_control_without_any_image_fails(people, tmp_path, capsys):
    assert bench("generate", "method=real", f"dataset.root={people}", f"out={tmp_path / 'runs'}") == 1
    assert "error: real: nothing was measured: 5 are unavailable" in capsys.readouterr().err


PROGRAM = """
import json, os, sys
from PIL import Image
for line in sys.stdin:
    request = json.loads(line)
    if request["item"] == "s003" and os.path.exists("{flag}"):
        print("out of memory", file=sys.stderr, flush=True)
        sys.exit(9)
    Image.open(request["reference"]).convert("RGB").save(request["out"])
    print(json.dumps({{"id": request["id"], "ok": True}}), flush=True)
"""


def test_failed_samples_are_made_again_on_request_and_others_are_left(people, tmp_path, capsys):
    flag = tmp_path / "flag"
    flag.touch()
    (tmp_path / "program.py").write_text(PROGRAM.format(flag=flag))
    command = f"method.command='{sys.executable} {tmp_path / 'program.py'}'"
    given = (
        "method=external",
        command,
        "method.version=v1",
        "method.batch=1",
        f"dataset.root={people}",
        f"out={tmp_path / 'r'}",
    )
    assert bench("run", *given) == 0
    told = capsys.readouterr()
    assert "1 of 5: generation_error: the program ended with exit code 9" in told.out
    assert "warning: external: 1 of 5 samples (20%) failed" in told.err
    folder = record(tmp_path / "r")["folder"]
    assert "out of memory" in (folder / "log" / "external.log").read_text()
    flag.unlink()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("samples/*/*.png")}
    # Without being asked to, a run keeps its failures.
    assert bench("generate", *given) == 0
    assert not (folder / "samples" / "s003").exists()
    measured(*given, "execution.retry=errors")
    assert "execution.retry=errors: 1 failed samples are made again" in capsys.readouterr().err
    run = load_run(folder)
    assert list(run.samples["status"]) == ["ok"] * 5
    similarity = run.scores[(run.scores["metric"] == "id_similarity") & (run.scores["statistic"] == "mean_detected")]
    assert (similarity["n"].item(), similarity["value"].item()) == (5, pytest.approx(1, abs=1e-6))
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_an_exception_in_a_method_is_in_the_log(people, tmp_path, monkeypatch, capsys):
    from baselines.controls import Copy

    def broken(self, requests):
        raise RuntimeError("no idea")

    monkeypatch.setattr(Copy, "generate", broken)
    assert bench("generate", "method=copy", f"dataset.root={people}", f"out={tmp_path}") == 1
    told = capsys.readouterr()
    assert "5 of 5: generation_error: RuntimeError: no idea" in told.out
    log = (record(tmp_path)["folder"] / "log" / "tracebacks.log").read_text()
    assert log.count("Traceback (most recent call last)") == 5
    assert "s003, sample 0" in log


def test_an_unexpected_error_is_one_line_that_names_the_traceback(people, tmp_path, monkeypatch, capsys):
    from bench.stages import run

    def broken(*_):
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(run, "generate", broken)
    assert bench("generate", "method=copy", f"dataset.root={people}", f"out={tmp_path}") == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ZeroDivisionError: of ours (unexpected: please report it")
    log = last.rpartition(" in ")[2].rstrip(")")
    assert "in broken" in Path(log).read_text()


def test_asking_for_one_metric_keeps_the_others(people, tmp_path):
    given = ("method=copy", f"dataset.root={people}", f"out={tmp_path}")
    measured(*given)
    before = load_run(record(tmp_path)["folder"]).scores
    assert bench("score", *given, "protocol.metrics=[failure_to_acquire]") == 0
    after = load_run(record(tmp_path)["folder"])
    pd.testing.assert_frame_equal(after.scores, before)
    assert set(after.comparable["metrics"]) == set(before["metric"])


def test_only_the_metrics_that_were_asked_for_are_computed_first(people, tmp_path):
    given = ("method=copy", f"dataset.root={people}", f"out={tmp_path}", "protocol.metrics=[failure_to_acquire]")
    measured(*given)
    assert set(load_run(record(tmp_path)["folder"]).scores["metric"]) == {"failure_to_acquire"}


def test_a_value_outside_of_the_declared_range_is_an_error_of_the_metric(capsys):
    statistics = (Statistic("rate"), Statistic("share", range=(0, 2)))
    metric = Metric("broken", 1, "Broken", "", None, (0, 1), "", (), statistics, lambda _: Result(()))
    scores = [Score(Number("broken", "", "rate"), value, note="n") for value in (0.5, 1.0, 1.5, np.inf, None)]
    found = in_range(metric, Result((*scores, Score(Number("broken", "", "share"), 1.5)))).scores
    assert [score.value for score in found] == [0.5, 1.0, None, None, None, 1.5]
    assert found[2].note == "error of the metric: 1.5 is outside of its declared range 0 to 1; n"
    assert "warning: broken.rate: error of the metric: 1.5" in capsys.readouterr().err


def test_a_broken_package_is_named_and_the_others_go_on(people, tmp_path, capsys):
    (tmp_path / "site").mkdir()
    write_package(tmp_path / "site", "broken-one", "[bench.methods]\nbroken = bench.no_such_module:Method\n")
    given = (f"dataset.root={people}", f"out={tmp_path / 'runs'}")
    with on_path(tmp_path / "site", "broken_one"):
        assert bench("generate", "method=copy", *given) == 0
        said = "method 'broken' (bench.no_such_module:Method of broken-one 1.0) cannot be imported: ModuleNotFoundError"
        assert capsys.readouterr().err.count(said) == 1
        # It is registered, but no YAML configures it.
        assert bench("generate", "method=broken", *given) == 2
        assert "has no configuration: write DIR/method/broken.yaml" in capsys.readouterr().err


def test_labels_keep_runs_of_one_method_apart(people, tmp_path, capsys):
    out = tmp_path / "runs"
    for label in ("tool one", "tool two"):
        measured(f"dataset.root={people}", f"out={out}", "method=copy", f"method.label={label}")
    capsys.readouterr()
    assert main(["ls", "runs", "--json", "--out", str(out)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["method"], row["label"]) for row in rows] == [("copy", "tool one"), ("copy", "tool two")]
    assert all("ID similarity [arcface] 1.000" in row["numbers"] for row in rows)
    assert list(compare([row["folder"] for row in rows]).runs) == ["tool one", "tool two"]


def test_one_run_that_cannot_be_compared_does_not_stop_the_others(people, tmp_path):
    out = tmp_path / "runs"
    settings = {"one": "[id_similarity]", "two": "[id_similarity,failure_to_acquire]", "odd": "[id_similarity]"}
    for label, metrics in settings.items():
        own = [f"method.label={label}", f"protocol.metrics={metrics}", *(["protocol.seed=7"] if label == "odd" else [])]
        measured(f"dataset.root={people}", f"out={out}", "method=copy", *own)
    comparison = compare(sorted(out.glob("folder/*-????????")))
    assert list(comparison.runs) == ["one", "two"]
    assert any("a run is left out" in warning and "protocol.seed" in warning for warning in comparison.warnings)
    assert set(comparison.differences.dropna(subset="difference")["metric"]) == {"id_similarity"}
    assert set(comparison.scores["metric"]) == {"id_similarity", "failure_to_acquire"}


def test_the_layout_of_multi_id_bench_as_the_how_to_reads_it(people, tmp_path):
    page = (ROOT / "docs" / "howto" / "own-images.md").read_text()
    script = page.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "make_list.py").write_text(script)
    for folder in sorted(people.glob("s*")):
        case = tmp_path / "cases" / folder.name
        case.mkdir(parents=True)
        for name in ("ref_1.jpg", "ori.jpg", "out.jpg"):
            image = Image.open(folder / "reference.png")
            image.save(case / name, quality=95 if name == "ref_1.jpg" else 90)
        (case / "meta.json").write_text("{}")
    subprocess.run([sys.executable, tmp_path / "make_list.py", tmp_path / "cases", tmp_path / "cases.csv"], check=True)
    given = [
        word for word in page.split() if word.startswith(("'method.pattern=\"{item}/out.{ext}", "protocol.samples"))
    ]
    words = [word.strip("'") for word in given if "{ext}" in word or "=1" in word][-2:]
    same = (
        f"method.root={tmp_path / 'cases'}",
        f"dataset.root={tmp_path / 'cases'}",
        f"dataset.list={tmp_path / 'cases.csv'}",
    )
    measured("method=folder", *words, *same, f"out={tmp_path / 'runs'}")
    run = load_run(record(tmp_path / "runs")["folder"])
    assert list(run.samples["status"]) == ["ok"] * 5
    assert set(run.photos["role"]) == {"reference", "target"}
    assert run.scores.loc[run.scores["metric"] == "target_similarity", "n"].max() == 5
