"""Tiny random pipelines of the reference editors, written as save_pretrained lays them out."""

import json
from pathlib import Path

import torch

from tests.parity import new_generation_models as new

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")
SPECIAL = (*SPECIAL, "<|image_pad|>", "<|video_pad|>")


def qwen_tokenizer(folder: Path) -> int:
    """A Qwen2 tokenizer that spells; returns the size of its vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import Qwen2TokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: k for k, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    made = Qwen2TokenizerFast(
        tokenizer_object=tokenizer, eos_token=SPECIAL[0], pad_token=SPECIAL[0], chat_template=CHAT
    )
    made.add_special_tokens({"additional_special_tokens": list(SPECIAL[1:])})
    made.save_pretrained(folder)
    return len(made)


def index(folder: Path, name: str, **parts) -> Path:
    (folder / "model_index.json").write_text(json.dumps({"_class_name": name, **parts}))
    return folder


SCHEDULER = {**new.FLUX_SCHEDULER, "shift": 1.0}
FLOW = ["diffusers", "FlowMatchEulerDiscreteScheduler"]


def scheduler(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "scheduler_config.json").write_text(json.dumps(SCHEDULER))


def kontext(folder: Path) -> Path:
    new.write_flux(folder)
    return index(
        folder,
        "FluxKontextPipeline",
        feature_extractor=[None, None],
        image_encoder=[None, None],
        scheduler=FLOW,
        text_encoder=["transformers", "CLIPTextModel"],
        text_encoder_2=["transformers", "T5EncoderModel"],
        tokenizer=["transformers", "CLIPTokenizer"],
        tokenizer_2=["transformers", "T5TokenizerFast"],
        transformer=["diffusers", "FluxTransformer2DModel"],
        vae=["diffusers", "AutoencoderKL"],
    )


def klein(folder: Path, distilled: bool = True) -> Path:
    from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    words = qwen_tokenizer(folder / "tokenizer")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 28, "num_attention_heads": 2}
    text = Qwen3Config(**sizes, num_key_value_heads=2, head_dim=8, vocab_size=words, tie_word_embeddings=True)
    Qwen3ForCausalLM(text).save_pretrained(folder / "text_encoder")
    vae = AutoencoderKLFlux2(
        sample_size=32,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 4),
        layers_per_block=1,
        latent_channels=1,
        norm_num_groups=1,
    )
    vae.save_pretrained(folder / "vae")
    Flux2Transformer2DModel(
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    ).save_pretrained(folder / "transformer")
    scheduler(folder / "scheduler")
    return index(
        folder,
        "Flux2KleinPipeline",
        is_distilled=distilled,
        scheduler=FLOW,
        text_encoder=["transformers", "Qwen3ForCausalLM"],
        tokenizer=["transformers", "Qwen2TokenizerFast"],
        transformer=["diffusers", "Flux2Transformer2DModel"],
        vae=["diffusers", "AutoencoderKLFlux2"],
    )


def qwen(folder: Path) -> Path:
    from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2VLImageProcessor

    torch.manual_seed(0)
    words = qwen_tokenizer(folder / "tokenizer")
    ids = {name: words - len(SPECIAL) + SPECIAL.index(f"<|{name}|>") for name in ("image_pad", "video_pad")}
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    text |= {"num_key_value_heads": 2, "vocab_size": words}
    text |= {"rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"}}
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    config = Qwen2_5_VLConfig(
        text_config=text, vision_config=vision, image_token_id=ids["image_pad"], video_token_id=ids["video_pad"]
    )
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder / "text_encoder")
    qwen_tokenizer(folder / "processor")
    Qwen2VLImageProcessor().save_pretrained(folder / "processor")
    AutoencoderKLQwenImage(
        base_dim=24,
        z_dim=4,
        dim_mult=[1, 2, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    ).save_pretrained(folder / "vae")
    QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(8, 4, 4),
    ).save_pretrained(folder / "transformer")
    scheduler(folder / "scheduler")
    return index(
        folder,
        "QwenImageEditPlusPipeline",
        processor=["transformers", "Qwen2VLProcessor"],
        scheduler=FLOW,
        text_encoder=["transformers", "Qwen2_5_VLForConditionalGeneration"],
        tokenizer=["transformers", "Qwen2Tokenizer"],
        transformer=["diffusers", "QwenImageTransformer2DModel"],
        vae=["diffusers", "AutoencoderKLQwenImage"],
    )


def show_references_small(monkeypatch) -> None:
    """The pipelines scale a reference to a megapixel, which takes minutes here."""
    from diffusers.pipelines.flux import pipeline_flux_kontext
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus

    monkeypatch.setattr(pipeline_flux_kontext, "PREFERRED_KONTEXT_RESOLUTIONS", [(64, 64), (48, 80)])
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", 64 * 64)
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "CONDITION_IMAGE_SIZE", 56 * 56)
