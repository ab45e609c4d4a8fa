"""Table 2 from results worked out by hand."""

import pandas as pd
import pytest

from bench.recognition.report import best_epochs, summarise, table
from bench.report.model import Mark
from bench.report.tables import latex, markdown

RESULTS = pd.DataFrame(
    [
        ("real", 0, "lfw", 0.99, 0.001), ("real", 0, "cfp_fp", 0.95, 0.004),
        ("real", 1, "lfw", 0.97, 0.001), ("real", 1, "cfp_fp", 0.93, 0.002),
        ("arc2face", 0, "lfw", 0.90, 0.001), ("arc2face", 0, "cfp_fp", 0.70, 0.002),
    ],
    columns=["row", "seed", "set", "accuracy", "fold_se"],
)  # fmt: skip


def about(row, images, tried):
    return {
        "row": row, "images": images, "identities": 20, "tried_images": tried, "layout": "IR-SE-50, AdaFace's layout",
        "colour": "bgr", "recipe": {"name": "adaface_casia"}, "epochs": 26, "looked_at_test_sets": False,
    }  # fmt: skip


RECOGNISERS = [about("real", 100, 100), about("arc2face", 96, 104)]


def test_means_spread_and_gap():
    found = summarise(RESULTS, "real").set_index(["row", "set"])
    assert found.at[("real", "lfw"), "mean"] == pytest.approx(0.98)
    assert found.at[("real", "lfw"), "sd"] == pytest.approx(0.02 / 2**0.5)
    assert found.at[("real", "average"), "mean"] == pytest.approx(0.96)
    assert found.at[("arc2face", "average"), "gap"] == pytest.approx((0.96 - 0.80) / 0.80)
    assert found.at[("real", "average"), "gap"] == 0
    assert found.at[("arc2face", "lfw"), "seeds"] == 1
    assert pd.isna(found.at[("arc2face", "lfw"), "sd"])


def test_published_rows_are_apart_and_unranked():
    made = table(summarise(RESULTS, "real"), RECOGNISERS, ["lfw", "cfp_fp"])
    assert [row[0].text for row in made.rows[:3]][:2] == ["real", "arc2face"]
    assert made.headings[2].startswith("Published")
    assert all(cell.value is None for row in made.rows[2:] for cell in row)
    assert {cell.mark for row in made.rows[:2] for cell in row} == {Mark.NONE}
    assert {cell.mark for row in made.rows[2:] for cell in row} <= {Mark.NONE, Mark.SECOND_HAND}
    text = markdown(made)
    assert "98.81" in text
    assert "| arc2face | 96 | 20 | 8 | 90.00 | 70.00 | 80.00 | 20.00 |" in text
    assert "98.00 ± 1.41" in text
    assert "AdaFace's layout, BGR" in text
    assert r"\begin{tabular}" in latex(made)


def test_sets_of_the_embedded_world_have_no_published_rows():
    made = table(
        summarise(RESULTS.replace({"lfw": "frontal", "cfp_fp": "cross_pose"}), "real"),
        RECOGNISERS,
        ["frontal", "cross_pose"],
    )
    assert [row[0].text for row in made.rows] == ["real", "arc2face"]


def test_the_best_epoch_is_labelled():
    log = pd.DataFrame({"step": [1, 2, 3], "epoch": [1.0, 2.0, 3.0], "lfw": [0.8, 0.9, 0.85]})
    made = best_epochs({("real", 0): log}, ["lfw"])
    assert [cell.text for cell in made.rows[0]] == ["real", "0", "85.00", "90.00", "2"]
    assert "chosen on the test sets" in made.columns[3].title
