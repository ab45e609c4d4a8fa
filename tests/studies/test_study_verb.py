"""`python -m bench study` as somebody types it."""

import pytest

from bench.__main__ import main
from tests.report.runs import scored


def study(*words):
    return main(["study", *words])


def test_make_prints_an_address_for_each_rater(tmp_path, capsys):
    runs = [str(scored(tmp_path / name, name, pictures=True, redistributable=True)) for name in ("x", "y")]
    assert study("make", *runs, "items=6", "raters=3", "size=64", f"out={tmp_path / 's'}") == 0
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 3
    assert all(line.startswith(f"{tmp_path}/s/page/index.html?rater=") for line in out)


def test_power_prints_what_studies_of_a_size_do(capsys):
    assert study("power", "items=10", "raters=10", "share=0.5", "studies=20") == 0
    assert "false alarms: 0." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mkae"], "did you mean 'make'"),
        (["make", "itmes=3"], "did you mean 'items'"),
        (["make"], "two or more methods; given: no run"),
        (["make", "nowhere"], "nowhere is not the folder of a run"),
        (["make", "items=0"], "items=0: input should be greater than or equal to 1"),
        (["power", "x"], "takes settings alone; given: x"),
        (["power", "items=5", "per_rater=6"], "per_rater=6 is more than items=5"),
        (["read", "study=nowhere"], "nowhere holds no study.json"),
    ],
)
def test_mistakes_end_in_one_line(words, message, capsys):
    assert study(*words) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("command", ["make", "read", "power"])
def test_each_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as ended:
        study(command, "--help")
    assert ended.value.code == 0
    assert f"bench study {command}" in capsys.readouterr().out
