"""Peak memory of writing, exporting, importing and reading a face set, for two sizes; and FLOP of the networks.

python -m tests.perf.face_sets            # about a minute
"""

import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

PER_IDENTITY, PER_SHARD = 20, 100


def crop(number):
    """A crop by formula, as JPEG."""
    from PIL import Image

    y, x = np.mgrid[:112, :112]
    channels = [(x * (1 + number % 7) + y * (1 + c + number % 5) + 31 * number) % 256 for c in range(3)]
    sink = io.BytesIO()
    Image.fromarray(np.stack(channels, 2).astype(np.uint8)).save(sink, "JPEG", quality=95)
    return sink.getvalue()


def rows(shard, identities):
    from bench.facesets.store import Row

    for identity in range(shard * PER_SHARD, min((shard + 1) * PER_SHARD, identities)):
        for index in range(PER_IDENTITY):
            yield Row(identity, index, crop=crop(identity * PER_IDENTITY + index))


def work(count, folder):
    """Everything that touches a set of `count` crops; prints the peak memory after each part in MB."""
    from bench.facesets import formats
    from bench.facesets.store import FaceSet, close, write_shard
    from bench.recognition.crops import Crops
    from bench.recognition.recipe import Head, Recipe

    identities = count // PER_IDENTITY
    shards = -(-identities // PER_SHARD)
    for shard in range(shards):
        write_shard(folder / "set", shard, rows(shard, identities))
    close(folder / "set", shards, {})
    report("write")
    faces = FaceSet(folder / "set")
    for kind in ("recordio", "webdataset", "parquet"):
        formats.export(faces, kind, folder / kind)
    report("export")
    formats.take_in(formats.read(folder / "recordio"), folder / "back", {})
    report("import")
    recipe = Recipe(name="x", network="mobileface", head=Head(name="cosface", margin=0.3), batch=32, epochs=1)
    crops = Crops(FaceSet(folder / "back"), recipe, seed=0)
    for step in range(20):
        crops[step]
    report("batches")


def report(what):
    """Prints the largest memory so far of this process; `ru_maxrss` would begin with that of its parent."""
    status = Path("/proc/self/status").read_text()
    kilobytes = int(status.partition("VmHWM:")[2].split()[0])
    print(f"  {what:<8} {kilobytes / 1024:8.1f} MB", flush=True)


def flop():
    """Floating point operations of one crop, forward, and forward with backward."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from bench.extractors.backbones import build

    for name in ("ir_18", "ir_50", "ir_se_50", "ir_101", "mobileface"):
        with torch.device("meta"):
            network, image = build(name).train(), torch.zeros(2, 3, 112, 112)
        with FlopCounterMode(display=False) as forward:
            out = network(image)
        with FlopCounterMode(display=False) as backward:
            out.sum().backward()
        both = [forward.get_total_flops() / 2e9, backward.get_total_flops() / 2e9]
        millions = sum(p.numel() for p in network.parameters()) / 1e6
        print(f"{name:<11} {millions:6.1f} M parameters, forward {both[0]:6.2f} GFLOP, training {sum(both):6.2f} GFLOP")


def main():
    flop()
    for count in (2_000, 20_000):
        print(f"{count} crops", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-m", "tests.perf.face_sets", str(count), folder], check=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        work(int(sys.argv[1]), Path(sys.argv[2]))
    else:
        main()
