"""FLUX.1 [dev] as a base for identity adapters: texts, schedule, transformer, VAE, and additions between its blocks.

Networks and scheduler are those of diffusers; its transformer gives the numbers of Black Forest Labs' own code. One
pass per step: the guidance scale is an input of the transformer. Samples carry their own text, noise and condition, so
a batch may hold several identities.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from baselines import diffusion
from baselines.protocol import Output, Request
from baselines.text_to_image import Text
from bench import weights
from bench.errors import UserError
from bench.identity import CONTENT, IDENTITY, RECORDED, Inside
from bench.runtime import Runtime

if TYPE_CHECKING:
    import torch

PARTS = ("scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "transformer", "vae")
FluxFolder = Annotated[Path, CONTENT, Inside(PARTS)]
"""A folder in the layout of black-forest-labs/FLUX.1-dev."""
Side = Annotated[int, IDENTITY, Field(ge=32, multiple_of=16)]
"""Pixels."""
Offload = Annotated[Literal["none", "sequential"], RECORDED]


class TransformerOptions(diffusion.SamplerOptions):
    """The options of every method on a large diffusion transformer.

    Attributes:
        width: pixels, a multiple of 16.
        height: likewise.
        offload: "sequential": weights stay in the CPU's memory and go to the device layer by layer, for cards of 24 GB.
    """

    width: Side = 1024
    height: Side = 1024
    offload: Offload = "none"


class FluxOptions(TransformerOptions):
    """The options of every method on FLUX.1 [dev].

    Attributes:
        base: FLUX.1-dev in the layout of diffusers.
        negative_prompt: the text of the second pass, where a method makes one.
        guidance_scale: an input of the transformer, not a second pass.
        text_length: tokens that T5 reads.
        vae_precision: type of the VAE.
        batch: samples at a time.
    """

    base: FluxFolder
    negative_prompt: diffusion.Text = ""
    steps: diffusion.Steps = 28
    guidance_scale: diffusion.Guidance = 3.5
    text_length: Annotated[int, IDENTITY, Field(ge=1, le=512)] = 512
    vae_precision: diffusion.Precision = "fp32"
    batch: diffusion.Batch = 1


Velocity = Callable[[int, "torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""(step, sigma, packed latents) -> velocity."""
Injections = Mapping[int, Callable[["torch.Tensor"], "torch.Tensor"]]
"""Number of a block (double blocks first) -> from its image tokens (n, p, width) to what is added to them."""
Plan = Callable[[Sequence[Request], "list[torch.Generator]"], Velocity]
"""What a method does with a batch, and with each sample's generator after its start noise."""


class Flux:
    """The base and what is the same for every method on it.

    Args:
        options: see `FluxOptions`.
        runtime: where to run. Its prompts are encoded first, and the text encoders released, before the rest is loaded;
            another text loads them again.
        method: its name, for messages.
        texts: further texts that will be needed.

    Raises:
        UserError: files are missing or of another base, or the device has too little memory for the weights.
    """

    def __init__(self, options: FluxOptions, runtime: Runtime, method: str, texts: Sequence[str] = ()) -> None:
        self.options = options
        self.device = runtime.device
        self.dtype = diffusion.torch_dtype(options.precision, runtime.device)
        weights.demand(options.base, PARTS, method)
        check_base(options.base)
        self._known: dict[str, Text] = {}
        self.read([*runtime.prompts, *texts])
        self.scheduler = load_scheduler(options.base / "scheduler")
        self._load_networks()

    def read(self, texts: Iterable[str]) -> None:
        """Encode the texts that are not known yet."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            with diffusion.running(self.options.attention):
                self._known |= encode_texts(new, self.options, self.dtype, self.device)

    def text(self, prompts: Sequence[str]) -> Text:
        """Return known texts as the rows of a batch."""
        import torch

        rows = [self._known[prompt] for prompt in prompts]
        pooled = [row.pooled for row in rows if row.pooled is not None]
        return Text(torch.cat([row.tokens for row in rows]), torch.cat(pooled))

    def velocity(
        self, latents: torch.Tensor, sigma: torch.Tensor, text: Text, injections: Injections | None = None, **more: Any
    ) -> torch.Tensor:
        """Return the transformer's answer, (n, p, channels) float32.

        Args:
            latents: (n, p, channels) packed.
            sigma: noise level, a scalar from 1 to 0.
            text: n rows.
            injections: what is added between blocks.
            more: residuals of a ControlNet.
        """
        with injected(self.transformer, injections or {}):
            given = self.inputs(latents, sigma, text, self.options.guidance_scale)
            found = self.transformer(**given, **more, return_dict=False)[0]
        return found.float()

    def inputs(self, latents: torch.Tensor, sigma: torch.Tensor, text: Text, guidance: float) -> dict[str, Any]:
        """Return the arguments that the transformer and a ControlNet share."""
        import torch

        count = len(latents)
        return {
            "hidden_states": latents.to(self.dtype),
            "timestep": sigma.to(self.dtype).expand(count),
            "guidance": torch.full((count,), guidance, device=self.device),
            "pooled_projections": text.pooled,
            "encoder_hidden_states": text.tokens,
            "txt_ids": torch.zeros(text.tokens.shape[1], 3, device=self.device, dtype=self.dtype),
            "img_ids": positions(self.grid, self.device).to(self.dtype),
        }

    def denoise(self, start: torch.Tensor, velocity: Velocity, shift_tokens: int | None = None) -> torch.Tensor:
        """Return latents (n, c, h, w) float32 of start noise of that shape.

        Args:
            start: noise of unit variance.
            velocity: the networks.
            shift_tokens: number of image tokens that the schedule is shifted for; None: those that there are.
        """
        tokens = math.prod(self.grid) if shift_tokens is None else shift_tokens
        latents = packed(start)
        for index, timestep in enumerate(self.timesteps(tokens)):
            found = velocity(index, timestep / self.scheduler.config.num_train_timesteps, latents)
            latents = self.scheduler.step(found, timestep, latents, return_dict=False)[0]
        return unpacked(latents, self.grid)

    def timesteps(self, tokens: int) -> torch.Tensor:
        """Return the timesteps, (steps,), 1000 downwards, of the schedule shifted for so many image tokens."""
        sigmas = np.linspace(1, 1 / self.options.steps, self.options.steps)
        self.scheduler.set_timesteps(sigmas=sigmas, mu=shift(self.scheduler.config, tokens), device=self.device)
        return self.scheduler.timesteps

    def generate(self, requests: Sequence[Request], plan: Plan, shift_tokens: int | None = None) -> list[Output]:
        """Return one output per request; `plan` prepares the networks for one batch."""
        self.read(request.prompt for request in requests)

        def make(batch: Sequence[Request]) -> list[Output]:
            seeds = [request.seed for request in batch]
            start, generators = diffusion.noise(seeds, self.vae.config.latent_channels, self.size, self.device)
            return diffusion.decode(self.vae, self.denoise(start, plan(batch, generators), shift_tokens))

        return diffusion.in_batches(requests, self.options.batch, make)

    @property
    def pixels(self) -> tuple[int, int]:
        """Return height and width of the images."""
        return self.options.height, self.options.width

    @property
    def width(self) -> int:
        """Return the width of the transformer's tokens."""
        config = self.transformer.config
        return int(config.num_attention_heads * config.attention_head_dim)

    def place(self, network: Any) -> Any:
        """Return a network of diffusers on its device, or ready to go there layer by layer."""
        return placed(network, self.options.offload, self.device)

    def _load_networks(self) -> None:
        from diffusers import AutoencoderKL, FluxTransformer2DModel

        options = self.options
        vae_dtype = diffusion.torch_dtype(options.vae_precision, self.device)
        self.vae = weights.load(AutoencoderKL, options.base / "vae", vae_dtype).to(self.device)
        factor = diffusion.vae_factor(self.vae)
        self.size = (options.height // factor, options.width // factor)
        self.grid = (self.size[0] // 2, self.size[1] // 2)
        self.transformer = self.place(weights.load(FluxTransformer2DModel, options.base / "transformer", self.dtype))
        self.double = len(self.transformer.transformer_blocks)
        self.single = len(self.transformer.single_transformer_blocks)


@contextmanager
def injected(transformer: Any, injections: Injections) -> Iterator[None]:
    """Add what the injections give to the image tokens behind blocks of a FLUX transformer."""
    blocks = [*transformer.transformer_blocks, *transformer.single_transformer_blocks]
    handles = [blocks[number].register_forward_hook(_adding(add)) for number, add in injections.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _adding(add: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any, Any, Any], Any]:
    def hook(_block: Any, _inputs: Any, output: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        text, image = output
        return text, image + add(image)

    return hook


def placed(network: Any, offload: Literal["none", "sequential"], device: str) -> Any:
    """Return a network or pipeline of diffusers on its device, or with weights that go there layer by layer.

    Raises:
        UserError: the weights do not fit into the device's memory.
    """
    import torch

    if offload == "none":
        try:
            return network.to(device)
        except torch.OutOfMemoryError as error:
            raise UserError(f"{device} has too little memory for the weights; say method.offload=sequential") from error
    network.enable_group_offload(onload_device=torch.device(device), offload_type="leaf_level")
    return network


def packed(latents: torch.Tensor) -> torch.Tensor:
    """Return latents (n, c, h, w) as tokens (n, h/2 * w/2, 4c): 2 x 2 pixels each, channel by channel."""
    rows = latents.unflatten(2, (-1, 2)).unflatten(4, (-1, 2))
    return rows.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpacked(tokens: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Return tokens (n, h/2 * w/2, 4c) of a grid (h/2, w/2) as latents (n, c, h, w)."""
    rows = tokens.unflatten(1, grid).unflatten(3, (-1, 2, 2))
    return rows.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def positions(grid: tuple[int, int], device: str) -> torch.Tensor:
    """Return the image tokens' ids, (h/2 * w/2, 3) float32: 0, row, column."""
    import torch

    rows, columns = torch.meshgrid(*(torch.arange(side, device=device) for side in grid), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).flatten(0, 1).float()


def shift(config: Mapping[str, Any], tokens: int) -> float:
    """Return how far the schedule is shifted towards noise for so many image tokens, on a straight line.

    >>> line = {"base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096}
    >>> shift(line, 256), round(shift(line, 4096), 6)
    (0.5, 1.15)
    """
    span = config["max_image_seq_len"] - config["base_image_seq_len"]
    slope = (config["max_shift"] - config["base_shift"]) / span
    return float(config["base_shift"] + slope * (tokens - config["base_image_seq_len"]))


def load_scheduler(folder: Path) -> Any:
    """Return the base's scheduler.

    Raises:
        UserError: it is not FLUX.1 [dev]'s kind.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler

    config = weights.config(folder, "scheduler_config.json")
    if not config.get("use_dynamic_shifting"):
        raise UserError(f"{folder} is not FLUX.1 [dev]'s scheduler: it has no dynamic shift (FLUX.1 [schnell]?)")
    return FlowMatchEulerDiscreteScheduler.from_config(config)


def check_base(folder: Path) -> None:
    """Check that transformer, VAE and text encoders belong to one FLUX.1 [dev], by their configurations.

    Raises:
        UserError: they do not.
    """
    transformer, vae, clip, t5 = (
        weights.config(folder / part) for part in ("transformer", "vae", "text_encoder", "text_encoder_2")
    )
    if not transformer.get("guidance_embeds"):
        raise UserError(f"{folder}: the transformer takes no guidance: not FLUX.1 [dev] (FLUX.1 [schnell]?)")
    pairs = (
        ("packed latents", transformer.get("in_channels"), 4 * vae.get("latent_channels", 0)),
        ("T5's tokens", transformer.get("joint_attention_dim"), t5.get("d_model")),
        ("CLIP's pooled text", transformer.get("pooled_projection_dim"), clip.get("hidden_size")),
    )
    for what, wanted, given in pairs:
        if wanted != given:
            raise UserError(f"{folder}: the transformer reads {what} of {wanted}, the folder gives {given}")


def encode_texts(texts: Sequence[str], options: FluxOptions, dtype: torch.dtype, device: str) -> dict[str, Text]:
    """Return texts with T5's tokens and CLIP's pooled token; the encoders are loaded and released one by one."""
    pooled = _clip_pooled(texts, options.base, dtype, device)
    tokens = _t5_tokens(texts, options, dtype, device)
    return {text: Text(tokens[text], pooled[text]) for text in texts}


def _clip_pooled(texts: Sequence[str], base: Path, dtype: torch.dtype, device: str) -> dict[str, torch.Tensor]:
    from transformers import CLIPTextModel

    from baselines.text_to_image import tokenise

    tokenizer = weights.tokenizer(base / "tokenizer")
    encoder = weights.load(CLIPTextModel, base / "text_encoder", dtype).to(device)
    return {text: encoder(tokenise(tokenizer, text).to(device)).pooler_output for text in texts}


def _t5_tokens(texts: Sequence[str], options: FluxOptions, dtype: torch.dtype, device: str) -> dict[str, torch.Tensor]:
    from transformers import T5EncoderModel

    tokenizer = t5_tokenizer(options.base / "tokenizer_2")
    encoder = weights.load(T5EncoderModel, options.base / "text_encoder_2", dtype).to(device)
    given = {"padding": "max_length", "max_length": options.text_length, "truncation": True, "return_tensors": "pt"}
    # No attention mask: padding is part of what FLUX was trained on.
    return {text: encoder(tokenizer(text, **given).input_ids.to(device))[0] for text in texts}


def t5_tokenizer(folder: Path) -> Any:
    """Return T5's tokenizer from its official folder.

    Raises:
        UserError: it does not load.
    """
    from transformers import T5TokenizerFast

    weights.config(folder, "tokenizer_config.json")
    try:
        return T5TokenizerFast.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{folder} is not a T5 tokenizer: {weights.cause(error)}") from error
