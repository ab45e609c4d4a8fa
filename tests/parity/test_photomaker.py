"""PhotoMaker v1 and v2 against the official implementation (golden/generation)."""

import numpy as np
import pytest
import torch

from baselines import clip, fusion
from baselines.photomaker import PhotoMaker, PhotoMakerOptions
from bench.runtime import Runtime
from tests.parity import generation_formula as formula
from tests.parity import generation_models as models
from tests.shared import needs

pytestmark = [needs(formula.FOLDER / "photomaker_v1.npz"), needs(models.VOCABULARY)]


@pytest.fixture(scope="module", params=["v1", "v2"])
def made(request, tmp_path_factory):
    version = request.param
    sampling = formula.case(f"photomaker_{version}_sample")
    paths = models.write_photomaker(tmp_path_factory.mktemp(version), version, int(sampling["lora_rank"]))
    options = PhotoMakerOptions(
        version=version,
        clip_heads=4,
        negative_prompt="",
        start_merge_step=int(sampling["start_merge_step"]),
        steps=int(sampling["num_inference_steps"]),
        guidance_scale=float(sampling["guidance_scale"]),
        **paths,
    )
    return formula.case(f"photomaker_{version}"), sampling, PhotoMaker(options, Runtime())


def objects(method, count: int) -> torch.Tensor:
    pixels = formula.given(f"pixel_values_n{count}", 1, count, 3, 224, 224)[0]
    embeddings = None
    if method.options.version == "v2":
        embeddings = formula.given(f"insightface_embedding_n{count}", 1, count, 512, scale=1.3)[0]
    return method.identity(pixels, embeddings)


def test_prompts_and_fusion(made):
    gold, _, method = made
    with torch.inference_mode():
        for count in gold["num_id_images"].tolist():
            found = objects(method, count)
            assert len(found) == count * int(gold["num_tokens"])
            for i, prompt in enumerate(gold["prompts"].tolist()):
                check_prompt(gold, method, f"p{i}_n{count}", prompt, found)


def check_prompt(gold, method, name, prompt, found):
    ids, mask = method.expanded(prompt, len(found))
    np.testing.assert_array_equal(ids[0][0], gold[f"{name}_ids_te1"])
    np.testing.assert_array_equal(ids[1][0], gold[f"{name}_ids_te2"])
    np.testing.assert_array_equal(mask[0], gold[f"{name}_mask"])
    text, fused = method.base.encode(ids), method.fused(prompt, found)
    formula.check(text.tokens[mask], gold[f"{name}_text_rows"], 2e-5, f"{name}_text_rows")
    formula.check(fused.tokens[mask], gold[f"{name}_fused_rows"], 2e-5, f"{name}_fused_rows")
    formula.check_stats(fused.tokens, gold[f"{name}_fused_stats"])
    assert torch.equal(fused.tokens[~mask], text.tokens[~mask])
    if f"{name}_pooled" in gold:
        formula.check(text.tokens[0, :10, ::4], gold[f"{name}_text_embeds_slice"], 2e-5, f"{name}_text_embeds_slice")
        formula.check(fused.pooled[0], gold[f"{name}_pooled"], 2e-5, f"{name}_pooled")


def test_negative(made):
    gold, _, method = made
    ids = method.base.ids("")
    np.testing.assert_array_equal(ids[0][0], gold["neg_ids_te1"])
    np.testing.assert_array_equal(ids[1][0], gold["neg_ids_te2"])
    with torch.inference_mode():
        text = method.base.encode(ids)
    formula.check(text.tokens[0, :10, ::4], gold["negative_prompt_embeds_slice"], 2e-5, "negative_prompt_embeds_slice")
    formula.check(text.pooled[0], gold["negative_pooled"], 2e-5, "negative_pooled")


def test_text_alone(made):
    gold, _, method = made
    prompt, count = gold["prompts"].tolist()[0], min(gold["num_id_images"].tolist())
    with torch.inference_mode():
        expanded = method.base.encode(method.expanded(prompt, count * int(gold["num_tokens"]))[0])
    formula.check_stats(expanded.tokens, gold["ids_text_prompt_embeds_stats"])


def test_without_text_encoders(made):
    gold, _, method = made
    text, mask = formula.given("prompt_embeds", 1, 77, 256), torch.from_numpy(gold["iso_mask"])[None]
    with torch.inference_mode():
        found = objects(method, int(gold["iso_num_id_images"]))
        fused = fusion.put(text, mask, fusion.fuse(method.fuser, text[mask], found))
    formula.check(found, gold["iso_id_embeds"].reshape(found.shape), 2e-5, "iso_id_embeds")
    formula.check(fused[mask], gold["iso_fused_rows"], 2e-5, "iso_fused_rows")
    formula.check_stats(fused, gold["iso_fused_stats"])


def test_sampling(made):
    _, gold, method = made
    prompt, count, base = str(gold["prompt"]), int(gold["num_id_images"]), method.base
    pictures = [clip.pixels(clip.centre(formula.picture(f"id_image_{i}", 224, 224))) for i in range(count)]
    embeddings = None
    if method.options.version == "v2":
        embeddings = formula.given("insightface_embedding_sample", count, 512, scale=1.3)
    with torch.inference_mode():
        fused = method.fused(prompt, method.identity(torch.cat(pictures), embeddings))
        alone, negative = base.text(method.without_trigger(prompt)), base.text("")
        conditions = [base.condition([text], negative) for text in (alone, fused)]
        predict = method.predictor(*conditions)
        start = formula.given("latents", 1, 4, 16, 16)
        final = base.denoise((start, []), predict)
    np.testing.assert_array_equal(conditions[0]["added_cond_kwargs"]["time_ids"][:1], gold["time_ids"])
    np.testing.assert_array_equal(base.scheduler.timesteps, gold["timesteps"])
    formula.check(alone.tokens[0, :10, ::4], gold["text_only_slice"], 2e-5, "text_only_slice")
    formula.check_stats(alone.tokens, gold["text_only_stats"])
    formula.check(alone.pooled[0], gold["text_only_pooled"], 2e-5, "text_only_pooled")
    formula.check(fused.tokens[0, :24, ::4], gold["id_rows"], 2e-5, "id_rows")
    formula.check_stats(fused.tokens, gold["id_stats"])
    formula.check(fused.pooled[0], gold["id_pooled"], 2e-5, "id_pooled")
    formula.check(negative.tokens[0, :10, ::4], gold["negative_slice"], 2e-5, "negative_slice")
    formula.check(final, gold["final_latents"], 1e-3, "final_latents")


def test_when_the_person_is_seen(made):
    _, gold, method = made
    seen = []
    method.base.predict, kept = lambda _rows, _t, condition: seen.append(condition), method.base.predict
    predict = method.predictor("text", "person")
    for index in range(int(gold["num_inference_steps"])):
        predict(index, None, None)
    method.base.predict = kept
    np.testing.assert_array_equal([condition == "person" for condition in seen], gold["id_branch_used"])
