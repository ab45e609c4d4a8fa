"""`python -m bench.mini.train.ablation --work DIR --to DIR`: small models of Arc2Face's kind, for Fig. 3 and 9.

They learn from fewer or more people (Fig. 3), or with an MLP in place of the text encoder (Fig. 9). All have the same
number of steps, batches of the same size, and a UNet of 1.4 M parameters: Arc2Face-mini's own takes twice as long. They
see the images that the embedded dataset has, portraits before a wall, one of each person.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from bench import resources
from bench.memory import keep_freed
from bench.mini import world
from bench.mini.dataset import before_a_wall
from bench.mini.train import arc2face, crops, recognition, vae
from bench.mini.train.loop import Plan, say
from bench.mini.training import Training, write

PEOPLE = 10000
SEED = 1
"""Of the people: those of the other recipes (`bench.mini.train.data.TRAIN`), so that no test shows them."""
SIDE = 96
FRONTAL = 0.6
BLOCK = 250
SIZE = arc2face.Size((32, 64), 16)


def _weights() -> Path:
    return resources.folder("bench/mini/weights")


def _draw(block: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return latents (250, 32, 8, 8) of the portraits of a block of people, and their embeddings (250, 512)."""
    people = world.sample_identities(SEED, PEOPLE)[block * BLOCK : (block + 1) * BLOCK]
    scene = before_a_wall(world.sample_scenes(people, SEED * 1009 + block, frontal=FRONTAL))
    drawn = world.render(scene, size=SIDE)
    portraits, _ = crops.portraits(drawn.images, drawn.landmarks, np.arange(BLOCK), vae.SIZE)
    embeddings = recognition.embed(_weights() / "arcface.onnx", drawn.images, drawn.keypoints)
    return _latents(portraits), embeddings


def _latents(portraits: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the latents (n, 32, 8, 8) of portraits (n, 64, 64, 3) by the stored autoencoder, at the UNet's scale."""
    from diffusers import AutoencoderKL

    coder: Any = AutoencoderKL.from_pretrained(_weights() / "sd15" / "vae", torch_dtype=torch.float32).eval()
    pixels = torch.from_numpy(portraits).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        means = [coder.encode(part).latent_dist.mean for part in pixels.split(50)]
    return (torch.cat(means) * coder.config.scaling_factor).numpy()


def material(people: int, work: Path) -> arc2face.Material:
    """Return latents and embeddings of one image of each of the first people; blocks that `work` lacks are drawn."""
    parts = []
    for block in range(-(-people // BLOCK)):
        path = work / f"people-{block}.npz"
        if not path.exists():
            drawn = _draw(block)
            np.savez(path.with_suffix(".part.npz"), latents=drawn[0], embeddings=drawn[1])
            path.with_suffix(".part.npz").replace(path)
            say(f"drew the people of block {block}")
        with np.load(path) as stored:
            parts.append((stored["latents"], stored["embeddings"]))
    latents, embeddings = (torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*parts, strict=True))
    return arc2face.Material(latents, embeddings, 1, np.arange(people))


def train(people: int, projection: Literal["clip", "mlp"], plan: Plan, steps: int) -> Training:
    """Train one model, or go on with it, and write it into the folder `PROJECTION-PEOPLE` in `plan.out`.

    Args:
        people: how many it learns from.
        projection: what reads the embedding: the text encoder, or an MLP.
        plan: seed and folders.
        steps: of the optimiser.
    """
    name = f"{projection}-{people}"
    tokens = arc2face.words(_weights() / "sd15" / "tokenizer")
    reading = arc2face.by_mlp() if projection == "mlp" else arc2face.by_encoder(tokens)
    stuff = material(people, plan.work)
    clock = time.monotonic()
    processor = time.process_time()
    module = arc2face.train(stuff, reading, replace(plan, steps=steps), name, SIZE)
    training = Training(
        people=people,
        images=len(stuff.rows),
        projection=projection,
        steps=steps,
        batch=SIZE.batch,
        seed=plan.seed,
        device=plan.device,
        threads=torch.get_num_threads(),
        seconds=round(time.monotonic() - clock),
        cpu_seconds=round(time.process_time() - processor),
    )
    arc2face.write_model(module, reading, plan.out / name)
    write(plan.out / name, training)
    return training


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.mini.train.ablation", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of latents and checkpoints; resumed from")
    parser.add_argument("--to", type=Path, required=True, help="folder of the models")
    parser.add_argument("--people", type=int, nargs="+", default=[100, 1000, 10000], help="numbers of people")
    parser.add_argument("--projection", choices=["clip", "mlp"], default="clip", help="what reads the embedding")
    parser.add_argument("--steps", type=int, default=1500, help="of each model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    wrong = [people for people in chosen.people if not 1 <= people <= PEOPLE]
    if wrong:
        parser.error(f"--people {wrong[0]}: 1 to {PEOPLE} are allowed")
    return chosen


def main() -> None:
    """Train the models, one after the other."""
    import cv2

    chosen = _arguments()
    torch.set_num_threads(chosen.threads)
    keep_freed()
    cv2.setNumThreads(1)
    chosen.work.mkdir(parents=True, exist_ok=True)
    plan = Plan(chosen.work, chosen.to, chosen.seed, chosen.device)
    for people in chosen.people:
        say(train(people, chosen.projection, plan, chosen.steps).model_dump_json())


if __name__ == "__main__":
    main()
