"""Times the search of a bank by formula: `python -m tests.perf.nearest [rows ...]`, 2,500 queries of 512 numbers.

Writes the bank to a temporary folder, prints seconds and peak memory of a process that does nothing but the search, and
holds the neighbours of some queries against a brute-force search in float64.
"""

import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from bench.metrics.functional.cosine import DECIMALS, unit
from bench.studies.bank import SHARD, add, create, read_blocks
from bench.studies.memorisation import search
from tests.parity.formula import uniform

QUERIES, D, K, CHECKED = 2_500, 512, 5, 20


def formula(name, rows):
    return uniform("perf", name, rows * D).reshape(rows, D).astype(np.float32)


def make(folder, rows):
    bank = create(folder, "formula", D)
    for at in range(0, rows, SHARD):
        names = [f"{row}" for row in range(at, min(at + SHARD, rows))]
        bank = add(bank, formula(f"bank/{at}", len(names)), names, names)
    return bank


def brute(queries, bank, shards):
    """The k best of some shards, each query's cosines sorted."""
    rows = unit(queries)
    parts = [rows @ unit(b.vectors).T for number in range(shards) for b in read_blocks(bank, number)]
    cosine = np.round(np.concatenate(parts, axis=1), DECIMALS)
    order = np.argsort(-cosine, axis=1, kind="stable")[:, :K]
    return order, np.take_along_axis(cosine, order, axis=1)


def peak():
    """GB of this process alone; `ru_maxrss` of a child begins with its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def timed(queries, bank, state):
    """The neighbours, and what the search took beyond the imports."""
    before, start = peak(), (time.perf_counter(), time.process_time())
    best = search(queries, [bank], K, state)
    return best, before, peak(), time.perf_counter() - start[0], time.process_time() - start[1]


def measure(rows):
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        queries = formula("queries", QUERIES)
        bank = make(Path(folder) / "bank", rows)
        best, before, after, wall, cpu = pool.submit(timed, queries, bank, Path(folder)).result()
        print(f"{rows:>9} rows: {wall:.1f} s, {cpu:.1f} s of processor; peak {after:.2f} GiB, {before:.2f} before")
        position, cosine = brute(queries[:CHECKED], bank, len(bank.shards))
        whole = (position == best.position[:CHECKED]).all() and (cosine == best.cosine[:CHECKED]).all()
        print(f"{rows:>9} rows: {CHECKED} queries against all rows by brute force: {'equal' if whole else 'DIFFERENT'}")


if __name__ == "__main__":
    for size in [int(word) for word in sys.argv[1:]] or [1_000_000]:
        measure(size)
