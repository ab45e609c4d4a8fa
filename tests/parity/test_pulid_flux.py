"""PuLID-FLUX against the official implementation (golden/generation, section 6)."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from baselines import diffusion, eva, flux, pulid_flux
from baselines.protocol import Reference, Request
from baselines.pulid_flux import PuLIDFlux, PuLIDFluxOptions
from baselines.text_to_image import Text
from bench.errors import UserError
from bench.faces.align import facexlib512, facexlib_matrix
from bench.networks import CLIP_MEAN, CLIP_STD, standardise
from bench.runtime import Runtime
from tests.parity import end_to_end
from tests.parity import generation_formula as formula
from tests.parity import generation_models as models
from tests.parity import new_generation_models as new
from tests.shared import needs

pytestmark = [needs(formula.FOLDER / "pulid_flux.npz"), needs(models.VOCABULARY)]


@pytest.fixture(scope="module")
def gold():
    return formula.case("pulid_flux")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return new.write_pulid(tmp_path_factory.mktemp("pulid"))


def options(gold, paths, **more):
    given = {
        "start_step": int(gold["start_step"]),
        "id_weight": float(gold["id_weight"]),
    }
    return PuLIDFluxOptions(**{**paths, **new.flux_options(gold), **given, **more})


@pytest.fixture(scope="module")
def method(gold, paths):
    return PuLIDFlux(options(gold, paths), Runtime())


@pytest.fixture(scope="module")
def tokens(method, gold):
    aligned, labels = formula.picture("aligned_face", 512, 512), enlarged(gold["labels"])
    with torch.inference_mode():
        output, hidden = eva.features(method.vision, pulid_flux.face_pixels(aligned, labels, 336, True))
        embedding = formula.given("antelope_embedding", 1, 512, scale=gold["embedding_scale"])
        return pulid_flux.encode(method.encoder, embedding, output, hidden)


def enlarged(labels):
    return labels.repeat(32, axis=0).repeat(32, axis=1)


def test_alignment(gold):
    image, points = formula.picture("id_image", *gold["image_hw"]), gold["kps"]
    np.testing.assert_allclose(facexlib_matrix(points), gold["affine"], atol=1e-6)
    aligned = facexlib512(image, points)
    formula.check(aligned[::29, ::29], gold["aligned_sampled"], 2, "aligned")
    np.testing.assert_allclose(formula.stats(aligned), gold["aligned_stats"], rtol=1e-4)


@pytest.mark.parametrize(("antialias", "name"), [(True, "pixels"), (False, "pixels_no_antialias")])
def test_pixels(gold, antialias, name):
    pixels = pulid_flux.face_pixels(formula.picture("aligned_face", 512, 512), enlarged(gold["labels"]), 336, antialias)
    formula.check(pixels[0, :, ::24, ::24], gold[f"{name}_sampled"], 1e-4, name)
    formula.check_stats(pixels, gold[f"{name}_stats"])


def test_eva(method, gold):
    pixels = pulid_flux.face_pixels(formula.picture("aligned_face", 512, 512), enlarged(gold["labels"]), 336, True)
    with torch.inference_mode():
        output, hidden = eva.features(method.vision, pixels)
    formula.check(output, gold["eva_cls"], 1e-4, "eva_cls")
    formula.check(torch.stack([h[0, :6] for h in hidden]), gold["eva_hidden_slice"], 1e-4, "eva_hidden")
    for found, expected in zip(hidden, gold["eva_hidden_stats"], strict=True):
        np.testing.assert_allclose(formula.stats(found)[1:], expected[1:], rtol=1e-4)
        np.testing.assert_allclose(formula.stats(found)[0], expected[0], atol=1e-4)


def test_tokens(method, gold, tokens):
    formula.check(tokens, gold["id_tokens"], 5e-5, "id_tokens")
    formula.check(method.unconditional, gold["uncond_id_tokens"], 2e-5, "uncond_id_tokens")
    hidden = [formula.given(f"iso_hidden_{k}", 1, 577, 32) for k in range(5)]
    embedding = formula.given("antelope_embedding", 1, 512, scale=gold["embedding_scale"])
    with torch.inference_mode():
        found = pulid_flux.encode(method.encoder, embedding, formula.given("iso_cls", 1, 24), hidden)
    formula.check(found, gold["iso_id_tokens"], 2e-5, "iso_id_tokens")


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


def test_velocity(method, gold, tokens):
    told(method, gold)
    latents, sigma = flux.packed(start(gold)[:1]), torch.tensor(gold["sigmas"][1], dtype=torch.float32)
    with torch.inference_mode():
        text = method.base.text(["golden"])
        plain = method.base.velocity(latents, sigma, text)
        seen = method.base.velocity(latents, sigma, text, method.injections(tokens))
    formula.check(plain, gold["velocity_step1_no_id"], 2e-5, "velocity_no_id")
    formula.check(seen, gold["velocity_step1_id"], 2e-5, "velocity_id")


def test_sampling(method, gold, tokens):
    prompts = told(method, gold)
    with torch.inference_mode():
        steps = method.base.timesteps(math.prod(method.base.grid))
        velocity = method.velocity(prompts, tokens.expand(len(prompts), -1, -1))
        final = method.base.denoise(start(gold), velocity)
        images = torch.stack([diffusion.decode_one(method.base.vae, row) for row in final])
    np.testing.assert_allclose(steps / 1000, gold["sigmas"][:-1], rtol=1e-6)
    formula.check(final, gold["final_latents"], 2e-5, "final_latents")
    formula.check(images[:1], gold["image"], 1e-3, "image")
    formula.check_stats(images, gold["image_stats"])


def test_second_pass(gold, paths, tokens):
    more = {"true_cfg_scale": float(gold["true_cfg_scale"]), "true_cfg_start": int(gold["timestep_to_start_cfg"])}
    method = PuLIDFlux(options(gold, paths, **more), Runtime())
    prompts = told(method, gold)
    with torch.inference_mode():
        velocity = method.velocity(prompts, tokens.expand(len(prompts), -1, -1))
        final = method.base.denoise(start(gold), velocity)
    formula.check(final, gold["true_cfg_final_latents"], 2e-5, "true_cfg_final_latents")


def test_official_sizes():
    shapes = pulid_flux.layout(pulid_flux.Sizes())
    assert len(shapes) == 312
    assert sum(math.prod(shape) for shape in shapes.values()) == 571_033_600
    assert len(pulid_flux.places(19, 38)) == 20
    tower = new.eva_shapes(1024, 24, 2730, 768)
    assert sum(math.prod(shape) for shape in tower.values()) == 304_432_832
    assert len(tower) + 2 * 25 == 562


def test_whole_method(gold, paths):
    method = PuLIDFlux(options(gold, paths, width=64, height=64), Runtime())
    end_to_end.check_method(method, 64)
    nobody = Reference("nobody", "s", embeddings={"glintr100": np.ones(512, np.float32)})
    asked = Request(nobody, 0, 0, "a person")
    end_to_end.check_refuses(method, asked, "no image or no face", network=method.base.transformer)
    empty = Request(Reference("nobody", "s"), 0, 0, "a person")
    end_to_end.check_refuses(method, empty, "no embedding", network=method.base.transformer)


def test_identity_decides(gold, paths):
    plain = PuLIDFlux(options(gold, paths, id_weight=0.0), Runtime())
    first, second = (end_to_end.reference(person, "glintr100") for person in (1, 2))
    same = [o.image for o in plain.generate([Request(r, 0, 5, "photo of a person") for r in (first, second)])]
    assert np.abs(same[0].astype(int) - same[1].astype(int)).max() <= 1


def test_wrong_files(gold, paths, tmp_path):
    torch.save({"visual.pos_embed": torch.zeros(1)}, tmp_path / "clip.pt")
    with pytest.raises(UserError, match="not EVA02-CLIP"):
        PuLIDFlux(options(gold, paths, eva=tmp_path / "clip.pt"), Runtime())
    with pytest.raises(UserError, match="not PuLID-FLUX"):
        PuLIDFlux(options(gold, paths, checkpoint=paths["eva"]), Runtime())
    other = new.save(tmp_path / "other.safetensors", pulid_flux.layout(replace(new.PULID, blocks=3)))
    with pytest.raises(UserError, match="adds to 3 blocks of width 64, this base has 4"):
        PuLIDFlux(options(gold, paths, checkpoint=other), Runtime())
    wide = new.save(tmp_path / "wide.safetensors", pulid_flux.layout(replace(new.PULID, features=48)))
    with pytest.raises(UserError, match="32 wide, the checkpoint reads 48"):
        PuLIDFlux(options(gold, paths, checkpoint=wide), Runtime())


def test_pixels_are_grey_on_white():
    image = np.zeros((512, 512, 3), np.uint8)
    image[..., 0] = 255
    labels = np.zeros((512, 512), np.uint8)
    labels[256:] = 1
    pixels = pulid_flux.face_pixels(image, labels, 336, True)
    white, grey = (
        standardise(torch.full((1, 3, 1, 1), value), CLIP_MEAN, CLIP_STD).flatten() for value in (1.0, 0.299)
    )
    torch.testing.assert_close(pixels[0, :, 10, 10], white)
    torch.testing.assert_close(pixels[0, :, 300, 10], grey)
