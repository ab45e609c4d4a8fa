"""FastComposer against the official implementation (golden/generation)."""

import numpy as np
import pytest
import torch

from baselines.fastcomposer import FastComposer, FastComposerOptions, padded, square
from baselines.protocol import Reference, Request
from baselines.text_to_image import Text
from bench.errors import UserError
from bench.runtime import Runtime
from tests.parity import end_to_end
from tests.parity import generation_formula as formula
from tests.parity import generation_models as models
from tests.shared import needs

pytestmark = [needs(formula.FOLDER / "fastcomposer.npz"), needs(models.VOCABULARY)]


@pytest.fixture(scope="module")
def gold():
    return formula.case("fastcomposer")


@pytest.fixture(scope="module")
def method(tmp_path_factory):
    paths = models.write_fastcomposer(tmp_path_factory.mktemp("fastcomposer"))
    return FastComposer(FastComposerOptions(clip_heads=4, batch=2, steps=4, start_merge_step=1, **paths), Runtime())


def picture(gold, name):
    return formula.picture(f"image_{name}", *gold[f"{name}_hw"].tolist())


@pytest.mark.parametrize("name", ["wide", "tall"])
def test_pixels(gold, name):
    image = picture(gold, name)
    height, width, channels = padded(image).shape
    assert [channels, height, width] == gold[f"{name}_padded_shape"].tolist()
    for side in (224, 256):
        found = square(image, side)[0]
        sampled = (found * 255).round().numpy().astype(int)[:, ::7, ::7]
        np.testing.assert_array_equal(sampled, gold[f"{name}_r{side}_sampled"])
        formula.check_stats(found, gold[f"{name}_r{side}_stats"])


def both(method, gold):
    with torch.inference_mode():
        return method.embed(torch.cat([square(picture(gold, name), 224) for name in ("wide", "tall")]))


def test_object_embeddings(method, gold):
    formula.check(both(method, gold), gold["object_embeds"][0, :, 0], 2e-5, "object_embeds")
    with torch.inference_mode():
        larger = method.embed(square(picture(gold, "wide"), 256))
    formula.check(larger, gold["object_embeds_wide_from256"][0, :, 0], 2e-5, "object_embeds_wide_from256")


def test_caption_and_fusion(method, gold):
    ids, mask = method.marked(str(gold["caption"]))
    np.testing.assert_array_equal(ids[0], gold["input_ids"])
    np.testing.assert_array_equal(mask[0], gold["image_token_mask"])
    np.testing.assert_array_equal(mask[0].nonzero().flatten(), gold["image_token_idx"])
    assert torch.equal(method.base.ids(method.without_marker(str(gold["caption"])))[0], ids)
    with torch.inference_mode():
        fused = method.merged(formula.given("prompt_embeds", 1, 77, 64), mask, both(method, gold))
    formula.check(fused[mask], gold["fused_rows"], 2e-5, "fused_rows")
    formula.check_stats(fused, gold["fused_stats"])


def test_batch(method, gold):
    mask = torch.from_numpy(gold["batch_mask"])
    counts = gold["batch_num_objects"].tolist()
    objects = formula.given("object_embeds_batch", len(mask), 4, 1, 64)[:, :, 0]
    with torch.inference_mode():
        kept = torch.cat([rows[:count] for rows, count in zip(objects, counts, strict=True)])
        fused = method.merged(formula.given("prompt_embeds_batch", len(mask), 77, 64), mask, kept)
    formula.check(fused[mask], gold["batch_fused_rows"], 2e-5, "batch_fused_rows")
    formula.check_stats(fused, gold["batch_fused_stats"])


def test_whole_method(method):
    end_to_end.check_method(method, 64, distinct=2)  # Formula weights hardly see the reference...
    one, other = (method._object(end_to_end.reference(i, "none")) for i in (1, 2))
    assert (one - other).abs().max() > 1e-3
    person = end_to_end.reference(1, "none")
    end_to_end.check_refuses(method, Request(person, 0, 0, "photo of a dog"), "no word 'person'")
    end_to_end.check_refuses(method, Request(Reference("nobody", "s"), 0, 0, "a person"), "no image")


def test_first_calls_see_the_text_alone(method):
    """With PNDM the 4 steps are 5 calls of the UNet; start_merge_step counts calls."""
    seen = []
    person = end_to_end.reference(1, "none")
    predict = method._plan([Request(person, 0, 0, "a person")], {(person.item, "a person"): nobody_in_it()})
    method.base.predict, kept = lambda _r, _t, condition: seen.append(condition), method.base.predict
    for index in range(method.options.start_merge_step + 2):
        predict(index, None, None)
    method.base.predict = kept
    last = method.options.start_merge_step
    assert all(condition is seen[0] for condition in seen[: last + 1])
    assert seen[last + 1] is not seen[0]
    assert seen[last + 1]["encoder_hidden_states"][1].abs().max() == 0


def nobody_in_it():
    return Text(torch.zeros(1, 77, 64))


def test_needs_sd15_and_its_own_checkpoint(method, tmp_path):
    torch.save({"id_encoder": {}}, tmp_path / "a.bin")
    with pytest.raises(UserError, match="not FastComposer's"):
        FastComposer(method.options.model_copy(update={"checkpoint": tmp_path / "a.bin"}), Runtime())
