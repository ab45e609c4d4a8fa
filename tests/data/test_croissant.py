"""Descriptions of lists for programs: the official reader takes them, and they say what the file holds."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from bench.cli.data import main
from bench.data.croissant import About, describe
from bench.errors import UserError
from bench.mini.dataset import TRUTH, make

HEAD = "item,subject,role,image,sha256,width,height,gender"
LIST = f"{HEAD}\na,p,reference,a.png,,512,512,f\nb,q,reference,b.png,,256,300,\n"
ABOUT = About("mine", "two people", "CC BY 4.0", "https://example.org/mine")


@pytest.fixture
def table(tmp_path):
    (tmp_path / "list.csv").write_text(LIST)
    return tmp_path / "list.csv"


def test_it_names_the_file_by_its_hash_and_its_columns_by_their_types(table):
    found = json.loads(describe(table, ABOUT))
    [file] = found["distribution"]
    assert file["sha256"] == hashlib.sha256(LIST.encode()).hexdigest()
    assert file["contentUrl"] == "list.csv"
    types = {field["name"]: field["dataType"] for field in found["recordSet"][0]["field"]}
    assert types["width"] == "sc:Integer"
    assert types["gender"] == types["sha256"] == "sc:Text"
    assert list(types) == HEAD.split(",")


def test_it_says_whether_real_people_are_in_it(table):
    real = json.loads(describe(table, ABOUT))["rai:personalSensitiveInformation"]
    assert "biometric" in real
    assert (
        "None"
        in json.loads(describe(table, About("m", "d", "MIT", is_synthetic=True)))["rai:personalSensitiveInformation"]
    )


@pytest.mark.parametrize("kind", ["list", "world"])
def test_the_official_reader_takes_it_and_reads_the_rows(tmp_path, table, kind):
    mlc = pytest.importorskip("mlcroissant")
    if kind == "world":
        make(tmp_path / "world", 2, 1, 64)
        table = tmp_path / "world" / TRUTH
    out = table.parent / "croissant.json"
    arguments = ["--table", str(table), "--out", str(out), "--name", "mine", "--description", "d", "--licence", "MIT"]
    assert main(["croissant", *arguments, *(["--synthetic"] if kind == "world" else [])]) == 0
    dataset = mlc.Dataset(str(out))
    assert not dataset.metadata.ctx.issues.errors
    rows = list(dataset.records("photos"))
    assert len(rows) == {"list": 2, "world": 4}[kind]
    assert rows[0]["photos/role"] == b"reference"
    written = pd.read_csv(table)
    for name in written.select_dtypes("number"):
        read = np.array([row[f"photos/{name}"] for row in rows], float)
        np.testing.assert_allclose(read, written[name].to_numpy(float), rtol=1e-6)
    assert dataset.metadata.personal_sensitive_information


def test_what_is_missing_is_refused(tmp_path, table):
    with pytest.raises(UserError, match="--licence is empty"):
        describe(table, About("a", "b", " "))
    with pytest.raises(UserError, match="not a CSV file"):
        describe(tmp_path / "none.csv", ABOUT)
