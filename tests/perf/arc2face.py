"""What the Arc2Face adapter costs, and what options outside of a run's identity change. A script, not a test.

    python -m tests.perf.arc2face MODEL [BASE] [--device cuda] [--embedding-size 512] [--compile] [--throughput]

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

PEOPLE, SAMPLES = 4, 5


def model_parser() -> argparse.ArgumentParser:
    """Return a parser of a model's folders, and of how it is run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("base", type=Path, nargs="?")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--embedding-size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=25)
    return parser


def main() -> None:
    parser = model_parser()
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--throughput", action="store_true", help="images per second in each precision, and no more")
    given = parser.parse_args()
    torch.set_num_threads(1)

    def make(**changes):
        base = given.base or given.model
        fixed = {"model": given.model, "base": base, "embedding_size": given.embedding_size, "steps": given.steps}
        return Arc2Face(Arc2FaceOptions(**{**fixed, "batch": PEOPLE * SAMPLES, **changes}), Runtime(given.device, 1))

    asked = requests(given.embedding_size)
    if given.throughput:
        throughput(make, asked, given)
    else:
        cost(make(), make(batch=SAMPLES), asked, given)
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
    rows = torch.from_numpy(np.stack([method.embedding(r) for r in asked]))
    with torch.inference_mode():
        prompts = method.prompts.identities(rows)
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


def cost(method: Arc2Face, single: Arc2Face, asked: list[Request], given) -> None:
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
    turns = [{name: seconds(given.device, call) for name, call in calls.items()} for _ in range(given.turns)]
    for name in calls:
        print(f"{name}, {len(asked)} images: {statistics.median(turn[name] for turn in turns):.3f} s")
    for one, other in ((1, 0), (2, 1)):
        name, base = list(calls)[one], list(calls)[other]
        ratios = sorted(turn[name] / turn[base] for turn in turns)
        print(f"{name} / {base}: median {statistics.median(ratios):.3f}, {ratios[0]:.3f} to {ratios[-1]:.3f}")
    prompts(method, single, asked, given)


def prompts(method: Arc2Face, single: Arc2Face, asked: list[Request], given) -> None:
    """What the prompts cost, and how often the encoder is called for one identity's samples."""
    rows = torch.from_numpy(np.stack([method.embedding(r) for r in asked[::SAMPLES]]))
    with torch.inference_mode():
        took = [seconds(given.device, lambda: method.prompts.identities(rows)) for _ in range(given.turns)]
    print(f"the prompts of {PEOPLE} identities: {statistics.median(took):.4f} s")
    counted = []
    handle = single.prompts.encoder.register_forward_hook(lambda *_: counted.append(1))
    single._known = {}
    single.generate(asked[:SAMPLES])
    handle.remove()
    print(f"calls of the encoder for {SAMPLES} samples of one identity: {len(counted)}")


def official(method: Arc2Face, asked: list[Request]):
    """One identity at a time through diffusers' pipeline, as the authors' README does; all networks as loaded."""
    from diffusers import StableDiffusionPipeline

    parts = (method.vae, None, None, method.unet, method.scheduler, None, None)
    pipe = StableDiffusionPipeline(*parts, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    options = {"guidance_scale": method.options.guidance_scale, "num_inference_steps": method.options.steps}

    def call() -> None:
        for first in asked[::SAMPLES]:
            with torch.inference_mode():
                prompt = method.prompts.identities(torch.from_numpy(method.embedding(first)[None]))
            empty = method.unconditional.expand_as(prompt)
            pipe(prompt_embeds=prompt, negative_prompt_embeds=empty, num_images_per_prompt=SAMPLES, **options)

    return call


def throughput(make, asked: list[Request], given) -> None:
    """Images per second and the share of the device's fastest matrix product, by precision."""
    for precision in ("fp32", "bf16") if given.device == "cpu" else ("fp32", "bf16", "fp16"):
        method, half = make(precision=precision), make(precision=precision, vae_precision=precision, batch=SAMPLES)
        dtype, whole = method.unet.dtype, operations(method, asked)
        peak = product(dtype, given.device)

        def ours(method=method) -> None:
            method._known = {}
            method.generate(asked)

        for name, call in {"ours, one batch": ours, "official, by identity": official(half, asked)}.items():
            call()
            took = statistics.median(seconds(given.device, call) for _ in range(given.turns))
            rate = whole / took / 1e12
            print(f"{precision}, {name}: {len(asked) / took:.2f} images/s, {rate:.0f} TFLOP/s = {rate / peak:.0%} of "
                  f"{peak:.0f}", flush=True)  # fmt: skip


def operations(method: Arc2Face, asked: list[Request]) -> float:
    """Floating-point operations of all steps and of the decoder, for the images asked."""
    from torch.utils.flop_counter import FlopCounterMode

    unet, vae = method.unet, method.vae
    side = unet.config.sample_size
    noise = torch.zeros(2, unet.config.in_channels, side, side, dtype=unet.dtype, device=unet.device)
    states = method.unconditional.expand(2, -1, -1).to(unet.dtype)
    with torch.inference_mode(), FlopCounterMode(display=False) as step:
        unet(noise, 1, states)
    with torch.inference_mode(), FlopCounterMode(display=False) as decoded:
        vae.decode(noise[:1].to(vae.dtype))
    return len(asked) * (step.get_total_flops() * method.options.steps + decoded.get_total_flops())


def product(dtype: torch.dtype, device: str, side: int = 8192) -> float:
    """TFLOP/s of a large matrix product on random numbers."""
    side = side if device != "cpu" else 1024
    one = torch.randn(side, side, dtype=dtype, device=device)
    for _ in range(3):
        one @ one
    took = statistics.median(seconds(device, lambda: one @ one) for _ in range(10))
    return 2 * side**3 / took / 1e12


def pixels(method: Arc2Face, asked: list[Request]) -> torch.Tensor:
    with diffusion.running(method.options.attention):
        method._encode(asked)
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
