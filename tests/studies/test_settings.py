"""`key=value` words: what is read, and what a mistake is answered with."""

from pathlib import Path

import pytest
from pydantic import Field

from bench.cli.settings import Names, Settings, parser, read_settings, split_words
from bench.errors import UserError


class Toy(Settings):
    folder: Path = Field(description="where")
    count: int = Field(3, ge=1, description="how many")
    metrics: Names = Field((), description="which")


def test_values_get_their_types():
    found = read_settings(Toy, ["folder=a=b", "count=7", "metrics=x,y"], "toy")
    assert found == Toy(folder=Path("a=b"), count=7, metrics=("x", "y"))
    assert split_words(["runs/x=1", "a=1", "b"]) == (["runs/x=1", "b"], ["a=1"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["folder=a", "cuont=2"], "unknown setting 'cuont'; did you mean 'count'"),
        (["folder=a", "count=0"], "count=0: input should be greater than or equal to 1"),
        (["folder=a", "count=x"], "count=x: "),
        (["count=2"], "folder= is missing; `python -m bench toy --help`"),
        (["folder=a", "folder=b"], "folder is given twice"),
        (["folder"], "'folder' is not a setting: write KEY=VALUE"),
    ],
)
def test_mistakes(words, message):
    with pytest.raises(UserError, match=r"^[^\n]*$") as error:
        read_settings(Toy, words, "toy")
    assert message in str(error.value)


def test_help_lists_every_setting():
    text = parser("toy", "what it does", Toy).format_help()
    assert "folder=          where (needed)" in text
    assert "count=           how many (default: 3)" in text
    assert "metrics=         which (default: none)" in text
