"""Every Eval Ever, schema 0.3.0: one JSON file of numbers and one line per sample."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.errors import UserError
from bench.exchange.formats.rows import Row, begun, rows, slug
from bench.hashing import sha256_bytes
from bench.metrics import declared
from bench.metrics.protocol import Number
from bench.report.frames import SIMILARITY, Run, similarity_of
from bench.report.numbers import label
from bench.status import SampleStatus
from bench.version import __version__

SCHEMA = "0.3.0"
ZERO = "mean_failures_as_zero"
"""The statistic of which the lines are the single values: their mean is the number."""
Relationship = Literal["first_party", "third_party", "collaborative", "other"]


@dataclass(frozen=True)
class Source:
    """What a run does not know of itself.

    Attributes:
        model: the model as the Hub names it, "ORGANISATION/NAME".
        organization: who ran the benchmark.
        relationship: of who ran it to the model.
    """

    model: str
    organization: str
    relationship: Relationship = "other"


def files(run: Run, source: Source) -> dict[str, bytes]:
    """Return path -> content of the two files; the same run and source give the same bytes.

    Args:
        run: as others may see it.
        source: see `Source`.

    Raises:
        UserError: the model is not "ORGANISATION/NAME", or a file does not fit the schema.
    """
    organisation, _, name = source.model.partition("/")
    if not organisation or not name or "/" in name:
        raise UserError(f"--model {source.model!r} is not ORGANISATION/NAME, as the Hub names a model")
    lines = list(_lines(run, source))
    for line in lines:
        _check(line, "instance_level_eval")
    text = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines).encode()
    stem = uuid.UUID(bytes=bytes.fromhex(sha256_bytes(text + _id(run, source).encode()))[:16], version=4)
    place = f"data/idbench/{slug(organisation)}/{slug(name)}/{stem}"
    record = _record(run, source, f"{place}_samples.jsonl", text, len(lines))
    _check(record, "eval")
    data = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return {f"{place}.json": data.encode(), f"{place}_samples.jsonl": text}


def read(data: bytes) -> dict[str, float]:
    """Return name -> value of the numbers of a written file."""
    return {
        one["evaluation_result_id"]: one["score_details"]["score"] for one in json.loads(data)["evaluation_results"]
    }


def _id(run: Run, source: Source) -> str:
    return f"idbench-{slug(str(run.record['dataset']))}/{source.model}/{begun(run).timestamp()}"


def _record(run: Run, source: Source, path: str, text: bytes, count: int) -> dict[str, Any]:
    stamp = str(begun(run).timestamp())
    return {
        "schema_version": SCHEMA,
        "evaluation_id": _id(run, source),
        "evaluation_timestamp": stamp,
        "retrieved_timestamp": stamp,
        "source_metadata": {
            "source_name": "idbench",
            "source_type": "evaluation_run",
            "source_organization_name": source.organization,
            "evaluator_relationship": source.relationship,
        },
        "eval_library": {"name": "idbench", "version": __version__},
        "model_info": {
            "name": run.label,
            "id": source.model,
            "additional_details": {"deployment_type": "self_deployed", "model_availability": "unknown"},
        },
        "evaluation_results": [_result(run, row) for row in rows(run)],
        "detailed_evaluation_results": {
            "format": "jsonl", "file_path": path, "hash_algorithm": "sha256", "checksum": sha256_bytes(text),
            "total_rows": count,
        },
    }  # fmt: skip


def _result(run: Run, row: Row) -> dict[str, Any]:
    details = {"n": row.n, "n_failed": row.n_failed, "relation_to_recogniser": row.relation, "note": row.note}
    score: dict[str, Any] = {
        "score": row.value,
        "details": {key: str(value) for key, value in details.items() if value != ""},
    }
    if row.interval:
        low, high = row.interval
        interval = {"lower": low, "upper": high, "confidence_level": 0.95, "method": "clustered by subject"}
        score["uncertainty"] = {"confidence_interval": interval, "num_samples": row.n}
    return {
        "evaluation_result_id": str(row.number),
        "evaluation_name": f"idbench {run.record['dataset']}",
        "source_data": {"dataset_name": str(run.record["dataset"]), "source_type": "other"},
        "metric_config": _metric(row),
        "score_details": score,
    }


def _metric(row: Row) -> dict[str, Any]:
    low, high = row.range
    found = declared.metric(row.number.metric)
    named = {key: value for key, value in row.number._asdict().items() if value and key not in ("metric", "statistic")}
    return {
        "metric_id": f"idbench.{row.number.metric}.{row.number.statistic}",
        "metric_name": label(row.number),
        "metric_kind": row.number.metric,
        **({"metric_unit": row.unit} if row.unit else {}),
        "metric_parameters": {**named, "version": found.version if found else None},
        "lower_is_better": row.lower_is_better,
        "score_type": "continuous",
        "min_score": "-Infinity" if low is None else low,
        "max_score": "Infinity" if high is None else high,
    }


def _lines(run: Run, source: Source) -> Iterator[dict[str, Any]]:
    """Yield a line per sample and recogniser: the similarity to the reference, 0 for a failure.

    `is_correct` is whether the sample has a face that was measured: similarity alone makes no answer right or wrong.
    """
    for recogniser in run.recognisers:
        number = Number(SIMILARITY, recogniser, ZERO)
        for sample, value in zip(run.samples.to_dict("records"), similarity_of(run, recogniser), strict=True):
            if SampleStatus(sample["status"]).is_trial:
                yield _line(run, source, number, sample, float(value))


def _line(run: Run, source: Source, number: Number, sample: Mapping[Any, Any], value: float) -> dict[str, Any]:
    measured = not np.isnan(value)
    name = f"{sample['item']} sample {sample['index']}"
    return {
        "schema_version": SCHEMA,
        "evaluation_id": _id(run, source),
        "model_id": source.model,
        "evaluation_name": f"idbench {run.record['dataset']}",
        "evaluation_result_id": str(number),
        "sample_id": name,
        "interaction_type": "single_turn",
        "input": {"raw": f"reference of {sample['item']}", "reference": [f"reference of {sample['item']}"]},
        "output": {"raw": [f"image: {name}"]},
        "answer_attribution": [
            {
                "turn_idx": 0, "source": "output.raw", "extracted_value": repr(value) if measured else "",
                "extraction_method": f"cosine similarity by {number.variant}", "is_terminal": True,
            }
        ],
        "evaluation": {"score": value if measured else 0.0, "is_correct": measured},
        "error": None if measured else str(sample["status"]),
        "metadata": {"subject": str(sample["subject"]), "prompt": str(sample.get("prompt_id", ""))},
    }  # fmt: skip


def _check(record: Mapping[str, Any], schema: str) -> None:
    """Check a record against its schema.

    Raises:
        UserError: it does not fit; the field is named.
    """
    error = next(iter(_validator(schema).iter_errors(record)), None)
    if error is not None:
        where = ".".join(map(str, error.absolute_path)) or "the record"
        raise UserError(f"{where} does not fit {schema}.schema.json {SCHEMA} of Every Eval Ever: {error.message}")


@lru_cache(maxsize=2)
def _validator(schema: str) -> Any:
    from jsonschema import Draft7Validator

    path = Path(__file__).parent / "schemas" / f"{schema}.schema.json"
    return Draft7Validator(json.loads(path.read_text(encoding="utf-8")))
