"""The FLUX base on a tiny FLUX.1 [dev]: against diffusers' own pipeline, and what it refuses."""

import json
import shutil
import weakref

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from baselines import diffusion, flux
from baselines.protocol import Reference, Request
from bench.errors import UserError
from bench.runtime import Runtime
from tests.parity import generation_formula as formula
from tests.parity import generation_models as models
from tests.parity import new_generation_models as new
from tests.shared import needs

pytestmark = [needs(formula.FOLDER / "pulid_flux.npz"), needs(models.VOCABULARY)]

PROMPT = "photo of a person"
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return new.write_flux(tmp_path_factory.mktemp("flux") / "FLUX.1-dev")


@pytest.fixture
def folder(good, tmp_path):
    return shutil.copytree(good, tmp_path / "flux")


def options(folder, **more):
    return flux.FluxOptions(**{"base": folder, "width": 48, "height": 32, "steps": 3, "text_length": 16, **more})


def make(folder, prompts=(PROMPT,), **more):
    return flux.Flux(options(folder, **more), Runtime(prompts=prompts), "pulid_flux")


def plain(base):
    """A method that adds nothing."""

    def plan(batch, _generators):
        text = base.text([request.prompt for request in batch])
        return lambda _step, sigma, latents: base.velocity(latents, sigma, text)

    return plan


def images(base, seeds, prompt=PROMPT):
    asked = [Request(Reference("i", "s"), k, seed, prompt) for k, seed in enumerate(seeds)]
    with diffusion.running("auto"):
        outputs = base.generate(asked, plain(base))
    assert [output.error for output in outputs] == [None] * len(seeds)
    return [output.image.astype(int) for output in outputs]


def pipeline(base):
    from diffusers import FluxPipeline
    from transformers import CLIPTextModel, T5EncoderModel

    from bench import weights

    folder = base.options.base
    clip = weights.load(CLIPTextModel, folder / "text_encoder", torch.float32)
    t5 = weights.load(T5EncoderModel, folder / "text_encoder_2", torch.float32)
    words = weights.tokenizer(folder / "tokenizer"), flux.t5_tokenizer(folder / "tokenizer_2")
    pipe = FluxPipeline(base.scheduler, base.vae, clip, words[0], t5, words[1], base.transformer)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_whole_base_is_the_pipeline(good):
    base = make(good)
    start = diffusion.noise([7], base.vae.config.latent_channels, base.size, "cpu")[0]
    expected = pipeline(base)(
        PROMPT,
        height=32,
        width=48,
        num_inference_steps=3,
        guidance_scale=3.5,
        max_sequence_length=16,
        latents=flux.packed(start),
        output_type="np",
    ).images[0]
    found = images(base, [7])[0]
    assert found.shape == (32, 48, 3)
    assert np.abs(found - (expected * 255).round().astype(int)).max() <= 1


def test_texts_are_the_pipelines(good):
    base = make(good)
    with torch.inference_mode():
        tokens, pooled, _ = pipeline(base).encode_prompt(PROMPT, max_sequence_length=16)
    torch.testing.assert_close(base.text([PROMPT]).tokens, tokens, rtol=0, atol=1e-6)
    torch.testing.assert_close(base.text([PROMPT]).pooled, pooled, rtol=0, atol=1e-6)


def test_packing_is_the_pipelines():
    from diffusers import FluxPipeline

    latents = torch.randn(2, 4, 6, 8)
    expected = FluxPipeline._pack_latents(latents, 2, 4, 6, 8)
    torch.testing.assert_close(flux.packed(latents), expected, rtol=0, atol=0)
    torch.testing.assert_close(flux.unpacked(expected, (3, 4)), latents, rtol=0, atol=0)
    ids = FluxPipeline._prepare_latent_image_ids(1, 3, 4, "cpu", torch.float32)
    torch.testing.assert_close(flux.positions((3, 4), "cpu"), ids, rtol=0, atol=0)


def test_a_batch_is_each_alone(good):
    base = make(good, batch=3)
    together = images(base, [1, 2, 3, 4])
    assert len({image.tobytes() for image in together}) == 4
    assert np.abs(images(base, [3])[0] - together[2]).max() <= 1


def test_layers_on_demand_change_nothing(good):
    assert np.abs(images(make(good), [5])[0] - images(make(good, offload="sequential"), [5])[0]).max() <= 1


def test_encoders_are_gone_before_the_transformer_comes(good, monkeypatch):
    from bench import weights

    alive, load = [], weights.load

    def watched(network, *arguments):
        assert network.__name__ != "FluxTransformer2DModel" or all(encoder() is None for encoder in alive)
        found = load(network, *arguments)
        alive.extend([weakref.ref(found)] if "Text" in network.__name__ or "T5" in network.__name__ else [])
        return found

    monkeypatch.setattr(weights, "load", watched)
    base = make(good)
    assert len(alive) == 2
    images(base, [1], "another text")  # It was not announced: the encoders come again, and go.
    assert len(alive) == 4
    assert all(encoder() is None for encoder in alive)


def test_injections_are_added_to_image_tokens_alone(good):
    base = make(good)
    seen = []

    def add(image):
        seen.append(image.shape)
        return torch.linspace(-1, 1, image.shape[-1]).expand_as(image)

    start = flux.packed(torch.randn(2, 4, 4, 6))
    text = base.text([PROMPT, PROMPT])
    with torch.inference_mode():
        before = base.velocity(start, torch.tensor(0.5), text)
        changed = base.velocity(start, torch.tensor(0.5), text, {0: add, 8: add})
        after = base.velocity(start, torch.tensor(0.5), text)
    assert seen == [(2, 6, 64)] * 2  # The first double and the last single block.
    assert (before - changed).abs().max() > 1e-2
    torch.testing.assert_close(before, after, rtol=0, atol=0)


def official() -> dict[str, tuple[int, ...]]:
    """Keys and shapes of black-forest-labs/FLUX.1-dev/transformer, by rule."""
    width, ff = 3072, 12288
    linear: dict[str, tuple[int, int]] = {
        "x_embedder": (width, 64),
        "context_embedder": (width, 4096),
        "proj_out": (64, width),
        "norm_out.linear": (2 * width, width),
    }
    for name, given in (("timestep_embedder", 256), ("guidance_embedder", 256), ("text_embedder", 768)):
        linear |= {f"time_text_embed.{name}.linear_1": (width, given)}
        linear |= {f"time_text_embed.{name}.linear_2": (width, width)}
    norms = []
    for k in range(19):
        block = f"transformer_blocks.{k}."
        square = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
        linear |= {f"{block}attn.{name}": (width, width) for name in square}
        for side, norm in (("ff", "norm1"), ("ff_context", "norm1_context")):
            linear |= {f"{block}{side}.net.0.proj": (ff, width), f"{block}{side}.net.2": (width, ff)}
            linear |= {f"{block}{norm}.linear": (6 * width, width)}
        norms += [f"{block}attn.norm_{name}" for name in ("q", "k", "added_q", "added_k")]
    for k in range(38):
        block = f"single_transformer_blocks.{k}."
        linear |= {f"{block}attn.{name}": (width, width) for name in ("to_q", "to_k", "to_v")}
        linear |= {f"{block}norm.linear": (3 * width, width), f"{block}proj_mlp": (ff, width)}
        linear |= {f"{block}proj_out": (width, width + ff)}
        norms += [f"{block}attn.norm_{name}" for name in ("q", "k")]
    found: dict[str, tuple[int, ...]] = {f"{name}.weight": (128,) for name in norms}
    for name, shape in linear.items():
        found |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return found


def test_full_size_layout():
    """Every key of the official transformer lands in diffusers' network, and none is left."""
    from diffusers import FluxTransformer2DModel

    with torch.device("meta"):
        network = FluxTransformer2DModel.from_config({**flux_dev(), "_class_name": "FluxTransformer2DModel"})
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == official()
    assert sum(np.prod(shape) for shape in official().values()) == 11_901_408_320
    meta = {key: torch.empty(shape, device="meta") for key, shape in official().items()}
    assert network.load_state_dict(meta, assign=True) == ([], [])


def flux_dev():
    """transformer/config.json."""
    return {
        "attention_head_dim": 128,
        "guidance_embeds": True,
        "in_channels": 64,
        "joint_attention_dim": 4096,
        "num_attention_heads": 24,
        "num_layers": 19,
        "num_single_layers": 38,
        "patch_size": 1,
        "pooled_projection_dim": 768,
    }


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(folder, *words, **more):
    with pytest.raises(UserError) as caught:
        make(folder, **more)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_wrong_layout(folder):
    (folder / "text_encoder_2").rename(folder / "t5")
    refused(folder, "text_encoder_2", "fetch method=pulid_flux")


def test_schnell(folder):
    edit(folder / "transformer" / "config.json", guidance_embeds=False)
    refused(folder, "takes no guidance", "schnell")


def test_scheduler_of_another_kind(folder):
    edit(folder / "scheduler" / "scheduler_config.json", use_dynamic_shifting=False)
    refused(folder, "no dynamic shift")


def test_t5_of_another_size(folder):
    shutil.rmtree(folder / "text_encoder_2")
    new.write_t5(folder / "text_encoder_2", 24)
    refused(folder, "T5's tokens of 48, the folder gives 24")


def test_vae_of_another_base(folder):
    edit(folder / "vae" / "config.json", latent_channels=16)
    refused(folder, "packed latents of 16, the folder gives 64")


def test_missing_shard(folder):
    (folder / "text_encoder_2" / "model-00002-of-00002.safetensors").unlink()
    refused(folder, "model-00002-of-00002.safetensors", "shard")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("x_embedder.weight"), ("x_embedder.weight",)),
        (lambda state: state.update({"extra": torch.zeros(1)}), ("extra", "another method")),
        (lambda state: state["x_embedder.bias"].fill_(float("nan")), ("x_embedder.bias", "not finite")),
    ],
)
def test_wrong_weights(folder, change, words):
    state = load_file(folder / "transformer" / WEIGHTS)
    change(state)
    save_file(state, folder / "transformer" / WEIGHTS, metadata={"format": "pt"})
    refused(folder, *words)


def test_missing_part_of_t5(folder):
    for path in (folder / "text_encoder_2").glob("*.safetensors"):
        state = {key: value for key, value in load_file(path).items() if not key.endswith("final_layer_norm.weight")}
        save_file(state, path, metadata={"format": "pt"})
    refused(folder, "final_layer_norm")


def test_not_a_tokenizer(folder):
    (folder / "tokenizer_2" / "tokenizer.json").write_text("[]")
    refused(folder, "tokenizer")


def test_sides(good):
    with pytest.raises(ValueError, match="multiple of 16"):
        options(good, width=40)


def test_weights_that_do_not_fit_say_what_helps():
    class Large:
        def to(self, _device):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(UserError, match=r"cuda:0 has too little memory for the weights; say method.offload=sequential"):
        flux.placed(Large(), "none", "cuda:0")
