"""The verbs of `python -m bench` (and of the script `idbench`); each is imported only when it is called."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

# Sums of BLAS depend on the number of threads in the last digits; numbers repeat only where it is fixed.
for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

HYDRA_VERBS = {
    "run": "make samples, find and measure faces, score, report (all four stages)",
    "generate": "make the samples of a method",
    "extract": "find faces in samples and photos and run the networks that measure",
    "score": "compute the metrics",
}
VERBS = {
    "work": ("bench.cli.work:main", "make some shards of a run that was begun, under any scheduler"),
    "report": ("bench.cli.report:main", "write the report of a run (again)"),
    "compare": ("bench.cli.compare:main", "put runs side by side, with paired differences"),
    "paper": ("bench.cli.paper:main", "put every table and figure of the paper on one page"),
    "export": ("bench.cli.export:main", "write a run as a bundle for others: numbers, no people"),
    "push": ("bench.cli.push:main", "send a run's bundle to a dataset of the Hugging Face Hub"),
    "contribute": ("bench.cli.contribute:main", "fill the empty slots of the paper's Table 1"),
    "leaderboard": ("bench.cli.leaderboard:main", "check bundles of many people and put them on one page"),
    "check": ("bench.cli.check:main", "hold a run against a golden file; for CI"),
    "data": ("bench.cli.data:main", "make lists and embedded data; remove a person"),
    "identities": ("bench.cli.identities:main", "fit components on embeddings; sample people from them"),
    "faceset": ("bench.cli.faceset:main", "make, import, export or check a training set of faces"),
    "recognition": ("bench.cli.recognition:main", "train and test face recognisers"),
    "ls": ("bench.cli.ls:main", "list methods, datasets, extractors, metrics or runs"),
    "doctor": ("bench.cli.doctor:main", "check this machine and the files that runs need"),
    "fetch": ("bench.cli.fetch:main", "download weights and data"),
    "convert": ("bench.cli.convert:main", "turn a pickled checkpoint into safetensors"),
    "bank": ("bench.cli.bank:main", "keep embeddings that nearest neighbours are searched in"),
    "validate": ("bench.cli.validate:main", "measure how far metrics agree with people"),
    "study": ("bench.cli.study:main", "ask people: a forced-choice user study"),
}
USAGE = """usage: python -m bench VERB [ARGUMENTS]

The benchmark for identity-conditioned face generation.

verbs (all take --help):
{verbs}

examples:
  python -m bench run                                           the embedded default, no download
  python -m bench run method=copy dataset=folder dataset.root=DIR
  python -m bench run -m method=copy,shuffle,real dataset=folder dataset.root=DIR
  python -m bench compare"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a verb; returns the exit code (0 done, 1 work failed, 2 the user's mistake, 130 Ctrl-C, 143 SIGTERM)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(usage() + "\n")
        return 0
    if arguments[0] == "--version":
        from bench.version import __version__

        sys.stdout.write(f"idbench {__version__}\n")
        return 0
    with _terminable():
        return _guarded(arguments[0], arguments[1:])


class _TerminatedError(SystemExit):
    """SIGTERM came: what was begun is let go of on the way out, as after Ctrl-C."""


@contextmanager
def _terminable() -> Iterator[None]:
    """End by an exception where the system asks this process to end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: object) -> NoReturn:
        raise _TerminatedError(128 + number)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def usage() -> str:
    """The text of `--help`."""
    verbs = {**HYDRA_VERBS, **{name: text for name, (_, text) in VERBS.items()}}
    return USAGE.format(verbs="\n".join(f"  {name:<12}{text}" for name, text in verbs.items()))


def _guarded(verb: str, arguments: list[str]) -> int:
    from bench.errors import report_unexpected, unknown, users_error

    try:
        if verb in HYDRA_VERBS:
            from bench.cli.run import main as app

            return app(verb, arguments)
        if verb not in VERBS:
            raise unknown("verb", verb, [*HYDRA_VERBS, *VERBS])
        module, function = VERBS[verb][0].split(":")
        return int(getattr(importlib.import_module(module), function)(arguments))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on where this one stopped\n")
        return 130
    except _TerminatedError:
        sys.stderr.write("terminated; the same command goes on where this one stopped\n")
        return 143
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  the reader has gone; nothing more can be said
        return 0
    # Nobody is to see a traceback: a user's mistake is one line, anything else a line and a file.
    except Exception as error:  # noqa: BLE001
        mistake = users_error(error)
        sys.stderr.write(f"error: {mistake}\n" if mistake else f"{report_unexpected(error)}\n")
        return 2 if mistake else 1


if __name__ == "__main__":
    sys.exit(main())
