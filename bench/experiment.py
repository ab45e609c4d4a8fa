"""Experiments: what `run experiment=NAME` does instead of the four stages of one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import registry
from bench.console import say
from bench.errors import UserError
from bench.identity import Spec
from bench.spec import RunSpec, from_mapping, plain, resolve, validated
from bench.stages.plan import Job

KEY = "experiment"
"""The key of a config that names its experiment; a config without it is one run."""
ALL_STAGES = ("generate", "extract", "score", "report")


@dataclass(frozen=True)
class Experiment:
    """An experiment.

    Attributes:
        Options: spec of what the config says under the experiment's name.
        run: does the work, or goes on with it, and returns the folder of the report; takes the spec of a run (method,
            evaluator, execution, ...) and the options.
    """

    Options: type[Spec]
    run: Callable[[RunSpec, Any], Path]


def check(config: Any) -> RunSpec | None:
    """Check a composed config as far as that needs no network and no image.

    Returns:
        The spec of a run; None for an experiment.

    Raises:
        UserError: it is wrong.
    """
    from bench.stages.plan import validate

    if KEY in config:
        _resolved(config)
        return None
    spec = resolve(config)
    validate(spec)
    return spec


def run(config: Any, stages: Sequence[str]) -> Job | None:
    """Run the stages of one run, or the experiment that a composed config names.

    Returns:
        The job of a run; None for an experiment.

    Raises:
        UserError: the config is wrong, or an experiment is asked for some of the stages only.
    """
    from bench.stages.run import run_stages

    if KEY not in config:
        return run_stages(resolve(config), stages)
    if tuple(stages) != ALL_STAGES:
        raise UserError(f"experiment={config[KEY]} runs as a whole: `python -m bench run experiment={config[KEY]}`")
    say(f"report: {conduct(config)}")
    return None


def conduct(config: Any) -> Path:
    """Run the experiment that a composed config names, or go on with it, and return the folder of its report.

    Raises:
        UserError: the config is wrong.
    """
    from bench.stages.run import on_device

    experiment, spec, options = _resolved(config)
    return experiment.run(on_device(spec), options)


def _resolved(config: Any) -> tuple[Experiment, RunSpec, Any]:
    """The experiment that a config names, the spec of a run, and the experiment's options."""
    values = plain(config)
    name = str(values.pop(KEY))
    experiment: Experiment = registry.get("experiments", name)
    options = validated(experiment.Options, values.pop(name, {}), name)
    return experiment, from_mapping(values), options
