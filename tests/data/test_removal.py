import errno
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from bench.data.folder import folder_list
from bench.data.lists import read_list, write_list
from bench.data.photos import keys
from bench.data.removal import remove
from bench.errors import UserError
from bench.images import write_png
from bench.sample_files import Png, write_tar
from bench.store import write_json, write_table
from tests.data.images import put

PEOPLE = ["Anna", "anna", "Bob", "Carl <3>", "Annabelle"]  # the first two need hashed keys
KEYS = dict(zip(PEOPLE, keys(PEOPLE), strict=True))


@pytest.fixture
def world(tmp_path):
    """Lists and runs as the stages leave them, one of them stopped in the middle."""
    for person in PEOPLE:
        for number in range(2):
            put(tmp_path / "photos" / person / f"{number}.png")
    photos = folder_list(tmp_path / "photos").photos
    write_list(photos, tmp_path / "lists" / "people.csv")
    write_list(photos[photos["subject"] != "Anna"], tmp_path / "lists" / "others.csv")
    (tmp_path / "lists" / "foreign.csv").write_text("name;subject\nx;Anna\n")
    base = tmp_path / "runs" / "folder"
    make_run(base / "copy-01234567", photos)
    make_run(base / "shuffle-01234567", photos)
    make_run(base / "partial-01234567", photos, stop=True)
    make_run(base / "other-01234567", photos[photos["subject"] != "Anna"])
    faces = photos[["item", "subject", "image"]].assign(embedding=[np.ones(3, np.float32)] * len(photos))
    write_table(base / "photos-89abcdef" / "tables" / "faces" / "00000.parquet", faces)
    return tmp_path


def make_run(folder, photos, stop=False):
    write_table(folder / "photos.parquet", photos)
    write_json(folder / "run.json", {"id": "0123", "spec": {"root": "photos"}})
    items = photos.loc[photos["role"] == "reference", ["item", "subject"]]
    samples = items.loc[items.index.repeat(2)].reset_index(drop=True)
    samples["index"] = [0, 1] * len(items)
    samples["path"] = [f"samples/{KEYS[i]}/{k}.png" for i, k in zip(samples["item"], samples["index"], strict=True)]
    for path in samples["path"]:
        write_png(np.zeros((2, 2, 3), np.uint8), folder / path, {})
    if stop:
        write_table(folder / "tables" / "samples" / ".parts" / "00000" / "00000.parquet", samples)
        return
    write_table(folder / "tables" / "samples" / "00000.parquet", samples)
    features = samples[["item", "index"]].assign(feature=[np.full(4, k, np.float32) for k in samples["index"]])
    write_table(folder / "tables" / "features" / "net-01" / "00000.parquet", features)
    pairs = pd.DataFrame({"item_a": ["Bob", "anna"], "item_b": [items["item"].iloc[0], "Bob"], "value": [1.0, 2.0]})
    write_table(folder / "tables" / "pairs" / "00000.parquet", pairs)
    write_table(folder / "scores" / "samples.parquet", samples)
    (folder / "report").mkdir()
    (folder / "report" / "page.html").write_text(" ".join(items["item"]))


def snapshot(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def everything_about(world, name, item):
    """Files under lists and runs that still hold the person, decoded where they are tables."""
    found = []
    for place in (world / "lists", world / "runs"):
        for path in sorted(place.rglob("*")):
            if path.suffix == ".parquet":
                table = pq.ParquetFile(path).read()
                if any(name in column.to_pylist() or item in column.to_pylist() for column in table.columns):
                    found.append(path)
            elif KEYS[name] in path.parts:
                found.append(path)
    return found


def take_out(world, name, **options):
    return remove(name, runs=world / "runs", lists=world / "lists", **options)


def test_nothing_is_left(world):
    assert everything_about(world, "Anna", "Anna")
    take_out(world, "Anna")
    assert everything_about(world, "Anna", "Anna") == []
    assert "Anna" not in set(read_list(world / "lists" / "people.csv")["subject"])


@pytest.mark.parametrize("name", ["Bob", "Robert"])
def test_a_person_under_two_names_goes_under_either(world, name):
    """Two subjects that share a photo are one; the second one's name is in no table but that of the photos."""
    for path in sorted((world / "runs" / "folder").glob("*/photos.parquet")):
        photos = pd.read_parquet(path)
        twin = photos[photos["subject"] == "Bob"].assign(listed_subject="Robert", item=["twin", ""])
        write_table(path, pd.concat([photos, twin], ignore_index=True))
    remove(name, runs=world / "runs", lists=world / "lists")
    for path in sorted((world / "runs" / "folder").glob("*/photos.parquet")):
        left = pd.read_parquet(path)
        assert not {"Bob", "Robert"} & {*left["subject"], *left["listed_subject"]}
        assert "twin" not in set(left["item"])


def test_a_tar_that_shows_the_person_goes_as_a_whole(world):
    folder = world / "runs" / "folder" / "copy-01234567"
    places = [folder / "samples" / "00000.tar", folder / "samples" / "00001.tar"]
    places.append(folder / "tables" / "samples" / ".parts" / "00002" / "00000.tar")
    for people, place in zip((["Bob", "Anna"], ["Bob"], ["Anna"]), places, strict=True):
        write_tar(folder, place, [Png(KEYS[person], 0, b"x") for person in people])
    assert {*places[::2]} <= {*take_out(world, "Anna", dry_run=True).deleted}
    take_out(world, "Anna")
    assert [place.exists() for place in places] == [False, True, False]
    places[1].write_bytes(b"x" * 100)
    with pytest.raises(UserError, match=r"00001\.tar, so nothing was removed"):
        take_out(world, "Bob")


def test_others_keep_everything(world):
    copy, before = world / "runs" / "folder" / "copy-01234567", snapshot(world)
    take_out(world, "Anna")
    after = snapshot(world)
    assert set(read_list(world / "lists" / "people.csv")["subject"]) == set(PEOPLE) - {"Anna"}
    samples = pd.read_parquet(copy / "tables" / "samples" / "00000.parquet")
    assert samples["item"].tolist() == [p for p in ("Annabelle", "Bob", "Carl <3>", "anna") for _ in range(2)]
    features = pd.read_parquet(copy / "tables" / "features" / "net-01" / "00000.parquet")
    assert features["feature"].map(lambda f: f.tolist()).tolist() == [[0.0] * 4, [1.0] * 4] * 4
    for person in set(PEOPLE) - {"Anna"}:
        assert len(list((copy / "samples" / KEYS[person]).iterdir())) == 2
    untouched = [
        p for p in before if "other-01234567" in p.parts or p.name in ("others.csv", "foreign.csv", "run.json")
    ]
    kept = [p for p in untouched if "shuffle-01234567" not in p.parts]
    assert len(kept) > 10
    assert all(after[path] == before[path] for path in kept)


def test_the_schema_of_a_table_stays(world):
    path = world / "runs" / "folder" / "copy-01234567" / "tables" / "features" / "net-01" / "00000.parquet"
    before = pq.read_schema(path)
    take_out(world, "Anna")
    assert pq.read_schema(path).equals(before)
    assert pq.read_schema(path).pandas_metadata["columns"] == before.pandas_metadata["columns"]


def test_scores_and_pages_go_so_that_they_are_made_again(world):
    runs = world / "runs" / "folder"
    found = take_out(world, "Anna")
    for name in ("scores", "report"):
        assert not (runs / "copy-01234567" / name).exists()
        assert (runs / "other-01234567" / name).exists()
        assert runs / "copy-01234567" / name in found.deleted
    assert (runs / "copy-01234567" / "run.json").exists()


def test_comparisons_go_too(world):
    table = world / "runs" / "compare" / "folder" / "table.md"
    table.parent.mkdir(parents=True)
    table.write_text("| copy | 1.0 |")
    take_out(world, "Anna", dry_run=True)
    assert table.exists()
    take_out(world, "Anna")
    assert not table.parent.exists()


def test_runs_that_show_others_go_as_a_whole(world):
    assert world / "runs" / "folder" / "shuffle-01234567" in take_out(world, "Anna").deleted
    assert not (world / "runs" / "folder" / "shuffle-01234567").exists()


def test_a_note_without_the_name(world):
    found = take_out(world, "Anna")
    note = world / "runs" / "folder" / "copy-01234567" / "removed.json"
    in_run = [rows for path, rows in found.tables.items() if path.is_relative_to(note.parent)]
    assert json.loads(note.read_text()) == {"rows": sum(in_run)} == {"rows": 2 + 2 + 2 + 1}
    take_out(world, "Bob")
    assert json.loads(note.read_text()) == {"rows": 14}  # one of his pairs went with her


def test_a_run_that_was_stopped(world):
    take_out(world, "Anna")
    part = world / "runs" / "folder" / "partial-01234567" / "tables" / "samples" / ".parts" / "00000" / "00000.parquet"
    assert "Anna" not in set(pd.read_parquet(part)["subject"])


def test_samples_without_any_row(world):
    """Killed between the images of a batch and its rows: the dataset's other folders know the key."""
    folder = world / "runs" / "folder" / "new-01234567"
    write_png(np.zeros((2, 2, 3), np.uint8), folder / "samples" / KEYS["Anna"] / "0.png", {})
    write_png(np.zeros((2, 2, 3), np.uint8), folder / "samples" / KEYS["anna"] / "0.png", {})
    take_out(world, "Anna")
    assert [path.name for path in (folder / "samples").iterdir()] == [KEYS["anna"]]


def test_a_removal_that_was_killed_is_finished_by_the_next(world, monkeypatch):
    import bench.data.removal as removal

    rewrite, calls = removal._rewrite_table, []

    def dies(path, person):
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return rewrite(path, person)

    monkeypatch.setattr(removal, "_rewrite_table", dies)
    with pytest.raises(KeyboardInterrupt):
        take_out(world, "Anna")
    monkeypatch.undo()
    take_out(world, "Anna")
    assert everything_about(world, "Anna", "Anna") == []


def test_dry_run_changes_nothing_and_says_the_same(world):
    before = snapshot(world)
    planned = take_out(world, "Anna", dry_run=True)
    assert snapshot(world) == before
    assert take_out(world, "Anna") == planned


def test_the_photos_themselves_are_named_and_stay(world):
    found = take_out(world, "Anna")
    assert found.photos == [str(world / "photos" / "Anna" / f"{k}.png") for k in range(2)]
    assert (world / "photos" / "Anna" / "0.png").exists()


def test_texts_that_still_name_the_person_are_reported(world):
    (world / "runs" / "comparison.md").write_text("| Anna | 0.9 |")
    (world / "runs" / "innocent.md").write_text("Annabel and Joanna, Anna1")
    found = take_out(world, "Anna")
    assert found.mentions == [world / "runs" / "comparison.md", world / "lists" / "foreign.csv"]


def test_an_unknown_name(world):
    before = snapshot(world)
    with pytest.raises(UserError, match=r"no subject 'Ana' in the runs of .*; did you mean 'Anna' or 'anna'"):
        take_out(world, "Ana")
    with pytest.raises(UserError, match=r"no subject 'Zacharias' in the runs of [^;]*$"):
        take_out(world, "Zacharias")
    assert snapshot(world) == before
    with pytest.raises(UserError, match="no subject 'x'"):
        remove("x", runs=world / "gone", lists=world / "gone")


def test_a_damaged_table_stops_before_anything_is_changed(world):
    (world / "runs" / "folder" / "copy-01234567" / "tables" / "samples" / "00001.parquet").write_bytes(b"PAR1")
    before = snapshot(world)
    with pytest.raises(UserError, match=r"cannot read .*00001.parquet, so nothing was removed"):
        take_out(world, "Anna")
    assert snapshot(world) == before


def test_another_dataset_may_use_the_name_for_someone_else(world):
    rows = pd.DataFrame({"item": ["Anna"], "subject": ["Anna Schmidt"], "path": ["samples/Anna/0.png"]})
    folder = world / "runs" / "friends" / "copy-76543210"
    write_table(folder / "tables" / "samples" / "00000.parquet", rows)
    write_png(np.zeros((2, 2, 3), np.uint8), folder / "samples" / "Anna" / "0.png", {})
    before = snapshot(folder)
    take_out(world, "Anna")
    assert snapshot(folder) == before


def test_only_in_a_list(tmp_path):
    put(tmp_path / "photos" / "Anna" / "0.png")
    put(tmp_path / "photos" / "Bob" / "0.png")
    write_list(folder_list(tmp_path / "photos").photos, tmp_path / "lists" / "a.csv")
    found = remove("Anna", runs=tmp_path / "runs", lists=tmp_path / "lists")
    assert found.lists == {tmp_path / "lists" / "a.csv": 1}
    assert not (tmp_path / "runs").exists()


def test_a_folder_in_use_is_waited_for(world):
    folder = world / "runs" / "folder" / "copy-01234567"
    code = (
        "import sys, time; from pathlib import Path; from bench.store import locked\n"
        "with locked(Path(sys.argv[1])):\n print('held', flush=True); time.sleep(0.5)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        take_out(world, "Anna")
        assert holder.wait(5) == 0
    assert everything_about(world, "Anna", "Anna") == []


def test_a_person_is_found_in_runs_that_lie_deeper_and_behind_links(world):
    elsewhere = world / "disk" / "2026" / "copy-01234567"
    (world / "runs" / "folder" / "copy-01234567").rename(world.joinpath("moved"))
    elsewhere.parent.mkdir(parents=True)
    world.joinpath("moved").rename(elsewhere)
    (world / "runs" / "old").symlink_to(world / "disk")
    (world / "disk" / "back").symlink_to(world / "runs")
    (world / "disk" / "2026" / "compare" / "both").mkdir(parents=True)
    found = remove("Bob", runs=world / "runs", lists=world / "lists")
    assert elsewhere.name in {folder.name for folder in found.runs if "old" in folder.parts}
    assert not (elsewhere / "samples" / KEYS["Bob"]).exists()
    assert not (world / "disk" / "2026" / "compare" / "both").exists()


def test_a_folder_that_cannot_be_read_is_named_and_nothing_is_removed(world, monkeypatch):
    before = snapshot(world)
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("copy-01234567"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"copy-01234567 cannot be read \(Permission denied\), so nothing was removed"):
        remove("Bob", runs=world / "runs", lists=world / "lists")
    monkeypatch.undo()
    assert snapshot(world) == before
