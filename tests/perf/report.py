"""Times report and compare: `OMP_NUM_THREADS=1 python -m tests.perf.report [runs [items]]`.

Makes runs of 5 samples per item in the store's own format (one scored by the metrics on small features, the others of
it by noise; half a percent of the samples failed; pictures of 512 x 512), writes each run's report, compares the
first four and then all, and prints seconds of wall clock and of the process, its peak memory, and that of its largest
child (pages shared with the parent are counted in both).
"""

import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from bench.cli.report import main as report
from bench.report.compare import compare
from bench.report.writers import write_comparison
from bench.store import read_table, write_json, write_table
from tests.report.world import record, write_run


def make(out, runs, items):
    first = write_run(out / "method 00", "method 00", items=items, failed=0.005, pictures=False)
    rng, picture = np.random.default_rng(0), out / "picture.png"
    coarse = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((512, 512), Image.Resampling.BICUBIC).save(picture)
    folders = [first, *(another(first, out / f"method {k:02d}", rng) for k in range(1, runs))]
    for folder in folders:
        link(folder, picture)
    return folders


def another(first, folder, rng):
    """The first run with every number moved a little."""
    shutil.copytree(first, folder)
    write_json(folder / "run.json", record(folder.name, "mini"))
    for name in ("scores", "items", "samples"):
        path = folder / "scores" / f"{name}.parquet"
        frame = read_table(path)
        for column in [c for c in frame if c == "value" or "[" in c]:
            numbers = frame[column].astype(float)
            frame[column] = numbers + rng.normal(rng.normal(0, 0.02), 0.05, len(frame)) * (numbers.abs() + 0.01)
        write_table(path, frame)
    return folder


def link(folder, picture):
    samples = read_table(folder / "scores" / "samples.parquet")
    photos = pd.DataFrame(read_table(folder / "photos.parquet"))
    photos["path"] = [str(folder / "references" / Path(path).name) for path in photos["path"]]
    write_table(folder / "photos.parquet", photos)
    for path in [*(folder / p for p in samples["path"] if p), *map(Path, photos["path"])]:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(picture, path)


def timed(name, do):
    start = time.perf_counter(), time.process_time()
    result = do()
    spent = time.perf_counter() - start[0], time.process_time() - start[1]
    own, child = (resource.getrusage(who).ru_maxrss / 2**20 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    memory = f"peak {own:.2f} GiB, of a child {child:.2f} GiB"
    print(f"{name:40} {spent[0]:8.2f} s  {spent[1]:8.2f} s of processor, {memory}", flush=True)
    return result


def main(runs=20, items=500):
    with tempfile.TemporaryDirectory() as out:
        folders = timed("making the runs", lambda: make(Path(out), runs, items))
        timed("compare of 4 runs, tables alone", lambda: compare(folders[:4]))
        four = compare(folders[:4])
        timed("writing its tables and figures", lambda: write_comparison(four, Path(out) / "four"))
        timed(f"report of {runs} runs", lambda: report([str(folder) for folder in folders]))
        everything = timed(f"compare of {runs} runs, tables alone", lambda: compare(folders))
        timed("writing its tables and figures", lambda: write_comparison(everything, Path(out) / "all"))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
