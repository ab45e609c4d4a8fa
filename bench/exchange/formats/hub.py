"""The Hub's evaluation results: a file for the repository of a model, and one that declares the benchmark."""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml

from bench.errors import UserError
from bench.exchange.formats.rows import Row, begun, rows, slug
from bench.metrics.protocol import Number
from bench.report.frames import Run
from bench.report.numbers import headlines, label

RESULTS = ".eval_results/idbench.yaml"
BENCHMARK = "eval.yaml"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def files(run: Run, dataset: str) -> dict[str, bytes]:
    """Return path -> content: the results of the headline numbers, and the `eval.yaml` of their benchmark.

    Args:
        run: as others may see it.
        dataset: the repository of the benchmark on the Hub, "ORGANISATION/NAME"; it need not hold more than its list.

    Raises:
        UserError: `dataset` is not the name of a repository.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    if not _REPOSITORY.fullmatch(dataset):
        raise UserError(f"--hub-dataset {dataset!r} is not ORGANISATION/NAME, as the Hub names a dataset")
    wanted = set(headlines(run.scores))
    shown = [row for row in rows(run) if row.number in wanted]
    date = begun(run).date().isoformat()
    entries = [EvalResultEntry(dataset, task(row.number), row.value, date=date, notes=_notes(row)) for row in shown]
    results = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True, width=1000)
    return {RESULTS: results.encode(), BENCHMARK: _benchmark(run, [row.number for row in shown])}


def task(number: Number) -> str:
    """Return the task of a number.

    >>> task(Number("verification", "judge", "fnmr", "1e-3"))
    'verification-judge-fnmr-1e-3'
    """
    return slug(" ".join(number))


def _notes(row: Row) -> str:
    interval = f"95 % {row.interval[0]:.4f} to {row.interval[1]:.4f}" if row.interval else "no interval"
    direction = "lower" if row.lower_is_better else "higher"
    relation = f"; relation to the recogniser: {row.relation}" if row.relation else ""
    return f"{interval}; n = {row.n}, {row.n_failed} failed; {direction} is better{relation}"


def _benchmark(run: Run, numbers: Sequence[Number]) -> bytes:
    names = "; ".join(f"{task(number)}: {label(number)}" for number in numbers)
    declared = {
        "name": f"idbench {run.record['dataset']}",
        "description": f"Identity-conditioned face generation, measured by idbench. Tasks: {names}.",
        "evaluation_framework": "idbench",
        "tasks": [{"id": task(number), "config": "default", "split": "test"} for number in numbers],
    }
    return yaml.safe_dump(declared, sort_keys=False, allow_unicode=True, width=1000).encode()


def read(data: bytes) -> dict[str, float]:
    """Return task -> value of a written file of results."""
    from huggingface_hub import parse_eval_result_entries

    return {entry.task_id: entry.value for entry in parse_eval_result_entries(yaml.safe_load(data))}
