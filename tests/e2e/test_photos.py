"""Real photographs through the whole path, with small real networks."""

import json
import shutil

import pandas as pd
import pytest

from bench.__main__ import main
from tests.e2e.commands import (
    ON_PHOTOS,
    PHOTOS,
    SMALL_ON_FOLDER,
    WITH_PHOTOS,
    assert_same,
    bench,
    measured,
    run_folder,
    tables,
)
from tests.shared import SHARED, needs

pytestmark = [needs(PHOTOS), pytest.mark.slow]
METHODS = ("copy", "shuffle", "real")


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    out = tmp_path_factory.mktemp("photos") / "runs"
    bench("run", "-m", *WITH_PHOTOS, f"method={','.join(METHODS)}", f"dataset.root={PHOTOS}", f"out={out}")
    return out


def scores(out, method):
    frame = pd.read_parquet(run_folder(out, method) / "scores" / "scores.parquet")
    return frame[frame["metric"] == "id_similarity"].set_index("statistic")


def test_the_controls_score_as_they_must(swept):
    copy, shuffle, real = (scores(swept, method) for method in METHODS)
    assert copy.loc["mean_detected", "value"] == pytest.approx(1, abs=1e-6)
    assert abs(shuffle.loc["mean_detected", "value"]) < 0.05
    assert real.loc["mean_detected", "value"] == pytest.approx(0.64, abs=0.05)
    for one in (copy, shuffle, real):
        assert one.loc["detection_rate", "value"] == 1
        assert one.loc["mean_detected", "n_failed"] == 0
    assert [int(s.loc["mean_detected", "n_unavailable"]) for s in (copy, shuffle, real)] == [0, 0, 13]
    assert real.loc["mean_detected", "n"] == 7


def test_the_intervals_do_not_overlap(swept):
    low = {m: scores(swept, m).loc["mean_detected", "low"] for m in METHODS}
    high = {m: scores(swept, m).loc["mean_detected", "high"] for m in METHODS}
    assert high["shuffle"] < low["real"] < high["real"] < low["copy"]


def test_compare_without_arguments_finds_the_three_and_tells_them_apart(swept, capsys):
    assert main(["compare", "--out", str(swept), "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert set(found["runs"]) == set(METHODS)
    rows = [r for r in found["differences"] if r["metric"] == "id_similarity" and r["statistic"] == "mean_detected"]
    assert len(rows) == 3
    by_pair = {frozenset((r["a"], r["b"])): r for r in rows}
    assert by_pair[frozenset(("copy", "shuffle"))]["p_holm"] < 0.01
    assert by_pair[frozenset(("copy", "real"))]["n"] == 4
    for name in ("table.md", "table.tex", "scores.csv", "differences.parquet", "similarity-mobilefacenet.png"):
        assert next(swept.glob(f"compare/*/{name}")).stat().st_size > 0


def test_the_stages_one_after_another_give_the_same_files_as_run(swept, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_SHARED", str(SHARED))
    out = tmp_path / "runs"
    for verb in ("generate", "extract", "score"):
        main([verb, *WITH_PHOTOS, "method=shuffle", f"dataset.root={PHOTOS}", f"out={out}"])
    folder, other = run_folder(out, "shuffle"), run_folder(swept, "shuffle")
    assert main(["report", str(folder)]) == 0
    assert_same(folder, other)
    for path in sorted((other / "report").iterdir()):
        if path.is_file() and path.suffix != ".pdf" and path.name != "index.html":  # it tells command and time
            assert (folder / "report" / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.exhaustive
def test_shards_order_and_workers_change_nothing(swept, tmp_path):
    out, options = tmp_path / "runs", ("execution.shard_size=1", "execution.order=shuffled", "execution.workers=2")
    measured(*ON_PHOTOS, *options, "method=shuffle", f"out={out}")
    assert_same(run_folder(out, "shuffle"), run_folder(swept, "shuffle"))


def test_shards_and_order_change_nothing_in_one_process(swept, tmp_path):
    out = tmp_path / "runs"
    measured(*ON_PHOTOS, "execution.shard_size=7", "execution.order=reversed", "method=shuffle", f"out={out}")
    assert_same(run_folder(out, "shuffle"), run_folder(swept, "shuffle"))


def test_onnx_features_do_not_depend_on_the_batch(swept, tmp_path):
    out = tmp_path / "runs"
    option = "+evaluator.recognisers.mobilefacenet.batch=3"
    measured(*ON_PHOTOS, option, "method=shuffle", f"out={out}")
    assert_same(run_folder(out, "shuffle"), run_folder(swept, "shuffle"))


def test_a_second_run_makes_nothing_again(swept):
    folder = run_folder(swept, "copy")
    before = {p: p.stat().st_mtime_ns for p in (folder / "tables").rglob("*.parquet")}
    measured(*ON_PHOTOS, "method=copy", f"out={swept}")
    assert {p: p.stat().st_mtime_ns for p in (folder / "tables").rglob("*.parquet")} == before


def test_a_network_added_later_extracts_only_what_it_misses(swept, tmp_path):
    """The tables that are there stay as they are, no face is looked for again, and the new network has its own."""
    out = tmp_path / "runs"
    shutil.copytree(swept, out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("tables/**/*.parquet")}
    file = "${evaluator.recognisers.mobilefacenet.weights}"
    added = f"+evaluator.recognisers.swapped={{name: arcface_onnx, weights: '{file}', dim: 128, colour: bgr}}"
    measured(*ON_PHOTOS, added, "method=copy", f"out={out}")
    after = {p: p.stat().st_mtime_ns for p in out.rglob("tables/**/*.parquet")}
    assert {p: after[p] for p in before} == before
    assert {p.parent.name.split("-")[0] for p in after.keys() - before.keys()} == {"swapped"}
    assert len(list(out.rglob("tables/features/swapped-*"))) == 2  # of the samples and of the photos


def test_other_pictures_under_the_same_names_are_another_run(tmp_path):
    from bench.images import read_image, write_png

    source, out = PHOTOS / "newton" / "newton_0.jpg", tmp_path / "runs"
    for root, change in (("one", 0), ("other", 1)):
        image = read_image(source)
        image[0, 0] ^= change
        write_png(image, tmp_path / root / "newton.png", {})
        measured(*SMALL_ON_FOLDER, "method=copy", f"dataset.root={tmp_path / root}", f"out={out}")
    assert len(list(out.glob("folder/copy-*"))) == len(list(out.glob("folder/photos-*"))) == 2


def test_samples_by_a_control_do_not_claim_to_be_generated(swept):
    from PIL import Image

    path = next((run_folder(swept, "copy") / "samples").rglob("*.png"))
    assert Image.open(path).info == {}


def test_every_sample_has_one_row(swept):
    samples = tables(run_folder(swept, "real"))["samples.parquet"]
    assert len(samples) == 20
    assert samples["status"].value_counts().to_dict() == {"unavailable": 13, "ok": 7}


@pytest.mark.exhaustive
def test_a_launcher_of_hydras_runs_a_job_elsewhere(swept, tmp_path):
    out = tmp_path / "runs"
    bench(
        "run", "-m", *WITH_PHOTOS, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "method=shuffle",
        f"dataset.root={PHOTOS}", f"out={out}",
    )  # fmt: skip
    assert_same(run_folder(out, "shuffle"), run_folder(swept, "shuffle"))


def test_a_run_that_a_person_was_removed_from_is_made_anew(swept, tmp_path):
    """Removal leaves tables with gaps; nothing may be read from them by position."""
    out = tmp_path / "runs"
    shutil.copytree(swept, out)
    assert main(["data", "remove", "lowe", "--runs", str(out)]) == 0
    folder = run_folder(out, "copy")
    assert not (folder / "samples" / "lowe").exists()
    assert "lowe" not in set(tables(folder)["tables/samples"]["subject"])
    measured(*ON_PHOTOS, "method=copy", f"out={out}")
    assert_same(run_folder(out, "copy"), run_folder(swept, "copy"))
