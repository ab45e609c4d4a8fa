"""Trackers of experiments: after `score`, a run's numbers, configuration and page go to one of them, if asked for."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from bench import registry
from bench.console import say
from bench.errors import UserError
from bench.metrics.protocol import NUMBER


@dataclass(frozen=True)
class Scored:
    """What a tracker is given of a run.

    Attributes:
        name: the run's, unique among all runs.
        folder: for what the tracker writes; all runs of one place share it.
        values: number, its parts joined by "/" -> value; numbers without a value are left out.
        config: of the run, nested.
        page: the report's page, on this machine.
    """

    name: str
    folder: Path
    values: Mapping[str, float]
    config: Mapping[str, Any]
    page: Path


@dataclass(frozen=True)
class Tracker:
    """A tracker.

    Attributes:
        package: that it needs: its module and its name for pip.
        log: writes a run down; a run that is scored again is written down again.
    """

    package: str
    log: Callable[[Scored], None]


def tracker(name: str) -> Tracker:
    """Return a tracker that can be used here.

    Raises:
        UserError: it is not registered, or its package is not installed.
    """
    found: Tracker = registry.get("trackers", name)
    if find_spec(found.package) is None:
        raise UserError(
            f"tracker={name} needs the package {found.package}: python -m pip install {found.package}; "
            "a run without a tracker: tracker=null"
        )
    return found


def track(name: str, folder: Path, out: Path, config: Mapping[str, Any], scores: pd.DataFrame) -> None:
    """Write a scored run down in a tracker; where that fails, a line says so and the run goes on.

    Args:
        name: of the tracker.
        folder: of the run.
        out: folder of all runs; the tracker's folder is `tracking/NAME` in it.
        config: of the run, nested.
        scores: of the run, a row per number.
    """
    known = scores[scores["value"].notna()]
    names = ["/".join(filter(None, map(str, row))) for row in known[NUMBER].itertuples(index=False, name=None)]
    # MLflow takes letters, digits and these signs.
    names = [re.sub(r"[^\w\-. /]", "_", text) for text in names]
    values = dict(zip(names, known["value"].astype(float), strict=True))
    place = out / "tracking" / name
    place.mkdir(parents=True, exist_ok=True)
    scored = Scored(f"{folder.parent.name}-{folder.name}", place.resolve(), values, config, page_of(folder))
    # A tracker is another package's and may fail in any way; the scores are written already.
    try:
        tracker(name).log(scored)
    except Exception as error:  # noqa: BLE001
        say(f"warning: tracker={name} wrote nothing down: {type(error).__name__}: {error}")


def page_of(folder: Path) -> Path:
    """Return where the page of a run is, or will be."""
    return folder.resolve() / "report" / "index.html"


def _tensorboard(scored: Scored) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(scored.folder / scored.name)) as writer:
        for name, value in scored.values.items():
            writer.add_scalar(name, value)
        writer.add_text("config", f"```\n{json.dumps(scored.config, indent=2)}\n```")
        writer.add_text("page", str(scored.page))


def _mlflow(scored: Scored) -> None:
    """Write to MLFLOW_TRACKING_URI, if set, else into the folder."""
    import mlflow

    if not os.environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(f"sqlite:///{scored.folder}/mlflow.db")
        if mlflow.get_experiment_by_name("idbench") is None:
            # MLflow would put files into the current folder.
            mlflow.create_experiment("idbench", artifact_location=(scored.folder / "files").as_uri())
    mlflow.set_experiment("idbench")
    with mlflow.start_run(run_name=scored.name):
        mlflow.log_metrics(dict(scored.values))
        mlflow.log_dict(dict(scored.config), "config.json")
        mlflow.set_tag("page", str(scored.page))


def _wandb(scored: Scored) -> None:
    """Write into the folder, for `wandb sync`; WANDB_MODE=online sends it at once."""
    import wandb

    mode: Any = os.environ.get("WANDB_MODE", "offline")
    config = {**scored.config, "page": str(scored.page)}
    quiet = wandb.Settings(silent=True, console="off")
    with wandb.init(
        project="idbench", dir=str(scored.folder), name=scored.name, mode=mode, config=config, settings=quiet
    ) as run:
        run.summary.update(dict(scored.values))


TENSORBOARD = Tracker("tensorboard", _tensorboard)
MLFLOW = Tracker("mlflow", _mlflow)
WANDB = Tracker("wandb", _wandb)
