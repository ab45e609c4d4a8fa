"""Bundles hold no person and no place; a forged one is refused with the reason; a leaderboard never mixes."""

import csv
import io
import json
import os
import re
import stat
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.__main__ import main
from bench.errors import UserError
from bench.exchange.bundle import Refused, read_bundle
from bench.exchange.export import bundle
from bench.exchange.leaderboard import collect, group_tables, grouped, page, sources
from bench.exchange.public import public, public_spec
from bench.exchange.schema import MANIFEST
from bench.exchange.verify import verify
from bench.hashing import sha256_bytes
from bench.metrics.protocol import Number
from bench.report.cells import COUNTS, MARKED
from bench.report.compare import compare
from bench.report.frames import load_run
from bench.report.page.render import render
from bench.report.ranking import ranking
from bench.testing.world import evaluation
from tests.report.runs import ALL, HOSTILE, scored


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load_run(scored(tmp_path_factory.mktemp("run") / "arc", failed=12, pictures=True, metrics=ALL))


@pytest.fixture(scope="module")
def files(run):
    """The files of a good bundle, by name."""
    return unpacked(bundle(run))


def unpacked(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path, files, *, resealed=True):
    """A zip of files; `resealed` with a manifest that fits them, as a careful forger would write it."""
    files = dict(files)
    if resealed:
        manifest = json.loads(files[MANIFEST])
        names = [name for name in files if name != MANIFEST]
        manifest["files"] = {n: {"sha256": sha256_bytes(files[n]), "bytes": len(files[n])} for n in names}
        files[MANIFEST] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def edited(data, change):
    """A CSV with its rows (dicts of texts) changed."""
    rows = list(csv.DictReader(io.StringIO(data.decode())))
    rows = change(rows)
    header = list(rows[0])
    out = io.StringIO()
    writer = csv.DictWriter(out, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def setting(field, value, **where):
    """A change of one field in the rows that have the given values."""

    def change(rows):
        hit = [row for row in rows if all(row[key] == text for key, text in where.items())]
        assert hit, where
        for row in hit:
            row[field] = value
        return rows

    return change


# What leaves


def test_a_bundle_verifies_and_most_of_it_is_computed_again(tmp_path, files):
    states = verify(read_bundle(packed(tmp_path / "a.zip", files, resealed=False)))
    by_state = pd.Series(states).value_counts()
    assert by_state["recomputed"] > 40
    assert states[Number("id_similarity", "adaface", "mean_failures_as_zero")] == "recomputed"
    assert states[Number("lpips_diversity", "lpips", "mean_items")] == "recomputed"
    assert states[Number("retrieval", "adaface", "rank1")] == "recomputed"
    assert states[Number("fid", "inception", "distance")] == "consistent"
    assert states[Number("kid", "inception", "excluded")] == "claimed"


def test_the_same_run_gives_the_same_bytes(run, files):
    assert unpacked(bundle(run)) == files


def test_no_name_no_place_no_hash_no_seed_leaves(run, files):
    text = b"\n".join(files.values()).decode()
    # Our own words; the dataset's folder has this name, too.
    text = re.sub('"people"|training_people| people', "", text)
    for secret in ("/home/jo", "/tmp", "subject 0", "item 00003", "secret dir", "people", str(run.folder)):
        assert secret not in text, secret
    tables = {f"{name}.csv" for name in ("scores", "samples", "references", "items")}
    assert set(files) == {MANIFEST, "run.json", "index.html", *tables}
    header = files["samples.csv"].decode().splitlines()[0]
    assert not {"seed", "sha256", "path", "box", "gender"} & set(header.split(","))
    assert "command" not in json.loads(files["run.json"])


def test_reasons_of_failures_stay_at_home(files):
    frame = pd.read_csv(io.BytesIO(files["samples.csv"]), keep_default_na=False)
    assert "reason" not in frame
    assert set(frame["status"]) == {"ok", "no_face", "generation_error"}
    assert not any(b"RuntimeError" in data for data in files.values())


def test_people_are_numbered_in_the_order_of_the_list(run):
    shown = public(run, pictures=False)
    assert shown.samples["item"].iloc[0] == "item 0001"
    assert shown.samples["subject"].nunique() == run.samples["subject"].nunique()
    assert not set(shown.samples["item"]) & set(run.samples["item"])
    assert shown.photos.empty


WARNED = "evaluator toy knows other faces than <b>subject 00001; see /home/jo/notes"


def test_what_a_run_warns_of_travels_without_names_and_places(tmp_path):
    run = load_run(scored(tmp_path / "run", given=evaluation(items=3), warnings=[WARNED]))
    files = unpacked(bundle(run))
    found = read_bundle(packed(tmp_path / "a.zip", files))
    said = "evaluator toy knows other faces than <b>(name); see (path)"
    assert found.record.warnings == [said]
    assert said.replace("<", "&lt;").replace(">", "&gt;") in files["index.html"].decode()
    entries, _ = collect([tmp_path / "a.zip"])
    twice = grouped([*entries, *entries])
    warned = [notice for notice in page(twice, []).notices if notice.title.startswith("Warning of ")]
    assert [notice.text for notice in warned] == [said]
    assert warned[0].title == f"Warning of {entries[0].label}, {entries[0].label}:"


def test_a_bundle_from_before_warnings_is_still_one(tmp_path, files):
    record = json.loads(files["run.json"])
    assert record.pop("warnings") == []
    old = packed(tmp_path / "a.zip", {**files, "run.json": json.dumps(record).encode()})
    assert verify(read_bundle(old))
    assert read_bundle(old).record.warnings == []


def test_pictures_of_people_need_a_right_in_words(run):
    for statement in ("", "yes", "--force"):
        with pytest.raises(UserError, match="not declared redistributable"):
            bundle(run, thumbnails=True, statement=statement)
    words = "All these people agreed to <b>this</b>"
    found = unpacked(bundle(run, thumbnails=True, statement=words))
    assert sum(name.startswith("thumbnails/") for name in found) == 108 + 24 + 6  # samples that exist, references
    assert json.loads(found[MANIFEST])["people"]["statement"] == words
    assert b"All these people agreed to &lt;b&gt;this&lt;/b&gt;" in found["index.html"]


def test_a_redistributable_dataset_shows_its_pictures_on_request(tmp_path):
    run = load_run(scored(tmp_path / "run", redistributable=True, pictures=True))
    assert not any(name.startswith("thumbnails/") for name in unpacked(bundle(run)))
    found = unpacked(bundle(run, thumbnails=True))
    assert sum(name.startswith("thumbnails/") for name in found) == 120 + 24
    path = tmp_path / "a.zip"
    path.write_bytes(bundle(run, thumbnails=True))
    verify(read_bundle(path))


def test_hostile_names_leave_as_numbers(tmp_path):
    run = load_run(scored(tmp_path / "run", rename=lambda at, name: HOSTILE[at % 10] + str(at)))
    found = unpacked(bundle(run))
    assert all(name.encode() not in data for name in HOSTILE for data in found.values())
    verify(read_bundle(packed(tmp_path / "a.zip", found)))


SECRET = "s3cr3t-t0ken"


def test_only_listed_fields_leave(tmp_path):
    """Secrets in every free text of a record, in options of parts that are not installed, and in short names."""
    run = load_run(scored(tmp_path / "run", given=evaluation(items=3), rename=lambda at, name: ("Al", "Bo", "Cy")[at]))
    spec = run.record["spec"]
    spec["method"] |= {"name": "external", "options": {"command": f"run --api-key={SECRET}", "version": "2"}}
    spec["dataset"]["options"] |= {"root": "/data/Dr.Smith/photos", "token": SECRET}
    spec["evaluator"]["parser"] = {"name": "of a package", "options": {"key": SECRET, "threshold": 0.5}}
    run.record.update({"command": ["bench", f"--api-key={SECRET}"], "user": SECRET, "stages": [{"host": SECRET}]})
    run.record["environment"] |= {"HF_TOKEN": SECRET}
    run.record["warnings"] = [f"al is not Bo's; /home/{SECRET}/x"]
    run.samples["reason"] = f"{SECRET} al"
    everything = b"\n".join(unpacked(bundle(run)).values()).decode()
    for word in (SECRET, "Dr.Smith", "/data", "HF_TOKEN"):
        assert word not in everything, word
    assert "(name) is not (name)'s; (path)" in everything.replace("&#39;", "'")


def test_options_leave_by_their_type():
    folder = {"name": "folder", "options": {"root": "/home/jo/x"}, "card": {"licence": "MIT"}}
    scrfd = {"name": "scrfd", "options": {"weights": "/home/jo/det.onnx", "threshold": 0.5}}
    shown = public_spec({"method": folder, "dataset": {**folder, "label": "toys"}, "evaluator": {"detector": scrfd}})
    assert shown["evaluator"]["detector"] == {"name": "scrfd", "options": {"threshold": 0.5}}
    assert shown["method"] == {"name": "folder", "options": {}, "card": {"licence": "MIT"}}


# What is refused


def scores_with(field, value, **where):
    return "scores.csv", setting(field, value, **where)


def drop_failures(rows):
    return [row for row in rows if row["status"] == "ok"]


def drop_one_item(rows):
    return [row for row in rows if row["item"] != "item 0003"]


def without(column):
    return lambda rows: [{name: text for name, text in row.items() if name != column} for row in rows]


MEAN = {"metric": "id_similarity", "variant": "adaface", "statistic": "mean_detected"}
FORGED = {
    "a changed mean": (*scores_with("value", "0.93", **MEAN), "outside its own interval"),
    "a changed mean and interval": (
        "scores.csv",
        lambda rows: setting("high", "0.99", **MEAN)(setting("value", "0.985", **MEAN)(rows)),
        r"id_similarity\[adaface\].mean_detected, value: it says 0.985, its own rows give",
    ),
    "a narrower interval": (*scores_with("low", "0.9", **MEAN), "low: it says|outside its own interval"),
    "fewer failures": (*scores_with("n_failed", "0", **MEAN), "n_failed: it says 0, its own rows give 12"),
    "dropped failures": ("samples.csv", drop_failures, "rows were dropped"),
    "a dropped item": ("samples.csv", drop_one_item, "contradicts itself about the number of items"),
    "failures that never were": (
        "samples.csv",
        setting("status", "unavailable", status="no_face"),
        "only a control may have no image to show",
    ),
    "failures blamed on the reference": (
        "samples.csv",
        setting("status", "reference_failed", status="no_face"),
        "disagree about its person or its reference",
    ),
    "a better sample": (
        "samples.csv",
        setting("id_similarity[adaface]", "0.99", item="item 0005", index="1"),
        "its own rows give",
    ),
    "an impossible sample": (
        "samples.csv",
        setting("id_similarity[adaface]", "0.5", status="no_face"),
        "a failed sample has a number",
    ),
    "infinity": ("samples.csv", setting("id_similarity[adaface]", "inf", status="ok"), "not a finite number"),
    "an invented status": ("samples.csv", setting("status", "great", status="no_face"), "does not exist"),
    "a better item": (
        "items.csv",
        setting("value", "0.1", metric="lpips_diversity", item="item 0002"),
        r"lpips_diversity\[lpips\].mean_items, value",
    ),
    "a lower FID": (
        *scores_with("value", "0.001", metric="fid", statistic="distance"),
        "outside its own interval|does not belong to its replicates",
    ),
    "a lower FID with its interval": (
        "scores.csv",
        lambda rows: [
            row | {"low": "0.1", "value": "0.5", "high": "0.9"} if row["metric"] == "fid" else row for row in rows
        ],
        "does not belong to its replicates",
    ),
    "a lower KID with its interval": (
        "scores.csv",
        lambda rows: [
            row | {"low": "-9", "value": "-5", "high": "-1"} if row["metric"] == "kid" else row for row in rows
        ],
        r"kid\[inception\].excluded: -5.0000 does not belong to its replicates",
    ),
    "more people than there are": (
        "items.csv",
        setting("subject", "person 9999", metric="lpips_diversity", item="item 0002"),
        "gives 'item 0002' to 'person 9999', samples.csv to another person",
    ),
    "a number that would overflow": (
        "items.csv",
        setting("value", "1e308", metric="lpips_diversity", item="item 0002"),
        "not a finite number, or too large",
    ),
    "another error of FID": (
        *scores_with("value", "0.0001", metric="fid", statistic="standard_error"),
        r"fid\[inception\].standard_error",
    ),
    "a score without its row": (
        "scores.csv",
        lambda rows: [row for row in rows if row["statistic"] != "mean_failures_as_zero"],
        "mean_failures_as_zero is missing",
    ),
    "a hidden recogniser": (
        "scores.csv",
        lambda rows: [row for row in rows if row["variant"] != "arcface"],
        "contradicts itself about the recognisers",
    ),
    "an impossible rate": (
        "scores.csv",
        lambda rows: [
            row | {"value": "1.5", "high": "2"} if row["statistic"] == "rate_no_face" else row for row in rows
        ],
        "impossible",
    ),
    "a row twice": ("scores.csv", lambda rows: [*rows, rows[0]], "stands there twice"),
    "another version": (*scores_with("version", "2", metric="fid"), "has version 2"),
    "the worst samples blanked": (
        "samples.csv",
        setting("id_similarity[adaface]", "", item="item 0002", index="0"),
        r"id_similarity\[adaface\]: sample 0 of item 0002 counts, but has no number",
    ),
    "a dropped column": ("samples.csv", without("id_similarity[adaface]"), r"no column id_similarity\[adaface\]"),
    "a dropped column of statuses": (
        "samples.csv", without("status[adaface]"), "does not say which samples adaface could read",
    ),
    "the worst item left out": (
        "items.csv",
        lambda rows: [r for r in rows if (r["metric"], r["item"]) != ("lpips_diversity", "item 0002")],
        "item 0002 has enough good samples and has no number",
    ),
    "a reference that could not be used": (
        "references.csv",
        setting("usable[adaface]", "False", item="item 0002"),
        "has a number, but does not count",
    ),
    "a reference without a face": (
        "references.csv", setting("status", "no_face", item="item 0002"), "has a number, but does not count",
    ),
    "another direction": (*scores_with("higher_is_better", "True", metric="fid"), "higher_is_better is True, but fid"),
    "another relation": (
        *scores_with("relation", "conditioned", metric="id_similarity", variant="adaface"), "card says",
    ),
    "a cosine of 3.7": (
        "samples.csv", setting("id_similarity[adaface]", "3.7", item="item 0005", index="1"), "3.7 is impossible",
    ),
    "items below zero": (*scores_with("n_items", "-5", metric="fid"), "not a whole number"),
    "an invented statistic": (
        "scores.csv",
        lambda rows: [row | {"statistic": "great"} if row["statistic"] == "q05" else row for row in rows],
        "has no such statistic",
    ),
}  # fmt: skip


@pytest.mark.parametrize("forgery", FORGED)
def test_a_forged_bundle_is_refused_with_the_reason(tmp_path, files, forgery):
    name, change, reason = FORGED[forgery]
    path = packed(tmp_path / "a.zip", {**files, name: edited(files[name], change)})
    with pytest.raises(Refused, match=reason):
        verify(read_bundle(path))


def test_what_switches_a_check_off_is_claimed_and_never_ranked(tmp_path, files):
    """A number of a part of the subjects, or of a version that is not installed here, cannot be computed again."""
    rank1 = {"metric": "retrieval", "variant": "adaface", "statistic": "rank1"}
    drawn = files["scores.csv"]
    for field, value in {"drawn": "True", "value": "1", "high": "1"}.items():
        drawn = edited(drawn, setting(field, value, **rank1))
    states = verify(read_bundle(packed(tmp_path / "a.zip", {**files, "scores.csv": drawn})))
    assert states[Number("retrieval", "adaface", "rank1")] == "claimed"
    record = json.loads(files["run.json"])
    record["comparable"]["metrics"]["id_similarity"] = 2
    newer = edited(files["scores.csv"], setting("version", "2", metric="id_similarity"))
    changed = {**files, "scores.csv": newer, "run.json": json.dumps(record).encode()}
    states = verify(read_bundle(packed(tmp_path / "b.zip", changed)))
    assert states[Number("id_similarity", "adaface", "mean_detected")] == "claimed"


def test_a_bundle_of_version_1_is_read_and_its_numbers_are_claimed():
    old = read_bundle(Path(__file__).parent / "old" / "bundle_v1.zip")
    assert old.references is None
    states = verify(old)
    assert set(states.values()) == {"claimed"}
    assert old.by_number[Number("id_similarity", "judge", "mean_detected")]["value"] == pytest.approx(0.733558407)
    assert Number("lpips_diversity", "lpips", "mean_items", "1e-3", "verified judge") in states
    entries, refused = collect([Path(__file__).parent / "old" / "bundle_v1.zip"])
    assert not refused
    (claimed,) = group_tables(grouped(entries)[0])
    assert claimed.title.startswith("Claimed: ")
    assert len(claimed.columns) > 10


def test_a_bundle_that_breaks_the_reader_costs_itself_alone(shelf, tmp_path, monkeypatch):
    whole = (shelf / "strong.zip").read_bytes()
    (tmp_path / "good.zip").write_bytes(whole)
    rng = np.random.default_rng(0)
    for number in range(40):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        (tmp_path / f"bad{number}.zip").write_bytes(bytes(data))
    entries, refused = collect(sources([tmp_path]))
    assert [entry.method for entry in entries] == ["strong"]
    assert len(refused) == 40
    assert all("\n" not in reason for _, reason in refused)


def test_the_same_run_under_another_id_counts_once(shelf, tmp_path):
    good = unpacked((shelf / "weak.zip").read_bytes())
    record = json.loads(good["run.json"])
    record["id"] = record["comparable"]["run"] = "a" * 64
    again = packed(tmp_path / "again.zip", {**good, "run.json": json.dumps(record).encode()})
    entries, refused = collect([shelf / "weak.zip", again])
    assert len(entries) == 1
    assert refused == [("again.zip", "it is the same run as weak.zip")]


def test_a_table_changed_after_the_fact_is_refused(tmp_path, files):
    changed = {**files, "scores.csv": edited(files["scores.csv"], setting("value", "0.9", **MEAN))}
    with pytest.raises(Refused, match=r"'scores.csv' was changed"):
        read_bundle(packed(tmp_path / "a.zip", changed, resealed=False))


@pytest.mark.parametrize(
    "name", ["../evil.csv", "/etc/passwd", "..\\evil", "weights.bin", "thumbnails/../../x.jpg", "features/a.npy"]
)
def test_a_foreign_file_is_refused(tmp_path, files, name):
    with pytest.raises(Refused, match="is not a file of a bundle"):
        read_bundle(packed(tmp_path / "a.zip", {**files, name: b"x"}))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip"]


def test_a_missing_table_is_refused(tmp_path, files):
    rest = {name: data for name, data in files.items() if name != "items.csv"}
    with pytest.raises(Refused, match=r"'items.csv' is missing"):
        read_bundle(packed(tmp_path / "a.zip", rest))


def test_links_are_refused(tmp_path, files):
    linked = zipfile.ZipInfo("items.csv")
    linked.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(linked, "/etc/passwd")
    with pytest.raises(Refused, match="is a link"):
        read_bundle(path)
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    verify(read_bundle(folder))
    (folder / "items.csv").unlink()
    os.symlink("/etc/passwd", folder / "items.csv")
    with pytest.raises(Refused, match="holds a link"):
        read_bundle(folder)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("samples.csv", bytes(2**27 + 1))
    assert path.stat().st_size < 2**20
    with pytest.raises(Refused, match="too large"):
        read_bundle(path)


def test_a_method_that_unfolds_whatever_a_size_claims_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("samples.csv", bytes(2**20))
    with pytest.raises(Refused, match=r"samples\.csv' is packed by another method than deflate"):
        read_bundle(tmp_path / "a.zip")


def test_a_table_of_short_lines_that_become_wide_rows_is_refused(tmp_path, files):
    header = files["scores.csv"].partition(b"\n")[0]
    path = packed(tmp_path / "a.zip", {**files, "scores.csv": header + b"\nx" * 2**21})
    with pytest.raises(Refused, match=r"scores\.csv is too large: 2097152 lines of \d+ cells"):
        read_bundle(path)


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x03\x04 broken"])
def test_what_is_no_zip_is_refused(tmp_path, data):
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    with pytest.raises(Refused, match="cannot be read"):
        read_bundle(path)


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"schema": "idbench-bundle", "schema": "x"}', '{"version": NaN}', "[" * 100000]
)
def test_a_manifest_that_is_none_is_refused(tmp_path, files, text):
    with pytest.raises(Refused, match=MANIFEST):
        read_bundle(packed(tmp_path / "a.zip", {**files, MANIFEST: text.encode()}, resealed=False))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"spec": "all of it"}, "run.json: spec"),
        ({"method": {"a": 1}}, "run.json: method"),
        # Nobody sees the difference to "arc".
        ({"method": "arc\u200b"}, "run.json: method"),
        ({"items": 10**12}, "the number of items"),
        ({"id": "x"}, "run.json: id"),
        ({"more": 1}, "run.json: more"),
        ({"warnings": "all is well"}, "run.json: warnings"),
        ({"warnings": ["x" * 1001]}, "run.json: warnings"),
        ({"method": "another"}, "about the method"),
        ({"content": "a" * 64}, "about the list"),
    ],
)
def test_a_record_that_is_none_is_refused(tmp_path, files, change, reason):
    record = json.dumps({**json.loads(files["run.json"]), **change}).encode()
    with pytest.raises(Refused, match=reason):
        verify(read_bundle(packed(tmp_path / "a.zip", {**files, "run.json": record})))


@pytest.mark.parametrize(("key", "value"), [("seed", "x"), ("seed", -1), ("samples_per_item", 10**12), ("name", None)])
def test_a_protocol_that_would_break_the_arithmetic_is_refused(tmp_path, files, key, value):
    record = json.loads(files["run.json"])
    for place in (record["spec"]["protocol"], record["comparable"]["protocol"]):
        place[key] = value
    with pytest.raises(Refused, match=f"run.json: spec.protocol.{key}"):
        read_bundle(packed(tmp_path / "a.zip", {**files, "run.json": json.dumps(record).encode()}))


def changed_record(files, **fields):
    """The files with other fields in what makes the run comparable, and in the copy of the protocol."""
    record = json.loads(files["run.json"])
    record["comparable"] |= fields
    record["spec"]["protocol"] = record["comparable"]["protocol"]
    return {**files, "run.json": json.dumps(record).encode()}


def test_the_samples_of_conditions_are_those_that_its_table_has(tmp_path, files):
    count = len(read_bundle(packed(tmp_path / "a.zip", files)).samples)
    made = {"name": "detail", "content": "c" * 64, "samples": count}
    verify(read_bundle(packed(tmp_path / "b.zip", changed_record(files, conditions=made))))
    more = changed_record(files, conditions={**made, "samples": count + 1})
    with pytest.raises(Refused, match=f"it has {count} samples, its conditions say {count + 1}: rows were dropped"):
        verify(read_bundle(packed(tmp_path / "c.zip", more)))


def test_an_item_has_its_samples_under_each_prompt(tmp_path, files):
    protocol = json.loads(files["run.json"])["comparable"]["protocol"]
    prompts = {f"p{number}": "text" for number in range(protocol["samples_per_item"])}
    several = {**protocol, "samples_per_item": 1, "prompts": prompts}
    verify(read_bundle(packed(tmp_path / "a.zip", changed_record(files, protocol=several))))
    fewer = {**several, "prompts": {"p0": "text"}}
    with pytest.raises(Refused, match="rows were dropped"):
        verify(read_bundle(packed(tmp_path / "b.zip", changed_record(files, protocol=fewer))))


def test_a_deep_or_ragged_file_is_refused(tmp_path, files):
    record = json.loads(files["run.json"])
    record["environment"] = {"a": json.loads("[" * 50 + "]" * 50)}
    with pytest.raises(Refused, match="nested deeper"):
        read_bundle(packed(tmp_path / "a.zip", {**files, "run.json": json.dumps(record).encode()}))
    with pytest.raises(Refused, match="which the run doesn't have"):
        verify(read_bundle(packed(tmp_path / "a.zip", {**files, "items.csv": files["items.csv"] + b"item 0001\n"})))


def test_pictures_that_the_manifest_denies_are_refused(tmp_path, files):
    path = packed(tmp_path / "a.zip", {**files, f"thumbnails/{'a' * 20}.jpg": b"x"})
    with pytest.raises(Refused, match="says that it has none"):
        read_bundle(path)


# The leaderboard


@pytest.fixture(scope="module")
def collected(shelf):
    return collect(sources([shelf]))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Runs of three methods on one list."""
    work = tmp_path_factory.mktemp("runs")
    for name, keep in (("strong", 0.9), ("weak", 0.5), ("copy", 0.99)):
        scored(work / name, name, keep=keep)
    return work


@pytest.fixture(scope="module")
def shelf(tmp_path_factory, work):
    """Their bundles, one of a run on another list, and a forged one."""
    place = tmp_path_factory.mktemp("shelf")
    for name in ("strong", "weak", "copy"):
        (place / f"{name}.zip").write_bytes(bundle(load_run(work / name)))
    other = load_run(scored(tmp_path_factory.mktemp("other") / "other", "other", given=evaluation(items=10)))
    (place / "other.zip").write_bytes(bundle(other))
    good = unpacked((place / "weak.zip").read_bytes())
    change = setting("n_failed", "1", **MEAN)
    packed(place / "forged.zip", {**good, "scores.csv": edited(good["scores.csv"], change)})
    return place


def test_a_leaderboard_groups_orders_and_refuses(collected):
    entries, refused = collected
    assert [name for name, _ in refused] == ["forged.zip"]
    groups = grouped(entries)
    assert sorted([entry.method for entry in group.entries] for group in groups) == [
        ["other"], ["strong", "weak", "copy"],
    ]  # fmt: skip
    assert all(group.headline == "adaface" for group in groups)
    assert [group.numbers[0] for group in groups] == [Number("id_similarity", "adaface", "mean_detected")] * 2
    shown = page(groups, refused)
    assert sorted(len(table.rows) for table in shown.tables) == [1, 1, 1, 3, 3]
    assert shown.tables[-1].rows[0][0].text == "forged.zip"


def of_three(place):
    """The tables of the group of three, and their cells by number and method."""
    group = next(group for group in grouped(collect(sources([place]))[0]) if len(group.entries) == 3)
    names = [entry.method for entry in group.entries]
    tables = group_tables(group)
    numbers = sorted(group.numbers, key=lambda number: not group.is_recomputed(number))
    columns = [column for table in tables for column in list(zip(*table.rows, strict=True))[len(COUNTS) :]]
    return group, tables, {n: dict(zip(names, column, strict=True)) for n, column in zip(numbers, columns, strict=True)}


def test_the_leaderboard_marks_as_compare_does_what_it_can_compute_again(shelf, work):
    compared = compare([work / name for name in ("weak", "copy", "strong")])
    group, tables, cells = of_three(shelf)
    marked = set()
    for number in group.numbers:
        column = cells[number]
        marks = {name: cell.mark for name, cell in column.items() if cell.mark}
        expected = ranking(compared, number).marks if group.is_recomputed(number) else {}
        assert marks == expected, number
        marked |= {number.metric} if marks else set()
    assert "id_similarity" in marked
    assert "fid" not in marked
    assert [column.title for column in tables[1].columns[len(COUNTS) :]] == ["FID (inception)"]
    assert list(dict.fromkeys(column.group for column in tables[0].columns)) == [
        "", "samples", "adaface (headline)", "arcface (circular for strong, weak, copy)",
    ]  # fmt: skip
    assert MARKED in tables[0].notes
    assert 'class="best"' in render(page(grouped(collect(sources([shelf]))[0]), [])).decode()


def test_a_run_alone_has_no_mark(shelf):
    group = grouped(collect([shelf / "strong.zip"])[0])[0]
    assert {cell.mark for table in group_tables(group) for row in table.rows for cell in row} == {""}


def test_bundles_of_one_list_that_disagree_about_it_are_disputed(collected):
    entries, _ = collected
    assert all(group.disputed for group in grouped(entries))  # "other" claims the same list with 10 items
    assert not any(group.disputed for group in grouped(e for e in entries if e.method != "other"))


def test_a_run_counts_once(shelf, tmp_path):
    again = tmp_path / "again.zip"
    again.write_bytes((shelf / "weak.zip").read_bytes())
    entries, refused = collect([shelf / "weak.zip", again])
    assert len(entries) == 1
    assert refused == [("again.zip", "it is the same run as weak.zip")]


def test_the_verb_writes_page_and_csv_and_fails_where_something_was_refused(shelf, tmp_path, capsys):
    assert main(["leaderboard", str(shelf), "--to", str(tmp_path / "out")]) == 1
    assert "refused forged.zip: id_similarity[adaface].mean_detected, n_failed" in capsys.readouterr().err
    html = (tmp_path / "out/index.html").read_text()
    assert "strong" in html
    assert "forged.zip" in html
    frame = pd.read_csv(tmp_path / "out/leaderboard.csv")
    assert set(frame["checked"]) == {"recomputed", "consistent", "claimed"}
    assert set(frame["method"]) == {"strong", "weak", "copy", "other"}
    assert main(["leaderboard", str(shelf / "strong.zip"), "--to", str(tmp_path / "out")]) == 0


def test_nothing_to_collect_is_the_users_mistake(tmp_path, capsys):
    assert main(["leaderboard", str(tmp_path)]) == 2
    assert "no bundle in" in capsys.readouterr().err
    assert main(["leaderboard", str(tmp_path / "no")]) == 2


def test_the_verb_export_writes_a_bundle(tmp_path, run, capsys):
    target = tmp_path / "x.zip"
    assert main(["export", str(run.folder), "--to", str(target)]) == 0
    verify(read_bundle(target))
    assert main(["export", str(run.folder), "--to", str(target), "--thumbnails"]) == 2
    assert "--include-people" in capsys.readouterr().err
    assert main(["export", str(run.folder), "--include-people", "I have the right to"]) == 2


@pytest.mark.parametrize(("items", "failed"), [(1, 0), (1, 5), (24, 60), (24, 120), (2, 3)])
def test_odd_runs_export_and_verify(tmp_path, items, failed):
    given = evaluation(items=items)
    rows = min(failed, len(given.samples))
    run = load_run(scored(tmp_path / "run", given=given, failed=rows, metrics=ALL))
    path = tmp_path / "a.zip"
    path.write_bytes(bundle(run))
    assert np.isin(list(verify(read_bundle(path)).values()), ["recomputed", "consistent", "claimed"]).all()
