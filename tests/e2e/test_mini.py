"""The default run: the embedded world through every stage, and its methods ranked as they must rank.

The bounds are what the stored networks reach, less a margin.
"""

import json
import re

import numpy as np
import pandas as pd
import pytest

from bench import resources
from tests.e2e.commands import assert_same, bench, measured, run_folder
from tests.shared import ROOT

METHODS = ("copy", "shuffle", "real", "arc2face")


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The four methods in one sweep, run from an empty folder as a newcomer would."""
    out = tmp_path_factory.mktemp("mini") / "runs"
    bench("run", "-m", f"method={','.join(METHODS)}", f"out={out}")
    return out


def score(out, method, metric, statistic, variant=None):
    frame = pd.read_parquet(run_folder(out, method) / "scores" / "scores.parquet")
    rows = frame[(frame["metric"] == metric) & (frame["statistic"] == statistic)]
    rows = rows if variant is None else rows[rows["variant"] == variant]
    assert len(rows) == 1, rows
    return rows.iloc[0]


def test_arc2face_shows_a_face_in_nearly_every_sample(swept):
    assert score(swept, "arc2face", "id_similarity", "detection_rate", "arcface")["value"] >= 0.95
    samples = pd.read_parquet(run_folder(swept, "arc2face") / "scores" / "samples.parquet")
    assert len(samples) == 80
    assert samples["sha256"].nunique() == 80


@pytest.mark.parametrize("recogniser", ["arcface", "judge"])
def test_arc2face_shows_the_person(swept, recogniser):
    own = score(swept, "arc2face", "id_similarity", "mean_detected", recogniser)["value"]
    others = score(swept, "shuffle", "id_similarity", "mean_detected", recogniser)["value"]
    assert own >= 0.3
    assert own - others >= 0.3
    assert score(swept, "arc2face", "retrieval", "rank1", recogniser)["value"] >= 0.8


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


def test_compare_tells_them_apart(swept):
    [found] = json.loads(bench("compare", "--out", swept, "--json").stdout)
    assert set(found["runs"]) == set(METHODS)
    rows = [
        row
        for row in found["differences"]
        if (row["metric"], row["variant"], row["statistic"]) == ("id_similarity", "judge", "mean_detected")
        and {row["a"], row["b"]} == {"arc2face", "shuffle"}
    ]
    assert rows[0]["p_holm"] < 0.01


def test_the_default_run_still_gives_its_numbers(swept):
    golden = ROOT / "reports" / "golden" / "mini-arc2face.json"
    done = bench("check", run_folder(swept, "arc2face"), "--golden", golden, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_exported_runs_join_a_leaderboard(swept, tmp_path):
    for method in METHODS:
        bench("export", run_folder(swept, method), "--to", tmp_path / "shelf" / f"{method}.zip")
    done = bench("leaderboard", tmp_path / "shelf", "--to", tmp_path / "board")
    assert "refused" not in done.stderr
    assert set(pd.read_csv(tmp_path / "board" / "leaderboard.csv")["method"]) == set(METHODS)


def test_workers_and_shards_change_no_bit(swept, tmp_path):
    people = "dataset.subjects=4"
    measured(people, "execution.shard_size=1", f"out={tmp_path / 'one'}")
    bench("run", people, "execution.shard_size=3", "execution.workers=2", f"out={tmp_path / 'two'}")
    assert_same(*(run_folder(tmp_path / name, "arc2face") for name in ("one", "two")))


def test_a_method_without_weights_of_its_own_says_what_to_do(tmp_path):
    done = bench("run", "method=photomaker", f"out={tmp_path}", check=False)
    assert done.returncode == 2
    assert "profile=paper" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_photographs_under_the_mini_evaluator_are_warned_of(tmp_path):
    from bench.images import write_png

    write_png(np.zeros((64, 64, 3), np.uint8), tmp_path / "photos" / "anna.png", {})
    photos, out = tmp_path / "photos", tmp_path / "runs"
    done = bench("run", "method=copy", "dataset=folder", f"dataset.root={photos}", f"out={out}")
    assert "warning: evaluator mini knows the faces of mini, mini500 alone" in done.stderr
    [record] = out.glob("folder/copy-*/run.json")
    assert json.loads(record.read_text())["warnings"]


def test_no_adapter_and_no_extractor_knows_of_the_embedded_world():
    code = [*(resources.PACKAGE / "extractors").rglob("*.py"), *(resources.PACKAGE.parent / "baselines").rglob("*.py")]
    assert len(code) > 20
    assert [path.name for path in code if re.search(r"\bmini\b", path.read_text())] == []
