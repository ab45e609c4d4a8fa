"""Arc2Face against the official implementation (golden/generation)."""

import numpy as np
import pytest
import torch

from baselines import diffusion
from baselines.arc2face import PROMPT, Arc2Face, Arc2FaceOptions
from baselines.protocol import Reference, Request
from bench.runtime import Runtime
from tests.parity import generation_formula as formula
from tests.parity import generation_models as models
from tests.shared import needs

pytestmark = [needs(formula.FOLDER / "arc2face_sample.npz"), needs(models.VOCABULARY)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return models.write_arc2face(tmp_path_factory.mktemp("arc2face"))


@pytest.fixture(scope="module")
def method(folders):
    sampling = formula.case("arc2face_sample")
    options = Arc2FaceOptions(
        model=folders[0],
        base=folders[1],
        steps=int(sampling["num_inference_steps"]),
        guidance_scale=float(sampling["guidance_scale"]),
    )
    return Arc2Face(options, Runtime())


@pytest.fixture(scope="module")
def gold():
    return formula.case("arc2face_prompt")


def embeddings(gold) -> torch.Tensor:
    one = formula.given("arcface_embedding", 1, 512, scale=gold["embedding_scale"])
    other = formula.given("arcface_embedding_b", 1, 512, scale=gold["embedding_b_scale"])
    return torch.cat([one, other])


def test_formula():
    known = {"input/latents": (-0.682233751, -0.933058185, -0.598352942, 0.999949128)}
    known["conv_in.weight"] = (-0.945647529, 0.851604003, 0.977896901, -0.720885394)
    for name, expected in known.items():
        np.testing.assert_allclose(formula.values(name, 4, "public"), expected, atol=1e-9)


def test_token_ids(method, gold, folders):
    from bench import weights

    tokenizer = weights.tokenizer(folders[1] / "tokenizer")
    for text, ids in ((PROMPT, gold["input_ids"]), ("", gold["empty_ids"])):
        got = tokenizer(text, padding="max_length", max_length=77, truncation=True).input_ids
        np.testing.assert_array_equal(got, ids)


def test_prompt_one_by_one_and_in_a_batch(method, gold):
    rows = embeddings(gold)
    with torch.inference_mode():
        alone, both = method.prompts.identities(rows[:1]), method.prompts.identities(rows)
        empty = method.prompts.unconditional()
    for one in (alone[0], both[0]):
        formula.check(one[:10, :64], gold["cond_slice"], 2e-5, "cond_slice")
        formula.check(one[76, :64], gold["cond_pos76"], 2e-5, "cond_pos76")
        formula.check(one, gold["cond_full_f16"], 4e-3, "cond_full_f16")
        formula.check_stats(one, gold["cond_stats"])
    formula.check(both[1][:10, :64], gold["cond_b_slice"], 2e-5, "cond_b_slice")
    formula.check_stats(both[1], gold["cond_b_stats"])
    formula.check(empty[0, :10, :64], gold["uncond_slice"], 2e-5, "uncond_slice")
    formula.check(empty[0, 76, :64], gold["uncond_pos76"], 2e-5, "uncond_pos76")
    formula.check_stats(empty[0], gold["uncond_stats"])


def test_identity_reaches_no_earlier_position(method, gold):
    with torch.inference_mode():
        one, other = method.prompts.identities(embeddings(gold))
    assert (one[:4] - other[:4]).abs().max() <= 1e-5
    assert (one[4:] - other[4:]).abs().amax(dim=1).min() > 1e-3


def start(sampling) -> torch.Tensor:
    return formula.given("latents", int(sampling["num_images"]), 4, 8, 8, scale=sampling["latents_scale"])


def test_sampling(method, gold):
    sampling = formula.case("arc2face_sample")
    latents = start(sampling)
    steps = []

    def watch(function):
        def watched(*arguments, **keywords):
            result = function(*arguments, **keywords)
            steps.append(result[0])
            return result

        return watched

    with torch.inference_mode():
        prompt = method.prompts.identities(embeddings(gold)[:1])
        method.scheduler.set_timesteps(int(sampling["num_inference_steps"]))
        first = method.unet(latents, method.scheduler.timesteps[0], prompt.expand(len(latents), -1, -1)).sample
        original = method.scheduler.step
        method.scheduler.step = watch(original)
        try:
            final = method.denoise((latents, []), prompt.expand(len(latents), -1, -1), method.unconditional)
        finally:
            method.scheduler.step = original
    np.testing.assert_array_equal(method.scheduler.timesteps, sampling["timesteps"])
    np.testing.assert_allclose(method.scheduler.sigmas, sampling["sigmas"], rtol=1e-6)
    formula.check(first, sampling["unet_eps_cond_t0"], 5e-5, "unet_eps_cond_t0")
    formula.check(steps[0], sampling["latents_after_step1"], 2e-3, "latents_after_step1")
    formula.check(steps[11], sampling["latents_after_step12"], 2e-3, "latents_after_step12")
    formula.check(final, sampling["final_latents"], 2e-3, "final_latents")
    images = torch.stack([diffusion.decode_one(method.vae, row) for row in final])
    formula.check(images, sampling["image"], 1e-3, "image")
    raw = method.vae.decode(final[:1] / method.vae.config.scaling_factor).sample
    formula.check(raw, sampling["decoded_raw_first"], 1e-3, "decoded_raw_first")


def test_sampler_without_encoder(method):
    sampling = formula.case("arc2face_sample")
    latents = start(sampling)
    prompt = formula.given("prompt_embeds", 1, 77, 768).expand(len(latents), -1, -1)
    with torch.inference_mode():
        final = method.denoise((latents, []), prompt, formula.given("negative_prompt_embeds", 1, 77, 768))
    formula.check(final, sampling["final_latents_iso"], 2e-3, "final_latents_iso")


def test_whole_method_is_the_pipeline(method, gold):
    """generate() gives the very bytes of diffusers' own pipeline on the same noise and prompts."""
    from diffusers import StableDiffusionPipeline

    row = embeddings(gold)[0].numpy()
    request = Request(Reference("i", "s", embeddings={"arcface": row}), 0, 7, "photo of a person")
    image = method.generate([request])[0].image
    pipe = StableDiffusionPipeline(
        method.vae, None, None, method.unet, method.scheduler, None, None, requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    with torch.inference_mode():
        prompt = method.prompts.identities(torch.from_numpy(row)[None])
    expected = pipe(
        prompt_embeds=prompt,
        negative_prompt_embeds=method.unconditional,
        guidance_scale=method.options.guidance_scale,
        num_inference_steps=method.options.steps,
        generator=[torch.Generator("cpu").manual_seed(7)],
        output_type="np",
    ).images[0]
    assert np.abs(image.astype(int) - (expected * 255).round().astype(int)).max() <= 1
