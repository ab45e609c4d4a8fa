"""What a source of conditions promises (`bench.testing`): those that come with the project."""

import numpy as np
import pandas as pd
import pytest

from bench import registry
from bench.conditions.default import DefaultOptions
from bench.errors import UserError
from bench.identities import fitting
from bench.identities.people import SampleOptions, sample
from bench.testing import conditions_contract
from bench.testing.conditions import EMBEDDING
from bench.testing.images import PEOPLE

SOURCES = sorted(registry.BUILT_IN["conditions"])
PROMISES = [*conditions_contract(registry.get("conditions", "default"), {})]


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    """A fit on embeddings as long as those of the contract's people."""
    folder = tmp_path_factory.mktemp("fit")
    rows = np.random.default_rng(0).normal(size=(20, EMBEDDING))
    origin = {"recogniser": "arcface"}
    fitting.write(lambda: iter([(rows, np.arange(20))]), fitting.FitOptions(), folder, origin)
    return folder


@pytest.fixture
def values(tmp_path, fit, monkeypatch):
    """Options of a source: `table` reads a file with a row for each item, `components` a fit, `identities` people."""
    rows = {"item": PEOPLE, "components": [3, 5, 8], "friend_item": PEOPLE[::-1], "note": ["a", "b", "c"]}
    pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    # The contract's items have names of their own.
    monkeypatch.setattr("bench.conditions.identities.person_name", lambda number: PEOPLE[number])
    drawn = SampleOptions(groups=((len(PEOPLE), 2),), candidates=20, threshold=0.9)
    return {
        "table": {"file": tmp_path / "table.csv"},
        "components": {"fit": fit, "kept": (2, 512)},
        "identities": {"people": sample(fit, drawn, tmp_path / "people").folder},
    }


@pytest.mark.parametrize("promise", PROMISES)
@pytest.mark.parametrize("name", SOURCES)
def test_a_source(name, promise, values):
    conditions_contract(registry.get("conditions", name), values.get(name, {}))[promise]()


def source(table, version=1):
    """The class of a source whose table is what the function makes of its inputs."""
    members = {
        "Options": DefaultOptions,
        "version": version,
        "__init__": lambda self, options: None,
        "table": lambda self, inputs: table(inputs),
    }
    return type("Source", (), members)


def with_a_face(inputs):
    known = inputs.embeddings("arcface")
    return inputs.items.loc[inputs.items["image"].isin(known), ["item"]]


def writes(inputs):
    inputs.items["mine"] = 1
    return inputs.items[["item"]]


COUNT = iter(range(100))
BROKEN = {
    "has_a_version": source(lambda inputs: inputs.items[["item"]], version="2"),
    "answers_for_people_without_a_face": source(with_a_face),
    "names_other_items_in_columns_that_say_so": source(lambda inputs: inputs.items[["item"]].assign(friend="ann")),
    "gives_the_same_table_again": source(lambda inputs: inputs.items[["item"]].assign(seed_index=next(COUNT))),
    "leaves_its_inputs_alone": source(writes),
}
"""Promise -> a source that breaks it."""


@pytest.mark.parametrize("promise", BROKEN)
def test_a_broken_promise_is_noticed(promise):
    with pytest.raises((AssertionError, UserError)):
        conditions_contract(BROKEN[promise], {})[promise]()
