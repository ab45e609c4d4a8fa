"""The page as text: what is in it, what is escaped, what may be passed on. `test_page_browser` opens it."""

import json
import re
import shutil
from html.parser import HTMLParser

import pandas as pd
import pytest

from bench.report.compare import compare
from bench.report.figures import DIFFERENCES
from bench.report.frames import load_run
from bench.report.grids import GRID
from bench.report.model import Cell, Column, Mark, Table, Written
from bench.report.page import write_comparison_page, write_run_page
from bench.report.page.facts import provenance, redistributable, strictest
from bench.report.page.render import Notice, Page, render
from bench.report.page.samples import samples, shown
from bench.report.run import score_table
from bench.report.thumbnails import SIZE, write_thumbnails
from bench.testing.world import evaluation
from tests.report.runs import HOSTILE, picture, scored


class Reader(HTMLParser):
    """Tags, texts and the addresses that a page names."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.addresses, self.scripts, self.text, self._inside = [], [], [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action", "srcset")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        self._inside = tag

    def handle_data(self, data):
        (self.scripts if self._inside == "script" else self.text).append(data)

    def handle_endtag(self, tag):
        self._inside = ""

    def data(self):
        return json.loads(self.scripts[0])


def page_of(folder):
    return Reader((folder / "index.html").read_text(encoding="utf-8"))


def written(tmp_path, **options):
    run = load_run(scored(tmp_path / "run", **options))
    write_run_page(run, score_table(run), [], run.folder / "report")
    return run, page_of(run.folder / "report")


def test_a_page_names_nothing_outside_its_folder(tmp_path):
    run, page = written(tmp_path, pictures=True, failed=6)
    files = {path.relative_to(run.folder / "report").as_posix() for path in (run.folder / "report").rglob("*")}
    assert all(address.startswith("#") or address == "data:," or address in files for address in page.addresses)
    names = [name for name in page.data()["samples"]["image"] if name]
    assert len(names) == 117
    assert {f"thumbnails/{name}" for name in names} <= files
    [policy] = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src 'self' file: data:;")
    assert "http" not in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_stay_texts(name):
    table = Table(name, [Column(name, name, name, "higher")], [[Cell(name, 1.0, Mark.BEST, name)]], [name])
    records = {"runs": [name], "note": name, "samples": {}}
    page = Page(name, name, name, [(name, name)], [Notice(name, name)], tables=[table], samples=records)
    html = render(page).decode()
    reader = Reader(html)
    plain = [
        tag for tag, _ in Reader(render(Page("k", "t", samples=records | {"runs": ["x"], "note": "n"})).decode()).tags
    ]
    assert [tag for tag, _ in reader.tags].count("script") == plain.count("script")
    assert not [tag for tag, attrs in reader.tags if tag == "img" and attrs.get("src") == "x"]
    assert reader.data() == records
    assert "".join(reader.text).count(name) >= 7
    assert "{{ 7 * 7 }}" in html or "49" not in "".join(reader.text)


def test_a_table_is_a_real_table():
    columns = [Column("method", numeric=False), Column("value", "ID", "headline", "lower"), Column("n", "ID")]
    rows = [
        [Cell("a"), Cell(value=0.5, mark=Mark.BEST), Cell("3", 3.0)],
        [Cell("b"), Cell(note="why"), Cell("4", 4)],
    ]
    html = render(Page("kind", "title", tables=[Table("caption", columns, rows, ["below"])])).decode()
    reader = Reader(html)
    headings = [attrs.get("scope") for tag, attrs in reader.tags if tag == "th"]
    assert headings == ["colgroup", "col", "col", "col", "row", "row"]
    text = "".join(reader.text)
    assert all(word in text for word in ("caption", "headline", "lower is better", " (best)", "why", "below"))
    assert re.search(r'data-value="0.5"', html)


def test_a_page_of_people_says_on_top_that_it_must_not_be_passed_on(tmp_path):
    run, page = written(tmp_path, pictures=True)
    text = "".join(page.text)
    assert text.index("Do not pass this page on.") < text.index("statistic")
    assert not redistributable(run)
    other, page = written(tmp_path / "other", redistributable=True)
    assert redistributable(other)
    assert "Do not pass" not in "".join(page.text)


def test_only_true_is_redistributable(tmp_path):
    run = load_run(scored(tmp_path / "run"))
    for value in (None, "true", 1, "yes"):
        run.record["spec"]["dataset"]["options"]["redistributable"] = value
        assert not redistributable(run)


def test_failures_are_told_with_their_reason(tmp_path):
    _, page = written(tmp_path, failed=60)
    assert "60 of 120 samples (50%) have no face to measure." in "".join(page.text)
    data = page.data()
    assert [one["name"] for one in data["statuses"]] == ["ok", "generation_error", "no_face"]
    assert [one["failure"] for one in data["statuses"]] == [False, True, True]
    reasons = {data["reasons"][at] for at in data["samples"]["reason"]}
    assert "no face above 0.5" in reasons
    similarity = next(c for c in data["columns"] if c["similarity"])["values"]
    assert sum(value is None for value in similarity) == 60


def test_one_item_and_no_image_make_a_page(tmp_path):
    _, page = written(tmp_path, given=evaluation(items=1))
    assert "one person; an interval by subject needs 20" in "".join(page.text)
    assert len(page.data()["items"]) == 1


def test_provenance_names_weights_versions_and_the_strictest_licence(tmp_path):
    run, page = written(tmp_path)
    text = "".join(page.text)
    assert all(word in text for word in ("d" * 64, "numpy", "scrfd", "CC BY 4.0"))
    [bound] = [value for term, value in provenance({"a": run})[0].rows if term == "these results are bound by"]
    assert bound == "non-commercial research only"


@pytest.mark.parametrize(
    ("stated", "bound"),
    [
        (["MIT", "CC BY 4.0"], "MIT"), (["MIT", "not stated"], "not stated"), ([], "not stated"),
        (["CreativeML OpenRAIL-M", "MIT"], "CreativeML OpenRAIL-M"), (["MIT", "CC BY-NC 4.0"], "CC BY-NC 4.0"),
    ],
)  # fmt: skip
def test_the_strictest_licence(stated, bound):
    assert strictest(stated) == bound


def test_what_runs_share_is_said_once(tmp_path):
    comparison = compare([scored(tmp_path / name, name, warnings=["one warning"]) for name in ("one", "two")])
    runs = comparison.runs
    write_comparison_page(comparison, [], [], tmp_path / "out")
    page = page_of(tmp_path / "out")
    titles = [facts.title for facts in provenance(runs)]
    assert titles.count("Versions and machine") == 1
    assert {"Identities (sha256): one", "Identities (sha256): two"} <= set(titles)
    assert page.data()["runs"] == ["one", "two"]
    assert "one warning" in "".join(page.text)


def test_a_large_run_shows_its_worst_items(tmp_path):
    runs = {name: load_run(scored(tmp_path / name, name)) for name in ("one", "two")}
    items, note = shown(runs, limit=50)
    assert len(items) == 5
    assert note.startswith("The 5 items with the lowest mean similarity of 24")
    means = pd.concat([run.samples for run in runs.values()]).groupby("item")["id_similarity[arcface]"].mean()
    assert set(items) == set(means.nsmallest(5).index)
    assert shown(runs, limit=240) == (list(dict.fromkeys(runs["one"].samples["item"])), "")


def test_a_page_without_images_points_at_none(tmp_path):
    run = load_run(scored(tmp_path / "run", pictures=True))
    data = samples({"a": run}, None)
    assert not data["images"]
    assert not any(data["samples"]["image"])
    assert not any(item["reference"] for item in data["items"])


def test_thumbnails_are_made_once_and_dropped_with_their_samples(tmp_path):
    from bench.images import image_size, write_png

    write_png(picture(3, 400), tmp_path / "a.png", {})
    (tmp_path / "broken.png").write_bytes(b"no picture")
    wanted = {"a.jpg": tmp_path / "a.png", "b.jpg": tmp_path / "broken.png", "c.jpg": tmp_path / "missing.png"}
    assert write_thumbnails(wanted, tmp_path / "out") == {"a.jpg"}
    assert image_size(tmp_path / "out/a.jpg") == (SIZE, SIZE)
    before = (tmp_path / "out/a.jpg").stat().st_mtime_ns
    assert write_thumbnails(wanted, tmp_path / "out") == {"a.jpg"}
    assert (tmp_path / "out/a.jpg").stat().st_mtime_ns == before
    whole = (tmp_path / "out/a.jpg").read_bytes()
    (tmp_path / "out/a.jpg").write_bytes(whole[:-1])
    assert write_thumbnails(wanted, tmp_path / "copy", [tmp_path / "out"]) == {"a.jpg"}
    assert write_thumbnails(wanted, tmp_path / "out") == {"a.jpg"}
    assert [(tmp_path / folder / "a.jpg").read_bytes() for folder in ("out", "copy")] == [whole] * 2
    shutil.rmtree(tmp_path / "copy")
    (tmp_path / "a.png").unlink()
    assert write_thumbnails(wanted, tmp_path / "copy", [tmp_path / "none", tmp_path / "out"]) == {"a.jpg"}
    assert write_thumbnails({}, tmp_path / "out") == set()
    assert not list((tmp_path / "out").iterdir())


def test_figures_come_in_their_order_each_with_its_pdf_and_its_caption():
    figures = [
        Written(DIFFERENCES, "FID (<b>)", "differences-fid-b.png", "differences-fid-b.pdf"),
        Written(GRID, "", "grid.png"),
    ]
    html = render(Page("kind", "title", figures=figures)).decode()
    reader = Reader(html)
    assert [a["href"] for tag, a in reader.tags if tag == "a" and "png" in a["href"]] == [f.file for f in figures]
    assert [a["class"] for tag, a in reader.tags if tag == "figure"] == ["plot", "plot wide"]
    text = "".join(reader.text)
    assert f"Paired differences: FID (<b>). {DIFFERENCES.caption}" in text
    assert html.count(">PDF</a>") == 1
