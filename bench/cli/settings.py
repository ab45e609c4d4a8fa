"""Read `key=value` words into a record; the verbs of the studies take their options so, as Hydra's verbs do."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from bench.console import Parser
from bench.errors import UserError, unknown


class Settings(BaseModel):
    """A frozen record of options; each field has a description, which `--help` shows."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _split(value: Any) -> Any:
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Several names, separated by commas."""
AnySettings = TypeVar("AnySettings", bound=BaseModel)


def parser(command: str, description: str, model: type[BaseModel]) -> argparse.ArgumentParser:
    """Return a parser whose `--help` lists the settings; the words end up in `words`."""
    epilog = "\n".join(["settings:", *(_line(name, field) for name, field in model.model_fields.items())])
    made = Parser(
        prog=f"python -m bench {command}", description=description, epilog=epilog, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    made.add_argument("words", nargs="*", metavar="WORD", help="places, and KEY=VALUE as below")
    return made


def _line(name: str, field: Any) -> str:
    default = "needed" if field.is_required() else f"default: {_shown(field.default)}"
    return f"  {name + '=':<17}{field.description} ({default})"


def _shown(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return "none" if value is None else text or "none"


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words that are not settings, and the settings; a setting may be an override with dots.

    >>> split_words(["runs/a=b", "items=60", "dataset.root=photos"])
    (['runs/a=b'], ['items=60', 'dataset.root=photos'])
    """
    is_setting = [re.match(r"[+~]?[A-Za-z_][\w.]*=", word) is not None for word in words]
    return (
        [word for word, setting in zip(words, is_setting, strict=True) if not setting],
        [word for word, setting in zip(words, is_setting, strict=True) if setting],
    )


def read_settings(model: type[AnySettings], words: Sequence[str], command: str) -> AnySettings:
    """Return the record that `key=value` words describe.

    Raises:
        UserError: a word without "=", an unknown or repeated key, a missing one, or a value that the field refuses.
    """
    given: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UserError(
                f"{word!r} is not a setting: write KEY=VALUE; `python -m bench {command} --help` lists the keys"
            )
        if key not in model.model_fields:
            raise unknown("setting", key, model.model_fields)
        if key in given:
            raise UserError(f"{key} is given twice: {given[key]!r} and {value!r}")
        given[key] = value
    try:
        return model(**given)
    except ValidationError as error:
        raise _plain(error, command) from error


def _plain(error: ValidationError, command: str) -> UserError:
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return UserError(f"{name}= is missing; `python -m bench {command} --help` says what it is")
    return UserError(f"{name}={first['input']}: {first['msg'][0].lower()}{first['msg'][1:]}")
