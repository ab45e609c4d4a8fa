"""The Hydra applications: run, generate, extract, score."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from bench import registry, resources, scratch
from bench.console import say, show
from bench.errors import UserError, nearest, report_unexpected, unknown, users_error

STAGES = {
    "run": ("generate", "extract", "score", "report"),
    "generate": ("generate",),
    "extract": ("extract",),
    "score": ("score",),
}
FAILED = "failed-"
"""Beginning of the name of a file that says how a job of a sweep failed."""
FULL_ERROR = "HYDRA_FULL_ERROR"
"""Makes Hydra raise what it would print."""


def main(verb: str, arguments: Sequence[str]) -> int:
    """Run a verb as a Hydra application.

    Returns:
        0; 1 where a job of a sweep failed (the others still ran) or a run broke on our mistake.

    Raises:
        UserError: the configuration is wrong; nothing was started.
    """
    os.environ[FULL_ERROR] = "1"
    with _plain_errors():
        parsed = _parse(arguments)
        flags = [argument for argument in arguments if argument not in parsed.overrides]
        parsed.overrides = optional(parsed.overrides)
        configs = _validated_sweep(parsed) if parsed.multirun else []
        with _scratch(_out(parsed, configs) if parsed.multirun else None) as folder:
            sweep_dir = f"hydra.sweep.dir='{folder}/sweep'"
            _launch(verb, [*flags, *parsed.overrides, sweep_dir], folder)
            failed = _failed(folder)
            _show_failed(failed, folder)
    return (1 if parsed.multirun else max(one["code"] for one in failed)) if failed else 0


@contextmanager
def _scratch(out: Path | None) -> Iterator[Path]:
    """Make a folder for what the jobs of one command leave: of a sweep, below `out`, which every node sees.

    It is deleted, unless a job failed in another process, whose logs may lie in it. What killed commands left in the
    temporary directory is deleted, too.
    """
    scratch.sweep()
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=scratch.prefix() if out is None else ".sweep-", dir=out)).absolute()
    try:
        yield folder
    finally:
        if not any(_is_elsewhere(one) for one in _failed(folder)):
            shutil.rmtree(folder, ignore_errors=True)


def _out(parsed: Any, configs: Sequence[Any]) -> Path:
    """Return the folder of all runs; of several that a sweep names, the first.

    Args:
        parsed: Hydra's arguments.
        configs: of the combinations; empty where they are not known beforehand.
    """
    if configs:
        return Path(str(configs[0].out))
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    named = [o for o in OverridesParser.create().parse_overrides(parsed.overrides) if o.key_or_group == "out"]
    if named and named[-1].is_sweep_override():
        return Path(next(iter(named[-1].sweep_string_iterator())))
    given = [o.input_line for o in named if o.input_line is not None]
    with initialize_config_dir(str(resources.folder("conf")), version_base="1.3"):
        config = compose(parsed.config_name or "config", overrides=[*given, *_search_path(parsed)])
    GlobalHydra.instance().clear()
    return Path(str(config.out))


def _search_path(parsed: Any) -> list[str]:
    return [f"hydra.searchpath=[file://{Path(parsed.config_dir).resolve()}]"] if parsed.config_dir else []


def _parse(arguments: Sequence[str]) -> Any:
    """Return Hydra's arguments; overrides may come before, between and after its flags."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.error = _refuse
    return parser.parse_intermixed_args(list(arguments))


def optional(overrides: Sequence[str]) -> list[str]:
    """Return the overrides, with "++" before those of options that exist but need not be in a YAML file.

    Hydra takes a plain override for keys of the YAML alone; `resolve` finds out what the chosen part does not have.

    >>> optional(["method.steps=3", "method=copy", "+method.steps=3", "evaluator.detector.batch=2", "method.stpes=3"])
    ['++method.steps=3', 'method=copy', '+method.steps=3', '++evaluator.detector.batch=2', 'method.stpes=3']
    >>> optional(["method.card.relations={arcface: conditioned}"])
    ['++method.card.relations={arcface: conditioned}']
    """
    known = [key for key in known_keys() if "." in key]
    return [f"++{text}" if _may_be_absent(text.partition("=")[0], known) else text for text in overrides]


def _may_be_absent(key: str, known: Collection[str]) -> bool:
    """Return whether a key may be missing from the YAML.

    So may known options, a card's relations, parts of an evaluator and options of sbatch.
    """
    return key in known or key.startswith(("evaluator.", "method.card.", "execution.sbatch."))


def _refuse(message: str) -> NoReturn:
    raise UserError(f"{message}; `python -m bench run --help` lists the arguments")


def _launch(verb: str, arguments: list[str], folder: Path) -> None:
    import hydra

    def task(config: Any) -> None:
        _job(config, verb, folder)

    register_resolvers()
    register_conf_folders()
    sys.argv = [f"python -m bench {verb}", *arguments]
    hydra.main(version_base="1.3", config_path=str(resources.folder("conf")), config_name="config")(task)()


def _job(config: Any, verb: str, folder: Path) -> None:
    """Run one job; report and count an error, which in a sweep does not stop the other jobs."""
    register_resolvers()
    try:
        from bench.experiment import run

        job = run(config, STAGES[verb])
        if job is not None and (warning := _end(job, verb)):
            _note_failure(config, folder, 1, warning)
    # Hydra would add a line of its own, and end a sweep.
    except Exception as error:  # noqa: BLE001
        mistake = users_error(error)
        text = f"error: {mistake}" if mistake else report_unexpected(error)
        say(text)
        _note_failure(config, folder, 2 if mistake else 1, text.removeprefix("error: "))


def _end(job: Any, verb: str) -> str:
    """Say how a run has ended; return why nothing could be measured, "" where something was."""
    from bench.report import ending
    from bench.stages.record import SCORES

    if "score" in STAGES[verb] and (job.folder / SCORES).exists():
        ended = ending.of_run(job.folder)
    elif verb == "generate":
        ended = ending.of_samples(job.sample_images().frame, job.spec.method.shown)
    else:
        return ""
    show(ended.text)
    if ended.warning:
        say(f"{'error' if ended.is_empty else 'warning'}: {ended.warning}")
    return str(ended.warning) if ended.is_empty else ""


def _note_failure(config: Any, folder: Path, code: int, text: str) -> None:
    """Write down a failure where the process that started the sweep, perhaps on another machine, finds it."""
    handle, _ = tempfile.mkstemp(prefix=FAILED, dir=folder)
    what = f"method={config.method.get('name')} dataset={config.dataset.get('name')}"
    note = {"code": code, "what": what, "text": text, "host": socket.gethostname(), "pid": os.getpid()}
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(note, file)


def _failed(folder: Path) -> list[dict[str, Any]]:
    """Return what the jobs that failed have written down."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"{FAILED}*"))]


def _is_elsewhere(failure: Mapping[str, Any]) -> bool:
    """Return whether a job failed in another process, whose messages nobody may have seen."""
    return (failure["host"], failure["pid"]) != (socket.gethostname(), os.getpid())


def _show_failed(failed: Sequence[Mapping[str, Any]], folder: Path) -> None:
    elsewhere = [failure for failure in failed if _is_elsewhere(failure)]
    for failure in elsewhere:
        say(f"error: {failure['what']} on {failure['host']}: {failure['text']}")
    if elsewhere:
        say(f"logs of the launcher, if it keeps any: {folder}")


def register_resolvers() -> None:
    """Register what the configuration asks of the machine.

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


@lru_cache(maxsize=1)
def register_conf_folders() -> None:
    """Put the folders of configuration that other packages bring on Hydra's search path, after ours."""
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    class OfPackages(SearchPathPlugin):
        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            for folder in resources.conf_folders()[1:]:
                search_path.append("idbench", f"file://{folder}")

    Plugins.instance().register(OfPackages)


def _validated_sweep(parsed: Any) -> list[Any]:
    """Return the config of every combination; each is checked as far as that needs no network and no image.

    The list is empty where another sweeper than Hydra's own chooses the combinations as it goes.
    """
    from hydra import compose, initialize_config_dir
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from bench.experiment import check

    register_resolvers()
    register_conf_folders()
    overrides = OverridesParser.create().parse_overrides(overrides=parsed.overrides)
    if any((o.key_or_group or "") == "hydra/sweeper" for o in overrides):
        return []
    extra = _search_path(parsed)
    with initialize_config_dir(str(resources.folder("conf")), version_base="1.3"):
        combinations = BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]
        configs = [compose(parsed.config_name or "config", overrides=[*one, *extra]) for one in combinations]
    GlobalHydra.instance().clear()
    _refuse_repeats([spec for config in configs if (spec := check(config)) is not None])
    return configs


def spec_of(overrides: Sequence[str]) -> Any:
    """Return the spec (`bench.spec.RunSpec`) of overrides as the command line has them.

    Raises:
        UserError: the configuration is wrong.
    """
    from bench.spec import resolve

    return resolve(config_of(overrides))


def config_of(overrides: Sequence[str]) -> Any:
    """Return the composed config (an OmegaConf DictConfig) of overrides as the command line has them.

    Raises:
        UserError: an override cannot be read, or names what is not there.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    register_resolvers()
    # A script may itself be a Hydra application: its own configuration comes back.
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with _plain_errors(), initialize_config_dir(str(resources.folder("conf")), version_base="1.3"):
            return compose("config", overrides=optional(overrides))
    finally:
        GlobalHydra.instance().hydra = outer


def _refuse_repeats(specs: Sequence[Any]) -> None:
    """Refuse a sweep in which one combination comes twice.

    Raises:
        UserError: it does.
    """
    texts = [spec.model_dump_json() for spec in specs]
    twice = [spec for spec, text in zip(specs, texts, strict=True) if texts.count(text) > 1]
    if twice:
        raise UserError(f"the sweep asks for {twice[0].method.shown} on {twice[0].dataset.label} twice; give each once")


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn Hydra's and OmegaConf's errors into one line that says what is allowed."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        yield
    # A user's file may hold a tag such as !!python/object, which must not be run.
    except YAMLError as error:
        raise UserError(f"a YAML file cannot be read: {' '.join(str(error).split())}") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error)) from error


def explain(error: Exception) -> str:
    """Return one line for an error of Hydra's, with the nearest valid name where one is known."""
    from hydra.errors import MissingConfigException, OverrideParseException
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError

    from bench.spec import GROUPS

    if isinstance(error, OverrideParseException):
        key, equals, value = error.override.partition("=")
        if not equals:
            return f"{error.override!r} is not an override: write KEY=VALUE"
        return f"cannot read the override {error.override!r}; quote its value: '{key}=\"{value}\"'"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        if group in GROUPS and name in registry.entries(GROUPS[group]):
            return _without_yaml(group, name, registry.entries(GROUPS[group])[name])
        if error.options:
            return str(unknown(group or "config", name, error.options))
    if isinstance(error.__cause__, (ConfigAttributeError, ConfigKeyError)):
        return _unknown_key(str(error.__cause__.full_key))
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:2])


def _without_yaml(group: str, name: str, entry: registry.Entry) -> str:
    """Return the line for a part of another package that is registered, but has no configuration."""
    return (
        f"{group} {name} ({entry}) is installed, but has no configuration: write DIR/{group}/{name}.yaml with "
        f"`name: {name}` and its options, and add --config-dir DIR"
    )


def _unknown_key(path: str) -> str:
    known = known_keys()
    near = nearest(path, known)
    return f"unknown key {path}" + (f"; did you mean {near}?" if near else f"; known: {', '.join(known[:40])}")


def known_keys() -> list[str]:
    """Return every key of the default configuration, as it would be overridden, and every option of every method."""
    from bench.faces.search import FaceOptions
    from bench.faces.views import ViewOptions
    from bench.spec import GROUPS, OUTER, Evaluator, Execution, Protocol

    groups: list[tuple[str, Any]] = [
        ("protocol", Protocol), ("protocol.faces", FaceOptions), ("protocol.views", ViewOptions),
        ("evaluator", Evaluator), ("execution", Execution),
    ]  # fmt: skip
    for group, table in GROUPS.items():
        groups += [(group, part.Options) for part in registry.parts(table).values()]
    keys = [f"{prefix}.{field}" for prefix, model in groups for field in model.model_fields]
    keys += [f"{group}.{field}" for group, fields in OUTER.items() for field in fields]
    return sorted({*keys, *GROUPS, "out", "profile", "protocol", "evaluator", "execution", "experiment", "tracker"})
