"""IP-Adapter-FaceID, Plus and Plus-v2 against the official implementation (golden/generation)."""

import numpy as np
import pytest
import torch

from baselines import adapters, clip
from baselines.ip_adapter_faceid import FaceIDOptions, IPAdapterFaceID
from baselines.protocol import Reference, Request
from baselines.text_to_image import Text, load_unet
from bench.errors import UserError
from bench.runtime import Runtime
from tests.parity import end_to_end
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
        batch=2,
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
    condition["added_cond_kwargs"] |= adapters.added(
        [tokens] * count, method.unconditional, method.options.guidance_scale
    )
    with torch.inference_mode():
        once = base.predict(latents.repeat(2, 1, 1, 1), torch.tensor(int(gold["timestep"])), condition)
        final = base.denoise((latents, []), lambda _i, t, rows: base.predict(rows, t, condition))
    np.testing.assert_array_equal(base.scheduler.timesteps, gold["ddim_timesteps"])
    formula.check(once[:count], gold["unet_uncond"], 5e-5, "unet_uncond")
    formula.check(once[count:], gold["unet_cond"], 5e-5, "unet_cond")
    formula.check(final, gold["final_latents"], 1e-3, "final_latents")


def test_whole_method(made):
    _, method, _, crop = made
    if crop is not None:
        pytest.importorskip("bench.faces.align")
    end_to_end.check_method(method, 64)
    nobody = Reference("nobody", "s", embeddings={"w600k_r50": np.ones(512, np.float32)})
    if crop is not None:
        end_to_end.check_refuses(method, Request(nobody, 0, 0, "a person"), "no image or no face")
    end_to_end.check_refuses(method, Request(Reference("nobody", "s"), 0, 0, "a person"), "no embedding")


def test_whole_method_is_the_pipelines(made):
    """Text included, on fresh networks: diffusers' own pipeline with the adapter loaded from the file."""
    from diffusers import StableDiffusionPipeline

    _, method, _, crop = made
    if crop is not None:
        return
    row = end_to_end.reference(1, "w600k_r50")
    found = method.generate([Request(row, 0, 5, "photo of a person")])[0].image
    base = method.base
    parts = (base.vae, base.encoders[0][1], base.encoders[0][0])
    unet = load_unet(method.options.base / "unet", torch.float32)
    pipe = StableDiffusionPipeline(*parts, unet, base.scheduler, None, None, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    file = method.options.checkpoint
    pipe.load_ip_adapter(str(file.parent), subfolder="", weight_name=file.name, image_encoder_folder=None)
    pipe.set_ip_adapter_scale(method.options.adapter_scale)
    unit = torch.from_numpy(row.embeddings["w600k_r50"])[None, None]
    unit = unit / unit.norm()
    expected = pipe(
        "photo of a person",
        negative_prompt=method.options.negative_prompt,
        ip_adapter_image_embeds=[torch.cat([torch.zeros_like(unit), unit])],
        num_inference_steps=method.options.steps,
        guidance_scale=method.options.guidance_scale,
        generator=torch.Generator().manual_seed(5),
        output_type="np",
    ).images[0]
    assert np.abs(found.astype(int) - (expected * 255).round().astype(int)).max() <= 1


def test_checkpoint_of_another_version(made):
    _, method, _, crop = made
    other = {"version": "faceid", "image_encoder": None} if crop is not None else {"version": "plus"}
    if crop is None:
        other["image_encoder"] = method.options.base / "text_encoder"
    with pytest.raises(UserError, match="not a checkpoint of version"):
        IPAdapterFaceID(method.options.model_copy(update=other), Runtime())


def test_image_encoder_of_another_size(made, tmp_path):
    _, method, _, crop = made
    if crop is None:
        return
    models.write_vision(tmp_path / "clip", models.clip_vision(64, 2, "gelu", 64), "image_encoder.")
    with pytest.raises(UserError, match="64 wide, the adapter reads 128"):
        IPAdapterFaceID(method.options.model_copy(update={"image_encoder": tmp_path / "clip"}), Runtime())
