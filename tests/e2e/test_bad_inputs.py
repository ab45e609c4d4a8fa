"""A folder of awkward photos: the run ends, the good ones are scored, each bad one is a row with its reason."""

import pandas as pd
import pytest

from tests.data.bad_inputs import make_bad_folder
from tests.e2e.commands import PHOTOS, run_folder, tables
from tests.e2e.small import bench
from tests.shared import SHARED, needs

pytestmark = needs(PHOTOS)


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    root, out = tmp_path_factory.mktemp("bad") / "photos", tmp_path_factory.mktemp("out") / "runs"
    root.mkdir()
    expected = make_bad_folder(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_SHARED", str(SHARED))
        assert bench("run", "evaluator=photos", "method=copy", f"dataset.root={root}", f"out={out}") == 0
    return expected, run_folder(out, "copy")


def test_every_photo_is_a_row_with_its_reason(bad):
    expected, folder = bad
    photos = pd.read_parquet(folder / "photos.parquet").set_index("image")
    assert len(expected) >= 20
    for name, what in expected.items():
        row = photos.loc[name]
        if what.status != "ok":
            assert row["status"] == what.status, name
            assert row["reason"].startswith(what.reason), name
        else:
            # The table says what was found: pixels that cannot be decoded, or no face.
            allowed = {True: {"ok"}, False: {"no_face", "undecodable"}, None: {"ok", "no_face", "undecodable"}}
            assert row["status"] in allowed[what.face], name


def test_good_images_are_scored_and_the_others_have_failed_by_name(bad):
    expected, folder = bad
    samples = tables(folder)["samples.parquet"]
    photos = pd.read_parquet(folder / "photos.parquet").set_index("image")
    for name, what in expected.items():
        if photos.loc[name, "role"] != "reference":
            continue
        status = set(samples.loc[samples["item"] == photos.loc[name, "item"], "status"])
        if what.face:
            assert status == {"ok"}, name
        elif what.face is False or what.decode or what.status != "ok":
            assert status == {"reference_failed"}, name


def test_the_report_shows_the_counts(bad):
    _, folder = bad
    text = (folder / "report" / "scores.md").read_text()
    photos = pd.read_parquet(folder / "photos.parquet")
    assert f"| photo | ok |  | {(photos['status'] == 'ok').sum()} |" in text
    assert "reference\\_failed" in text
    assert "<script" not in text


def test_nothing_was_written_outside_the_run(bad):
    _, folder = bad
    for path in (folder / "samples").rglob("*"):
        assert path.resolve().is_relative_to(folder.resolve())
