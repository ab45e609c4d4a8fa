"""What the Arc2Face adapter costs, and what options outside of a run's identity change. A script, not a test.

    python -m tests.perf.arc2face MODEL [BASE] [--device cuda] [--embedding-size 512] [--compile]

MODEL and BASE are folders as in docs/methods/arc2face.md (embedded, official, or of the formula). Times on a
CPU are process times at one thread. The calls that are compared take turns, and what is told of two is the median of
their ratios, turn by turn: the machine's clock changes more from minute to minute than the calls differ.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from baselines import diffusion
from baselines.arc2face import Arc2Face, Arc2FaceOptions
from baselines.protocol import Reference, Request
from bench.runtime import Runtime

PEOPLE, SAMPLES, TURNS = 4, 5, 9


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("base", type=Path, nargs="?")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--embedding-size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--compile", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)

    def make(**changes):
        base = given.base or given.model
        fixed = {"model": given.model, "base": base, "embedding_size": given.embedding_size, "steps": given.steps}
        return Arc2Face(Arc2FaceOptions(**{**fixed, "batch": PEOPLE * SAMPLES, **changes}), Runtime(given.device, 1))

    asked = requests(given.embedding_size)
    cost(make(), make(batch=SAMPLES), asked, given.device)
    changes(make, asked, given)


def requests(size: int) -> list[Request]:
    found = []
    for person in range(PEOPLE):
        row = np.random.default_rng(person).normal(size=size).astype(np.float32)
        reference = Reference(f"i{person}", f"s{person}", embeddings={"arcface": row})
        found += [Request(reference, k, 1000 * person + k, "") for k in range(SAMPLES)]
    return found


def seconds(device: str, call) -> float:
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    call()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def bare(method: Arc2Face, asked: list[Request]):
    """A call of diffusers' own pipeline on the same prompts, seeds and networks."""
    from diffusers import StableDiffusionPipeline

    parts = (method.vae, None, None, method.unet, method.scheduler, None, None)
    pipe = StableDiffusionPipeline(*parts, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    pipe.vae.enable_slicing()
    rows = torch.from_numpy(np.stack([method.condition(r) for r in asked[::SAMPLES]]))
    with torch.inference_mode():
        prompts = method.prompts.identities(rows).repeat_interleave(SAMPLES, 0)
    empty = method.unconditional.expand_as(prompts)
    generators = [torch.Generator("cpu") for _ in asked]

    def call() -> None:
        for generator, request in zip(generators, asked, strict=True):
            generator.manual_seed(request.seed)
        pipe(
            prompt_embeds=prompts,
            negative_prompt_embeds=empty,
            guidance_scale=method.options.guidance_scale,
            num_inference_steps=method.options.steps,
            generator=generators,
            output_type="np",
        )

    return call


def cost(method: Arc2Face, single: Arc2Face, asked: list[Request], device: str) -> None:
    def whole() -> None:
        method._known = {}
        method.generate(asked)

    def one_by_one() -> None:
        single._known = {}
        for start in range(0, len(asked), SAMPLES):
            single.generate(asked[start : start + SAMPLES])

    calls = {"bare diffusers call": bare(method, asked), "the method, one batch": whole, "by identity": one_by_one}
    for call in calls.values():
        call()
    turns = [{name: seconds(device, call) for name, call in calls.items()} for _ in range(TURNS)]
    for name in calls:
        print(f"{name}, {len(asked)} images: {statistics.median(turn[name] for turn in turns):.3f} s")
    for one, other in ((1, 0), (2, 1)):
        name, base = list(calls)[one], list(calls)[other]
        ratios = sorted(turn[name] / turn[base] for turn in turns)
        print(f"{name} / {base}: median {statistics.median(ratios):.3f}, {ratios[0]:.3f} to {ratios[-1]:.3f}")
    prompts(method, single, asked, device)


def prompts(method: Arc2Face, single: Arc2Face, asked: list[Request], device: str) -> None:
    """What the prompts cost, and how often the encoder is called for one identity's samples."""
    rows = torch.from_numpy(np.stack([method.condition(r) for r in asked[::SAMPLES]]))
    with torch.inference_mode():
        took = [seconds(device, lambda: method.prompts.identities(rows)) for _ in range(TURNS)]
    print(f"the prompts of {PEOPLE} identities: {statistics.median(took):.4f} s")
    counted = []
    handle = single.prompts.encoder.register_forward_hook(lambda *_: counted.append(1))
    single._known = {}
    single.generate(asked[:SAMPLES])
    handle.remove()
    print(f"calls of the encoder for {SAMPLES} samples of one identity: {len(counted)}")


def pixels(method: Arc2Face, asked: list[Request]) -> torch.Tensor:
    with diffusion.running(method.options.attention):
        method._encode([method.condition(r) for r in asked])
        return torch.stack([diffusion.decode_one(method.vae, row) for row in method.latents(asked)])


def changes(make, asked: list[Request], given) -> None:
    asked = asked[:: SAMPLES // 2]
    plain = pixels(make(), asked)
    cases = [{"precision": "bf16"}, {"vae_precision": "bf16"}, {"channels_last": True}, {"attention": "math"}]
    if given.device != "cpu":
        cases += [{"precision": "fp16"}, {"vae_precision": "fp16"}]
    if given.compile:
        cases += [{"compile": True}]
    for case in cases:
        report(case, (pixels(make(**case), asked) - plain).abs())
    method = make()
    report("batch of 1", (torch.cat([pixels(method, [r]) for r in asked]) - plain).abs())


def report(case, difference: torch.Tensor) -> None:
    print(f"{case}: largest {difference.max():.1e}, mean {difference.mean():.1e} of 1")


if __name__ == "__main__":
    main()
