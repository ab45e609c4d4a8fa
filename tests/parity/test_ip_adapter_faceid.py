"""IP-Adapter-FaceID, Plus and Plus-v2 against the official implementation (golden/generation)."""

import numpy as np
import pytest
import torch

from baselines import clip, diffusion
from baselines.ip_adapter_faceid import FaceIDOptions, IPAdapterFaceID
from baselines.text_to_image import Text
from bench.runtime import Runtime
from tests.parity import generation_formula as formula
from tests.parity import generation_models as models
from tests.shared import needs

pytestmark = [needs(formula.FOLDER / "ip_adapter_faceid.npz"), needs(models.VOCABULARY)]

CASES = {"ip_adapter_faceid": "faceid", "ip_adapter_faceid_plus": "plus", "ip_adapter_faceid_plusv2": "plusv2"}


@pytest.fixture(scope="module", params=CASES)
def made(request, tmp_path_factory):
    gold = formula.case(request.param)
    version = CASES[request.param]
    paths = models.write_faceid(tmp_path_factory.mktemp(version), version != "faceid", int(gold["lora_rank"]))
    options = FaceIDOptions(
        version=version,
        adapter_scale=float(gold["ip_scale"]),
        s_scale=float(gold.get("s_scale", 1.0)),
        steps=int(gold["num_inference_steps"]),
        guidance_scale=float(gold["guidance_scale"]),
        **paths,
    )
    method = IPAdapterFaceID(options, Runtime())
    raw = formula.given("faceid_embedding", 1, 512).numpy()
    crop = None if version == "faceid" else formula.picture("face_image", 224, 224)
    with torch.inference_mode():
        return gold, method, method.tokens(raw / np.linalg.norm(raw), crop), crop


def test_tokens(made):
    gold, method, tokens, _ = made
    formula.check(tokens, gold["cond_tokens"], 2e-5, "cond_tokens")
    formula.check(method.unconditional, gold["uncond_tokens"], 2e-5, "uncond_tokens")


def test_clip_features(made):
    gold, method, _, crop = made
    if crop is None:
        return
    pixels = clip.pixels(crop)
    formula.check(pixels[0, :, :4, :4], gold["pixel_values_patch"], 1e-6, "pixel_values_patch")
    formula.check_stats(pixels, gold["pixel_values_stats"])
    with torch.inference_mode():
        seen, unseen = method.features(pixels), method.features(torch.zeros_like(pixels))
    for found, name in ((seen, "clip_hidden"), (unseen, "uncond_clip_hidden")):
        formula.check(found[0, :8, :32], gold[f"{name}_slice"], 2e-5, name)
        formula.check_stats(found, gold[f"{name}_stats"])


def test_unet_and_sampling(made):
    gold, method, tokens, _ = made
    count, base = int(gold["num_samples"]), method.base
    latents = formula.given("latents", count, 4, 8, 8)
    text = Text(formula.given("prompt_embeds", 1, 77, 64))
    negative = Text(formula.given("negative_prompt_embeds", 1, 77, 64))
    condition = base.condition([text] * count, negative)
    condition["added_cond_kwargs"] |= diffusion.added(
        [tokens] * count, method.unconditional, method.options.guidance_scale
    )
    with torch.inference_mode():
        once = base.predict(latents.repeat(2, 1, 1, 1), torch.tensor(int(gold["timestep"])), condition)
        final = base.denoise((latents, []), lambda _i, t, rows: base.predict(rows, t, condition))
    np.testing.assert_array_equal(base.scheduler.timesteps, gold["ddim_timesteps"])
    formula.check(once[:count], gold["unet_uncond"], 5e-5, "unet_uncond")
    formula.check(once[count:], gold["unet_cond"], 5e-5, "unet_cond")
    formula.check(final, gold["final_latents"], 1e-3, "final_latents")
