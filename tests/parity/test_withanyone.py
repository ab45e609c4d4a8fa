"""WithAnyone against the official implementation (golden/generation, section 6)."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from baselines import flux, withanyone
from baselines.protocol import Reference, Request
from baselines.text_to_image import Text
from baselines.withanyone import WithAnyone, WithAnyoneOptions
from bench.conditions.kinds import Condition, ConditionKind
from bench.errors import UserError
from bench.runtime import Runtime
from tests.parity import end_to_end
from tests.parity import generation_formula as formula
from tests.parity import generation_models as models
from tests.parity import new_generation_models as new
from tests.shared import needs

pytestmark = [needs(formula.FOLDER / "withanyone.npz"), needs(models.VOCABULARY)]


@pytest.fixture(scope="module")
def gold():
    return formula.case("withanyone")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return new.write_withanyone(tmp_path_factory.mktemp("withanyone"))


def options(gold, paths, **more):
    given = {
        "id_weight": float(gold["id_weight"]),
        "siglip_weight": float(gold["siglip_weight"]),
    }
    return WithAnyoneOptions(**{**paths, **new.flux_options(gold), **given, **more})


@pytest.fixture(scope="module")
def method(gold, paths):
    found = WithAnyone(options(gold, paths), Runtime())
    length = int(gold["text_length"])
    text = Text(formula.given("prompt_embeds", 1, length, 48), formula.given("pooled_prompt_embeds", 1, 32))
    found.base._known["golden"] = text
    return found


def tokens(method, gold, people):
    embeddings = formula.given("arcface_embedding", 2, 512, scale=gold["embedding_scale"])
    hidden = formula.given("siglip_hidden", 1, 2, 256, 768)[0]
    with torch.inference_mode():
        return method.tokens(embeddings[:people], hidden[:people])


def test_tokens(method, gold):
    found = tokens(method, gold, 1)
    formula.check(found.arc, gold["arc_tokens"], 2e-5, "arc_tokens")
    formula.check(found.sig[0, ::11], gold["siglip_tokens_slice"], 2e-5, "siglip_tokens_slice")
    formula.check(found.sig[0, -8:], gold["siglip_tokens_last8"], 2e-5, "siglip_tokens_last8")
    formula.check_stats(found.sig, gold["siglip_tokens_stats"])


def test_boxes(method, gold):
    np.testing.assert_array_equal(withanyone.inside(gold["box"], method.base.grid)[:, 0], gold["box_mask"])
    np.testing.assert_array_equal(withanyone.inside(gold["boxes_two"], method.base.grid), gold["boxes_two_mask"])


def start(gold):
    size = (int(gold["height_latent"]), int(gold["width_latent"]))
    return formula.given("latents", 1, 4, *size, scale=gold["latents_scale"])


def test_velocity(method, gold):
    latents, sigma = flux.packed(start(gold)), torch.tensor(gold["sigmas"][1], dtype=torch.float32)
    text, mask = method.base.text(["golden"]), withanyone.inside(gold["box"], method.base.grid)
    with torch.inference_mode():
        plain = method.base.velocity(latents, sigma, text)
        seen = method.base.velocity(latents, sigma, text, method.injections(tokens(method, gold, 1), mask))
    formula.check(plain, gold["velocity_step1_no_id"], 2e-5, "velocity_no_id")
    formula.check(seen, gold["velocity_step1"], 2e-5, "velocity")


@pytest.mark.parametrize(
    ("name", "people", "boxes"),
    [("final_latents", 1, "box"), ("final_latents_two", 2, "boxes_two"), ("final_latents_no_box", 1, None)],
)
def test_sampling(method, gold, name, people, boxes):
    shift = withanyone.shift_tokens(method.base.size)
    assert shift == int(gold["sequence_for_shift"])
    masks = None if boxes is None else withanyone.inside(gold[boxes], method.base.grid)
    with torch.inference_mode():
        velocity = method.velocity(["golden"], tokens(method, gold, people), masks)
        final = method.base.denoise(start(gold), velocity, shift)
        steps = method.base.timesteps(shift)
    np.testing.assert_allclose(steps / 1000, gold["sigmas"][:-1], rtol=1e-6)
    formula.check(final, gold[name], 2e-5, name)


def test_official_sizes():
    shapes = withanyone.layout(withanyone.Sizes())
    assert len(shapes) == 816
    assert sum(math.prod(shape) for shape in shapes.values()) == 2_781_573_120


def test_a_token_outside_of_every_box_reads_nothing(method, gold):
    masks = withanyone.inside([(0, 0, 16, 16)], method.base.grid)
    image = torch.randn(1, len(masks), 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        added = method.injections(tokens(method, gold, 1), masks)[0](image)
    assert added[0, 0].abs().max() > 1e-3
    assert added[0, 1:].abs().max() == 0


def test_whole_method(gold, paths):
    method = WithAnyone(options(gold, paths, width=64, height=64), Runtime())
    end_to_end.check_method(method, 64)
    nobody = Reference("nobody", "s", embeddings={"glintr100": np.ones(512, np.float32)})
    asked = Request(nobody, 0, 0, "a person")
    end_to_end.check_refuses(method, asked, "no image or no face", network=method.base.transformer)


def test_the_embedding_alone(gold, paths):
    method = WithAnyone(options(gold, paths, siglip=None, siglip_weight=0, box=None), Runtime())
    assert method.options.needs == {"embedding:glintr100"}
    assert method.options.accepts == {ConditionKind.EMBEDDING}
    assert options(gold, paths).accepts == set()
    nobody = Reference("nobody", "s", embeddings={"glintr100": np.ones(512, np.float32)})
    given = Condition(embedding=end_to_end.reference(1, "glintr100").embeddings["glintr100"])
    plain, conditioned = method.generate(
        [Request(nobody, 0, 0, "a person"), Request(nobody, 0, 0, "a person", condition=given)]
    )
    assert plain.image is not None
    assert np.abs(plain.image.astype(int) - conditioned.image.astype(int)).max() > 1
    empty = Request(Reference("nobody", "s"), 0, 0, "a person")
    end_to_end.check_refuses(method, empty, "no embedding", network=method.base.transformer)


def test_options_that_go_together(gold, paths):
    with pytest.raises(UserError, match="needs the folder siglip"):
        options(gold, paths, siglip=None)
    with pytest.raises(UserError, match="no area"):
        options(gold, paths, box=(0.5, 0.1, 0.4, 0.9))


def test_crop_of_the_face():
    reference = end_to_end.reference(0, "glintr100")  # 110 high, 90 wide; box 10, 10, 80, 100
    crop = withanyone.face_crop(reference)
    assert crop.shape == (512, 512, 3)
    from PIL import Image

    expected = Image.fromarray(reference.image).crop((0, 10, 90, 100)).resize((512, 512), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(crop, np.asarray(expected))


def test_wrong_files(gold, paths, tmp_path):
    with pytest.raises(UserError, match="not WithAnyone"):
        WithAnyone(
            options(gold, paths, checkpoint=paths["base"] / "vae/diffusion_pytorch_model.safetensors"), Runtime()
        )
    small = new.save(tmp_path / "a.safetensors", withanyone.layout(replace(new.WITHANYONE, blocks=8)))
    with pytest.raises(UserError, match="adds to 8 blocks of width 64, this base has 9"):
        WithAnyone(options(gold, paths, checkpoint=small), Runtime())
    with pytest.raises(UserError, match="32 wide, the checkpoint reads 768"):
        WithAnyone(options(gold, paths, siglip=new.write_siglip(tmp_path / "siglip", 32)), Runtime())
