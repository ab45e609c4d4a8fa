"""Fig. 11: the samples that come closest to somebody of a bank, next to that face."""

import numpy as np
import pytest

from bench.cli.configured import composed
from bench.images import write_png
from bench.mini.world import render, sample_identities, sample_scenes
from bench.paper.pairs import MOST, closest, copy_scores, drawing, files_of, shown_files, table_of
from bench.report.frames import load_run
from bench.spec import resolve
from bench.studies.bank import add, create
from bench.studies.nearest import Neighbours
from tests.report.world import write_run


def faces(count):
    return render(sample_scenes(sample_identities(3, count), 3, frontal=0.9), 96).images


def test_a_copied_image_is_first_and_has_copy_score_0():
    one, other = faces(2)
    found = copy_scores(resolve(composed("config", [])), [(one, one), (one, other), (one, None), (0 * one, one)])
    [(same, different, absent, no_face)] = found.values()
    assert same == 0
    assert different > 0.01
    assert absent is no_face is None
    cosine = np.array([0.3, 1.0, 0.5, np.nan, *[0.1] * 9])
    pairs = closest(Neighbours(np.array([5, 7, 9, -1, *range(9)])[:, None], cosine[:, None]), np.zeros(13))
    assert [(pair.row, pair.position) for pair in pairs[:3]] == [(1, 7), (2, 9), (0, 5)]
    assert len(pairs) == MOST


def test_the_file_of_a_row_is_found_by_its_key_in_the_right_bank(tmp_path):
    """Two banks know the same name: the position decides which of them is meant."""
    vectors = np.eye(2, 4, dtype=np.float32)
    banks = [
        add(create(tmp_path / name, "toy", 4), vectors, images, ["p", "q"])
        for name, images in (("one", ["a/x.png", "a/y.png"]), ("two", ["a/y.png", "gone.png"]))
    ]
    root = tmp_path / "images"
    for name, value in (("a/x.png", 10), ("a/y.png", 20), ("b/z.png", 30)):
        write_png(np.full((4, 4, 3), value, np.uint8), root / name, {})
    assert files_of(banks, [0, 2, 3], root) == {0: root / "a/x.png", 2: root / "a/y.png"}
    show = shown_files(banks, [0, 2, 3], root)
    assert [None if (image := show(k)) is None else int(image[0, 0, 0]) for k in (0, 2, 3)] == [10, 20, None]


def test_pairs_are_shown_next_to_each_other(tmp_path):
    run = load_run(write_run(tmp_path, "arc2face", items=6, metrics=["id_similarity"]))
    n = len(run.samples)
    pairs = closest(Neighbours(np.arange(n)[:, None], np.linspace(1, 0, n)[:, None]), np.full(n, 0.25))
    table = table_of(run, pairs, {"lpips": [0.0] * len(pairs)})
    first = run.samples.iloc[0]
    assert table.rows[0][0].text == f"{first['item']}, {first['index']}"
    assert [cell.value for cell in table.rows[0][1:]] == [1.0, pytest.approx(0.25), 0.0]
    picture = drawing(run, pairs, [None] * len(pairs))
    assert picture.kind.wide
    texts = [text.get_text() for text in picture.figure.axes[0].texts]
    assert "input, 0.25" in texts
    assert "bank, 1.00" in texts
    assert texts.count("no image") == len(pairs)
