"""Samples in one tar per shard are the samples in files: same bytes, same numbers, and the same care."""

import shutil
import tarfile
from pathlib import Path

import pandas as pd
import pytest

from bench.errors import UserError
from bench.exchange.public import public
from bench.hashing import sha256_bytes
from bench.images import read_bytes
from bench.report.frames import load_run
from bench.report.grids import has_images, sample_image
from bench.report.page.samples import samples
from bench.report.thumbnails import thumbnail
from bench.sample_files import PART, PLACE, image_of, key_of
from bench.spec import from_mapping
from bench.stages import generate
from bench.stages.plan import load
from bench.stages.run import run_stages
from bench.store import ShardTable, shard_table
from bench.studies.user_study.make import stimulus
from tests.e2e.commands import assert_same, tables
from tests.guard import world

STAGES = ("generate", "extract", "score")


def spec_in(folder, samples, method="wobble", **execution):
    """Three people with three samples each, in batches of three and shards of two people; one sample fails."""
    world.spec_of(folder, folder / "runs")
    plain = world.composed(folder, folder / "runs")
    plain["method"] = {"name": method, "card": {"relations": {"*": "none"}}}
    plain["evaluator"] |= {"landmarker": None, "parser": None, "extractors": {}}
    plain["execution"] |= {"shard_size": 2, "samples": samples, **execution}
    return from_mapping(plain)


def run(folder, samples, stages=("generate",), **execution):
    return Path(run_stages(spec_in(folder, samples, **execution), stages).folder)


@pytest.fixture(scope="module")
def in_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    return folder, run(folder, "files", STAGES)


@pytest.fixture(scope="module")
def in_tars(tmp_path_factory, in_files):
    """The same run in tars; it shares the people and what was found in them."""
    folder = tmp_path_factory.mktemp("tars")
    shutil.copytree(in_files[0], folder, dirs_exist_ok=True)
    shutil.rmtree(folder / in_files[1].relative_to(in_files[0]))
    return folder, run(folder, "tar", STAGES)


@pytest.fixture
def begun(in_tars, tmp_path):
    """A folder with the people and what was found in them, and no run."""
    shutil.copytree(in_tars[0], tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / in_tars[1].relative_to(in_tars[0]))
    return tmp_path


@pytest.fixture
def copied(in_tars, tmp_path):
    shutil.copytree(in_tars[0], tmp_path, dirs_exist_ok=True)
    return tmp_path, tmp_path / in_tars[1].relative_to(in_tars[0])


def made(folder):
    return shard_table(folder, "samples").read(2)


def images(folder):
    """(item, index) -> bytes of each sample, by the rows of the table."""
    rows = made(folder).to_dict("records")
    places = {(row["item"], row["index"]): image_of(folder, row) for row in rows}
    return {sample: read_bytes(image) for sample, image in places.items() if image is not None}


def tars(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "samples").iterdir())}


def test_the_numbers_and_images_are_those_of_files(in_files, in_tars):
    one, other = tables(in_files[1]), tables(in_tars[1])
    assert [*one] == [*other]
    for name, frame in one.items():
        assert not {*PART} & {*frame}
        left = other[name].drop(columns=list(PLACE), errors="ignore")
        pd.testing.assert_frame_equal(frame.drop(columns="path", errors="ignore"), left, check_exact=True, obj=name)
    assert images(in_files[1]) == images(in_tars[1])


def test_pages_grids_exports_and_studies_show_the_same_images(in_files, in_tars, tmp_path):
    shown = []
    for kind, (_, folder) in {"files": in_files, "tar": in_tars}.items():
        whole = load_run(folder)
        for name, one in {"page": whole, "export": public(whole, pictures=True)}.items():
            samples({"run": one}, tmp_path / kind / name)
        thumbnails = {path.name: path.read_bytes() for path in (tmp_path / kind / "page").rglob("*.jpg")}
        assert len(thumbnails) == len(images(folder)) + 3
        assert [*thumbnails] == [path.name for path in (tmp_path / kind / "export").rglob("*.jpg")]
        assert has_images(whole)
        grid = [sample_image(whole, row) for _, row in whole.samples.iterrows()]
        tiles = [None if image is None else image.tobytes() for image in grid]
        shown.append((thumbnails, tiles, stimulus(image_of(folder, whole.samples.iloc[1]), 64, generated=True)))
    assert shown[0] == shown[1]


def test_a_shard_is_one_tar_with_the_names_of_webdataset(in_tars):
    folder = in_tars[1]
    rows = made(folder)
    assert sorted(tars(folder)) == ["00000.tar", "00001.tar"]
    assert not list(folder.rglob("*.png"))
    kept = rows[rows["path"] != ""]
    members = []
    for path in sorted((folder / "samples").iterdir()):
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                members.append((info.name, sha256_bytes(tar.extractfile(info).read())))
                assert (info.mtime, info.uid, info.gid, info.uname, info.mode) == (0, 0, 0, "", 0o644)
    keys = load(folder).keys
    assert members == [(f"{keys[row['item']]}.{row['index']}.png", row["sha256"]) for row in kept.to_dict("records")]
    assert {key_of(name) for name, _ in members} == {*keys.values()}
    # The sample that failed has no place.
    assert len(rows) == len(kept) + 1
    assert rows.loc[rows["path"] == "", list(PART)].isna().all(axis=None)


class Killed(BaseException):
    """The process ends."""


def test_a_run_killed_between_a_tar_and_its_rows_ends_the_same(in_tars, begun, monkeypatch):
    write = ShardTable.write

    def killed(table, shard, frame):
        if table.folder.name == "samples":
            raise Killed
        write(table, shard, frame)

    with monkeypatch.context() as patched:
        patched.setattr(ShardTable, "write", killed)
        with pytest.raises(Killed):
            run(begun, "tar")
    folder = begun / in_tars[1].relative_to(in_tars[0])
    assert [*tars(folder)] == ["00000.tar"]
    assert len(list(folder.glob("tables/samples/.parts/00000/*.tar"))) == 2
    # A batch whose tar is damaged is made again.
    (folder / "tables/samples/.parts/00000/00001.tar").write_bytes(b"")
    assert run(begun, "tar") == folder
    assert tars(folder) == tars(in_tars[1])
    assert not list(folder.rglob(".parts"))
    pd.testing.assert_frame_equal(made(folder), made(in_tars[1]), check_exact=True)


@pytest.mark.parametrize(("first", "then"), [("files", "tar"), ("tar", "files")])
def test_the_setting_may_change_in_the_middle_of_a_shard(in_tars, begun, monkeypatch, first, then):
    make = generate._make
    batches = []

    def killed(*args):
        batches.append(args)
        if len(batches) == 2:
            raise Killed
        return make(*args)

    with monkeypatch.context() as patched:
        patched.setattr(generate, "_make", killed)
        with pytest.raises(Killed):
            run(begun, first)
    folder = run(begun, then)
    assert images(folder) == images(in_tars[1])
    assert made(folder)["offset"].notna().sum() == (3 if first == "tar" else 5)
    if first == "files":
        run(begun, then, ("extract", "score"))
        scores = [pd.read_parquet(one / "scores" / "scores.parquet") for one in (folder, in_tars[1])]
        pd.testing.assert_frame_equal(*scores, check_exact=True)


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    else:
        # In the first image, or in the header before it.
        data[3 if how == "header" else 700] ^= 1
        path.write_bytes(data)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "00000.tar, bytes 512 to {}, is not the image that was made (5 in its shard); made again"),
        ("truncated", "is not the image that was made ("),
        ("flipped", "00000.tar, bytes 512 to {}, is not the image that was made (1 in its shard); made again"),
        ("header", "00000.tar is damaged between its images; written again"),
    ],
)
def test_a_damaged_tar_is_named_and_made_again(in_tars, copied, capsys, how, words):
    folder, one = copied
    damage(one / "samples" / "00000.tar", how)
    run(folder, "tar", STAGES if how == "flipped" else ("generate",))
    last = 511 + int(made(in_tars[1])["length"].iloc[0])
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ") and ".tar" in line]
    assert words.format(last) in line
    assert tars(one) == tars(in_tars[1])
    pd.testing.assert_frame_equal(made(one), made(in_tars[1]), check_exact=True)
    if how == "flipped":
        assert_same(in_tars[1], one)


def test_failed_samples_are_made_again_into_another_tar(in_tars, copied, monkeypatch):
    folder, one = copied
    monkeypatch.setattr(world.Wobble, "_one", lambda self, asked: world.Output(image=asked.reference.image))
    run(folder, "tar", retry="errors")
    after, before = images(one), images(in_tars[1])
    assert {*after} - {*before} == {("s001", 2)}
    # The batch with the failure is made anew; the others are kept.
    assert [sample for sample in before if after[sample] != before[sample]] == [("s001", 0), ("s001", 1)]
    assert all(sha256_bytes(data) in {*made(one)["sha256"]} for data in after.values())
    assert tars(one)["00001.tar"] == tars(in_tars[1])["00001.tar"]


@pytest.mark.exhaustive
def test_two_workers_write_the_same_tars(in_tars, begun):
    one = run(begun, "tar", method="copy")
    alone, rows = tars(one), made(one)
    run(begun, "tar", method="copy", workers=2, on_existing="always")
    assert tars(one) == alone
    pd.testing.assert_frame_equal(made(one), rows, check_exact=True)


def test_a_row_cannot_lead_out_of_the_folder(tmp_path):
    for path in ("../x.png", "a/../../x.png", "/x.png"):
        with pytest.raises(UserError, match="lies outside of that folder"):
            image_of(tmp_path, {"path": path})


def test_a_row_of_a_table_that_was_changed_is_no_image(in_tars):
    [row, *_] = made(in_tars[1]).to_dict("records")
    assert thumbnail(image_of(in_tars[1], row)) is not None
    for offset, length in ((-1, 10), (512, 0), (512, 2**40), (10**9, 10)):
        assert thumbnail(image_of(in_tars[1], {**row, "offset": offset, "length": length})) is None
