"""What is written is read again, whatever it is: lists of pairs, verification sets, records, names of processes."""

import pickle
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from bench.facesets import recordio
from bench.names import fit_for_a_path
from bench.processes import Process, named
from bench.recognition.pairs import open_pairs, write_list
from bench.store import read_json, read_table, write_record, write_table

# All of Unicode takes hypothesis seconds to list.
TEXT = st.text("aZ09 \"',;=+-@#~_./\\\n\t\x00\x1b\x7f\u0085\u2028\u202e\ufeffé名😀", max_size=12)
NAMES = TEXT.filter(bool)
CELLS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | TEXT
JSON = st.recursive(CELLS, lambda part: st.lists(part) | st.dictionaries(TEXT, part), max_leaves=10)


def folder():
    return tempfile.TemporaryDirectory(prefix="idbench-properties-")


@given(st.lists(st.tuples(NAMES, NAMES, st.booleans()), min_size=1, max_size=8))
def test_a_list_of_pairs_is_read_as_it_was_written(pairs):
    with folder() as place:
        path = Path(place) / "mine.csv"
        write_list(path, pairs)
        found = open_pairs(path)
    assert found.same.tolist() == [same for *_, same in pairs]
    assert list(found.images) == [path.parent / name for first, second, _ in pairs for name in (first, second)]


@given(
    st.lists(st.tuples(st.binary(min_size=1), st.binary(min_size=1), st.booleans()), min_size=1, max_size=6),
    st.integers(2, 4),
    st.sampled_from([list, lambda labels: np.array(labels), lambda labels: [np.bool_(label) for label in labels]]),
)
def test_a_verification_set_is_read_as_it_was_pickled(pairs, protocol, labels):
    images = [image for first, second, _ in pairs for image in (first, second)]
    with folder() as place:
        path = Path(place) / "mine.bin"
        path.write_bytes(pickle.dumps((images, labels([same for *_, same in pairs])), protocol))
        found = open_pairs(path)
    assert list(found.images) == images
    assert found.same.tolist() == [same for *_, same in pairs]


@given(st.lists(st.lists(st.lists(st.binary(min_size=1) | st.just(recordio.MAGIC)).map(b"".join), max_size=4)))
def test_records_are_read_as_they_were_written(identities):
    items = [(k, image) for k, images in enumerate(filter(None, identities)) for image in images if image]
    items = [(sorted({k for k, _ in items}).index(k), image) for k, image in items]
    with folder() as place:
        recordio.write(Path(place), items)
        assert list(recordio.images(Path(place) / "train.rec")) == items


@given(st.dictionaries(TEXT, JSON))
def test_a_record_is_read_as_it_was_written(record):
    with folder() as place:
        path = Path(place) / "run.json"
        for _ in range(2):
            write_record(path, record)
            assert read_json(path) == record


@given(st.lists(st.tuples(TEXT, st.integers(-(2**63), 2**63 - 1), st.floats())))
def test_a_table_is_read_as_it_was_written(rows):
    frame = pd.DataFrame(rows, columns=["item", "row", "value"]).astype({"item": "str", "row": "int64", "value": float})
    with folder() as place:
        write_table(Path(place) / "0.parquet", frame)
        found = read_table(Path(place) / "0.parquet")
    assert found["item"].tolist() == frame["item"].tolist()
    assert found["row"].tolist() == frame["row"].tolist()
    np.testing.assert_array_equal(found["value"], frame["value"])


@given(st.text("az09.-", min_size=1), st.integers(0, 2**22), st.integers(0, 2**40), TEXT)
def test_a_process_is_known_by_its_name(host, pid, start, rest):
    process = Process(host, pid, start)
    assert named(f"{process.name}~{rest}") == process


@given(TEXT | st.text("aé名.", max_size=120))
def test_a_name_that_fits_stays_in_its_folder(name):
    try:
        fit_for_a_path(name)
    except ValueError:
        return
    assert (Path("/a") / name).parent == Path("/a")
    assert name.isprintable()
    assert len(name.encode()) <= 100
