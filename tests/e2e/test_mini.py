"""The default run, and its methods on fewer people ranked as they must rank: the embedded world through every stage.

The bounds are what the stored networks reach, less a margin.
"""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from bench import resources
from bench.__main__ import main
from bench.images import write_png
from bench.metrics.functional.frechet import frechet_distance
from bench.mini.world import render, sample_identities
from tests.e2e.commands import assert_same, bench, measured, run_folder
from tests.e2e.small import bench as here
from tests.mini.study import elsewhere
from tests.shared import ROOT

pytestmark = pytest.mark.slow
METHODS = ("copy", "shuffle", "real", "arc2face")
FEWER = ("dataset.subjects=6", "protocol.samples_per_item=2")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The default run, from an empty folder as a newcomer would."""
    out = tmp_path_factory.mktemp("whole") / "runs"
    bench("run", f"out={out}")
    return out


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The four methods on fewer people."""
    out = tmp_path_factory.mktemp("mini") / "runs"
    for method in METHODS:
        measured(f"method={method}", *FEWER, f"out={out}")
    return out


def score(out, method, metric, statistic, variant=None):
    frame = pd.read_parquet(run_folder(out, method) / "scores" / "scores.parquet")
    rows = frame[(frame["metric"] == metric) & (frame["statistic"] == statistic)]
    rows = rows if variant is None else rows[rows["variant"] == variant]
    rows = rows[(rows["level"] == "") & (rows["subset"] == "") & (rows["group"] == "")]
    assert len(rows) == 1, rows
    return rows.iloc[0]


def test_arc2face_shows_a_face_in_nearly_every_sample(whole):
    assert score(whole, "arc2face", "id_similarity", "detection_rate", "arcface")["value"] >= 0.96
    samples = pd.read_parquet(run_folder(whole, "arc2face") / "scores" / "samples.parquet")
    assert len(samples) == 80
    assert samples["sha256"].nunique() == 80


@pytest.mark.parametrize("recogniser", ["arcface", "judge"])
def test_arc2face_shows_the_person(swept, recogniser):
    own = score(swept, "arc2face", "id_similarity", "mean_detected", recogniser)["value"]
    others = score(swept, "shuffle", "id_similarity", "mean_detected", recogniser)["value"]
    assert own >= 0.55
    assert own - others >= 0.5
    assert score(swept, "arc2face", "retrieval", "rank1", recogniser)["value"] >= 0.9


@pytest.mark.parametrize("recogniser", ["arcface", "judge"])
def test_similarity_ranks_the_methods_as_it_must(swept, recogniser):
    value = {m: score(swept, m, "id_similarity", "mean_detected", recogniser)["value"] for m in METHODS}
    assert value["copy"] == pytest.approx(1, abs=1e-5)
    assert value["copy"] > max(value["real"], value["arc2face"])
    assert min(value["real"], value["arc2face"]) > value["shuffle"]


@pytest.mark.parametrize("metric", ["lpips_diversity", "expression_diversity", "pose_diversity"])
def test_copies_have_no_diversity_and_samples_have_some(swept, metric):
    assert score(swept, "copy", metric, "mean_items")["value"] == pytest.approx(0, abs=1e-6)
    assert score(swept, "arc2face", metric, "mean_items")["low"] > 0


def test_the_headline_is_the_judge_that_saw_none_of_the_training_people(swept):
    assert score(swept, "arc2face", "id_similarity", "mean_detected", "judge")["relation"] == "none"
    assert score(swept, "arc2face", "id_similarity", "mean_detected", "arcface")["relation"] == "conditioned"


def test_compare_tells_them_apart(swept, capsys, monkeypatch):
    # Drawing takes longer than comparing, and has tests of its own.
    monkeypatch.setattr("bench.report.figures.of_comparison", lambda comparison: [])
    assert main(["compare", "--out", str(swept), "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert set(found["runs"]) == set(METHODS)
    rows = [
        row
        for row in found["differences"]
        if (row["metric"], row["variant"], row["statistic"]) == ("id_similarity", "judge", "mean_detected")
        and {row["a"], row["b"]} == {"arc2face", "shuffle"}
    ]
    # Of 2 ** 6 signs of six differences only two are as extreme.
    assert rows[0]["p_value"] < 0.05


def test_the_default_run_still_gives_its_numbers(whole, capsys):
    golden = ROOT / "reports" / "golden" / "mini-arc2face.json"
    assert main(["check", str(run_folder(whole, "arc2face")), "--golden", str(golden)]) == 0, capsys.readouterr()


def test_exported_runs_join_a_leaderboard(swept, tmp_path, capsys):
    for method in METHODS:
        main(["export", str(run_folder(swept, method)), "--to", str(tmp_path / "shelf" / f"{method}.zip")])
    main(["leaderboard", str(tmp_path / "shelf"), "--to", str(tmp_path / "board")])
    assert "refused" not in capsys.readouterr().err
    assert set(pd.read_csv(tmp_path / "board" / "leaderboard.csv")["method"]) == set(METHODS)


def test_fid_can_be_taken_against_other_pictures(swept, tmp_path, capsys):
    """Everything but the reference set is there already: nothing else is extracted, and only FID and its like move.

    The others are other people in red light before a black wall. FID has no direction: that of the copies to them is
    theirs to the references, and Arc2Face's lies well below it.
    """
    others, out = tmp_path / "others", tmp_path / "runs"
    shutil.copytree(swept, out)
    scene, _ = elsewhere(sample_identities(99, 4, "eval"), 1.0)
    for k, image in enumerate(render(scene, 96).images):
        write_png(image, others / f"{k:02d}.png", {})
    folder = run_folder(out, "copy")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("tables/**/*.parquet")}
    measured("method=copy", *FEWER, f"protocol.reference_set={others}", f"out={out}")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    found, own = score(out, "copy", "fid", "distance"), score(swept, "copy", "fid", "distance")
    pictures, samples = ([*where.glob("tables/features/inception-*/*.parquet")] for where in
                         (next(out.glob("mini/reference-set-*")), folder))  # fmt: skip
    assert f"against a reference set of {len(stacked(pictures))} pictures" in found["note"]
    assert found["value"] == pytest.approx(frechet_distance(stacked(samples), stacked(pictures)), rel=1e-9)
    assert found["value"] > 2 * own["value"]
    assert score(swept, "arc2face", "fid", "distance")["value"] < found["value"]
    similarity = "id_similarity", "mean_detected", "judge"
    assert score(out, "copy", *similarity)["value"] == score(swept, "copy", *similarity)["value"]
    assert main(["compare", str(folder), str(run_folder(swept, "shuffle"))]) == 2
    assert "protocol.reference_set" in capsys.readouterr().err


def stacked(files):
    """The features of the pictures that have one."""
    rows = pd.concat([pd.read_parquet(path) for path in sorted(files)])
    return np.stack(rows.loc[rows["status"] == "ok", "feature"])


def test_of_targets_only_what_a_metric_reads_is_extracted(swept):
    [photos] = (swept / "mini").glob("photos-*")
    listed = pd.read_parquet(run_folder(swept, "copy") / "photos.parquet")
    target = (listed["role"] == "target").to_numpy()
    for name in ("features/arcface", "features/judge", "features/inception", "features/flame", "landmarks"):
        [folder] = (photos / "tables").glob(f"{name}-*")
        table = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])
        assert table["item"].tolist() == listed["item"].tolist()
        unread = table["status"].to_numpy() == "not_read"
        np.testing.assert_array_equal(unread, target & (name not in ("features/arcface", "features/judge")))
        assert table.iloc[:, -1].notna().to_numpy().tolist() == (~unread).tolist()


def test_features_of_references_are_those_of_their_copies(swept):
    """Each row of the photos' tables belongs to its own picture, though most pictures are passed over."""
    [photos] = (swept / "mini").glob("photos-*")
    listed = pd.read_parquet(run_folder(swept, "copy") / "photos.parquet")
    references = np.flatnonzero(listed["role"] == "reference")
    for name in ("inception", "flame"):
        known, copied = (
            pd.concat([pd.read_parquet(path) for path in sorted(folder.glob(f"tables/features/{name}-*/*.parquet"))])
            for folder in (photos, run_folder(swept, "copy"))
        )
        own = np.stack(known["feature"].iloc[references])
        copies = np.stack(copied["feature"][(copied["index"] == 0).to_numpy()])
        np.testing.assert_allclose(copies, own, rtol=1e-5, atol=1e-6)


@pytest.mark.exhaustive
def test_workers_and_shards_change_no_bit(swept, tmp_path):
    measured("method=real", *FEWER, "execution.shard_size=3", "execution.workers=2", f"out={tmp_path}")
    assert_same(*(run_folder(out, "real") for out in (tmp_path, swept)))


def test_a_method_without_weights_of_its_own_says_what_to_do(tmp_path):
    done = bench("run", "method=photomaker", f"out={tmp_path}", check=False)
    assert done.returncode == 2
    assert "profile=paper" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_photographs_under_the_mini_evaluator_are_warned_of(tmp_path, capsys):
    write_png(np.zeros((64, 64, 3), np.uint8), tmp_path / "photos" / "anna.png", {})
    photos, out = tmp_path / "photos", tmp_path / "runs"
    code = here("run", "evaluator=mini", "method=copy", f"dataset.root={photos}", f"out={out}")
    said = capsys.readouterr().err
    assert "warning: evaluator mini knows the faces of mini, mini500 alone" in said
    # The photo is black.
    assert code == 1
    assert "nothing was measured" in said
    [record] = out.glob("folder/copy-*/run.json")
    assert json.loads(record.read_text())["warnings"]


def test_no_adapter_and_no_extractor_knows_of_the_embedded_world():
    code = [*(resources.PACKAGE / "extractors").rglob("*.py"), *(resources.PACKAGE.parent / "baselines").rglob("*.py")]
    assert len(code) > 20
    assert [path.name for path in code if re.search(r"\bmini\b", path.read_text())] == []
