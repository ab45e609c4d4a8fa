"""Experiments: what `run experiment=NAME` does instead of the four stages of one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import registry
from bench.console import say
from bench.errors import UserError

KEY = "experiment"
"""The key of a config that names its experiment; a config without it is one run."""
ALL_STAGES = ("generate", "extract", "score", "report")


@dataclass(frozen=True)
class Experiment:
    """An experiment.

    Attributes:
        resolve: turns a composed config into what `run` takes; raises `UserError` where it is wrong.
        run: does the work, or goes on with it, and returns the folder of the report.
    """

    resolve: Callable[[dict[str, Any]], Any]
    run: Callable[[Any], Path]


def check(config: Any) -> None:
    """Check a composed config as far as that needs no network and no image.

    Raises:
        UserError: it is wrong.
    """
    from bench.spec import plain, resolve
    from bench.stages.plan import validate

    if KEY not in config:
        validate(resolve(config))
        return
    values = plain(config)
    _named(values).resolve(values)


def run(config: Any, stages: Sequence[str]) -> None:
    """Run the stages of one run, or the experiment that a composed config names.

    Raises:
        UserError: the config is wrong, or an experiment is asked for some of the stages only.
    """
    from bench.spec import plain, resolve
    from bench.stages.run import run_stages

    if KEY not in config:
        run_stages(resolve(config), stages)
        return
    values = plain(config)
    if tuple(stages) != ALL_STAGES:
        raise UserError(f"experiment={values[KEY]} runs as a whole: `python -m bench run experiment={values[KEY]}`")
    experiment = _named(values)
    say(f"report: {experiment.run(experiment.resolve(values))}")


def _named(values: dict[str, Any]) -> Experiment:
    """Takes the experiment out of a config."""
    found: Experiment = registry.get("experiments", str(values.pop(KEY)))
    return found
