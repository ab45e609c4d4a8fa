"""The Hydra applications: run, generate, extract, score."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from bench import resources
from bench.console import say
from bench.errors import UserError, unknown

STAGES = {
    "run": ("generate", "extract", "score", "report"),
    "generate": ("generate",),
    "extract": ("extract",),
    "score": ("score",),
}
FULL_ERROR = "HYDRA_FULL_ERROR"  # makes Hydra raise what it would print


def main(verb: str, arguments: Sequence[str]) -> int:
    """Runs a verb as a Hydra application.

    Returns:
        0; 1 where a job of a sweep failed (the others still ran) or a run broke on our mistake.

    Raises:
        UserError: the configuration is wrong; nothing was started.
    """
    os.environ[FULL_ERROR] = "1"
    with tempfile.TemporaryDirectory(prefix="idbench-") as scratch:
        with _plain_errors():
            parsed = _parse(arguments)
            flags = [argument for argument in arguments if argument not in parsed.overrides]
            parsed.overrides = optional(parsed.overrides)
            if parsed.multirun:
                _validate_sweep(parsed)
            ordered = [*flags, *parsed.overrides, f"hydra.sweep.dir={scratch}/sweep"]
            _launch(verb, ordered, Path(scratch), bool(parsed.multirun))
        codes = [int(path.read_text()) for path in Path(scratch).glob("failed-*")]
    return (1 if parsed.multirun else max(codes)) if codes else 0


def _parse(arguments: Sequence[str]) -> Any:
    """Hydra's arguments; overrides may stand before, between and behind its flags."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.error = _refuse
    return parser.parse_intermixed_args(list(arguments))


def optional(overrides: Sequence[str]) -> list[str]:
    """The overrides, with "++" before those of options that exist but need not stand in a YAML file.

    Hydra takes a plain override for keys of the YAML alone; `resolve` finds out what the chosen part does not have.

    >>> optional(["method.steps=3", "method=copy", "+method.steps=3", "evaluator.detector.batch=2", "method.stpes=3"])
    ['++method.steps=3', 'method=copy', '+method.steps=3', '++evaluator.detector.batch=2', 'method.stpes=3']
    >>> optional(["method.card.relations={arcface: conditioned}"])
    ['++method.card.relations={arcface: conditioned}']
    """
    known = [key for key in known_keys() if "." in key]
    return [f"++{text}" if _may_be_absent(text.partition("=")[0], known) else text for text in overrides]


def _may_be_absent(key: str, known: Collection[str]) -> bool:
    """A card's relations name recognisers, an evaluator's parts their options: Hydra knows neither beforehand."""
    return key in known or key.startswith(("evaluator.", "method.card."))


def _refuse(message: str) -> NoReturn:
    raise UserError(f"{message}; `python -m bench run --help` lists the arguments")


def _launch(verb: str, arguments: list[str], scratch: Path, sweep: bool) -> None:
    import hydra

    def task(config: Any) -> None:
        _job(config, verb, scratch, sweep)

    register_resolvers()
    sys.argv = [f"python -m bench {verb}", *arguments]
    hydra.main(version_base="1.3", config_path=str(resources.folder("conf")), config_name="config")(task)()


def _job(config: Any, verb: str, scratch: Path, sweep: bool) -> None:
    """One job; an error is told, counted and, in a sweep, does not stop the others."""
    register_resolvers()
    try:
        from bench.experiment import run

        run(config, STAGES[verb])
    except UserError as error:
        say(f"error: {error}")
        _count(scratch, 2)
    except Exception as error:
        if not sweep:
            raise
        traceback.print_exc()
        say(f"error: {type(error).__name__}: {error}")
        _count(scratch, 1)


def _count(scratch: Path, code: int) -> None:
    """Leaves word of a failure where the process that started the sweep, perhaps another one, finds it."""
    handle, _ = tempfile.mkstemp(prefix="failed-", dir=scratch)
    with os.fdopen(handle, "w") as file:
        file.write(str(code))


def register_resolvers() -> None:
    """What the configuration asks of the machine.

    `${package:mini/weights}` is a folder inside the installed package; `${weights_folder:}` is where `fetch` puts
    files; `${precision:fp16}` is a method's official precision, but fp32 where `execution.device` is the CPU.
    """
    from omegaconf import OmegaConf

    from bench.assets import weights_folder

    def precision(official: str, *, _root_: Any) -> str:
        return "fp32" if str(_root_.execution.device) == "cpu" else official

    OmegaConf.register_new_resolver("package", lambda path: str(resources.PACKAGE / path), replace=True)
    OmegaConf.register_new_resolver("weights_folder", lambda: str(weights_folder()), replace=True)
    OmegaConf.register_new_resolver("precision", precision, replace=True)


def _validate_sweep(parsed: Any) -> None:
    """Composes and checks every combination before the first job, as far as that needs no network and no image."""
    from hydra import compose, initialize_config_dir
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from bench.experiment import check

    register_resolvers()
    overrides = OverridesParser.create().parse_overrides(overrides=parsed.overrides)
    if any((o.key_or_group or "") == "hydra/sweeper" for o in overrides):
        return  # another sweeper chooses its combinations as it goes
    extra = [f"hydra.searchpath=[file://{Path(parsed.config_dir).resolve()}]"] if parsed.config_dir else []
    with initialize_config_dir(str(resources.folder("conf")), version_base="1.3"):
        combinations = BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]
        configs = [compose(parsed.config_name or "config", overrides=[*one, *extra]) for one in combinations]
    GlobalHydra.instance().clear()
    for config in configs:
        check(config)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turns Hydra's and OmegaConf's errors into one line that says what is allowed."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error)) from error


def explain(error: Exception) -> str:
    """One line for an error of Hydra's, with the nearest valid name where one is known."""
    from hydra.errors import MissingConfigException, OverrideParseException

    if isinstance(error, OverrideParseException):
        key, equals, value = error.override.partition("=")
        if not equals:
            return f"{error.override!r} is no override: write KEY=VALUE"
        return f"cannot read the override {error.override!r}; quote its value: '{key}=\"{value}\"'"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        if error.options:
            return str(unknown(group or "config", name, error.options))
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith("Could not override"):
        return _unknown_key(lines[0].split("'")[1])
    return "; ".join(lines[:2])


def _unknown_key(path: str) -> str:
    import difflib

    known = known_keys()
    near = difflib.get_close_matches(path, known, n=1, cutoff=0.5)
    return f"unknown key {path}" + (f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known[:40])}")


def known_keys() -> list[str]:
    """Every key of the default configuration, as it would be overridden, and every option of every method."""
    from bench import registry
    from bench.spec import Evaluator, Execution, Protocol, Views

    groups: list[tuple[str, Any]] = [
        ("protocol", Protocol), ("protocol.views", Views), ("evaluator", Evaluator), ("execution", Execution),
    ]  # fmt: skip
    for group, table in (("method", "methods"), ("dataset", "datasets")):
        groups += [(group, registry.get(table, name).Options) for name in sorted(registry.targets(table))]
    keys = [f"{prefix}.{field}" for prefix, model in groups for field in model.model_fields]
    return sorted({*keys, "out", "profile", "method", "dataset", "protocol", "evaluator", "execution", "experiment"})
