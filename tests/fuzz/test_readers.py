"""A small part of `make fuzz`: seconds, the same cases every time."""

import pytest

from tests.fuzz.readers import attack, readers

CASES = 60


@pytest.mark.parametrize("reader", readers(), ids=lambda reader: reader.name)
def test_a_reader_answers_or_refuses_in_one_line(reader, tmp_path):
    reader.read((tmp_path / reader.name).write_bytes(reader.good) and tmp_path / reader.name, tmp_path / "good")
    faults = []
    for case in range(CASES):
        place = tmp_path / str(case)
        place.mkdir()
        faults.append(attack(reader, case, place))
    assert [fault for fault in faults if fault] == []
