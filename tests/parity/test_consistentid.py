"""ConsistentID against the official implementation (golden/generation, section 6)."""

import math

import numpy as np
import pytest
import torch

from baselines import clip, consistentid, diffusion, fusion
from baselines.consistentid import MARKER, ConsistentID, ConsistentIDOptions, Subject
from baselines.protocol import Reference, Request
from baselines.text_to_image import Text
from bench import weights
from bench.errors import UserError
from bench.faces.parsing import Label
from bench.runtime import Runtime
from tests.parity import end_to_end
from tests.parity import generation_formula as formula
from tests.parity import generation_models as models
from tests.parity import new_generation_models as new
from tests.shared import needs

pytestmark = [needs(formula.FOLDER / "consistentid.npz"), needs(models.VOCABULARY)]

NAMES = {
    "Face": Label.SKIN,
    "Left_Eye": Label.L_EYE,
    "Right_Eye": Label.R_EYE,
    "Left_Ear": Label.L_EAR,
    "Right_Ear": Label.R_EAR,
    "Nose": Label.NOSE,
    "Upper_Lip": Label.U_LIP,
    "Lower_Lip": Label.L_LIP,
}


def labels_of(names):
    return [NAMES[name] for name in names if name]


@pytest.fixture(scope="module")
def gold():
    return formula.case("consistentid")


@pytest.fixture(scope="module")
def method(gold, tmp_path_factory):
    options = ConsistentIDOptions(
        batch=2,
        steps=int(gold["num_inference_steps"]),
        start_merge_step=int(gold["start_merge_step"]),
        guidance_scale=float(gold["guidance_scale"]),
        negative_prompt=str(gold["negative_prompt"]),
        template="{}",
        width=None,
        height=None,
        **new.write_consistentid(tmp_path_factory.mktemp("consistentid"), int(gold["lora_rank"])),
    )
    return ConsistentID(options, Runtime())


def test_words(method, gold):
    tokenizer, row = method.base.encoders[0][0], 0
    for prompt in gold["prompts"]:
        for names in gold["part_sets"]:
            present = np.array([int(label) for label in labels_of(str(names).split(","))], np.uint8)
            parts = consistentid.found_parts(present)
            assert list(parts) == labels_of(str(gold["case_parts"][row]).split("->")[-1].strip().split(",")), row
            text = consistentid.captioned(tokenizer, str(prompt), parts)
            assert text.replace(MARKER, "") == str(gold["case_prompt_text_only"][row])
            ids, mask = fusion.marked(tokenizer, text.split(MARKER))
            np.testing.assert_array_equal(ids[0], gold["case_ids"][row])
            np.testing.assert_array_equal(mask[0], gold["case_facial_mask"][row])
            found = mask[0].nonzero().flatten().tolist()
            expected = gold["case_facial_idx"][row][gold["case_facial_idx_mask"][row]]
            np.testing.assert_array_equal(found, expected)
            row += 1
    assert row == len(gold["case_ids"])


def photo(gold):
    return formula.picture("id_image", *gold["image_hw"])


def labels(gold):
    return gold["label_grid"].repeat(64, axis=0).repeat(64, axis=1)


def test_parts_and_masks(gold):
    parts = consistentid.found_parts(labels(gold))
    assert list(parts) == labels_of(gold["selected_parts"])
    areas = [int((consistentid.part_mask(labels(gold), label) > 0).sum()) for label in parts]
    np.testing.assert_array_equal(areas, gold["mask_areas"])


@pytest.fixture(scope="module")
def subject(method, gold):
    raw = formula.given("faceid_embedding", 1, 512).numpy()
    parts = consistentid.found_parts(labels(gold))
    crops = [consistentid.part_crop(photo(gold), labels(gold), label) for label in parts]
    with torch.inference_mode():
        tokens = method.tokens(raw / np.linalg.norm(raw), clip.pixels(clip.centre(photo(gold))))
        return Subject(tokens, parts, method.facial(method.crop_pixels(crops)))


def test_crops(method, gold):
    parts = consistentid.found_parts(labels(gold))
    pixels = method.crop_pixels([consistentid.part_crop(photo(gold), labels(gold), label) for label in parts])
    formula.check(pixels[:, :, ::16, ::16], gold["facial_pixels_sampled"], 2 / 255 / 0.26, "facial_pixels")
    for found, expected in zip(pixels, gold["facial_pixels_stats"], strict=True):
        np.testing.assert_allclose(formula.stats(found), expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(method.crop_pixels([])[0], np.zeros((3, 224, 224)))


def test_tokens(method, gold, subject):
    formula.check(subject.tokens, gold["cond_tokens"], 2e-5, "cond_tokens")
    formula.check(method.unconditional, gold["uncond_tokens"], 2e-5, "uncond_tokens")
    formula.check(subject.facial, gold["facial_tokens"], 2e-5, "facial_tokens")


def test_texts(method, gold, subject):
    tokenizer = method.base.encoders[0][0]
    text = consistentid.captioned(tokenizer, str(gold["sample_prompt"]), subject.parts)
    ids, mask = fusion.marked(tokenizer, text.split(MARKER))
    with torch.inference_mode():
        rows = method.base.encode([ids]).tokens[mask]
        plain, person, negative = method.texts(str(gold["sample_prompt"]), subject)
        negative_plain = method.base.text(str(gold["negative_prompt"])).tokens
    np.testing.assert_array_equal(method.base.ids(text.replace(MARKER, ""))[0][0], gold["ids_text_only"])
    formula.check(rows, gold["text_rows"], 2e-5, "text_rows")
    formula.check(person.tokens[mask], gold["fused_rows"], 2e-5, "fused_rows")
    formula.check(negative.tokens[mask], gold["uncond_fused_rows"], 2e-5, "uncond_fused_rows")
    formula.check_stats(person.tokens, gold["fused_stats"])
    formula.check_stats(negative.tokens, gold["uncond_fused_stats"])
    formula.check(plain.tokens[0, :10, ::4], gold["text_only_slice"], 2e-5, "text_only")
    formula.check(negative_plain[0, :10, ::4], gold["negative_slice"], 2e-5, "negative")


def test_facial_encoder_alone(method, gold):
    text, hidden = (
        formula.given("iso_prompt_embeds", 1, 77, 64),
        formula.given("iso_multi_image_embeds", 1, 5, 257, 128),
    )
    mask = torch.zeros(1, 77, dtype=torch.bool)
    mask[0, gold["iso_positions"]] = True
    with torch.inference_mode():
        found = method.fused(text, mask, method.projected(hidden[0]))
    formula.check(found[mask], gold["iso_fused_rows"], 2e-5, "iso_fused_rows")
    formula.check_stats(found, gold["iso_stats"])


def test_sampling(method, gold, subject):
    base, calls = method.base, []
    latents = formula.given("latents", 1, 4, 8, 8, scale=gold["latents_scale"])
    with torch.inference_mode():
        predict = method.predictor([method.texts(str(gold["sample_prompt"]), subject)], [subject.tokens])
        final = base.denoise((latents, []), lambda *given: calls.append(predict(*given)) or calls[-1])
        image = diffusion.decode_one(base.vae, final[0])
    np.testing.assert_allclose(base.scheduler.timesteps, gold["timesteps"])
    np.testing.assert_allclose(base.scheduler.sigmas, gold["sigmas"], rtol=1e-6)
    formula.check(calls[0], gold["unet_step0"], 5e-5, "unet_step0")
    formula.check(calls[int(gold["start_merge_step"]) + 1], gold["unet_switch"], 5e-5, "unet_switch")
    formula.check(final, gold["final_latents"], 1e-3, "final_latents")
    np.testing.assert_allclose(formula.stats(image)[1:], gold["image_stats"][1:], rtol=1e-4)


def test_official_sizes():
    facial = consistentid.facial_layout(1280, 1024, 768)
    assert len(facial) == 109
    assert sum(math.prod(shape) for shape in facial.values()) == 105_772_288


def test_whole_method(method):
    end_to_end.check_method(method, 64)
    nobody = Reference("nobody", "s", embeddings={"w600k_r50": np.ones(512, np.float32)})
    end_to_end.check_refuses(method, Request(nobody, 0, 0, "a person"), "no image")
    end_to_end.check_refuses(method, Request(Reference("nobody", "s"), 0, 0, "a person"), "no embedding")


def test_a_photo_without_parts_has_the_plain_prompt(method):
    with torch.inference_mode():
        facial = method.facial(method.crop_pixels([]))
        plain, person, _ = method.texts("photo of a person", Subject(method.unconditional, (), facial))
    torch.testing.assert_close(plain.tokens, person.tokens)


def test_the_other_name_of_a_group(method, tmp_path):
    content = weights.read(method.options.checkpoint)
    content["image_proj_model"] = content.pop("image_proj")
    torch.save(content, tmp_path / "a.bin")
    assert set(consistentid.read(tmp_path / "a.bin")) == set(consistentid.GROUPS)


def test_wrong_files(method, tmp_path):
    content = weights.read(method.options.checkpoint)
    torch.save({"id_encoder": {}}, tmp_path / "a.bin")
    torch.save({**content, "FacialEncoder": {**content["FacialEncoder"], "more": torch.zeros(1)}}, tmp_path / "b.bin")
    for file, words in (("a.bin", "not ConsistentID-v1.bin"), ("b.bin", "'more'")):
        with pytest.raises(UserError, match=words):
            ConsistentID(method.options.model_copy(update={"checkpoint": tmp_path / file}), Runtime())


def test_prompt_of_the_script():
    options = ConsistentIDOptions.model_fields["template"].default
    assert options.replace("{}", "A man, in a forest, adventuring") == str(formula.case("consistentid")["prompts"][2])


def test_negative_is_the_plain_text_where_nothing_is_fused(method):
    with torch.inference_mode():
        mask = torch.zeros(1, 77, dtype=torch.bool)
        text = Text(formula.given("iso_prompt_embeds", 1, 77, 64)).tokens
        torch.testing.assert_close(method.fused(text, mask, method.no_part), text)
