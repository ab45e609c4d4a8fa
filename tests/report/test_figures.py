"""Figures show what the tables hold, bear any name, and are the same file every time."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from bench.metrics.protocol import Number
from bench.report import figures, grids
from bench.report.compare import compare
from bench.report.frames import load_run, of_number
from bench.report.run import write_report
from tests.report.world import write_run

NAME = "_<b>$x_{1}$ % אב\n" + "y" * 200
ID = Number("id_similarity", "adaface", "mean_detected")
FEW = ("failure_to_acquire", "fid", "id_similarity", "lpips_diversity")
LPIPS = Number("lpips_diversity", "lpips", "mean_items")


def texts(figure):
    import matplotlib.text

    figure.canvas.draw()
    return [t for t in figure.findobj(matplotlib.text.Text) if t.get_text() and t.get_visible()]


def shown(figure):
    return "\n".join(t.get_text() for t in texts(figure))


def test_the_tradeoff_shows_every_point_with_its_interval(four):
    figure = figures.tradeoff(four, "adaface", LPIPS)
    [axes] = figure.axes
    for bars, (_, run) in zip(axes.containers, four.runs.items(), strict=True):
        y = of_number(run.scores, ID).iloc[0]
        assert bars[0].get_ydata().item() == y["value"]
        vertical = [s for c in bars[2] for s in c.get_segments() if s[0, 0] == s[1, 0]]
        np.testing.assert_allclose(vertical[0][:, 1], [y["low"], y["high"]])


def test_identity_is_drawn_against_prompt_following(four):
    """The metric's declaration has a better side, so that its trade-off is drawn under the chief recogniser."""
    chief = four.headline or next(iter(next(iter(four.runs.values())).recognisers))
    number = Number("prompt_following", "clip_text", "mean_images")
    drawn = next(one for one in figures.of_comparison(four) if one.parts == (chief, *number[:2]))
    assert drawn.kind == figures.TRADEOFF
    for name, run in four.runs.items():
        row = of_number(run.scores, number).iloc[0]
        assert drawn.data.set_index("method").loc[name, ["x", "x_low", "x_high"]].tolist() == [
            row["value"], row["low"], row["high"],
        ]  # fmt: skip


def test_the_forest_is_the_table_of_differences(four):
    drawn = figures._drawn(four, ID)
    rows = of_number(four.differences, ID)
    rows = rows[(rows["a"] != "copy") & (rows["b"] != "copy")]
    assert [row["difference"] for row in drawn] == sorted(rows["difference"].abs(), reverse=True)
    assert all(row["low"] <= row["difference"] <= row["high"] for row in drawn)
    assert "arc2face − photomaker" in shown(figures.forest(four, ID))


def test_the_scatter_counts_whom_each_method_keeps_better(four):
    a, b = four.runs["photomaker"], four.runs["arc2face"]
    figure = figures.scatter(("photomaker", a), ("arc2face", b), "adaface")
    means = [run.samples.groupby("item")["id_similarity[adaface]"].mean() for run in (a, b)]
    assert f"arc2face better: {(means[1] > means[0]).sum()} of 24" in shown(figure)
    assert len(figure.axes[0].collections[0].get_offsets()) == 24


def test_a_generator_alone_is_put_against_every_control(four):
    runs = {name: four.runs[name] for name in ("copy", "photomaker")}
    assert list(figures._faced(replace(four, runs=runs), "adaface")) == [("photomaker", "copy")]
    assert set(figures._faced(four, "adaface")) == {
        ("arc2face", "instantid"), ("arc2face", "photomaker"), ("instantid", "photomaker"),
    }  # fmt: skip


def test_hostile_names_are_drawn_as_they_are(four, tmp_path):
    runs = {NAME: four.runs["arc2face"], "_b": four.runs["instantid"]}
    strange = replace(four, runs=runs, differences=four.differences.replace({"arc2face": NAME, "instantid": "_b"}))
    drawn = [
        figures.similarity(runs, "adaface"),
        figures.tradeoff(strange, "adaface", LPIPS),
        figures.forest(strange, ID),
        figures.scatter((NAME, runs[NAME]), ("_b", runs["_b"]), "adaface"),
    ]
    for k, figure in enumerate(drawn):
        figures.save(figure, tmp_path / str(k))
        named = [t for t in texts(figure) if "_" in t.get_text()]
        assert named
        assert not any(t.get_parse_math() for t in named)


def test_files_are_the_same_every_time(four, tmp_path):
    for k in "ab":
        figures.save(figures.similarity(four.runs, "adaface"), tmp_path / f"{k}.1")
        run = four.runs["arc2face"]
        figures.save(grids.grid(run, "adaface", {"best": ["item 00000"]}), tmp_path / f"grid-{k}")
    for name in ("{}.1.png", "{}.1.pdf", "grid-{}.png", "grid-{}.pdf"):
        a, b = ((tmp_path / name.format(k)).read_bytes() for k in "ab")
        assert a == b
        assert b"CreationDate" not in a
        assert b"date:create" not in a


def test_a_pdf_holds_its_font_as_truetype(tmp_path):
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().set_title("ID ↑ Ü λ ☺")
    with rc_context({"pdf.use14corefonts": False}):
        figures.save(figure, tmp_path / "figure")
    data = (tmp_path / "figure.pdf").read_bytes()
    assert set(re.findall(rb"/FontName /[A-Z]{6}\+([-\w]+)", data)) == {b"FigureSans"}
    assert b"/FontFile2" in data
    assert b"/Type3" not in data


def test_the_grid_takes_best_median_and_worst(four):
    run = four.runs["photomaker"]
    means = run.samples.groupby("item")["id_similarity[adaface]"].mean().sort_values(ascending=False)
    groups = grids.spread(run, "adaface")
    assert groups["best"] == means.index[:3].tolist()
    assert groups["worst"] == means.index[-3:].tolist()
    assert set(groups["median"]) <= set(means.index[9:15])


@pytest.mark.parametrize("items", [1, 2, 4, 7])
def test_of_few_items_none_is_shown_twice(four, items):
    run = four.runs["photomaker"]
    few = replace(run, samples=run.samples[run.samples["item"].isin([f"item {k:05d}" for k in range(items)])])
    chosen = [item for part in grids.spread(few, "adaface").values() for item in part]
    assert len(chosen) == len(set(chosen)) == items


def test_every_failure_is_on_a_page_with_its_reason(half):
    run = load_run(half)
    pages = list(grids.failures(run))
    told = "\n".join(shown(page) for page in pages)
    assert len(pages) == -(-len(grids.failed(run)) // grids.PAGE) == 2
    assert told.count("sample ") == len(grids.failed(run))
    assert told.count("generation error") == (run.samples["status"] == "generation_error").sum()
    assert told.count("RuntimeError: out of\nmemory") == told.count("generation error")


def test_a_grid_without_references_shows_none(four):
    run = four.runs["arc2face"]

    def pixels(references):
        return grids.grid(run, "adaface", {"best": ["item 00003"]}, references=references).axes[0].images[0].get_array()

    first = slice(28, 28 + grids.SIZE)
    with_it, without = (np.asarray(pixels(flag)) for flag in (True, False))
    assert (without[20:160, first] == 235).all()
    assert (with_it[20:160, first] != 235).any()
    np.testing.assert_array_equal(with_it[:, 210:], without[:, 210:])


def test_a_grid_says_that_it_must_not_be_passed_on(four):
    run = four.runs["arc2face"]
    items = {"best": ["item 00003"]}
    assert "must not be passed on" in shown(grids.grid(run, "adaface", items))
    assert "must not" not in shown(grids.grid(run, "adaface", items, references=False))
    run.record["spec"]["dataset"]["options"]["redistributable"] = True
    try:
        assert "must not" not in shown(grids.grid(run, "adaface", items))
    finally:
        run.record["spec"]["dataset"]["options"]["redistributable"] = False


def test_a_run_with_half_its_samples_lost_has_a_full_report(half):
    write_report(half)
    names = {path.name for path in (half / "report").iterdir()}
    assert {"grid.png", "failures-001.png", "failures-002.pdf", "failures.csv", "scores.tex"} <= names
    run = load_run(half)
    assert len((half / "report/failures.csv").read_text().splitlines()) == 1 + len(grids.failed(run))
    assert "no ranking" in (half / "report/scores.md").read_text()


def test_a_run_of_one_identity(tmp_path):
    both = [write_run(tmp_path / name, name, items=1, seed=k, metrics=FEW) for k, name in enumerate("ab")]
    write_report(both[0])
    assert (tmp_path / "a/report/grid.png").exists()
    comparison = compare(both)
    assert of_number(comparison.differences, ID)["p_value"].isna().all()
    of_kind = {drawing.kind: drawing for drawing in figures.of_comparison(comparison)}
    assert set(of_kind) == {figures.SIMILARITIES, figures.TRADEOFF, figures.DIFFERENCES, figures.IDENTITIES}
    for drawing in of_kind.values():
        figures.write(drawing, tmp_path / "out")
    assert "no test" in shown(figures.forest(comparison, ID))


def test_a_run_without_images_says_so_and_has_no_grid(folders, tmp_path):
    bare = shutil.copytree(folders[0], tmp_path / "bare", ignore=shutil.ignore_patterns("samples", "references"))
    write_report(bare)
    names = {path.name for path in (bare / "report").iterdir()}
    assert not any(name.startswith(("grid", "failures-")) for name in names)
    assert "are not in this folder" in (bare / "report/scores.md").read_text()
    assert "similarity-arcface.png" in names


def test_hostile_items_are_drawn(tmp_path):
    run = write_run(tmp_path / "x", "x", items=2, failed=0.3, names=[NAME, "../../etc"])
    write_report(run)
    assert {path.parent for path in tmp_path.rglob("*.png")} <= {
        run / "report", run / "references", run / "samples" / "0", run / "samples" / "1",
    }  # fmt: skip
