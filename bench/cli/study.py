"""The verb `study`: a forced-choice user study, from its page to its result."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, Field

from bench.cli.settings import Settings, parser, read_settings, split_words
from bench.console import Parser, say, show
from bench.errors import UserError, unknown
from bench.studies.user_study.records import Plan, Rules, Texts, World

USAGE = """ask people which of two methods is more like the photo

  python -m bench study make RUN_A RUN_B … items=60 raters=30 out=study
  python -m bench study read votes/*.csv study=study
  python -m bench study power items=60 raters=30 share=0.6

`python -m bench study make --help` lists the settings; so do the other two."""


Part = TypeVar("Part", bound=BaseModel)


class MakeSettings(Plan, Texts, Rules):
    """What `study make` can be told."""

    include_people: str = Field("", description="why people of a closed dataset may be shown, in a sentence")
    out: Path = Field(Path("study"), description="folder to write to")


class PowerSettings(Plan, World):
    """What `study power` can be told."""


class ReadSettings(Settings):
    """What `study read` can be told."""

    study: Path = Field(Path("study"), description="folder that `study make` wrote")


def _make(folders: Sequence[Path], settings: MakeSettings) -> None:
    from bench.report.frames import load_run
    from bench.studies.user_study.make import make

    plan, texts, rules = _part(settings, Plan), _part(settings, Texts), _part(settings, Rules)
    study = make([load_run(folder) for folder in folders], plan, texts, rules, settings.out, settings.include_people)
    if study["skipped"]:
        say(f"{study['skipped']} items were passed over: some method has no sample with a face at the index drawn")
    page = settings.out / "page"
    show("\n".join(f"{page}/index.html?rater={code}" for code in study["trials"]))
    say(f"study {study['id']}: give raters the folder {page} and one line above each")
    say(f"{settings.out / 'study.json'} says what was shown: keep it to yourself")


def _part(settings: BaseModel, model: type[Part]) -> Part:
    """The record of which the settings hold the fields."""
    return model(**settings.model_dump(include=set(model.model_fields)))


def _read(files: Sequence[Path], settings: ReadSettings) -> None:
    from bench.console import table
    from bench.studies.user_study.result import write_result
    from bench.studies.user_study.votes import read_study, read_votes

    study = read_study(settings.study)
    rows = write_result(study, read_votes(study, files), settings.study / "result")
    show(table(rows))
    say(f"written: {settings.study / 'result' / 'study.md'} and tables next to it")


def _power(places: Sequence[Path], settings: PowerSettings) -> None:
    from bench.studies.user_study.power import power

    if places:
        raise UserError(f"study power takes settings alone; given: {places[0]}")
    plan, world = _part(settings, Plan), _part(settings, World)
    if plan.questions > plan.items:
        raise UserError(f"per_rater={plan.questions} is more than items={plan.items}")
    result = power(plan, world)
    word = "false alarms" if world.share == 0.5 else "power"
    naive = f"as if votes were independent: {result.significant_independent:.3f}"
    show(f"{plan.raters} raters, {plan.items} items, {plan.questions} questions each, true share {world.share}")
    show(f"{word}: {result.significant:.3f} of studies exclude 1/2 ({naive})")
    show(f"the interval holds the truth in {result.coverage:.3f} of studies and is {result.width:.3f} wide")


class Command(NamedTuple):
    """One command of `study`: what it does, what it can be told, and the function."""

    text: str
    settings: type[BaseModel]
    run: Callable[[Sequence[Path], Any], None]


COMMANDS: Mapping[str, Command] = {
    "make": Command("write a page for raters from runs of two or more methods", MakeSettings, _make),
    "read": Command("read the votes that raters sent", ReadSettings, _read),
    "power": Command("simulate studies of a size before anybody is asked", PowerSettings, _power),
}


def main(argv: Sequence[str]) -> int:
    """Run one command of `study`."""
    name, *rest = argv or ["--help"]
    if name in ("-h", "--help"):
        form = argparse.RawDescriptionHelpFormatter
        Parser(prog="python -m bench study", description=USAGE, formatter_class=form).parse_args([name])
    if name not in COMMANDS:
        raise unknown("command of study", name, COMMANDS)
    command, model = COMMANDS[name], COMMANDS[name].settings
    places, words = split_words(parser(f"study {name}", command.text, model).parse_args(rest).words)
    command.run([Path(place) for place in places], read_settings(model, words, f"study {name}"))
    return 0
