"""Writes are whole or absent, batches are never made twice, a lock ends with its process."""

import errno
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from bench import store
from bench.errors import UserError


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "a" / "file.json"
    store.write_json(path, {"n": 1})

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"disk of .* is full"):
        store.write_json(path, {"n": 2})
    assert store.read_json(path) == {"n": 1}
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_really_full_disk_is_told(tmp_path):
    """A file-size limit of the operating system stands in for the full disk: the same path of errors."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "from pathlib import Path; from bench import store;"
        "store.write_atomic(Path(sys.argv[1]), bytes(100_000))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "big")], capture_output=True, text=True)
    assert done.returncode != 0
    assert "cannot write" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_same_frame_gives_the_same_bytes(tmp_path):
    frame = pd.DataFrame({"item": ["a", "é\n"], "value": [0.1, None], "feature": [[1.0, 2.0], None]})
    store.write_table(tmp_path / "a.parquet", frame)
    store.write_table(tmp_path / "b.parquet", frame.copy())
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_features_take_the_space_of_their_numbers(tmp_path):
    rows = np.random.default_rng(0).standard_normal((80, 512)).astype(np.float32)
    words = {"of": [["a"]] * 80, "at": [{"x": "a", "y": 1.0}] * 80}
    store.write_table(tmp_path / "t.parquet", pd.DataFrame({"score": [0.5] * 80, "feature": list(rows), **words}))
    group = pq.ParquetFile(tmp_path / "t.parquet").metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    assert {c.path_in_schema: "RLE_DICTIONARY" in c.encodings for c in columns} == {
        "score": True, "feature.list.element": False, "of.list.element": True, "at.x": True, "at.y": True,
    }  # fmt: skip
    assert columns[1].total_compressed_size < rows.nbytes
    np.testing.assert_array_equal(np.stack(store.read_table(tmp_path / "t.parquet")["feature"]), rows)


def test_a_column_is_read_by_its_whole_name(tmp_path):
    frame = pd.DataFrame({"a": [1], "a.b": [2], "s": [{"x": 3}]})
    store.write_table(tmp_path / "t.parquet", frame)
    for asked, given in (
        (["a.b", "a", "c"], ["a.b", "a"]), (["a"], ["a"]), (["s.x"], []), (["s"], ["s"]), ([], []),
        (None, ["a", "a.b", "s"]),
    ):  # fmt: skip
        assert list(store.read_arrow(tmp_path / "t.parquet", asked).column_names) == given


def test_a_committed_batch_goes_when_its_shard_is_whole(tmp_path):
    table = store.shard_table(tmp_path, "samples")
    assert not table.has_batch(3, 0, [0])
    table.keep_batch(3, 0, pd.DataFrame({"row": [0]}))
    assert table.has_batch(3, 0, [0])
    assert list(table.read_batch(3, 0)["row"]) == [0]
    table.write(3, pd.DataFrame({"row": [0]}))
    assert not (table.folder / ".parts" / "00003").exists()
    assert table.has(3)
    assert not table.has(2)


def test_missing_shards_are_named(tmp_path):
    table = store.shard_table(tmp_path, "samples")
    table.write(0, pd.DataFrame({"row": [0]}))
    with pytest.raises(UserError, match="lacks 2 of 3 shards"):
        table.read(3)


def test_shards_are_joined_whatever_is_in_them(tmp_path):
    """In one a column has nothing but gaps, in one its numbers are whole, one lacks it."""
    table = store.shard_table(tmp_path, "faces")
    shards = [
        {"row": [0], "note": [None], "score": [1], "box": [None]},
        {"row": [1, 2], "note": ["far", None], "score": [0.5, None], "box": [[1.0, 2.0], None]},
        {"row": [3], "note": ["near"]},
    ]
    for number, columns in enumerate(shards):
        table.write(number, pd.DataFrame(columns))
    whole = table.read(3)
    assert whole["row"].tolist() == [0, 1, 2, 3]
    assert whole["note"].fillna("nothing").tolist() == ["nothing", "far", "nothing", "near"]
    np.testing.assert_array_equal(whole["score"], [1, 0.5, np.nan, np.nan])
    assert [list(box) for box in whole["box"].dropna()] == [[1.0, 2.0]]
    assert table.read(range(1, 3), ["row", "score"]).to_dict("list")["row"] == [1, 2, 3]


def test_a_damaged_table_is_an_error_that_says_what_to_do(tmp_path):
    path = tmp_path / "t.parquet"
    store.write_table(path, pd.DataFrame({"row": range(1000)}))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"cannot read .*delete it"):
        store.read_table(path)


def test_a_batch_of_other_rows_is_dropped(tmp_path):
    table = store.shard_table(tmp_path, "samples")
    table.keep_batch(0, 0, pd.DataFrame({"row": [0, 1]}))
    assert not table.has_batch(0, 0, [0, 1, 2])
    assert not table.has_batch(0, 0, [0, 1])


def test_a_flipped_bit_of_a_table_is_never_read_as_other_numbers(tmp_path):
    """Without a checksum 92 of 200 single bits came back as other numbers."""
    path = tmp_path / "t.parquet"
    rng = np.random.default_rng(0)
    store.write_table(path, pd.DataFrame({"row": range(50), "value": rng.normal(size=50)}))
    good = path.read_bytes()
    for at in rng.integers(0, len(good) * 8, 100):
        data = bytearray(good)
        data[at // 8] ^= 1 << (at % 8)
        path.write_bytes(data)
        with pytest.raises(UserError, match="it is not what was written there; delete it"):
            store.read_table(path)


def test_a_kill_between_checksum_and_table_leaves_a_table_that_is_read(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    store.write_table(path, pd.DataFrame({"row": [1]}))
    write = store.write_atomic
    monkeypatch.setattr(store, "write_atomic", lambda place, data: place != path and write(place, data))
    for row in (2, 3):
        store.write_table(path, pd.DataFrame({"row": [row]}))
    assert list(store.read_table(path)["row"]) == [1]


def test_a_table_without_a_checksum_is_read(tmp_path):
    pd.DataFrame({"row": [1]}).to_parquet(tmp_path / "t.parquet")
    assert list(store.read_table(tmp_path / "t.parquet")["row"]) == [1]


HOLD = """
import sys, time
from pathlib import Path
from bench.store import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
TAKE = """
import sys
from pathlib import Path
from bench.store import locked
with locked(Path(sys.argv[1])):
    print("mine", flush=True)
"""


def test_a_second_process_says_who_holds_the_folder_and_goes_on_when_that_one_is_killed(tmp_path):
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert first.stdout.readline() == "held\n"
    second = subprocess.Popen(
        [sys.executable, "-c", TAKE, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert f"process {first.pid}" in second.stderr.readline()
    time.sleep(0.2)
    assert second.poll() is None
    first.send_signal(signal.SIGKILL)
    first.wait()
    out, _ = second.communicate(timeout=20)
    assert out == "mine\n"
