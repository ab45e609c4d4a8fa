"""Measures the steps after extraction on N samples: `python -m tests.perf.scale FOLDER ITEMS SAMPLES_PER_ITEM`.

Makes a run by formula: photos of one pixel, and the tables that generate and extract would have written, with features
of official size (two recognisers, FLAME, LPIPS, Inception, DINOv2, CLIP). No sample has a file. Then each step runs in
a process of its own, with one thread of BLAS. Prints the files and bytes of the run, and wall clock, processor time and
peak memory of each step. A run that is there already is measured again. `--short` takes features of 8 numbers.

The step `stage` is the stage `score` alone: it reads the tables and writes the scores. Its time leaves out the plan,
its memory does not. `score` is the whole command with its plan, its check of every table, and its report. No time has
the start of the process and the composition of its configuration.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

import bench.__main__
from bench.hashing import sha256_bytes
from bench.images import encode_png
from bench.stages.plan import plan
from bench.stages.run import photo_embeddings, run_stages
from bench.stages.score import score
from bench.stages.tables import faces_table, feature_table, is_pairwise
from bench.status import ViewStatus
from bench.store import read_json, shard_table, write_arrow, write_record
from tests.e2e.commands import composed
from tests.metrics.world import OFFICIAL
from tests.shared import ROOT

STEPS = ("plan", "stage", "score", "page", "compare", "export")
WIDTHS = {**OFFICIAL, "judge": OFFICIAL["adaface"]}
SHORT = 8
TRUNK = ROOT / "bench/mini/weights/inception.pth"
"""Stands in for weights that are never loaded."""
FACE = {
    "status": "ok", "reason": "", "n_faces": 1, "score": 0.9, "roll": 0.0, "det_size": 640, "det_border": 0.0,
    "det_configured": True, "scales_read": 3, "scales_agree": 3, "disagreement": 0.02,
}  # fmt: skip


def spec(folder, per_item, method="copy"):
    """Return the spec of a run on the folder's photos."""
    extras = [
        f"+evaluator.extractors.{name}={{name: {name}, weights: {TRUNK}}}" for name in ("dinov2", "clip")
    ]  # fmt: skip
    return composed(
        f"out={folder / 'runs'}", "dataset=folder", f"dataset.root={folder / 'photos'}", "dataset.references=all",
        f"method={method}", f"protocol.samples_per_item={per_item}", *extras,
    )  # fmt: skip


def write_photos(folder, items):
    for item in range(items):
        pixel = np.array([[[item // 65536, item // 256 % 256, item % 256]]], np.uint8)
        (folder / f"{item:06d}.png").write_bytes(encode_png(pixel, {}))


def features(width, rows, short):
    """Return (n, width) rows around their person; few bits each, so that a million of them fit on a disk."""
    width = SHORT if short and width > SHORT and width != OFFICIAL["flame"] else width
    scale = 16 * (1 + np.arange(width, dtype=np.float32)) ** -0.25
    people = rows["subject"].factorize()[0]
    found = np.empty((len(rows), width), np.float32)
    for code, name in enumerate(rows["subject"].unique()):
        rng = np.random.default_rng(int(sha256(f"{name} {width}".encode()).hexdigest()[:8], 16))
        person = rng.standard_normal(width, dtype=np.float32)
        mine = people == code
        noise = np.random.default_rng(int(rows["row"].iloc[0]) + code).standard_normal((mine.sum(), width), np.float32)
        found[mine] = np.round(scale * (0.8 * person + 0.4 * noise))
    return found


def vectors(matrix):
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1]).cast(pa.list_(pa.float32()))


def write_measured(images, options, names, short, shard):
    """Write what extract writes of one shard."""
    rows = images.shard(shard).reset_index(drop=True)
    keys = rows[["row", "item", "subject", "index"]]
    box = np.tile(np.array([100, 100, 400, 400], np.float32), (len(rows), 1))
    points = np.tile(np.linspace(100, 400, 10, dtype=np.float32), (len(rows), 1))
    faces = pa.Table.from_pandas(keys.assign(**FACE), preserve_index=False)
    faces = faces.append_column("box", vectors(box)).append_column("keypoints", vectors(points))
    write_arrow(faces_table(images, options).path(shard), faces)
    for name in names:
        target = feature_table(images, options, name)
        if is_pairwise(options.evaluator.all_extractors[name]):
            target.write(shard, distances(rows))
            continue
        found = pa.Table.from_pandas(keys.assign(status=str(ViewStatus.OK), padded=0.0), preserve_index=False)
        write_arrow(target.path(shard), found.append_column("feature", vectors(features(WIDTHS[name], rows, short))))


def distances(rows):
    """Return a distance of each pair of an item's samples, and of each sample to its reference."""
    found = []
    for _, group in rows.groupby("item", sort=False):
        first, second = np.array([*combinations([*range(len(group)), -1], 2)]).T
        pairs = group[["row", "item", "subject"]].iloc[first].assign(i=first, j=second, status="ok")
        found.append(
            pairs.assign(value=0.3 + (pairs["row"] * 7 + second) % 100 / 500, foreground_i=0.5, foreground_j=0.6)
        )
    return pd.concat(found, ignore_index=True)


def write_samples(job, shard):
    """Write what generate writes of one shard."""
    rows = job.samples.iloc[job.bounds[shard] : job.bounds[shard + 1]].reset_index(drop=True)
    named = rows.merge(job.items[["item", "key"]], on="item", how="left")
    paths = [f"samples/{key}/{index}.png" for key, index in zip(named["key"], named["index"], strict=True)]
    made = rows[["row", "item", "subject", "index", "prompt_id"]].assign(
        seed=rows["row"] * 7919, path=paths, sha256=[sha256_bytes(path.encode()) for path in paths], width=512,
        height=512, status="ok", reason="",
    )  # fmt: skip
    shard_table(job.folder, "samples").write(shard, made)


def begun(options):
    """Return the job of a run whose record is written and nothing else."""
    run_stages(options, [])
    return plan(options, photo_embeddings)[0]


def unsafe():
    """Let files reach the disk when the system likes: a killed making is begun anew."""
    os.fsync = lambda handle: None


def make(folder, items, per_item, short):
    """Make the run, and one of another method that will get its scores."""
    unsafe()
    (folder / "photos").mkdir(parents=True)
    write_photos(folder / "photos", items)
    options = spec(folder, per_item)
    job = begun(options)
    begun(spec(folder, per_item, "shuffle"))
    every = list(options.evaluator.all_extractors)
    alone = [name for name in every if not is_pairwise(options.evaluator.all_extractors[name])]
    photos = job.photo_images()
    for shard in range(photos.shards):
        write_measured(photos, options, alone, short, shard)
    for shard in range(job.shards):
        write_samples(job, shard)
    images = job.sample_images()
    with ProcessPoolExecutor(2, initializer=_begin, initargs=(images, options, every, short)) as pool:
        for _ in pool.map(_write, range(images.shards), chunksize=8):
            pass


_GIVEN: list[tuple] = []
"""What a process that writes features was given once: it is large."""


def _begin(*given):
    unsafe()
    _GIVEN[:] = [given]


def _write(shard):
    write_measured(*_GIVEN[0], shard)


def work(step, folder, per_item):
    """Return the function that does a step in this process."""
    options = spec(folder, per_item)
    if step == "plan":
        return lambda: plan(options, photo_embeddings)
    if step == "stage":
        job = plan(options, photo_embeddings)[0]
        return lambda: score(job)
    if step == "score":
        return lambda: run_stages(options, ["score"])
    runs = sorted((folder / "runs").glob("*/*/run.json"))
    words = [str(path.parent) for path in runs if step == "compare" or path.parent.name.startswith("copy")]
    return lambda: command([{"page": "report"}.get(step, step), *words, *_where(step, folder)])


def command(words):
    """Run a command of the package and end with its exit code, if it fails."""
    if code := bench.__main__.main(words):
        sys.exit(code)


def _where(step, folder):
    places = {"compare": "compared", "export": "bundle.zip"}
    return ["--to", str(folder / places[step])] if step in places else []


def measure(step, folder, per_item):
    """Do one step in this process and print what it took."""
    step_work = work(step, folder, per_item)
    start = time.perf_counter(), time.process_time()
    step_work()
    spent = time.perf_counter() - start[0], time.process_time() - start[1]
    print("MEASURED" + json.dumps([*spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20]))


def measured(step, folder, items, per_item):
    """Print what a step takes in a process of its own."""
    given = map(str, (folder, items, per_item))
    words = [sys.executable, "-m", "tests.perf.scale", *given, "--step", step]
    ended = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    lines = [line for line in ended.stdout.splitlines() if line.startswith("MEASURED")]
    if not lines:
        print(f"{step:8} failed: {ended.stderr.strip()[-2000:]}", flush=True)
        return
    wall, processor, peak = json.loads(lines[0].removeprefix("MEASURED"))
    print(f"{step:8} {wall:8.1f} s {processor:8.1f} s of processor, peak {peak:.2f} GiB", flush=True)


def main(folder, items, per_item, short):
    start = time.perf_counter()
    if not (folder / "runs").exists():
        make(folder, items, per_item, short)
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 2**30
    print(f"{items * per_item} samples of {items} items: made in {time.perf_counter() - start:.0f} s, "
          f"{len(files)} files, {size:.2f} GiB", flush=True)  # fmt: skip
    for step in STEPS:
        measured(step, folder, items, per_item)
        if step == "score":
            one, other = (next((folder / "runs").glob(f"*/{name}-*")) for name in ("copy", "shuffle"))
            shutil.copytree(one / "scores", other / "scores", dirs_exist_ok=True)
            stages = {"stages": read_json(one / "run.json")["stages"]}
            write_record(other / "run.json", read_json(other / "run.json") | stages)


def scale_parser():
    """Return a parser of the run's folder and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("items", type=int)
    parser.add_argument("samples_per_item", type=int)
    parser.add_argument("--short", action="store_true", help="features of 8 numbers")
    parser.add_argument("--step", choices=STEPS, help="measure this step alone, in this process")
    return parser


if __name__ == "__main__":
    given = scale_parser().parse_args()
    if given.step:
        measure(given.step, given.folder, given.samples_per_item)
    else:
        main(given.folder.absolute(), given.items, given.samples_per_item, given.short)
