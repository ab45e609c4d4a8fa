"""Every command, path and link that a page shows: commands are parsed and composed, and the cheap ones run."""

import argparse
import importlib.util
import re
import runpy
import tomllib

import pytest

from bench import assets
from bench.__main__ import HYDRA_VERBS, VERBS, main
from bench.cli.configured import composed
from bench.cli.fetch import select
from bench.cli.run import known_keys
from bench.status import SampleStatus, ViewStatus
from tests.docs import shown
from tests.docs.shown import PAGES, commands, links, name_of, paths
from tests.guard import world
from tests.report.world import write_run
from tests.shared import ROOT

UNCHECKED = {
    "git clone": "opens the network",
    "pip install hydra-joblib-launcher": "a package of others",
    "pip uninstall": "takes a package away",
    "uv pip install": "not everybody has uv",
    "python make_list.py": "a script that the page shows; tests/e2e/test_endings.py runs it",
    "python3 -m venv": "makes an environment",
    "source": "a command of the shell",
    "mkdocs build": "test_site.py runs it",
    "python docs/tables.py": "test_parts.py compares its tables",
}
"""Beginning of a command that is not checked -> why."""
STAND_INS = {
    "${METHODS[$SLURM_ARRAY_TASK_ID]}": "copy",
    "method=my_method": "method=copy",
    "evaluator=mine": "evaluator=paper",
    "method.card.relations={my_face: none}": "method.card.relations={arcface: none}",
    "NAME": "arc2face",
    "ITEMS": "10",
    "SAMPLES_PER_ITEM": "5",
}
"""What a page leaves to the shell, or to the reader -> what is checked in its place."""
MADE = {
    r"reports/golden/(copy|mine|NAME)\.json": "python -m bench check",
    r"data_lists/mine\.csv": "python -m bench data folder",
    r"docs/mini/study": "python -m tests.mini.study",
    r"bench/mini/world/__pycache__": "python -m bench run",
}
"""Path in the checkout that exists only after a command -> the beginning of that command, which a page shows."""
YOURS = {"conf/dataset/NAME.yaml"}
"""Paths that a page asks the reader to write."""

OF_OTHERS = {"pip", "pytest"}
"""Modules of other projects that a page runs."""
CONFIGURED = ("identities", "faceset", "recognition")
"""Verbs with commands of their own, which Hydra configures."""
FOLDERS = ("baselines", "bench", "conf", "data_lists", "docs", "reports", "tests")
SETTING = re.compile(r"(protocol|evaluator|execution|dataset|method)(\.\w+)+")

KEYS = known_keys()
SHOWN = list(dict.fromkeys(command for page in PAGES for command in commands(page)))
BENCH = [command for command in SHOWN if command[:3] == ("python", "-m", "bench")]
MODULES = [command for command in SHOWN if command[:2] == ("python", "-m") and command not in BENCH]
OTHERS = [command for command in SHOWN if command not in (*BENCH, *MODULES)]
CHEAP = [command for command in BENCH if command[3] == "ls" or {"--list", "--help"} & {*command}]


class Parsed(BaseException):
    """Raised where a verb has understood its arguments."""


def arguments(command):
    """The verb and its arguments, with stand-ins for what the page leaves to the shell or to the reader."""
    return [STAND_INS.get(word) or re.sub(r"\$\{METHODS\[.*\]\}", "copy", word) for word in command[3:]]


def compose(verb, overrides, monkeypatch):
    """Composes and resolves every combination of a command of Hydra's, and starts nothing."""
    monkeypatch.setattr("bench.cli.run._launch", lambda *_: None)
    monkeypatch.setattr("bench.stages.plan.validate", lambda spec: None)
    assert main([verb, *([] if "-m" in overrides else ["-m"]), *overrides]) == 0


def parse(verb, words, monkeypatch):
    """What a verb's parser makes of the words; the verb does no work."""
    stop_parsing(monkeypatch)
    with pytest.raises(Parsed) as stop:
        main([verb, *words])
    return stop.value.args[0]


def configure(verb, words, monkeypatch):
    """Composes the config of a verb that has commands of its own; the command does no work."""

    def stopped(verb, config, commands, arguments):
        assert arguments[0] in commands
        composed(config, arguments[1:])
        raise Parsed

    monkeypatch.setattr(f"bench.cli.{verb}.configured", stopped)
    with pytest.raises(Parsed):
        main([verb, *words])


def stop_parsing(monkeypatch):
    """Makes every parser raise `Parsed`, with what it understood, in place of returning it."""
    whole = argparse.ArgumentParser.parse_args

    def stopped(self, *args, **kwargs):
        raise Parsed(whole(self, *args, **kwargs))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stopped)


def is_run(module):
    """Whether `python -m` runs the module."""
    spec = importlib.util.find_spec(module)
    inner = importlib.util.find_spec(f"{module}.__main__") if spec and spec.submodule_search_locations else spec
    return inner is not None


@pytest.mark.parametrize("command", [one for one in BENCH if "--help" not in one], ids=" ".join)
def test_every_command_of_the_benchmark_is_understood(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    verb, *words = arguments(command)
    if verb in HYDRA_VERBS:
        compose(verb, words, monkeypatch)
        return
    assert verb in VERBS
    if verb in CONFIGURED:
        configure(verb, words, monkeypatch)
        return
    options = parse(verb, words, monkeypatch)
    if verb == "fetch" and options.what:
        assert select(options.what, assets.table())


def test_wrong_commands_are_seen(monkeypatch):
    assert len(BENCH) > 40
    with pytest.raises(AssertionError):
        compose("run", ["method.stpes=3"], monkeypatch)
    with pytest.raises(pytest.fail.Exception):
        parse("compare", ["--too", "x"], monkeypatch)
    with pytest.raises(pytest.fail.Exception):
        configure("recognition", ["train", "recognition.seed=1"], monkeypatch)


@pytest.mark.parametrize("command", CHEAP, ids=" ".join)
def test_cheap_commands_run(command, monkeypatch, tmp_path, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    try:
        code = main(arguments(command))
    except SystemExit as leaving:  # Hydra and argparse leave after --help
        code = leaving.code
    assert not code
    assert capfd.readouterr().out.strip()


@pytest.mark.parametrize("command", MODULES, ids=" ".join)
def test_every_module_that_a_command_runs_is_there(command):
    assert is_run(command[2])


@pytest.mark.parametrize("command", [one for one in MODULES if one[3:] and one[2] not in OF_OTHERS], ids=" ".join)
def test_every_module_takes_the_arguments_that_a_page_gives_it(command, monkeypatch):
    monkeypatch.setattr("sys.argv", [command[2], *arguments(command)])
    stop_parsing(monkeypatch)
    with pytest.raises(Parsed):
        runpy.run_module(command[2], run_name="__main__")


def test_other_commands_are_checked_or_listed():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    unknown = [
        line
        for line in map(" ".join, OTHERS)
        if not any(line.startswith(start) for start in UNCHECKED)
        and not (line.startswith("make ") and re.search(rf"^{line[5:]}:", makefile, flags=re.MULTILINE))
        and not ("pip install" in line and set(re.findall(r"\[(\w+)\]", line)) <= {*extras})
    ]
    assert unknown == []


def test_every_exception_is_needed():
    lines = [" ".join(command) for command in SHOWN]
    assert [start for start in UNCHECKED if not any(line.startswith(start) for line in lines)] == []
    assert [start for start in MADE.values() if not any(line.startswith(start) for line in lines)] == []
    seen = {path for page in PAGES for path in paths(page)}
    assert [one for one in MADE if not any(re.fullmatch(one, path.rstrip("/")) for path in seen)] == []
    assert YOURS - seen == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_path_in_the_checkout_is_there(page):
    named = {path.rstrip("/") for path in paths(page) if path.split("/")[0] in FOLDERS} - YOURS
    named = {path for path in named if not any(re.fullmatch(one, path) for one in MADE)}
    assert [path for path in named if not any(ROOT.glob(re.sub(r"<[^>]*>|…", "*", path)))] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page, hooks):
    targets = {target.partition("#")[0] for target in links(page)} - {""}
    pages = {(ROOT / "docs" / path).resolve() for path in hooks.generated()}
    assert [t for t in targets if not (page.parent / t).exists() and (page.parent / t).resolve() not in pages] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_setting_exists(page):
    known = {*KEYS, "method.card", "dataset.label"}
    text = page.read_text(encoding="utf-8")
    keys = {span.partition("=")[0] for span in shown.spans(text) if SETTING.fullmatch(span.partition("=")[0])}
    assert [key for key in keys if key not in known and not key.startswith(("evaluator.", "method.card."))] == []


def tree():
    """The paths of the run folder that the page on architecture draws."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = text.split("    runs/<dataset>/<method>-<id8>/\n")[1].split("    runs/")[0]
    return [line.split()[0] for line in block.splitlines()]


def test_the_run_folder_is_as_it_is_drawn(tmp_path):
    run = world.run(world.light(tmp_path, tmp_path / "runs", "copy"))
    # Only recognisers measure here, no report is written, and the default's conditions have no vectors.
    absent = ("tables/landmarks", "tables/pairs", "report", "conditions/")
    drawn = [path for path in tree() if not path.startswith(absent)]
    assert len(drawn) >= 8
    assert [path for path in drawn if not any(run.glob(re.sub(r"<[^>]*>|…", "*", path.rstrip("/"))))] == []
    assert any(run.parent.glob("photos-*"))


def test_compare_writes_where_the_pages_say(tmp_path, monkeypatch, capsys):
    """README, tutorial and leaderboard name files in runs/compare/<dataset>/."""
    monkeypatch.setattr("bench.report.figures.of_comparison", lambda comparison: [])
    runs = [write_run(tmp_path / name, name, items=2, metrics=["id_similarity"]) for name in ("copy", "shuffle")]
    assert main(["compare", *map(str, runs), "--out", str(tmp_path)]) == 0
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    named = {path for text in texts for path in re.findall(r"runs/compare/(?:mini|<dataset>)/([\w.]+)", text)}
    assert {"index.html", "table"} <= named
    assert [name for name in named if not any((tmp_path / "compare/mini").glob(f"{name}*"))] == []


def test_every_room_is_on_the_plan():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = [path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "bench").glob("*/__init__.py")]
    assert [room for room in rooms if f"`{room}/`" not in text] == []


def test_every_status_is_in_the_glossary():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert [status.value for status in (*SampleStatus, *ViewStatus) if f"`{status.value}`" not in text] == []


def test_each_word_has_one_definition():
    rows = re.findall(
        r"^\| ([^|]+?) \|", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    words = [row for row in rows if row not in ("word", "status", "---")]
    assert len(words) == len(set(words)) >= 70
