"""The verb `contribute`: fill the empty slots of the paper's Table 1 with one command, and make bundles of them."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.console import Parser, say, show, table
from bench.errors import UserError

METHODS = (
    "fastcomposer", "photomaker", "instantid", "ip_adapter_faceid_sdxl", "ip_adapter_faceid_plus",
    "ip_adapter_faceid_plusv2", "arc2face",
)  # fmt: skip
"""The paper's methods, in the order of its Table 1."""
CONTROLS = ("copy", "shuffle", "real")
PROTOCOL = "arc2face_eccv24"
LISTS = {"synth500": "synth500", "agedb": "agedb400"}
"""Dataset -> the command of `data` that makes its list."""
GATE = ["recognition", "gate"]


@dataclass(frozen=True)
class Slot:
    """A row of Table 1 on one dataset.

    Attributes:
        method: its name.
        dataset: the source of its photos.
        folder: of the newest complete run; None where the slot is empty.
    """

    method: str
    dataset: str
    folder: Path | None


def main(argv: Sequence[str]) -> int:
    """Show the slots of the paper's Table 1 that no run here fills, and the commands that fill them; --go runs these.

    The numbers need the official weights and a GPU. Nothing is uploaded: at the end there are the list of each dataset
    (names, sizes and sha256 of its photos) and a bundle per run, without people, that you can give to the project.
    """
    options = _parser().parse_args(argv)
    every = slots(options.out)
    show(_shown(every))
    todo = commands(every, options.out, options.to, options.pairs)
    if not options.go:
        show("\nThese commands fill the empty slots and make the bundles (--go runs them):")
        show("\n".join(map(_line, todo)))
        return 0
    return _run(todo, options.out, options.to)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m bench contribute", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")
    parser.add_argument("--to", type=Path, default=Path("contribution"), help="folder of the bundles (contribution)")
    gate = "verification sets: each recogniser must first reach its published accuracy"
    parser.add_argument("--pairs", type=Path, metavar="DIR", help=gate)
    parser.add_argument("--go", action="store_true", help="run the commands")
    return parser


def slots(out: Path) -> list[Slot]:
    """Return every method and control on every dataset of Table 1, with the newest complete run of each below `out`.

    A run under another protocol fills no slot.
    """
    from bench.report.published import DATASETS
    from bench.report.runs import runs

    done = {
        (row["method"], row["dataset"]): Path(row["folder"])
        for row in (runs(out) if out.is_dir() else ())
        if row["state"] == "complete" and _protocol(Path(row["folder"])) == PROTOCOL
    }
    return [
        Slot(method, dataset, done.get((method, dataset)))
        for dataset in DATASETS.values()
        for method in (*METHODS, *CONTROLS)
    ]


def _protocol(folder: Path) -> str:
    from bench.store import read_json

    return str(read_json(folder / "scores" / "scores.json")["protocol"]["name"])


def _shown(every: Sequence[Slot]) -> str:
    """Return the slots as a table: a line per method, a column per dataset."""
    lines: dict[str, dict[str, str]] = {}
    for slot in every:
        lines.setdefault(slot.method, {"method": slot.method})[slot.dataset] = str(slot.folder or "empty")
    return table(list(lines.values()))


def commands(every: Sequence[Slot], out: Path, to: Path, pairs: Path | None = None) -> list[list[str]]:
    """Return the arguments of `python -m bench` that fill the empty slots, and make lists, comparison and bundles.

    Args:
        every: slot of Table 1.
        out: folder of all runs.
        to: folder of lists and bundles.
        pairs: folder of verification sets on which each recogniser must reach its published accuracy before any run;
            None: the recognisers are not tested.
    """
    found = _tests(pairs) if pairs else []
    for dataset in dict.fromkeys(slot.dataset for slot in every):
        empty = [slot.method for slot in every if slot.dataset == dataset and slot.folder is None]
        if empty:
            found += [["fetch", "profile=paper", f"dataset={dataset}", f"method={method}"] for method in empty]
            sweep = f"method={','.join(empty)}"
            found.append(["run", "-m", "profile=paper", f"dataset={dataset}", sweep, f"out={out}"])
        found.append(_list(dataset, to))
    return [*found, ["compare", "--out", str(out)], *_exports(every, to)]


def _tests(pairs: Path) -> list[list[str]]:
    """Return the commands that get the evaluator's networks and hold its recognisers against published accuracies."""
    from bench.cli.run import spec_of

    names = ",".join(spec_of(["profile=paper"]).evaluator.recognisers)
    settings = [f"recognition.pairs={pairs}", f"recognition.recognisers=[{names}]"]
    return [["fetch", "profile=paper"], [*GATE, "profile=paper", *settings]]


def _list(dataset: str, to: Path) -> list[str]:
    """Return the command that writes the names, sizes and sha256 of a dataset's photos."""
    from bench.assets import weights_folder

    root = weights_folder() / "datasets" / dataset
    return ["data", LISTS[dataset], "--root", str(root), "--out", str(to / f"{dataset}.csv")]


def _exports(every: Sequence[Slot], to: Path) -> list[list[str]]:
    filled = [slot for slot in every if slot.folder is not None]
    return [["export", str(one.folder), "--to", str(to / f"{one.dataset}-{one.method}.zip")] for one in filled]


def _line(arguments: Sequence[str]) -> str:
    return "  " + shlex.join(["python", "-m", "bench", *arguments])


def _run(todo: Sequence[Sequence[str]], out: Path, to: Path) -> int:
    """Run commands one after the other, then make the bundles of all slots that are filled now.

    A method whose command fails leaves its slot empty; the others go on.

    Raises:
        UserError: a recogniser does not reach its published accuracy, or no slot is filled at the end.
    """
    failed = []
    for arguments in todo:
        if arguments[0] == "export" or _succeeds(arguments):
            continue
        if arguments[: len(GATE)] == GATE:
            raise UserError("nothing was run: the recognisers that measure failed their test; see the message above")
        failed.append(arguments)
    exports = _exports(slots(out), to)
    if not exports:
        raise UserError(f"no slot is filled; see the messages above, and `python -m bench ls runs --out {out}`")
    failed += [arguments for arguments in exports if not _succeeds(arguments)]
    for arguments in failed:
        say(f"failed:{_line(arguments)}")
    return 1 if failed else 0


def _succeeds(arguments: Sequence[str]) -> bool:
    say(_line(arguments).strip())
    return subprocess.run([sys.executable, "-m", "bench", *arguments], check=False).returncode == 0
