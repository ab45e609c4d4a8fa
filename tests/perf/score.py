"""Times every metric on features by formula: `OMP_NUM_THREADS=1 python -m tests.perf.score [samples ...]`.

Prints seconds of wall clock and of the process for each metric, their sum, and the peak memory of the process, features
included. The measured 2,500 samples are those of the paper: 500 items of 5 samples, features of official size.
"""

import resource
import sys
import time

from bench import registry
from bench.metrics.functional.frechet import frechet_distance
from bench.testing.world import evaluation
from tests.metrics.world import OFFICIAL


def measure(samples):
    given = evaluation(items=samples // 5, per_item=5, targets=1, dims=OFFICIAL)
    total = [0.0, 0.0]
    part = given.features["inception"]
    start = time.perf_counter()
    frechet_distance(part.samples[:2500], part.references[:500])
    print(f"{samples:>7}  one Frechet distance of 500 against 2,500: {time.perf_counter() - start:.2f} s", flush=True)
    for name in sorted(registry.entries("metrics")):
        metric = registry.get("metrics", name)
        start = time.perf_counter(), time.process_time()
        metric.compute(given)
        spent = time.perf_counter() - start[0], time.process_time() - start[1]
        total = [a + b for a, b in zip(total, spent, strict=True)]
        print(f"{samples:>7}  {name:22} {spent[0]:8.2f} s  {spent[1]:8.2f} s of processor", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{samples:>7}  {'all':22} {total[0]:8.2f} s  {total[1]:8.2f} s of processor, peak {peak:.2f} GiB", flush=True
    )


if __name__ == "__main__":
    for size in [int(word) for word in sys.argv[1:]] or [2_500]:
        measure(size)
