"""What a reader is shown first: the sentence, the numbers of the independent judge, samples, what nothing has."""

from dataclasses import replace

import numpy as np
import pandas as pd

from bench.metrics.protocol import Number
from bench.report import figures, overview
from bench.report.compare import compare
from bench.report.frames import of_number
from bench.report.numbers import tiles
from bench.report.page import lead
from bench.report.page.facts import state_notices
from bench.report.page.samples import samples, shown
from bench.report.page.strip import chosen, strip
from bench.report.page.write import _tiles, write_comparison_page
from bench.report.run import score_table
from bench.report.tables import grouped
from bench.status import SampleStatus

ID = Number("id_similarity", "adaface", "mean_detected")


def with_status(run, places, status):
    frame = run.samples.copy()
    frame.loc[frame.index[places], "status"] = status
    return replace(run, samples=frame)


def lost(run):
    """The run without one sample that has a face."""
    frame = run.samples.assign(status=str(SampleStatus.NO_FACE))
    measured = [name for name in frame if name.startswith("id_similarity[")]
    return replace(run, samples=frame.assign(**dict.fromkeys(measured, np.nan)), scores=run.scores.assign(value=np.nan))


def test_tiles_begin_with_the_independent_judge_and_end_with_the_circular_recogniser(four):
    shown_ = _tiles(four.runs["arc2face"])
    assert shown_[0].label == "ID similarity (adaface)"
    assert shown_[0].note == "headline: independent of the method"
    assert shown_[-1].label == "ID similarity (arcface)"
    assert shown_[-1].note == "circular for arc2face"
    assert [one.variant for one in tiles(four.runs["arc2face"].scores)[:2]] == ["arcface", "arcface"]


def test_the_sentence_of_a_run_holds_its_number_interval_and_failures(four):
    run = four.runs["arc2face"]
    row = of_number(run.scores, ID).iloc[0]
    said = lead.of_run(run)
    assert f"{row['value']:.3f} (95 %: {row['low']:.3f} to {row['high']:.3f}) under adaface" in said
    assert said.endswith("0 of 120 samples have no face to measure.")
    assert lead.of_run(lost(run)).startswith("120 of 120 samples of arc2face have no face")
    none = replace(run, scores=run.scores.assign(relation="conditioned"))
    assert "no judge is independent" in lead.of_run(none)
    untried = replace(run, samples=run.samples.assign(status=str(SampleStatus.UNAVAILABLE)))
    assert "No sample of arc2face could be tried" in lead.of_run(untried)


def test_the_sentence_of_a_comparison_names_a_best_method_only_where_there_is_one(four):
    assert lead.of_comparison(four).startswith("arc2face keeps the person best: ID similarity 0.99")
    equal = replace(four, differences=four.differences.assign(p_holm=1.0))
    assert "no method keeps the person best" in lead.of_comparison(equal)
    assert "none of them is called the best" in lead.of_comparison(replace(four, headline=None))
    alone = replace(four, runs={name: four.runs[name] for name in ("arc2face", "copy")})
    assert lead.of_comparison(alone).startswith("ID similarity of arc2face is 0.99")


def test_the_overview_has_the_judge_on_top_and_folds_what_nothing_has(four):
    found = overview.of_comparison(four)
    headings = list(found.table.headings.values())
    assert headings == [
        "By adaface (headline: independent of all methods)", overview.OTHERS, "By arcface (circular for arc2face)",
        "Samples",
    ]  # fmt: skip
    assert [column.title for column in found.table.columns] == ["number", *four.runs]
    assert found.table.columns[-1].note == "control, not ranked"
    names = [row[0].text for row in found.table.rows]
    assert names[0] == "ID similarity ↑"
    assert "FID (inception) ↓" in names
    assert not any(all(cell.is_absent for cell in row[1:]) for row in found.table.rows)
    missing = dict(found.missing)
    assert "10000 are needed" in missing["verification, missed (FNMR) at 0.1 % false matches (adaface)"]


def test_the_overview_has_marks_and_counts(four, half):
    table = overview.of_comparison(four).table
    assert table.rows[0][1].mark == "best"
    assert [row[0].text for row in table.rows[-3:]] == ["n", "failed", "unavailable"]
    assert [cell.value for cell in table.rows[-3][1:]] == [120] * 4
    other = overview.of_comparison(compare([half, four.runs["copy"].folder]))
    assert other.table.rows[-2][1].value > 40


def test_a_file_says_below_its_table_what_nothing_has(four):
    found = overview.of_comparison(four)
    noted = found.noted.notes
    assert noted[: len(found.table.notes)] == found.table.notes
    assert len([line for line in noted if line.startswith("not measured: ")]) == 2
    assert "(adaface); verification, missed (FNMR) at 0.1 % false matches (arcface) (276 pairs" in noted[-2]


def test_few_numbers_of_many_methods_keep_methods_as_rows_on_a_page(four, tmp_path):
    few = four.scores[(four.scores["metric"] == "fid") & (four.scores["statistic"] == "distance")]
    write_comparison_page(replace(four, scores=few), [], [], tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert '<th scope="row"><bdi>arc2face</bdi>' in page
    assert '<th scope="row"><bdi>FID (inception) ↓</bdi>' not in page


def test_the_overview_of_a_run_has_the_values_of_its_scores(four):
    run = four.runs["instantid"]
    found = overview.of_run(run)
    row = next(row for row in found.table.rows if row[0].text == "FID (inception) ↓")
    assert row[1].value == of_number(run.scores, Number("fid", "inception", "distance"))["value"].item()
    assert [row[2].value, row[3].value] == [120, 0]
    assert overview.of_run(lost(run)).table.rows == []


def test_all_numbers_are_grouped_by_metric(four):
    run = four.runs["instantid"]
    every = score_table(run)
    found = grouped(every)
    assert len(found.rows) == len(every.rows) == len(run.scores)
    assert [c.title for c in found.columns[:2]] == ["of", "statistic"]
    assert len(found.headings) == run.scores["metric"].nunique()


def test_the_strip_shows_the_best_the_worst_and_failures_each_once(four):
    run = with_status(four.runs["arc2face"], [3, 4, 5], "no_face")
    places = chosen(run)
    values = run.samples["id_similarity[adaface]"].to_numpy()
    assert list(places) == ["best", "median", "worst", "failures (3)"]
    assert values[places["best"][0]] == np.nanmax(values)
    assert values[places["worst"][0]] == np.nanmin(values)
    scored = [at for kind in ("best", "median", "worst") for at in places[kind]]
    assert len(set(scored)) == 6
    shots = dict(strip(run, places, samples({"a": run}, None)))
    assert shots["failures (3)"][0].caption in ("no face found", f"{values[3]:.3f}")
    assert shots["best"][0].caption == f"{values.max():.3f}"
    assert shots["best"][0].item == run.samples["item"].iloc[places["best"][0]]


def test_items_of_the_strip_stay_on_a_page_that_leaves_items_out(four):
    run = four.runs["photomaker"]
    means = run.samples.groupby("item")["id_similarity[adaface]"].mean()
    items, _ = shown({"a": run}, limit=10, keep=[means.idxmax()])
    assert means.idxmax() in items
    assert len(items) == 3


def test_of_a_run_that_lost_everything_there_is_a_sentence_and_no_figure(four):
    run = lost(four.runs["photomaker"])
    assert list(figures.of_similarity({"a": run})) == []
    notice = state_notices({"a": run})[0]
    assert notice.alarm
    assert "none of its 120 samples has a face" in notice.text
    assert list(chosen(run)) == ["failures (120)"]


def test_the_data_of_a_figure_lie_next_to_it(four, tmp_path):
    drawing, circular = figures.of_similarity(four.runs)
    assert drawing.variant == "adaface (headline: independent of all methods)"
    assert circular.variant == "arcface (circular for arc2face)"
    written = figures.write(drawing, tmp_path)
    frame = pd.read_csv(tmp_path / written.csv)
    assert len(frame) == 480
    mean = four.runs["photomaker"].samples["id_similarity[adaface]"].mean()
    np.testing.assert_allclose(frame.loc[frame["method"] == "photomaker", "similarity"].mean(), mean)
    figures.clear(tmp_path, (drawing.kind,))
    assert list(tmp_path.iterdir()) == []


def test_datasets_share_one_figure_and_a_method_its_colour(four):
    other = replace(four, runs=dict(reversed(four.runs.items())))
    drawing = figures.over_datasets({"agedb": four, "other": other})
    left, right = drawing.figure.axes
    colours = [{line.get_color() for line in axes.lines} for axes in (left, right)]
    assert colours[0] == colours[1]
    assert [line.get_color() for line in left.lines] == [line.get_color() for line in right.lines][::-1]
    assert set(drawing.data["dataset"]) == {"agedb", "other"}
    assert len(drawing.data) == 960


def test_there_is_a_tradeoff_per_judge(four):
    drawn = [one.parts[0] for one in figures.of_comparison(four) if one.kind is figures.TRADEOFF]
    assert drawn.count("arcface") == 1
    assert drawn.count("adaface") > 1
