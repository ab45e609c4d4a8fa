"""Verbs that are configured by Hydra and have sub-commands of their own."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import resources
from bench.cli.run import explain, optional, register_resolvers
from bench.console import show
from bench.errors import UserError, unknown


@dataclass(frozen=True)
class Command:
    """A sub-command.

    Attributes:
        call: does the work on the composed config.
        text: what it does, for `--help`.
    """

    call: Callable[[Any], None]
    text: str


def configured(verb: str, config: str, commands: Mapping[str, Command], arguments: Sequence[str]) -> int:
    """Run a sub-command with a config of the folder `conf` and the user's overrides.

    Args:
        verb: of `python -m bench`.
        config: name of the config.
        commands: sub-command -> what it does.
        arguments: the sub-command, then overrides: KEY=VALUE.

    Returns:
        0.

    Raises:
        SystemExit: help was asked for, and shown.
        UserError: no such sub-command, or a config that is wrong.
    """
    words = [argument for argument in arguments if argument not in ("-h", "--help")]
    if not words:
        show(_usage(verb, config, commands, ()))
        raise SystemExit(0)
    if words[0] not in commands:
        raise unknown("command", f"{verb} {words[0]}", (f"{verb} {name}" for name in commands))
    if len(words) < len(arguments):
        show(_usage(verb, config, commands, words[1:]))
        raise SystemExit(0)
    commands[words[0]].call(composed(config, words[1:]))
    return 0


def composed(config: str, overrides: Sequence[str]) -> Any:
    """Return a config of the folder `conf` with overrides.

    Raises:
        UserError: an override that cannot be read, or a key that is not there.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    register_resolvers()
    try:
        with initialize_config_dir(str(resources.folder("conf")), version_base="1.3"):
            try:
                return compose(config, overrides=optional(overrides))
            except (HydraException, OmegaConfBaseException) as error:
                raise UserError(_unknown_key(str(error), config) or explain(error)) from error
    finally:
        GlobalHydra.instance().clear()


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    """The dotted names of all values, and of all groups of values."""
    from omegaconf import DictConfig

    for key in config:
        yield f"{prefix}{key}"
        inner = config._get_node(key)
        if isinstance(inner, DictConfig) and not inner._is_none():
            yield from _keys(inner, f"{prefix}{key}.")


def _unknown_key(message: str, config: str) -> str:
    from hydra import compose

    if not message.startswith("Could not override"):
        return ""
    key, known = message.split("'")[1], list(_keys(compose(config)))
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"unknown key {key}" + (f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known[:40])}")


def _usage(verb: str, config: str, commands: Mapping[str, Command], overrides: Sequence[str]) -> str:
    from omegaconf import OmegaConf

    lines = [f"  {name:<10}{command.text}" for name, command in commands.items()]
    values = composed(config, overrides)
    keys = OmegaConf.to_yaml(OmegaConf.masked_copy(values, _own(values)))
    return "\n".join(
        [
            f"usage: python -m bench {verb} COMMAND [KEY=VALUE ...]",
            "",
            *lines,
            "",
            f"keys of its own, with their values (conf/{config}.yaml); those of `run` hold as well:",
            "",
            keys.strip(),
        ]
    )


def _own(values: Any) -> list[str]:
    """The keys that a verb's config adds to those of a run."""
    run = set(composed("config", []))
    return [key for key in values if key not in run]


def options_of(section: Mapping[str, Any], where: str, task: type[Any], options: type[Any]) -> tuple[Any, Any]:
    """Return what a flat section of a config says: the task, and the options that lie next to it.

    Args:
        section: plain values.
        where: name of the section, for messages.
        task: spec whose fields are taken first.
        options: spec of all other fields.

    Raises:
        UserError: an unknown key or a wrong value.
    """
    from bench.spec import validated

    names = set(task.model_fields)
    first = {key: value for key, value in section.items() if key in names}
    rest = {key: value for key, value in section.items() if key not in names}
    return validated(task, first, where), validated(options, rest, where, also=names)
