"""Arc2Face's expression and reference adapters against the official implementation (golden/generation, section 6)."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from baselines import adapters, reference_attention
from baselines.arc2face import EXPRESSION, Arc2Face, Arc2FaceOptions, Steering, bounded
from baselines.faces import ffhq_face
from baselines.protocol import Reference, Request
from bench.conditions.kinds import Condition
from bench.errors import UserError
from bench.faces.face import Face
from bench.runtime import Runtime
from tests.parity import generation_formula as formula
from tests.parity import generation_models as models
from tests.parity import new_generation_models as new
from tests.shared import needs

pytestmark = [needs(formula.FOLDER / "arc2face_expression.npz"), needs(models.VOCABULARY)]


@pytest.fixture(scope="module")
def gold():
    return formula.case("arc2face_expression")


@pytest.fixture(scope="module")
def paths(gold, tmp_path_factory):
    return new.write_arc2face(tmp_path_factory.mktemp("arc2face"), int(gold["lora_rank"]))


def options(gold, paths, **more):
    given = {
        "expression": tuple(parameters().tolist()),
        "expression_scale": float(gold["expression_scale"]),
        "reference_scale": float(gold["reference_scale"]),
        "steps": int(gold["num_inference_steps"]),
        "guidance_scale": float(gold["guidance_scale"]),
        "batch": 2,
    }
    return Arc2FaceOptions(**{**paths, **given, **more})


def parameters():
    """What SMIRK would say."""
    return formula.given("smirk_parameters", 1, 55, scale=1.5)[0].numpy()


@pytest.fixture(scope="module")
def method(gold, paths):
    return Arc2Face(options(gold, paths), Runtime())


@pytest.fixture(scope="module")
def plain(gold, paths):
    return Arc2Face(options(gold, paths, ref_adapter=None), Runtime())


def test_bounds(gold):
    np.testing.assert_allclose(bounded(parameters()), gold["expression"], rtol=1e-6)


def test_tokens(plain, gold):
    asked = Request(person(0), 0, 0, "")
    [tokens] = plain._tokens([asked])
    unconditional = plain._expression_tokens(np.zeros(EXPRESSION, np.float32))
    formula.check(tokens[0, :, ::8], gold["expression_tokens_slice"], 2e-5, "expression_tokens")
    formula.check(unconditional[0, :, ::8], gold["uncond_tokens_slice"], 2e-5, "uncond_tokens")
    formula.check_stats(tokens, gold["expression_tokens_stats"])


def sampled(method, gold, memories):
    """Final latents, and what the UNet says in its first call."""
    count, calls = int(gold["num_images"]), []
    latents = formula.given("latents", count, 4, 8, 8, scale=gold["latents_scale"])
    prompts = formula.given("prompt_embeds", 1, 77, 768).expand(count, -1, -1)
    steering = Steering(method._tokens([Request(person(0), 0, 0, "")] * count))
    handle = method.unet.register_forward_hook(lambda *given: calls.append(given[2][0]))
    with torch.inference_mode(), reference_attention.seeing(method._seeing, memories):
        final = method.denoise((latents, []), prompts, formula.given("negative_prompt_embeds", 1, 77, 768), steering)
    handle.remove()
    return final, calls[0]


def test_expression(plain, gold):
    final, first = sampled(plain, gold, {})
    np.testing.assert_array_equal(plain.scheduler.timesteps, gold["timesteps"])
    formula.check(first, gold["unet_step0_expression"], 5e-5, "unet_step0_expression")
    formula.check(final, gold["final_latents_expression"], 1e-3, "final_latents_expression")


def test_reference(method, gold):
    count = int(gold["num_images"])
    image, noise = formula.picture("reference_image", 64, 64), formula.given("reference_noise", count, 4, 8, 8)
    prompts = formula.given("prompt_embeds", 1, 77, 768).expand(count, -1, -1)
    with torch.inference_mode():
        latents = method.reference_latents([image] * count, noise)
        memories = reference_attention.remember(method._second, latents, prompts)
    final, first = sampled(method, gold, memories)
    formula.check(first, gold["unet_step0_reference"], 5e-5, "unet_step0_reference")
    formula.check(final, gold["final_latents_reference"], 1e-3, "final_latents_reference")


def test_without_a_memory_only_the_lora_acts(method, gold, paths):
    final, _ = sampled(method, gold, {})
    assert np.abs(final.numpy() - gold["final_latents_reference"]).max() > 0.5
    assert np.abs(final.numpy() - gold["final_latents_expression"]).max() > 0.5


def person(number: int) -> Reference:
    draw = np.random.default_rng(number)
    points = np.float32([[30, 40], [60, 41], [45, 60], [33, 75], [58, 76]])
    return Reference(
        f"i{number}",
        f"s{number}",
        photo=f"p{number}",
        image=draw.integers(0, 256, (110, 90, 3), np.uint8),
        face=Face(np.float32([10, 10, 80, 100]), 0.9, points),
        embeddings={"arcface": draw.normal(size=512).astype(np.float32)},
    )


def test_whole_method(method):
    assert method.options.needs == {"embedding:arcface", "image", "face"}
    asked = [Request(person(k % 2), k, 10 + k, "") for k in range(4)]
    found = [output.image.astype(int) for output in method.generate(asked)]
    alone = method.generate([asked[2]])[0].image.astype(int)
    assert np.abs(alone - found[2]).max() <= 1
    one, other = person(0), person(1)
    stranger = Reference(one.item, one.subject, image=other.image, face=other.face, embeddings=one.embeddings)
    assert np.abs(method.generate([Request(stranger, 2, 12, "")])[0].image.astype(int) - found[2]).max() > 1


def test_the_photo_is_the_first_of_a_samples_references(method):
    one, other = person(0), person(1)
    own = Request(one, 0, 5, "", references=(one,), condition=Condition(embedding=one.embeddings["arcface"]))
    named = replace(own, references=(other,))
    found, shown = (output.image.astype(int) for output in method.generate([own, named]))
    assert np.abs(found - shown).max() > 1


def test_crop_is_the_ffhq_crop_of_landmarks_at_the_key_points():
    from bench.faces.align import ffhq512

    reference = person(0)
    points, landmarks = reference.face.keypoints, np.zeros((68, 2), np.float32)
    # Eyes as rings around their middles, and a mouth between its corners.
    ring = np.float32([[-3, 0], [-1, -2], [1, -2], [3, 0], [1, 2], [-1, 2]])
    landmarks[36:42], landmarks[42:48] = points[0] + ring, points[1] + ring
    landmarks[48], landmarks[54] = points[3], points[4]
    expected = ffhq512(reference.image, landmarks, transform=1024).image
    assert np.abs(ffhq_face(reference, "ref_adapter").astype(int) - expected.astype(int)).max() <= 1


def test_refusals(gold, paths, method, tmp_path):
    with pytest.raises(UserError, match="ref_adapter and lcm_lora"):
        options(gold, paths, lcm_lora=tmp_path / "lcm.safetensors")
    nobody = Reference("nobody", "s", embeddings={"arcface": np.ones(512, np.float32)})
    with pytest.raises(UserError, match="'nobody' has no image or no face"):
        method.generate([Request(nobody, 0, 0, "")])
    small = new.save(tmp_path / "a.safetensors", {"unet.nothing.lora.down.weight": (4, 4)})
    with pytest.raises(UserError, match=r"a\.safetensors does not fit this base"):
        Arc2Face(options(gold, paths, ref_adapter=small), Runtime())


def test_strength_of_the_lora(gold, paths, method):
    weak = Arc2Face(options(gold, paths, reference_scale=0.0), Runtime())
    final, _ = sampled(weak, gold, {})
    formula.check(final, gold["final_latents_expression"], 1e-3, "without the LoRA")
    assert adapters.shell(method.unet, method.scheduler).get_active_adapters() == ["adapter"]
