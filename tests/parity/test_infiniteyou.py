"""InfiniteYou against the official implementation (golden/generation, section 6)."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from baselines import diffusion, flux, infiniteyou
from baselines.infiniteyou import InfiniteYou, InfiniteYouOptions
from baselines.instantid import draw
from baselines.protocol import Reference, Request
from baselines.text_to_image import Text
from bench.conditions.kinds import Condition
from bench.errors import UserError
from bench.runtime import Runtime
from tests.parity import end_to_end
from tests.parity import generation_formula as formula
from tests.parity import generation_models as models
from tests.parity import new_generation_models as new
from tests.shared import needs

pytestmark = [needs(formula.FOLDER / "infiniteyou.npz"), needs(models.VOCABULARY)]


@pytest.fixture(scope="module")
def gold():
    return formula.case("infiniteyou")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return new.write_infiniteyou(tmp_path_factory.mktemp("infiniteyou"))


def options(gold, paths, **more):
    given = {
        "controlnet_scale": float(gold["controlnet_conditioning_scale"]),
        "control_start": float(gold["control_guidance_start"]),
        "control_end": float(gold["control_guidance_end"]),
    }
    return InfiniteYouOptions(**{**paths, **new.flux_options(gold), **given, **more})


@pytest.fixture(scope="module")
def method(gold, paths):
    return InfiniteYou(options(gold, paths), Runtime())


def unit(name, count):
    rows = formula.given(name, count, 512).numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def tokens(method):
    with torch.inference_mode():
        return method.tokens(unit("arcface_embedding", 1))


def test_tokens(method, gold, tokens):
    formula.check(tokens, gold["id_tokens"], 2e-5, "id_tokens")
    with torch.inference_mode():
        formula.check(method.tokens(unit("arcface_embedding_three", 3)), gold["id_tokens_three"], 2e-5, "three")


def drawing(method, gold):
    return draw(gold["kps"], method.base.pixels)


def test_drawing(method, gold):
    drawn = drawing(method, gold)
    np.testing.assert_array_equal(drawn[::3, ::3], gold["drawn_sampled"])
    formula.check_stats(drawn, gold["drawn_stats"])


@pytest.mark.parametrize("name", ["pose_wide", "pose_tall"])
def test_where_a_photo_lies_on_the_canvas(method, gold, name):
    height, width = (int(side) for side in gold[f"{name}_hw"])
    size, corner = infiniteyou.placement((height, width), method.base.pixels)
    image = Pillow.fromarray(formula.picture(name, height, width)).resize(size[::-1], Pillow.Resampling.LANCZOS)
    canvas = Pillow.new("RGB", method.base.pixels[::-1], (255, 255, 255))
    canvas.paste(image, corner[::-1])
    formula.check(np.asarray(canvas)[::5, ::5], gold[f"{name}_sampled"], 2, name)
    moved = infiniteyou.fitted(np.float32([[0, 0], [width, height]]), (height, width), method.base.pixels)
    np.testing.assert_allclose(moved, [corner[::-1], np.add(corner, size)[::-1]], atol=1e-4)


def controls(method, gold):
    noise = formula.given("control_noise", 1, 4, int(gold["height_latent"]), int(gold["width_latent"]))
    with torch.inference_mode():
        black = np.zeros((*method.base.pixels, 3), np.uint8)
        return method.control_latents(drawing(method, gold), noise), method.control_latents(black, noise)


def test_control_latents(method, gold):
    drawn, black = controls(method, gold)
    formula.check(drawn, gold["control_latents"], 2e-5, "control_latents")
    formula.check(black, gold["control_latents_black"], 2e-5, "control_latents_black")


def told(method, gold):
    """The golden text as the method's prompts."""
    length = int(gold["text_length"])
    text = Text(formula.given("prompt_embeds", 1, length, 48), formula.given("pooled_prompt_embeds", 1, 32))
    negative = Text(
        formula.given("negative_prompt_embeds", 1, length, 48), formula.given("negative_pooled_prompt_embeds", 1, 32)
    )
    method.base._known |= {"golden": text, method.options.negative_prompt: negative}
    return ["golden"] * int(gold["num_images"])


def start(gold):
    size = (int(gold["height_latent"]), int(gold["width_latent"]))
    return formula.given("latents", int(gold["num_images"]), 4, *size, scale=gold["latents_scale"])


def test_residuals_and_velocity(method, gold, tokens):
    told(method, gold)
    step, control = int(gold["control_step"]), flux.packed(controls(method, gold)[0])
    latents, sigma = flux.packed(start(gold)[:1]), torch.tensor(gold["sigmas"][step], dtype=torch.float32)
    text = method.base.text(["golden"])
    with torch.inference_mode():
        added = method.residuals(step, latents, sigma, Text(tokens, text.pooled), control)
        velocity = method.base.velocity(latents, sigma, text, **added)
    double, single = added["controlnet_block_samples"], added["controlnet_single_block_samples"]
    formula.check(double[0][0, :6], gold["residual_double_first"], 2e-5, "residual_double_first")
    formula.check(single[-1][0, -6:], gold["residual_single_last"], 2e-5, "residual_single_last")
    for found, expected in zip((*double, *single), stats_of(gold), strict=True):
        formula.check_stats(found, expected)
    formula.check(velocity, gold["velocity_control_step"], 2e-5, "velocity_control_step")


def stats_of(gold):
    return [*gold["residual_double_stats"], *gold["residual_single_stats"]]


def test_interval(method, gold):
    scales = [infiniteyou.scale_at(step, method.options) for step in range(method.options.steps)]
    np.testing.assert_allclose(scales, gold["conditioning_scales"])


def sampled(method, gold, tokens, control):
    prompts = told(method, gold)
    rows = [value.expand(len(prompts), *[-1] * (value.ndim - 1)) for value in (tokens, control)]
    with torch.inference_mode():
        return method.base.denoise(start(gold), method.velocity(prompts, *rows))


def test_sampling(method, gold, tokens):
    drawn, black = controls(method, gold)
    final = sampled(method, gold, tokens, drawn)
    formula.check(method.base.scheduler.timesteps, gold["timesteps"], 1e-3, "timesteps")
    formula.check(final, gold["final_latents"], 2e-5, "final_latents")
    images = torch.stack([diffusion.decode_one(method.base.vae, row) for row in final])
    formula.check(images[:1], gold["image"], 1e-3, "image")
    formula.check_stats(images, gold["image_stats"])
    formula.check(sampled(method, gold, tokens, black), gold["black_final_latents"], 2e-5, "black_final_latents")


def test_second_pass(gold, paths, tokens):
    method = InfiniteYou(options(gold, paths, true_cfg_scale=float(gold["true_guidance_scale"])), Runtime())
    final = sampled(method, gold, tokens, controls(method, gold)[0])
    formula.check(final, gold["true_cfg_final_latents"], 2e-5, "true_cfg_final_latents")


def test_official_sizes():
    from diffusers import FluxControlNetModel

    shapes = infiniteyou.layout(infiniteyou.Sizes())
    assert len(shapes) == 51
    assert sum(math.prod(shape) for shape in shapes.values()) == 84_595_968
    with torch.device("meta"):
        network = FluxControlNetModel(num_layers=4, num_single_layers=10, guidance_embeds=True)
    assert len(network.state_dict()) == 314
    assert sum(p.numel() for p in network.parameters()) == 2_952_654_336


@pytest.mark.parametrize("control", ["black", "keypoints"])
def test_whole_method(gold, paths, control):
    method = InfiniteYou(options(gold, paths, width=64, height=64, control=control), Runtime())
    end_to_end.check_method(method, 64)
    empty = Request(Reference("nobody", "s"), 0, 0, "a person")
    end_to_end.check_refuses(method, empty, "no embedding", network=method.base.transformer)
    nobody = Request(Reference("nobody", "s", embeddings={"ir_se50": np.ones(512, np.float32)}), 0, 0, "a person")
    if control == "black":
        assert method.options.needs == {"embedding:ir_se50"}
        assert method.generate([nobody])[0].image is not None
    else:
        end_to_end.check_refuses(method, nobody, "no image or no face", network=method.base.transformer)


def test_references_are_a_sequence_and_a_condition_comes_first(method):
    one, other = (end_to_end.reference(person, "ir_se50") for person in (1, 2))
    asked = [
        Request(one, 0, 5, "a person"),
        Request(one, 0, 5, "a person", references=(one, other)),
        Request(one, 0, 5, "a person", condition=Condition(embedding=2 * other.embeddings["ir_se50"])),
        Request(other, 0, 5, "a person"),
    ]
    rows = np.stack([person.embeddings["ir_se50"] for person in (one, other)])
    with torch.inference_mode():
        both = method.tokens(rows / np.linalg.norm(rows, axis=1, keepdims=True))
        subjects = [method._subject(request).tokens for request in asked]
    np.testing.assert_array_equal(subjects[1], both)
    np.testing.assert_allclose(subjects[2], subjects[3], atol=1e-5)
    assert (subjects[0] - subjects[3]).abs().max() > 1e-3
    assert len({output.image.tobytes() for output in method.generate(asked[:3])}) == 3


def test_wrong_files(gold, paths, tmp_path):
    torch.save({"id_encoder": {}}, tmp_path / "a.bin")
    with pytest.raises(UserError, match="not InfiniteYou's"):
        InfiniteYou(options(gold, paths, checkpoint=tmp_path / "a.bin"), Runtime())
    wide = formula.tensors(infiniteyou.layout(replace(new.INFINITEYOU, out=64)))
    torch.save({"image_proj": wide}, tmp_path / "b.bin")
    with pytest.raises(UserError, match="tokens of 64, this base reads 48"):
        InfiniteYou(options(gold, paths, checkpoint=tmp_path / "b.bin"), Runtime())
    with pytest.raises(UserError, match="FluxTransformer2DModel, not a FluxControlNetModel"):
        InfiniteYou(options(gold, paths, controlnet=paths["base"] / "transformer"), Runtime())
