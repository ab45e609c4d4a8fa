"""A small world of rendered people, and the verbs in this process: for what a run records and how it ends."""

import json
import sys
from pathlib import Path
from unittest.mock import patch

from bench.__main__ import main
from bench.cli.run import optional
from tests.e2e import commands
from tests.shared import ROOT

CONF = ("--config-dir", str(ROOT / "tests" / "conf"))


def make_people(folder: Path, subjects: int = 4, targets: int = 0) -> Path:
    """Render people into a folder: reference.png and target_1.png, …, of each."""
    from bench.mini.dataset import make

    make(folder, subjects, targets, 128)
    return folder


def bench(verb: str, *arguments: object) -> int:
    """Run a verb with the evaluator mini_rec and one sample per item, unless the arguments say otherwise.

    Its report has no figures: they have tests of their own.
    """
    words = [str(argument) for argument in arguments]
    usual = [
        *(CONF if CONF[0] not in words else ()),
        "evaluator=mini_rec",
        "dataset=folder",
        "protocol.samples_per_item=1",
    ]
    kept = [word for word in usual if word.partition("=")[0] not in {given.partition("=")[0] for given in words}]
    # Hydra's application takes its arguments from there.
    with patch.object(sys, "argv", list(sys.argv)), patch("bench.report.run._write_figures", lambda run, out: []):
        return main([verb, *kept, *words])


def measured(*arguments: object) -> None:
    """Generate, extract and score with the settings of `bench`, without the command, which costs more than the work."""
    usual = ("evaluator=mini_rec", "dataset=folder", "protocol.samples_per_item=1")
    commands.measured(*usual, *optional([str(argument) for argument in arguments]))


def record(out: Path, method: str = "*") -> dict:
    """Return `run.json` of the one run below a folder."""
    [path] = out.glob(f"*/{method}-*/run.json")
    return json.loads(path.read_text()) | {"folder": path.parent}
