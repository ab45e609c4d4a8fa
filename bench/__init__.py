"""idbench: the benchmark for identity-conditioned face generation.

    from bench import compare, figures, load_run

    run = load_run("runs/mini/copy-12345678")        # data frames: run.scores, run.samples, run.items, run.photos
    comparison = compare(["runs/…", "runs/…"])       # comparison.scores, comparison.differences
    figure = figures.similarity(comparison.runs, "arcface")  # a matplotlib figure

    run = bench.run(["method=copy"])                 # what `python -m bench run method=copy` does
    folder = bench.run_experiment("fig10")           # what `python -m bench run experiment=fig10` does
    run = bench.evaluate(images, references)         # arrays or paths in, the same data frames out

Nothing is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bench.version import __version__

if TYPE_CHECKING:
    from bench.interface import evaluate, run, run_experiment
    from bench.report import figures
    from bench.report.compare import Comparison, compare
    from bench.report.frames import Run, load_run

__all__ = ["Comparison", "Run", "__version__", "compare", "evaluate", "figures", "load_run", "run", "run_experiment"]

_MODULES = {
    "Comparison": "bench.report.compare", "Run": "bench.report.frames", "compare": "bench.report.compare",
    "evaluate": "bench.interface", "load_run": "bench.report.frames", "run": "bench.interface",
    "run_experiment": "bench.interface",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "figures":
        return importlib.import_module("bench.report.figures")
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'bench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
