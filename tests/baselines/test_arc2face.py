"""Arc2Face on tiny checkpoints: what a batch, a seed, an adapter and a full memory do."""

import logging
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from baselines import adapters, diffusion, mlp_prompts
from baselines.arc2face import EXPRESSION, Arc2Face, Arc2FaceOptions, average, bounded, interpolate
from baselines.protocol import Reference, Request
from bench.errors import UserError
from bench.identity import identity
from tests.baselines import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.arc2face(tmp_path_factory.mktemp("weights") / "mini")


def options(folder, **changes):
    given = {"model": folder, "base": folder, "embedding_size": tiny.EMBEDDING, "steps": 4, "batch": 4}
    return Arc2FaceOptions(**{**given, **changes})


def make(folder, **changes):
    return Arc2Face(options(folder, **changes), tiny.CPU)


def images(method, asked):
    outputs = method.generate(asked)
    assert [o.error for o in outputs] == [None] * len(asked)
    return [o.image for o in outputs]


def pixels(method, asked):
    """Final images in float, all in one batch."""
    with torch.inference_mode():
        method._encode(asked)
        return torch.stack([diffusion.decode_one(method.vae, row) for row in method.latents(asked)])


def test_images(folder):
    found = images(make(folder), tiny.requests(2, 3))
    assert all(image.shape == (16, 16, 3) and image.dtype == np.uint8 for image in found)
    assert len({image.tobytes() for image in found}) == 6


def test_batch_of_many_identities_is_each_alone(folder):
    method, asked = make(folder), tiny.requests(4, 3)
    together = pixels(method, asked)
    alone = torch.cat([pixels(method, [request]) for request in asked])
    assert (together - alone).abs().max() <= 1e-5


def with_mlp(folder, to, sizes):
    """The same UNet with an MLP in the encoder's place."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("encoder"))
    torch.manual_seed(1)
    state = mlp_prompts.mlp(sizes, "gelu").state_dict()
    save_file(state, to / mlp_prompts.FILE)
    return to


def test_an_mlp_takes_the_place_of_the_encoder(folder, tmp_path):
    other = with_mlp(folder, tmp_path / "mlp", [tiny.EMBEDDING, 8, 8, 8, 3 * tiny.WIDTH])
    method, asked = make(other, projection="mlp"), tiny.requests(2, 2)
    together = pixels(method, asked)
    assert (together - torch.cat([pixels(method, [request]) for request in asked])).abs().max() <= 1e-5
    assert method.unconditional.shape == (1, 3, tiny.WIDTH)
    # It is another method for the identity of a run, and the encoder's default leaves identities as they were.
    assert identity(options(folder)) != identity(options(other, projection="mlp"))
    assert "projection" not in identity(options(folder))


def test_an_mlp_for_other_embeddings_is_refused(folder, tmp_path):
    other = with_mlp(folder, tmp_path / "mlp", [tiny.EMBEDDING + 1, 3 * tiny.WIDTH])
    with pytest.raises(UserError, match=f"reads {tiny.EMBEDDING + 1} numbers, not {tiny.EMBEDDING}"):
        make(other, projection="mlp")
    with pytest.raises(UserError, match=r"lacks projection\.safetensors"):
        make(folder, projection="mlp")


def test_resume_gives_the_same_bits(folder):
    asked = tiny.requests(3, 4)
    whole = images(make(folder), asked)
    resumed = images(make(folder), asked[4:])
    part = images(make(folder), asked[:6])
    for one, other in zip([*whole[4:], *whole[:6]], [*resumed, *part], strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_identity_is_encoded_once(folder):
    method, calls = make(folder, batch=2), []
    method.prompts.encoder.register_forward_hook(lambda *_: calls.append(1))
    asked = tiny.requests(1, 5)
    images(method, asked[:3])
    images(method, asked[3:])
    assert len(calls) == 1


def test_an_item_is_encoded_again_only_where_its_embedding_is_another(folder):
    """The key is the item's name; a later call may bring another photo under it."""
    method, calls = make(folder), []
    method.prompts.encoder.register_forward_hook(lambda *_: calls.append(1))
    one, other = (r.reference.embeddings for r in tiny.requests(2, 1))
    found = []
    for embeddings in (one, dict(one), other):
        found += images(method, [Request(Reference("item", "s", embeddings=embeddings), 0, 3, "")])
    assert len(calls) == 2
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[1] != found[2]).any()


def test_seed_decides(folder):
    one, other = tiny.requests(1, 2)
    method = make(folder)
    again = Request(one.reference, 7, other.seed, one.prompt)
    np.testing.assert_array_equal(images(method, [again])[0], images(method, [other])[0])


def full_above(method, limit, error):
    """Memory that holds `limit` samples."""
    inner, sizes = method.latents, []

    def latents(asked):
        sizes.append(len(asked))
        if len(asked) > limit:
            raise error
        return inner(asked)

    method.latents = latents
    return sizes


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_full_memory_halves_the_batch(folder, caplog, error):
    asked = tiny.requests(2, 4)
    expected, method = images(make(folder, batch=8), asked), make(folder, batch=8)
    sizes = full_above(method, 2, error)
    with caplog.at_level(logging.WARNING):
        outputs = method.generate(asked)
    assert sizes == [8, 4, 2, 2, 4, 2, 2]
    assert {output.note for output in outputs} == {
        "out of memory at a batch of 4: made with the same seeds in batches of 2"
    }
    found = [output.image for output in outputs]
    assert "batch of 8" in caplog.text
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 1


def test_memory_too_small_for_one(folder):
    method = make(folder)
    full_above(method, 0, torch.OutOfMemoryError("CUDA"))
    with pytest.raises(UserError, match="one image"):
        method.generate(tiny.requests(1, 1))


def test_other_errors_are_not_swallowed(folder):
    method = make(folder)
    full_above(method, 0, RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        method.generate(tiny.requests(1, 1))


def test_overflow_is_a_failed_sample(folder):
    method = make(folder)
    inner = method.latents
    method.latents = lambda asked: inner(asked).index_fill(0, torch.tensor([1]), float("nan"))
    outputs = method.generate(tiny.requests(1, 4))
    assert [o.error is None for o in outputs] == [True, False, True, True]
    assert "not finite" in outputs[1].error


def test_several_references(folder):
    rows = np.stack([tiny.embedding(1).numpy(), 3 * tiny.embedding(2).numpy()])
    request = Request(Reference("i", "s", embeddings={"arcface": rows}), 0, 1, "")
    for how in ("raw", "normalised"):
        method = make(folder, averaging=how)
        np.testing.assert_array_equal(method.embedding(request), average(rows, how))
        single = Request(Reference("i", "s", embeddings={"arcface": average(rows, how)}), 0, 1, "")
        np.testing.assert_array_equal(images(method, [request])[0], images(method, [single])[0])
    assert not np.allclose(average(rows, "raw") / 20, average(rows, "normalised"))


def test_given_embedding(folder, tmp_path):
    np.save(tmp_path / "e.npy", tiny.embedding(5).numpy())
    method = make(folder, embedding=tmp_path / "e.npy")
    assert method.options.needs == frozenset()
    nobody = Request(Reference("i", "s"), 0, 3, "")
    somebody = Request(Reference("i", "s", embeddings={"arcface": tiny.embedding(5).numpy()}), 0, 3, "")
    np.testing.assert_array_equal(images(method, [nobody])[0], images(make(folder), [somebody])[0])


def test_between_two_identities(folder, tmp_path):
    np.save(tmp_path / "other.npy", tiny.embedding(1).numpy())
    mine, theirs = tiny.requests(2, 1)
    plain = make(folder)
    for share, expected in ((0.0, mine), (1.0, theirs)):
        method = make(folder, blend_with=tmp_path / "other.npy", blend=share)
        found = images(method, [mine])[0]
        alike = Request(expected.reference, 0, mine.seed, "")
        assert np.abs(found.astype(int) - images(plain, [alike])[0].astype(int)).max() <= 1
    middle = interpolate(tiny.embedding(0).numpy(), tiny.embedding(1).numpy(), 0.5)
    method = make(folder, blend_with=tmp_path / "other.npy", blend=0.5)
    np.testing.assert_array_equal(method.embedding(mine), middle)


def test_lcm_lora(folder, tmp_path):
    path = tiny.lora(tmp_path / "pytorch_lora_weights.safetensors")
    plain, method = make(folder), make(folder, lcm_lora=path, steps=3, guidance_scale=1.0)
    assert type(method.scheduler).__name__ == "LCMScheduler"
    sizes = []
    method.unet.register_forward_pre_hook(lambda _m, arguments: sizes.append(len(arguments[0])))
    asked = tiny.requests(2, 2)
    together = pixels(method, asked)
    assert sizes == [4, 4, 4]
    alone = torch.cat([pixels(method, [request]) for request in asked])
    assert (together - alone).abs().max() <= 1e-5
    row = torch.zeros(1, 4, 8, 8)
    text = plain.unconditional
    with torch.inference_mode():
        changed = method.unet(row, 500, text).sample - plain.unet(row, 500, text).sample
    assert changed.abs().max() > 1e-3


def reference_pipeline(method, kind, **more):
    import diffusers

    parts = (method.vae, None, None, method.unet)
    control = () if method.controlnet is None else (method.controlnet,)
    pipe = getattr(diffusers, kind)(*parts, *control, method.scheduler, None, None, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    asked = tiny.requests(1, 1)
    with torch.inference_mode():
        prompt = method.prompts.identities(torch.from_numpy(method.embedding(asked[0]))[None])
    found = pipe(
        prompt_embeds=prompt,
        negative_prompt_embeds=method.unconditional,
        guidance_scale=method.options.guidance_scale,
        num_inference_steps=method.options.steps,
        generator=[torch.Generator().manual_seed(asked[0].seed)],
        output_type="np",
        **more,
    ).images[0]
    return (found * 255).round().astype(np.uint8), asked


def close(one, other):
    return np.abs(one.astype(int) - other.astype(int)).max() <= 1


def test_controlnet_is_the_pipelines(folder, tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    Image.fromarray(grey).save(tmp_path / "normals.png")
    method = make(folder, controlnet=folder / "controlnet", normal_map=tmp_path / "normals.png", controlnet_scale=0.7)
    expected, asked = reference_pipeline(
        method,
        "StableDiffusionControlNetPipeline",
        image=Image.open(tmp_path / "normals.png"),
        height=16,
        width=16,
        controlnet_conditioning_scale=0.7,
    )
    found = images(method, asked)[0]
    assert close(found, expected)
    assert not close(found, images(make(folder), asked)[0])


def test_expression_is_the_pipelines(folder, tmp_path):
    path = tiny.adapter(tmp_path / "exp_adapter.bin", EXPRESSION)
    numbers = tuple(np.linspace(-2, 2, EXPRESSION).tolist())
    method = make(folder, exp_adapter=path, expression=numbers, expression_scale=0.8)
    found = images(method, tiny.requests(1, 1))[0]
    plain = make(folder)
    pipe = adapters.shell(plain.unet, plain.scheduler)
    pipe.load_ip_adapter(str(tmp_path), subfolder="", weight_name="exp_adapter.bin", image_encoder_folder=None)
    pipe.set_ip_adapter_scale(0.8)
    row = torch.from_numpy(bounded(np.float32(numbers)))[None, None]
    expected, asked = reference_pipeline(
        plain, "StableDiffusionPipeline", ip_adapter_image_embeds=[torch.cat([torch.zeros_like(row), row])]
    )
    assert close(found, expected)
    assert not close(found, images(make(folder), asked)[0])


@pytest.mark.parametrize("changes", [{"channels_last": True}, {"attention": "math"}, {"batch": 1}])
def test_recorded_options_do_not_change_images(folder, changes):
    asked = tiny.requests(1, 2)
    plain, other = make(folder), make(folder, **changes)
    with diffusion.running(other.options.attention):
        found = pixels(other, asked)
    assert (found - pixels(plain, asked)).abs().max() <= 1e-5
    assert identity(plain.options) == identity(other.options)


def test_width_and_height(folder):
    found = images(make(folder, width=32, height=16), tiny.requests(1, 1))[0]
    assert found.shape == (16, 32, 3)
    with pytest.raises(UserError, match="multiples of 2"):
        make(folder, width=31)


def test_bf16(folder):
    asked = tiny.requests(1, 2)
    method = make(folder, precision="bf16")
    assert method.unet.dtype == torch.bfloat16
    difference = (pixels(method, asked) - pixels(make(folder), asked)).abs().max()
    assert 0 < difference < 0.2


def test_options_that_go_together(folder):
    with pytest.raises(UserError, match="needs a controlnet"):
        options(folder, normal_map=folder / "normals.png")
    with pytest.raises(UserError, match="expression has 3"):
        options(folder, exp_adapter=folder, expression=(1.0, 2.0, 3.0))


def test_identity_does_not_see_other_methods_files(folder, tmp_path):
    import shutil

    other = shutil.copytree(folder, tmp_path / "copy")
    (other / "text_encoder").mkdir()
    (other / "text_encoder" / "config.json").write_text("{}")
    assert identity(options(folder)) == identity(options(other))
    (other / "scheduler" / "scheduler_config.json").write_text("{}")
    assert identity(options(folder)) != identity(options(other))
