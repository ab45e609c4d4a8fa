"""Images per second of the Arc2Face adapter and of diffusers' own pipeline, by option and batch. A script, not a test.

    python -m tests.perf.full_size arc2face FOLDER --device cuda
    python -m tests.perf.rates FOLDER --device cuda

It prints a Markdown table, a row as soon as it is measured. Rows that do not fit into the time given are named, not
measured; compiled networks come last, because their first call takes long.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from baselines.arc2face import Arc2Face, Arc2FaceOptions
from baselines.protocol import Reference, Request
from bench.runtime import Runtime
from tests.perf.arc2face import bare, model_parser, seconds

WAYS = {
    "fp32": {"precision": "fp32"},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16"},
    "fp16, channels last": {"precision": "fp16", "channels_last": True},
    "fp16, compiled": {"precision": "fp16", "compile": True},
}
TURNS = 3


def requests(count: int, size: int) -> list[Request]:
    """One sample each of so many people."""
    rows = np.random.default_rng(0).normal(size=(count, size)).astype(np.float32)
    people = [Reference(f"i{k}", f"s{k}", embeddings={"arcface": row}) for k, row in enumerate(rows)]
    return [Request(person, 0, k, "") for k, person in enumerate(people)]


def rate(device: str, count: int, call) -> float:
    """Return images per second: the median of a few turns, after one that is not counted."""
    call()
    return count / statistics.median(seconds(device, call) for _ in range(TURNS))


def measured(method: Arc2Face, asked: list[Request], device: str) -> str:
    """Return a row's two rates: the whole method, and the pipeline on the same networks and prompts."""

    def ours() -> None:
        method._known = {}
        method.generate(asked)

    own = rate(device, len(asked), ours)
    # The pipeline takes the network as it was before it was compiled.
    other = "" if method.options.compile else f"{rate(device, len(asked), bare(method, asked)):.2f}"
    return f"{own:.2f} | {other}"


def rates_parser() -> argparse.ArgumentParser:
    """Return a parser of a model, the ways to run it, and the batches."""
    parser = model_parser()
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 5, 20, 80])
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    return parser


def main() -> None:
    parser = rates_parser()
    parser.add_argument("--seconds", type=float, default=420, help="no row is begun after this time")
    given = parser.parse_args()
    torch.set_num_threads(1)
    end = time.monotonic() + given.seconds
    fixed = {"model": given.model, "base": given.base or given.model, "embedding_size": given.embedding_size}
    print("| options | batch | ours, images/s | diffusers, images/s |\n| --- | --- | --- | --- |", flush=True)
    for way in given.ways:
        for batch in given.batches:
            if time.monotonic() > end:
                print(f"| {way} | {batch} | not measured | |", flush=True)
                continue
            # The pipeline wants one type of number in all networks.
            ways = WAYS[way] | {"vae_precision": WAYS[way]["precision"]}
            options = Arc2FaceOptions(**fixed, **ways, steps=given.steps, batch=batch)
            method = Arc2Face(options, Runtime(given.device, 1))
            row = measured(method, requests(batch, given.embedding_size), given.device)
            print(f"| {way} | {batch} | {row} |", flush=True)


if __name__ == "__main__":
    main()
