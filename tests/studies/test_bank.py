"""A bank of embeddings: what is written, what is found in it, and what a kill or a damaged file does."""

import json

import numpy as np
import pandas as pd
import pytest

from bench.errors import UserError
from bench.metrics.functional.cosine import unit
from bench.studies import bank as banks
from bench.studies import memorisation
from bench.studies.bank import add, create, damaged, find_rows, key_of, open_bank, read_blocks
from bench.studies.memorisation import distribution, search, share_by_chance, shares_above, top_pairs
from bench.studies.nearest import Block, nearest, nothing

D = 16


def vectors(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, D)).astype(np.float32)


def names(count, word="image"):
    return [f"{word} {row}" for row in range(count)]


@pytest.fixture
def small(monkeypatch):
    """Shards and blocks of few rows, so that a test has several."""
    monkeypatch.setattr(banks, "SHARD", 10)
    monkeypatch.setattr(banks, "BLOCK", 4)


@pytest.fixture
def bank(tmp_path, small):
    return add(create(tmp_path / "bank", "toy", D), vectors(25), names(25), [f"person {row // 5}" for row in range(25)])


def brute(queries, references, k):
    """Indices and cosines of the k nearest, by sorting all."""
    cosine = np.round(unit(queries) @ unit(references).T, 9)
    order = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cosine, order, axis=1)


def stored(bank):
    return np.concatenate([block.vectors for n in range(len(bank.shards)) for block in read_blocks(bank, n)])


def test_a_bank_is_read_as_it_was_written(bank):
    again = open_bank(bank.folder)
    assert again == bank
    assert [shard.rows for shard in again.shards] == [10, 10, 5]
    assert (again.rows, again.start(2)) == (25, 20)
    rows = stored(again)
    assert rows.dtype == np.float16
    expected = vectors(25) / np.linalg.norm(vectors(25), axis=1, keepdims=True)
    np.testing.assert_allclose(rows, expected, atol=3e-4)
    starts = [block.start for n in range(3) for block in read_blocks(again, n)]
    assert starts == [0, 4, 8, 10, 14, 18, 20, 24]


def test_keys_name_nobody_and_are_found_by_who_has_the_list(bank):
    text = b"".join(path.read_bytes() for path in bank.folder.iterdir())
    assert b"image" not in text
    assert b"person" not in text
    found = find_rows(bank, np.array([0, 24, 13, -1]))
    assert found["shard"].tolist() == [0, 2, 1, -1]
    assert found["row"].tolist() == [0, 4, 3, -1]
    assert found["key"].tolist() == [*(key_of(bank, f"image {row}") for row in (0, 24, 13)), ""]
    assert found["subject"].tolist() == [*(key_of(bank, f"person {row}") for row in (0, 4, 2)), ""]
    other = create(bank.folder.parent / "other", "toy", D)
    assert key_of(other, "image 0") != key_of(bank, "image 0")


def test_an_image_is_added_once_and_one_without_a_vector_never(bank):
    rows = vectors(30)
    rows[26], rows[27] = 0, np.nan
    again = add(bank, rows, names(30), ["x"] * 30)
    assert again.rows == 28
    assert add(again, rows, names(30), ["x"] * 30) == again
    twice = add(again, vectors(2, seed=5), ["new", "new"], ["x", "x"])
    assert twice.rows == 29


def test_a_killed_add_is_taken_up_again(bank, monkeypatch):
    def killed(path, data):
        if path.name == "00004.npy":
            raise KeyboardInterrupt
        write(path, data)

    write = banks.write_atomic
    monkeypatch.setattr(banks, "write_atomic", killed)
    more = vectors(50)
    with pytest.raises(KeyboardInterrupt):
        add(bank, more, names(50), ["x"] * 50)
    monkeypatch.setattr(banks, "write_atomic", write)
    half = open_bank(bank.folder)
    assert half.rows == 35
    whole = add(half, more, names(50), ["x"] * 50)
    assert whole.rows == 50
    np.testing.assert_allclose(stored(whole), more / np.linalg.norm(more, axis=1, keepdims=True), atol=3e-4)
    assert damaged(whole) == []


def test_damage_is_found(bank):
    data = bank.vectors_file(1).read_bytes()
    bank.vectors_file(1).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    bank.keys_file(2).unlink()
    assert damaged(bank) == ["00001.npy", "00002.parquet"]
    bank.vectors_file(1).write_bytes(data[:-10])
    with pytest.raises(UserError, match=r"00001\.npy: .*bank check bank"):
        list(read_blocks(bank, 1))
    np.save(bank.vectors_file(1), np.zeros((10, D), np.float32))
    with pytest.raises(UserError, match="holds float32"):
        list(read_blocks(bank, 1))


def test_mistakes_end_in_one_line(bank, tmp_path):
    with pytest.raises(UserError, match="is a bank already"):
        create(bank.folder, "toy", D)
    with pytest.raises(UserError, match="no bank in"):
        open_bank(tmp_path)
    with pytest.raises(UserError, match="vectors of 16 numbers"):
        add(bank, np.zeros((2, 8)), names(2), names(2))
    record = json.loads((bank.folder / "bank.json").read_text())
    (bank.folder / "bank.json").write_text(json.dumps({**record, "shards": [{"rows": 1}]}))
    with pytest.raises(UserError, match="is damaged"):
        open_bank(bank.folder)
    other = create(tmp_path / "other", "another", D)
    with pytest.raises(UserError, match="these have: another, toy"):
        search(vectors(2), [bank, other], 1, tmp_path / "state")
    with pytest.raises(UserError, match="queries have 8"):
        search(np.zeros((2, 8), np.float32), [bank], 1, tmp_path / "state")


# The search


def test_two_banks_are_searched_as_one(bank, tmp_path):
    second = add(create(tmp_path / "second", "toy", D), vectors(15, seed=1), names(15, "other"), names(15, "who"))
    queries = vectors(9, seed=2)
    best = search(queries, [bank, second], 4, tmp_path / "state")
    position, cosine = brute(queries, np.concatenate([stored(bank), stored(second)]), 4)
    np.testing.assert_array_equal(best.position, position)
    np.testing.assert_array_equal(best.cosine, cosine)


def test_a_planted_copy_ranks_first_unless_its_person_is_left_out(bank, tmp_path):
    queries = np.concatenate([vectors(25)[[7]] * 3, vectors(2, seed=3)])
    best = search(queries, [bank], 2, tmp_path / "state")
    assert best.position[0, 0] == 7
    assert best.cosine[0, 0] == pytest.approx(1, abs=1e-5)
    assert top_pairs(best, 1).tolist() == [[0, 0]]
    without = search(queries, [bank], 25, tmp_path / "state", subjects=["person 1", "nobody", "person 0"])
    people = np.array([row // 5 for row in range(25)])
    assert 1 not in people[without.position[0, :20]]
    assert without.position[0, 20:].tolist() == [-1] * 5
    assert np.isnan(without.cosine[0, 20:]).all()
    assert set(without.position[1].tolist()) == set(range(25))


def test_a_query_without_a_vector_has_no_neighbour_and_a_small_bank_fewer(bank, tmp_path):
    queries = vectors(3, seed=2)
    queries[1] = np.nan
    best = search(queries, [bank], 30, tmp_path / "state")
    assert (best.position[1] == -1).all()
    assert (best.position[[0, 2], 25:] == -1).all()
    assert (best.position[[0, 2], :25] >= 0).all()


def test_a_killed_search_goes_on_at_its_shard(bank, tmp_path, monkeypatch):
    read = []

    def watched(bank, number, **options):
        read.append(number)
        if len(read) == 3:
            raise KeyboardInterrupt
        return read_blocks(bank, number, **options)

    monkeypatch.setattr(memorisation, "read_blocks", watched)
    queries = vectors(5, seed=2)
    with pytest.raises(KeyboardInterrupt):
        search(queries, [bank], 3, tmp_path / "state")
    best = search(queries, [bank], 3, tmp_path / "state")
    assert read == [0, 1, 2, 2]
    np.testing.assert_array_equal(best.position, brute(queries, stored(bank), 3)[0])
    search(queries, [bank], 3, tmp_path / "state")
    assert len(read) == 4
    search(queries, [bank], 2, tmp_path / "state")
    assert len(read) == 7


@pytest.mark.parametrize("step", [1, 3, 100])
def test_equal_rows_go_to_the_lower_position_whatever_the_blocks(step):
    rows = np.repeat(vectors(4), 25, axis=0)[np.random.default_rng(0).permutation(100)]
    queries = vectors(3, seed=4)
    parts = [Block(at, rows[at : at + step]) for at in range(0, 100, step)]
    best = nearest(queries, parts[::-1], nothing(3, 40))
    np.testing.assert_array_equal(best.position, brute(queries, rows, 40)[0])


def test_a_row_without_direction_is_nobodys_neighbour():
    rows = vectors(6)
    rows[2], rows[4] = 0, np.nan
    best = nearest(vectors(2, seed=1), [Block(0, rows)], nothing(2, 6))
    assert {2, 4}.isdisjoint(best.position.ravel().tolist())
    assert (best.position[:, 4:] == -1).all()


# The report


def test_distribution_by_hand():
    found = distribution([*np.arange(101) / 100, np.nan])
    assert found == pytest.approx({"mean": 0.5, "q50": 0.5, "q95": 0.95, "q99": 0.99, "q999": 0.999, "max": 1.0})
    assert set(distribution([np.nan]).values()) == {None}


def test_share_by_chance_grows_with_the_bank():
    assert share_by_chance(0.5, 2) == 0.75
    assert share_by_chance(1e-9, 1) == pytest.approx(1e-9, rel=1e-12)
    assert share_by_chance(1e-4, 1_000_000) > 0.999


def test_shares_above_are_counted_and_clustered():
    people = np.array(["a", "a", "b", "b", "c"], dtype=object)
    found = shares_above([0.9, 0.9, 0.1, 0.1, np.nan], people, {1e-4: 0.5, 1e-6: None}, rows=100)
    first, second = found.to_dict("records")
    assert (first["share"], first["n"], first["by_chance"]) == (0.5, 4, pytest.approx(0.00995, abs=1e-5))
    assert first["low"] < 0.5 < first["high"]
    assert pd.isna(second["share"])
    assert second["threshold"] is None or pd.isna(second["threshold"])
