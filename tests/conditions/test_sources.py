"""The sources that come with the project, on vectors that are worked out by hand."""

import json

import numpy as np
import pandas as pd
import pytest

from bench.conditions.averaging import Averaging, AveragingOptions
from bench.conditions.components import Components, ComponentsOptions
from bench.conditions.default import Default, DefaultOptions
from bench.conditions.interpolation import Interpolation, InterpolationOptions, partners
from bench.conditions.protocol import Inputs
from bench.conditions.table import Table, TableOptions
from bench.errors import UserError
from bench.identities import fitting

ITEMS = pd.DataFrame({"item": ["a", "b", "c"], "subject": ["A", "B", "C"], "image": ["a.png", "b.png", "c.png"]})
VECTORS = {"a.png": np.float32([2, 0]), "b.png": np.float32([0, 3]), "a2.png": np.float32([0, 4])}


def inputs(items=ITEMS, prompts=("neutral",), **changes):
    given = {
        "items": items,
        "references": {item: (f"{item}.png",) for item in items["item"]},
        "samples_per_item": 2,
        "prompts": {name: name for name in prompts},
        "seed": 0,
        "embeddings": lambda name: VECTORS,
    }
    return Inputs(**{**given, **changes})


def test_a_prompt_has_the_seeds_that_it_has_alone():
    both = Default(DefaultOptions()).table(inputs(prompts=("neutral", "smile")))
    alone = Default(DefaultOptions()).table(inputs(prompts=("smile",)))
    assert len(both) == 12
    pd.testing.assert_frame_equal(both[both["prompt_id"] == "smile"].reset_index(drop=True), alone)


def test_a_path_leads_from_an_item_to_another_and_its_points_share_their_noise():
    found = Interpolation(InterpolationOptions(steps=3)).table(inputs(ITEMS[:2]))
    path = found[found["item"] == "a"]
    assert path["share"].tolist() == [0, 0, 0.5, 0.5, 1, 1]
    assert path["seed_index"].tolist() == [0, 1, 0, 1, 0, 1]
    assert set(path["other_item"]) == {"b"}
    np.testing.assert_allclose(np.stack(path["embedding"])[::2], [[1, 0], [0.5**0.5] * 2, [0, 1]])


def test_slerp_goes_at_even_speed():
    found = Interpolation(InterpolationOptions(steps=4, path="slerp")).table(inputs(ITEMS[:2]))
    vector = found.loc[(found["item"] == "a") & (found["share"] == 1 / 3), "embedding"].iloc[0]
    np.testing.assert_allclose(vector, [3**0.5 / 2, 0.5])


def test_an_item_without_a_face_has_no_vector_and_is_nobodys_other():
    found = Interpolation(InterpolationOptions(steps=2)).table(inputs())
    assert found.loc[found["item"] == "c", "embedding"].isna().all()
    assert set(found.loc[found["item"] != "c", "other_item"]) == {"a", "b"}


def test_a_partner_is_another_subject():
    items = pd.DataFrame({"item": list("abcdefg"), "subject": list("AABBCCD")})
    subject = dict(zip(items["item"], items["subject"], strict=True))
    for seed in range(5):
        found = partners(items, seed)
        assert sorted(found.values()) == sorted(items["item"])
        assert all(subject[one] != subject[other] for one, other in found.items())
    assert len({tuple(partners(items, seed).values()) for seed in range(20)}) > 1
    with pytest.raises(UserError, match="of 2 items with a face 2 are of one subject"):
        partners(items[:2], 0)


@pytest.mark.parametrize(("how", "expected"), [("raw", [2, 4]), ("unit", [1, 1])])
def test_an_average_is_that_of_the_first_references(how, expected):
    asked = inputs(ITEMS[:1], references={"a": ("a.png", "a2.png", "lost.png")})
    found = Averaging(AveragingOptions(count=2, how=how)).table(asked)
    np.testing.assert_allclose(np.stack(found["embedding"]), [np.array(expected) / np.linalg.norm(expected)] * 2)
    assert Averaging(AveragingOptions(count=3, how=how)).table(asked)["averaged"].tolist() == [2, 2]


def test_an_average_of_more_references_than_there_are_says_how_to_get_them():
    with pytest.raises(UserError, match=r"no item has more than 1 references; dataset.references_per_item=2"):
        Averaging(AveragingOptions(count=2)).table(inputs())


CELLS = {
    "item": ["NA", "001"],
    "embedding": ["vectors.npy[1]", "[1, 2]"],
    "expression": ["one.npy", None],
    "references": ['["a, b.png", "c.png"]', "a.png"],
    "control": ["maps/n.png", None],
    "components": [3, None],
    "share": [0.5, 1.0],
}


def written(folder, suffix):
    path = folder / f"table{suffix}"
    frame = pd.DataFrame(CELLS)
    if suffix == ".csv":
        frame.assign(components=["3", ""]).to_csv(path, index=False)
    elif suffix == ".parquet":
        frame.to_parquet(path)
    else:
        path.write_text("\n\n".join(json.dumps({k: v[row] for k, v in CELLS.items()}) for row in range(2)))
    return Table(TableOptions(file=path))


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_a_table_of_ones_own(tmp_path, suffix):
    np.save(tmp_path / "vectors.npy", np.float32([[1, 2], [3, 4]]))
    np.save(tmp_path / "one.npy", np.float32([5, 6]))
    found = written(tmp_path, suffix).table(inputs())
    assert found["item"].tolist() == ["NA", "001"]
    assert [list(v) for v in found["embedding"]] == [[3, 4], [1, 2]]
    assert list(found["expression"][0]) == [5, 6]
    assert found["expression"][1] is None
    assert found["references"].tolist() == [("a, b.png", "c.png"), ("a.png",)]
    assert found["control"].tolist() == [tmp_path / "maps" / "n.png", None]
    assert found["components"].tolist() == [3, None]
    assert found["share"].tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    ("cell", "message"),
    [("vectors.npy[2]", "has 2 rows"), ("no.npy", "cannot be read as .npy"), ("[1,", "is not JSON")],
)
def test_what_a_cell_names_must_be_there(tmp_path, cell, message):
    np.save(tmp_path / "vectors.npy", np.float32([[1, 2], [3, 4]]))
    (tmp_path / "t.csv").write_text(f'item,embedding\na,"{cell}"\n')
    with pytest.raises(UserError, match=message):
        Table(TableOptions(file=tmp_path / "t.csv")).table(inputs())


def test_a_table_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"must end in one of \.csv, \.parquet, \.jsonl"):
        Table(TableOptions(file=tmp_path / "t.xlsx")).table(inputs())
    (tmp_path / "t.jsonl").write_text("{")
    with pytest.raises(UserError, match=r"cannot read conditions\.file"):
        Table(TableOptions(file=tmp_path / "t.jsonl")).table(inputs())


def test_no_pickle_is_read(tmp_path):
    np.save(tmp_path / "bad.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "t.csv").write_text("item,embedding\na,bad.npy\n")
    with pytest.raises(UserError, match=r"cannot be read as \.npy"):
        Table(TableOptions(file=tmp_path / "t.csv")).table(inputs())


def fitted(folder, vectors, recogniser="arcface", length="raw"):
    """A fit on vectors, each an image of its own person."""
    rows = np.asarray(vectors, np.float64)

    def blocks():
        yield rows, np.arange(len(rows))

    fitting.write(blocks, fitting.FitOptions(length=length), folder, {"recogniser": recogniser})
    return folder


def test_embeddings_are_rebuilt_from_their_first_components(tmp_path):
    # Mean (0, 2); the first component is (1, 0), the second (0, 1).
    fit = fitted(tmp_path, [[4, 2], [-4, 2], [0, 3], [0, 1]])
    found = Components(ComponentsOptions(fit=fit, kept=(1, 2))).table(inputs(ITEMS[:2]))
    assert found["kept"].tolist() == [1, 1, 2, 2] * 2
    assert found["seed_index"].tolist() == [0, 1] * 4
    # a is (2, 0): with one component it is (2, 2); b is (0, 3): its first component alone gives the mean.
    np.testing.assert_allclose(np.stack(found["embedding"])[::2], [[0.5**0.5] * 2, [1, 0], [0, 1], [0, 1]], atol=1e-12)


def test_a_fit_on_unit_vectors_rebuilds_unit_vectors(tmp_path):
    fit = fitted(tmp_path, [[3, 4], [3, -4], [5, 0]], length="unit")
    found = Components(ComponentsOptions(fit=fit, kept=(1,))).table(inputs(ITEMS[:1]))
    # Mean (2.2 / 3, 0) and first component (0, 1): of (1, 0) only the mean is left.
    np.testing.assert_allclose(found["embedding"][0], [1, 0], atol=1e-12)


def test_components_of_an_item_without_a_face(tmp_path):
    found = Components(ComponentsOptions(fit=fitted(tmp_path, np.eye(2)), kept=(1,))).table(inputs())
    assert found.loc[found["item"] == "c", "embedding"].isna().all()


def test_a_fit_that_does_not_fit_is_refused(tmp_path):
    fit = fitted(tmp_path, np.eye(2), recogniser="judge")
    with pytest.raises(UserError, match=r"is of recogniser judge, not of conditions\.recogniser=arcface"):
        Components(ComponentsOptions(fit=fit)).table(inputs())
    with pytest.raises(UserError, match="512 components; allowed are 1 to 2"):
        Components(ComponentsOptions(fit=fit, recogniser="judge", kept=(512,))).table(inputs())
