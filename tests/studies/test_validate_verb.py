"""`python -m bench validate` as somebody types it: values from a file, and images that it measures itself."""

import numpy as np
import pandas as pd
import pytest

from bench.__main__ import main
from bench.studies import agreement


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(agreement, "RESAMPLES", 100)
    rng = np.random.default_rng(0)
    score = rng.standard_normal(100)
    images = [f"{k}.png" for k in range(100)]
    sources = [f"s{k // 4}" for k in range(100)]
    pd.DataFrame({"image": images, "source": sources, "score": score}).to_csv("r.csv", index=False)
    pd.DataFrame({"image": images, "far": -score, "id": score}).to_csv("v.csv", index=False)
    votes = [
        (f"s{k}", f"{4 * k}.png", f"{4 * k + 1}.png", "a" if score[4 * k] > score[4 * k + 1] else "b")
        for k in range(25)
    ]
    lines = [(*vote, rater) for vote in votes for rater in range(3)]
    pd.DataFrame(lines, columns=["source", "image_a", "image_b", "winner", "rater"]).to_csv("votes.csv", index=False)
    return tmp_path


def validate(*words):
    return main(["validate", *words])


def test_values_made_elsewhere(folder, capsys):
    assert validate("ratings=r.csv", "votes=votes.csv", "values=v.csv", "lower=far", "out=o") == 0
    shown = capsys.readouterr().out
    assert "pairwise_accuracy" in shown
    found = pd.read_csv("o/agreement.csv").set_index(["metric", "statistic"])["value"]
    assert found["far", "srcc"] == found["id", "srcc"] == 1
    assert found["one rater", "vote_accuracy"] == found["far", "vote_accuracy"] == 1
    differences = pd.read_csv("o/differences.csv")
    assert (differences["difference"] == 0).all()
    assert "# Agreement with people" in (folder / "o/agreement.md").read_text()
    assert validate("ratings=r.csv", "values=v.csv", "metrics=id", "out=p") == 0
    assert set(pd.read_csv("p/agreement.csv")["metric"]) == {"id"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ratings=r.csv"], "give images=DIR (to be measured) or values=FILE.csv"),
        (["values=v.csv"], "give ratings=FILE.csv or votes=FILE.csv"),
        (["ratings=r.csv", "values=v.csv", "lower=fra"], "no metric 'fra' to turn; there are: far, id"),
        (["ratings=r.csv", "values=v.csv", "metrics=fra"], "did you mean 'far'"),
        (["ratings=r.csv", "values=v.csv", "profile=paper"], "'profile=paper' is for runs on images=DIR"),
        (["votes=votes.csv", "images=."], "images=DIR needs ratings=FILE.csv"),
        (["ratings=r.csv", "images=.", "lower=far"], "lower= is for values=FILE.csv"),
        (["ratings=v.csv", "values=v.csv"], "no column source, score; found: image, far, id"),
        (["ratings=r.csv", "images=."], "no photo of the source 's0'"),
        (["ratings"], "'ratings' is not a setting"),
    ],
)
def test_mistakes_end_in_one_line(folder, capsys, words, message):
    assert validate(*words) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.exhaustive
def test_images_are_measured(tmp_path, monkeypatch, capsys):
    """Photos of the person score high with people, photos of somebody else low; the recogniser must see it."""
    from bench.mini.dataset import make

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(agreement, "RESAMPLES", 50)
    make(tmp_path / "photos", subjects=3, targets=2, size=256)
    people = ["s000", "s001", "s002"]
    lines = ["image,source,method,score,reference"]
    for place, person in enumerate(people):
        other = people[place - 1]
        lines.append(f"{person}/target_1.png,{person},same,4.{place},{person}/reference.png")
        lines.append(f"{other}/target_2.png,{person},stranger,1.{place},{person}/reference.png")
    (tmp_path / "r.csv").write_text("\n".join(lines) + "\n")
    assert validate("ratings=r.csv", "images=photos", "metrics=id_similarity", "protocol.metrics=[id_similarity]") == 0
    found = pd.read_csv("validation/agreement.csv").set_index(["metric", "statistic"])["value"]
    assert found["id_similarity[judge]", "pairwise_accuracy"] == 1
    assert found["id_similarity[judge]", "plcc"] > 0.8
    assert found["id_similarity[judge]", "system_srcc"] == 1
