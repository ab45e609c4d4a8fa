"""`python -m bench.mini.train [names] --work DIR`: retrains the mini networks, all by default."""

from __future__ import annotations

import argparse
import importlib
import json
import time
from pathlib import Path

import torch

from bench.memory import keep_freed
from bench.mini.train.loop import Plan, say

RECIPES = (
    "arcface",
    "judge",
    "detector",
    "landmarks",
    "parsenet",
    "smirk",
    "squeezenet",
    "inception",
    "vae",
    "arc2face",
)
"""In an order in which each finds what it needs: arc2face needs arcface and vae; detector and judge measure it."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.mini.train", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(RECIPES)}; all by default")
    parser.add_argument("--out", type=Path, default=Path("bench/mini/weights"), help="folder of the weights")
    parser.add_argument("--work", type=Path, required=True, help="folder of renders and checkpoints; resumed from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="processes that draw batches ahead: 3 or more for a GPU")
    parser.add_argument("--compiled", action="store_true", help="compile the UNet: for long runs")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--steps", type=int, help="instead of the recipe's own number")
    limit.add_argument("--minutes", type=float, help="end each training on the clock")
    chosen = parser.parse_args()
    wrong = sorted(set(chosen.names) - set(RECIPES))
    if wrong:
        parser.error(f"unknown recipe {wrong[0]}; known: {', '.join(RECIPES)}")
    return chosen


def main() -> None:
    """Run the recipes in order and write the quality that each one reached to `work/quality.json`."""
    import cv2

    chosen = _arguments()
    torch.set_num_threads(chosen.threads)
    keep_freed()
    cv2.setNumThreads(1)
    device = ("cuda" if torch.cuda.is_available() else "cpu") if chosen.device == "auto" else chosen.device
    plan = Plan(
        chosen.work, chosen.out, chosen.seed, device, chosen.steps, chosen.minutes, chosen.compiled, chosen.workers
    )
    for name in [recipe for recipe in RECIPES if recipe in (chosen.names or RECIPES)]:
        started = time.monotonic()
        quality = importlib.import_module(f"bench.mini.train.{name}").run(plan)
        _note(plan.work / "quality.json", name, {**quality, "minutes": (time.monotonic() - started) / 60})


def _note(path: Path, name: str, quality: dict[str, float]) -> None:
    say(f"{name}: {json.dumps(quality)}")
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, name: quality}, indent=2) + "\n")


if __name__ == "__main__":
    main()
