"""The table of what one GPU does, within eight minutes: `python -m tests.perf.gpu FOLDER --device cuda`. A script.

    python -m tests.perf.full_size arc2face FOLDER --device cuda    # once: a checkpoint of official size by formula
    python -m tests.perf.gpu FOLDER --device cuda
    python -m tests.perf.gpu bench/mini/weights/arc2face bench/mini/weights/sd15 --embedding-size 512 --steps 2 \
        --batches 1 2 --ways fp32 --people 2 --run method=copy      # a smoke check on a CPU

Three parts, each with its share of the time; what does not fit is named and not measured:

- sampling: images/s of the Arc2Face adapter and of diffusers' pipeline on the same networks, by precision, layout,
  compilation and batch (tests/perf/rates.py); TFLOP/s, and their share of the device's largest matrix product;
- extraction: images/s of each network of official size and of all together (tests/perf/extract.py);
- a whole run of the embedded world, per sample.

On a GPU each row has the mean of what `nvidia-smi` says of how busy it is.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from baselines.arc2face import Arc2Face, Arc2FaceOptions
from bench.runtime import Runtime
from tests.perf import extract, networks
from tests.perf.arc2face import bare, operations, product
from tests.perf.rates import WAYS, rate, rates_parser, requests

SHARES = {"sampling": 0.6, "extraction": 0.85}
"""Part of the whole time at which a part of the table ends."""
EVERY_MS = 200


@contextmanager
def busy(device: str) -> Iterator[list[str]]:
    """Yield a list that holds, after the block, how busy the GPU was; "" on a CPU or without nvidia-smi."""
    found = [""]
    words = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", str(EVERY_MS)]
    try:
        asked = subprocess.Popen(words, stdout=subprocess.PIPE, text=True) if device != "cpu" else None
    except FileNotFoundError:
        asked = None
    try:
        yield found
    finally:
        if asked is not None:
            asked.terminate()
            shares = [int(line) for line in asked.communicate()[0].split() if line.isdecimal()]
            found[0] = f"{sum(shares) / len(shares):.0f} %" if shares else ""


def sampling(given: argparse.Namespace, end: float) -> None:
    print("| options | batch | ours, images/s | diffusers, images/s | TFLOP/s | of the peak | GPU busy |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    fixed = {"model": given.model, "base": given.base or given.model, "embedding_size": given.embedding_size}
    peaks: dict[torch.dtype, float] = {}
    for way in given.ways:
        options = WAYS[way]
        if given.device == "cpu" and options["precision"] == "fp16":
            # A CPU refuses it.
            continue
        for batch in given.batches:
            if time.monotonic() > end:
                print(f"| {way} | {batch} | not measured | | | | |", flush=True)
                continue
            ways = options | {"vae_precision": options["precision"]}
            method = Arc2Face(
                Arc2FaceOptions(**fixed, **ways, steps=given.steps, batch=batch), Runtime(given.device, 1)
            )
            print(sampling_row(method, way, batch, given, peaks), flush=True)


def sampling_row(method: Arc2Face, way: str, batch: int, given: argparse.Namespace, peaks: dict) -> str:
    """Return a row: the method, the pipeline on the same networks and prompts, and the share of the peak."""
    asked, dtype = requests(batch, given.embedding_size), method.unet.dtype
    # The counter cannot look into compiled networks, which do the same work.
    work = None if method.options.compile else operations(method, asked)
    peaks[dtype] = peaks.get(dtype) or product(dtype, given.device)

    def ours() -> None:
        method._known = {}
        method.generate(asked)

    with busy(given.device) as shares:
        own = rate(given.device, batch, ours)
    other = "" if method.options.compile else f"{rate(given.device, batch, bare(method, asked)):.2f}"
    speed = (
        "| " if work is None else f"{work / batch * own / 1e12:.1f} | {work / batch * own / 1e12 / peaks[dtype]:.0%}"
    )
    return f"| {way} | {batch} | {own:.2f} | {other} | {speed} | {shares[0]} |"


def extraction(given: argparse.Namespace, root: Path) -> None:
    """Print images/s of every network, those of photos counted too, and of the stage as a whole."""
    networks.write_all(root / "weights")
    extract.write_pictures(root, given.people)
    count = given.people * (1 + extract.SAMPLES)
    with busy(given.device) as shares:
        seconds, spent, _ = extract.ours(root, extract.spec_of(root, given.device, given.people))
    print("\n| extraction | images/s |\n| --- | --- |")
    for name, took in seconds.items():
        if name not in ("loading", "score"):
            print(f"| {name} | {count / took:.2f} |")
    print(f"| all, without loading and scoring | {count / (spent - seconds['score']):.2f} |")
    print(f"| GPU busy | {shares[0]} |", flush=True)


def whole(given: argparse.Namespace, root: Path) -> None:
    """Print what a run of the embedded world takes per sample."""
    words = [sys.executable, "-m", "bench", "run", f"execution.device={given.device}", f"out={root / 'whole'}"]
    start = time.perf_counter()
    with busy(given.device) as shares:
        subprocess.run([*words, *given.run], check=True, capture_output=True)
    took = time.perf_counter() - start
    made = len(list((root / "whole").glob("*/*/samples/*/*.png")))
    print("\n| run of the embedded world | samples | s | s per sample | GPU busy |\n| --- | --- | --- | --- | --- |")
    row = f"{made} | {took:.1f} | {took / made:.3f} | {shares[0]}"
    print(f"| from the list to the page | {row} |", flush=True)


def main() -> None:
    parser = rates_parser()
    parser.add_argument("--people", type=int, default=16, help="of the extraction, with five samples each")
    parser.add_argument("--run", nargs="*", default=[], help="overrides of the whole run")
    parser.add_argument("--seconds", type=float, default=480)
    given = parser.parse_args()
    torch.set_num_threads(1)
    start = time.monotonic()
    sampling(given, start + SHARES["sampling"] * given.seconds)
    with TemporaryDirectory() as folder:
        if time.monotonic() < start + SHARES["extraction"] * given.seconds:
            extraction(given, Path(folder))
        if time.monotonic() < start + SHARES["extraction"] * given.seconds:
            whole(given, Path(folder))
    print(f"\nall of it took {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
