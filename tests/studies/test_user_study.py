"""The user study without a browser: its design, its files, votes to be refused, and what simulated raters show."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.errors import UserError
from bench.report.frames import load_run
from bench.studies.user_study import analysis
from bench.studies.user_study.analysis import alpha, bradley_terry, share
from bench.studies.user_study.design import PHOTO, Kind, schedule
from bench.studies.user_study.make import make
from bench.studies.user_study.power import power
from bench.studies.user_study.records import Plan, Rules, Texts, World
from bench.studies.user_study.result import write_result
from bench.studies.user_study.votes import COLUMNS, read_study, read_votes
from tests.report.runs import scored

PLAN = Plan(items=12, raters=8, per_rater=10, checks=2, repeats=2, size=64)
STATEMENT = "All of them agreed to be shown to raters"


# The design


@pytest.fixture(scope="module")
def trials():
    subjects = [f"p{item // 2}" for item in range(60)]
    return schedule(subjects, ["x", "y"], raters=30, per_rater=30, checks=2, repeats=2, seed=0)


def test_every_rater_and_item_see_each_side_equally_often(trials):
    left = Counter()
    for rater in trials:
        main = [trial for trial in rater if trial.kind is Kind.MAIN]
        assert len({trial.item for trial in main}) == 30
        assert sum(trial.left.method == "x" for trial in main) == 15
        left.update((trial.item, trial.left.method) for trial in main)
    assert set(left.values()) == {7, 8}
    assert len(left) == 120


def test_checks_show_the_photo_against_another_person(trials):
    checks = [trial for rater in trials for trial in rater if trial.kind is Kind.CHECK]
    assert len(checks) == 60
    for trial in checks:
        items = {trial.left.item, trial.right.item}
        assert trial.item in items
        assert len({item // 2 for item in items}) == 2
        assert trial.left.method == trial.right.method == PHOTO
    assert sum(trial.left.item == trial.item for trial in checks) == 30


def test_repeats_come_last_with_their_sides_swapped(trials):
    for rater in trials:
        assert [trial.kind for trial in rater[-2:]] == [Kind.REPEAT] * 2
        before = {(trial.item, trial.left, trial.right) for trial in rater if trial.kind is Kind.MAIN}
        assert all((trial.item, trial.right, trial.left) in before for trial in rater[-2:])


def test_order_is_each_raters_own_and_repeatable(trials):
    subjects = [f"p{item // 2}" for item in range(60)]
    again = schedule(subjects, ["x", "y"], raters=30, per_rater=30, checks=2, repeats=2, seed=0)
    assert again == trials
    orders = {tuple(trial.item for trial in rater if trial.kind is Kind.MAIN) for rater in trials}
    assert len(orders) == 30


def test_three_methods_take_turns():
    found = schedule(["a", "b", "c", "d"], ["x", "y", "z"], raters=12, per_rater=4, checks=0, repeats=0, seed=0)
    sides = Counter((t.left.method, t.right.method) for rater in found for t in rater)
    assert len(sides) == 6
    assert max(sides.values()) - min(sides.values()) <= 2


# The files


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    made = {name: scored(folder / name, name, pictures=True, keep=keep) for name, keep in (("x", 0.9), ("y", 0.6))}
    return [load_run(path) for path in made.values()]


@pytest.fixture(scope="module")
def study(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "s"
    return make(runs, PLAN, Texts(contact="<b>ann</b>"), Rules(), out, STATEMENT), out


def test_raters_files_hold_no_name_of_a_method_an_item_or_a_kind(study, runs):
    made, out = study
    page = (out / "page/index.html").read_text()
    data = page.split('id="study">')[1].split("</script>")[0]
    assert "<" not in data
    public = json.loads(data)
    assert public == {"id": made["id"], **made["public"]}
    for word in (*runs[0].samples["item"], *runs[0].samples["subject"], "main", "check", "repeat", STATEMENT):
        assert f'"{word}"' not in data
    images = sorted(path.name for path in (out / "page/img").iterdir())
    shown = {name for rater in public["trials"].values() for trial in rater for name in trial}
    assert images == sorted(f"{name}.webp" for name in shown)
    assert sorted(path.name for path in (out / "page").iterdir()) == ["LICENSE-jspsych.txt", "img", "index.html"]


def test_images_have_one_size_and_samples_say_what_they_are(study):
    made, out = study
    code, trials = next(iter(made["trials"].items()))
    for private, public in zip(trials, made["public"]["trials"][code], strict=True):
        photo, left = (Image.open(out / f"page/img/{name}.webp") for name in public[:2])
        assert photo.size == left.size == (64, 64)
        assert photo.getexif().get(0x010E) is None
        assert (left.getexif().get(0x010E) == "AI-generated") == (private["kind"] != "check")


def test_one_sample_of_each_item_is_shown_the_same_index_for_all(study, runs):
    made, _ = study
    assert len(made["items"]) == 12
    for item in made["items"]:
        for run in runs:
            rows = run.samples[(run.samples["item"] == item["item"]) & (run.samples["index"] == item["index"])]
            (row,) = rows.to_dict("records")
            assert item["similarity"][run.method]["id_similarity[arcface]"] == row["id_similarity[arcface]"]


def test_an_item_that_a_method_failed_at_is_passed_over(tmp_path):
    pair = [load_run(scored(tmp_path / n, n, pictures=True, failed=f)) for n, f in (("x", 40), ("y", 0))]
    made = make(pair, PLAN, Texts(), Rules(), tmp_path / "s", STATEMENT)
    assert made["skipped"] > 0
    status = pair[0].samples.set_index(["item", "index"])["status"]
    assert {status[(item["item"], item["index"])] for item in made["items"]} == {"ok"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"statement": "yes"}, "is not declared redistributable"),
        ({"runs": slice(0, 1)}, "two or more methods; given: x"),
        ({"plan": Plan(items=100, raters=2)}, "have only 24 common items"),
        ({"plan": Plan(items=5, raters=2, per_rater=6)}, "per_rater=6 must lie between"),
        ({"texts": Texts(post="javascript:1")}, "post=javascript:1"),
    ],
)
def test_mistakes(runs, tmp_path, change, message):
    given = {"runs": slice(None), "plan": PLAN, "texts": Texts(), "statement": STATEMENT} | change
    with pytest.raises(UserError, match=r"^[^\n]*$") as error:
        make(runs[given["runs"]], given["plan"], given["texts"], Rules(), tmp_path / "s", given["statement"])
    assert message in str(error.value)
    assert not (tmp_path / "s").exists()


def test_a_study_is_never_overwritten(study, runs):
    with pytest.raises(UserError, match="holds a study already"):
        make(runs, PLAN, Texts(), Rules(), study[1], STATEMENT)


# The votes


def answers(study, prefers=0.8, seed=0, ms=1500, fail=()):
    """CSV lines of raters who prefer x with a probability; those in `fail` take the stranger in every check."""
    rng, lines = np.random.default_rng(seed), [",".join(COLUMNS)]
    for code, trials in study["trials"].items():
        for number, (trial, shown) in enumerate(zip(trials, study["public"]["trials"][code], strict=True)):
            first = "left" if trial["left"] == "x" else "right"
            other = {"left": "right", "right": "left"}
            choice = first if rng.random() < prefers else other[first]
            if trial["kind"] == "check":
                choice = other[trial["expected"]] if code in fail else trial["expected"]
            lines.append(f"{study['id']},{code},{number},{shown[1]},{shown[2]},{choice},{ms}")
    return lines


def write(folder, lines, name="v.csv"):
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def test_planted_preference_comes_out(study, tmp_path):
    made = read_study(study[1])
    votes = read_votes(made, [write(tmp_path, answers(made))])
    assert len(votes) == 8 * 14
    (row,) = analysis.shares(votes, ["x", "y"]).to_dict("records")
    assert row["low"] < 0.8 < row["high"]
    assert (row["n"], row["raters"], row["items"]) == (80, 8, 12)
    found = analysis.metric_agreement(votes, made["items"], ["x", "y"]).set_index("metric")
    assert found.loc["id_similarity[arcface]", "agree"] >= 10


def test_raters_who_break_the_rules_are_left_out_with_the_reason(study, tmp_path):
    made = read_study(study[1])
    codes = list(made["trials"])
    lines = answers(made, prefers=1.0, fail=codes[:1])
    lines = [line for line in lines if not (f",{codes[1]}," in line and int(line.split(",")[2]) > 5)]
    lines = [line.replace(",1500", ",100") if f",{codes[2]}," in line else line for line in lines]
    votes = read_votes(made, [write(tmp_path, lines)])
    reasons = votes.groupby("rater")["reason"].first()
    assert reasons[codes[0]] == "failed 2 of 2 checks, 0 allowed"
    assert reasons[codes[1]] == "answered 6 of 14 trials, least 50%"
    assert reasons[codes[2]] == "median time 100 ms, least 600"
    assert (reasons[codes[3:]] == "").all()
    assert analysis.consistency(votes) == (10, 10)
    assert analysis.agreement(votes) is None  # all chose x: chance would agree as well
    rows = write_result(made, votes, tmp_path / "out")
    assert rows[0]["share of the first"].startswith("1.000")
    text = (tmp_path / "out/study.md").read_text()
    assert "5 kept, 3 left out" in text
    assert "failed 2 of 2 checks" in text
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"votes.csv", "shares.csv", "raters.csv", "study.md", "forest.png", "forest.pdf"}
    assert pd.read_csv(tmp_path / "out/raters.csv")["reason"].notna().sum() == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: {"study": "0" * 16}, "a vote of study '0000000000000000'"),
        (lambda v: {"rater": "nobody"}, "unknown rater 'nobody'"),
        (lambda v: {"trial": "14"}, "unknown trial '14'"),
        (lambda v: {"trial": "-1"}, "unknown trial '-1'"),
        (lambda v: {"left": v["right"], "right": v["left"]}, "other images than those of trial 0"),
        (lambda v: {"choice": "tie"}, "choice 'tie' after '1500' ms is not an answer"),
        (lambda v: {"ms": "fast"}, "choice 'left' after 'fast' ms is not an answer"),
    ],
)
def test_votes_that_cannot_be(study, tmp_path, change, message):
    made = read_study(study[1])
    vote = dict(zip(COLUMNS, answers(made)[1].split(","), strict=True)) | {"choice": "left"}
    path = write(tmp_path, [",".join(COLUMNS), ",".join((vote | change(vote)).values())])
    with pytest.raises(UserError) as error:
        read_votes(made, [path])
    assert f"{path}, line 2: " in str(error.value)
    assert message in str(error.value)


def test_a_vote_counts_once(study, tmp_path):
    made = read_study(study[1])
    lines = answers(made)[:3]
    first, second = write(tmp_path, lines), write(tmp_path, lines, "again.csv")
    with pytest.raises(UserError, match=r"again\.csv, line 2: trial 0 of rater .* is in .*v\.csv, line 2 already"):
        read_votes(made, [first, second])


def test_rules_cannot_be_changed_afterwards(study, tmp_path):
    record = json.loads((study[1] / "study.json").read_text())
    record["public"]["rules"]["failed_checks"] = 2
    (tmp_path / "study.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="was changed after the study was made"):
        read_study(tmp_path)
    with pytest.raises(UserError, match=r"holds no study\.json"):
        read_study(tmp_path / "none")


# The numbers


def test_alpha_of_the_textbook():
    """Krippendorff, Computing Krippendorff's Alpha-Reliability (2011): binary data, two observers, ten units."""
    one, two = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert alpha(one + two, [*range(10), *range(10)]) == pytest.approx(0.095, abs=5e-4)
    assert alpha([0, 1], ["a", "b"]) is None


def test_share_by_hand():
    values, raters, items = np.array([1.0, 1, 0, 0]), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    found = share(values, raters, items)
    # raters are opposite (V = 1/4), items agree (V = 0), cells are single votes (V = 1/12): the larger of all
    assert analysis.two_way_variance(values - 0.5, raters, items) == pytest.approx(0.25)
    assert (found.share, found.n, found.raters, found.items) == (0.5, 4, 2, 2)
    assert found.high - found.low > found.wilson_high - found.wilson_low
    unanimous = share(np.ones(4), raters, items)
    assert unanimous.high == 1
    assert unanimous.low < unanimous.wilson_low


def table(*rows):
    frame = pd.DataFrame(rows, columns=["rater", "item", "left", "right", "choice"])
    return frame.assign(kind="main", excluded=False, dataset="d")


def test_strengths_by_hand():
    rows = [(r, r % 3, "a", "b", "left" if r < 9 else "right") for r in range(12)]
    found = bradley_terry(table(*rows), ["a", "b"])
    assert found["strength"].tolist() == [0, pytest.approx(-np.log(3), abs=1e-5)]
    tied = bradley_terry(table(*rows, *((r, 0, "b", "a", "tie") for r in range(12))), ["a", "b"])
    assert tied["strength"][1] == pytest.approx(-np.log(15 / 9), abs=1e-5)


def test_a_method_that_never_lost_is_held_back_and_has_no_interval():
    found = bradley_terry(table(*((r, 0, "a", "b", "left") for r in range(5))), ["a", "b"])
    assert np.isfinite(found["strength"]).all()
    assert found["low"].isna().all()
    assert found["note"].str.contains("ridge").all()


def test_power_of_the_papers_size():
    """Wilson's interval calls a true tie significant in half of such studies, the clustered one in about one of 20."""
    tie = power(Plan(items=30, raters=50), World(share=0.5, studies=300))
    assert tie.significant < 0.1
    assert tie.significant_independent > 0.4
    assert tie.coverage > 0.9
    few, many = (power(Plan(items=n, raters=30, per_rater=30), World(share=0.6, studies=200)) for n in (30, 120))
    assert few.significant < many.significant
