"""InstantID against the official implementation (golden/generation)."""

import numpy as np
import pytest
import torch

from baselines import diffusion
from baselines.instantid import InstantID, InstantIDOptions, draw
from baselines.text_to_image import Text
from bench.runtime import Runtime
from tests.parity import generation_formula as formula
from tests.parity import generation_models as models
from tests.shared import needs

pytestmark = [needs(formula.FOLDER / "instantid.npz"), needs(models.VOCABULARY)]


@pytest.fixture(scope="module")
def gold():
    return formula.case("instantid")


@pytest.fixture(scope="module")
def method(gold, tmp_path_factory):
    options = InstantIDOptions(
        adapter_scale=float(gold["ip_adapter_scale"]),
        controlnet_scale=float(gold["controlnet_conditioning_scale"]),
        steps=int(gold["num_inference_steps"]),
        guidance_scale=float(gold["guidance_scale"]),
        **models.write_instantid(tmp_path_factory.mktemp("instantid")),
    )
    return InstantID(options, Runtime())


@pytest.mark.parametrize("which", "abc")
def test_drawing(gold, which):
    expected = gold[f"drawn_{which}"]
    np.testing.assert_array_equal(draw(gold[f"kps_{which}"], expected.shape[:2]), expected)


def identity(method, gold):
    with torch.inference_mode():
        return method.tokens(formula.given("arcface_embedding", 1, 512, scale=gold["embedding_scale"]).numpy())


def test_tokens(method, gold):
    formula.check(identity(method, gold), gold["cond_tokens"], 2e-5, "cond_tokens")
    formula.check(method.unconditional, gold["uncond_tokens"], 2e-5, "uncond_tokens")


def test_sampling(method, gold):
    count, base = int(gold["num_images"]), method.base
    latents = formula.given("latents", count, 4, 16, 16, scale=gold["latents_scale"])
    text = Text(formula.given("prompt_embeds", 1, 77, 64), formula.given("pooled_prompt_embeds", 1, 32))
    negative = Text(
        formula.given("negative_prompt_embeds", 1, 77, 64), formula.given("negative_pooled_prompt_embeds", 1, 32)
    )
    condition = base.condition([text] * count, negative)
    sizes = dict(condition["added_cond_kwargs"])
    np.testing.assert_array_equal(sizes["time_ids"][:1], gold["time_ids"])
    tokens = diffusion.guided(
        method.unconditional, torch.cat([identity(method, gold)] * count), base.options.guidance_scale
    )
    drawn = torch.from_numpy(gold["drawn_c"]).permute(2, 0, 1)[None].expand(2 * count, -1, -1, -1) / 255
    predict = method.predictor(condition, tokens, drawn)
    with torch.inference_mode():
        base.scheduler.set_timesteps(method.options.steps)
        np.testing.assert_allclose(base.scheduler.sigmas, gold["sigmas"], rtol=1e-6)
        np.testing.assert_allclose(base.scheduler.init_noise_sigma, gold["init_noise_sigma"], rtol=1e-6)
        first = base.scheduler.timesteps[0]
        rows = base.scheduler.scale_model_input(latents.repeat(2, 1, 1, 1) * base.scheduler.init_noise_sigma, first)
        down, middle = method.residuals(rows, first, tokens, drawn, sizes)
        noise = predict(0, first, rows)
        final = base.denoise((latents, []), predict)
    np.testing.assert_allclose(base.scheduler.timesteps, gold["timesteps"])
    formula.check(middle[[0, count]], gold["step0_controlnet_mid"], 5e-5, "step0_controlnet_mid")
    formula.check(down[0][[0, count], :8], gold["step0_controlnet_down0"], 5e-5, "step0_controlnet_down0")
    for residual, expected in zip(down, gold["step0_controlnet_down_stats"], strict=True):
        formula.check_stats(residual, expected)
    formula.check(noise, gold["step0_unet_out"], 5e-5, "step0_unet_out")
    formula.check(final, gold["final_latents"], 1e-3, "final_latents")
