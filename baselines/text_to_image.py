"""A text-to-image base, Stable Diffusion 1.5 or XL, that identity adapters are put on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from baselines import diffusion
from baselines.protocol import Output, Request
from bench import weights
from bench.errors import UserError
from bench.identity import CONTENT, Parts
from bench.runtime import Runtime

if TYPE_CHECKING:
    import torch

ENCODERS = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))
"""Stable Diffusion 1.5 has the first, XL both."""

BaseFolder = Annotated[
    Path,
    CONTENT,
    Parts(("scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "vae")),
]
"""A folder in the layout of diffusers."""


class TextToImageOptions(diffusion.DiffusionOptions):
    """The options of every method on a text-to-image base.

    Attributes:
        base: Stable Diffusion 1.5 or XL in the layout of diffusers.
        vae: folder of another VAE; None: the base's.
        negative_prompt: the text that guidance leads away from.
    """

    base: BaseFolder
    vae: Annotated[Path | None, CONTENT] = None
    negative_prompt: diffusion.Text = ""


@dataclass(frozen=True, eq=False)
class Text:
    """An encoded text.

    Attributes:
        tokens: (n, k, width); n is 1 for one text, k is 77 on Stable Diffusion.
        pooled: (n, width of the pooling encoder); None on Stable Diffusion 1.5.
    """

    tokens: torch.Tensor
    pooled: torch.Tensor | None = None


class Base:
    """The networks of a base and what is the same for every method on it.

    Args:
        options: see `TextToImageOptions`.
        runtime: where to run.
        scheduler: from the configuration of the base's own scheduler, a dict, to one of diffusers.
        method: its name, for messages.
        unet: loads another UNet than the base's, from the folder of the base's UNet and a type.
        negative: the negative text of a method that encodes nothing but it and the requests' prompts. Where the run
            names its prompts, all are encoded first and the encoders let go, which lowers the peak of memory; another
            text loads them again.

    Raises:
        UserError: files are missing or belong to another base.
    """

    def __init__(
        self,
        options: TextToImageOptions,
        runtime: Runtime,
        scheduler: Callable[[dict[str, Any]], Any],
        method: str,
        unet: Callable[[Path, torch.dtype], Any] | None = None,
        negative: str | None = None,
    ) -> None:
        self.options = options
        self.device = runtime.device
        self.dtype = diffusion.torch_dtype(options.precision, runtime.device)
        weights.demand(options.base, ("text_encoder", "tokenizer", "unet/config.json", "scheduler"), method)
        self.scheduler = scheduler(weights.config(options.base / "scheduler", "scheduler_config.json"))
        self._known: dict[str, Text] = {}
        self.encoders: list[tuple[Any, Any]] = []
        self._load_texts(() if negative is None or not runtime.prompts else (negative, *runtime.prompts))
        self.unet = (unet or load_unet)(options.base / "unet", self.dtype)
        self._load_vae()

    def place(self) -> None:
        """Move the UNet to its device; to be called once the adapters are in it."""
        self._run = diffusion.placed(self.unet, self.options, self.device)

    def ids(self, text: str) -> list[torch.Tensor]:
        """Return the (1, 77) token ids of a text, for each encoder."""
        return [tokenise(tokenizer, text) for tokenizer, _ in self.encoders]

    def encode(self, ids: Sequence[torch.Tensor]) -> Text:
        """Encode token ids, (1, 77) per encoder: the last hidden state (1.5) or both penultimate ones joined (XL)."""
        import torch

        outputs = [
            encoder(rows.to(self.device), output_hidden_states=True)
            for (_, encoder), rows in zip(self.encoders, ids, strict=True)
        ]
        if len(outputs) == 1:
            return Text(outputs[0][0])
        return Text(torch.cat([o.hidden_states[-2] for o in outputs], dim=-1), outputs[-1][0])

    def text(self, text: str) -> Text:
        """Return an encoded text; the last few are kept."""
        if text not in self._known:
            self.encoders = self.encoders or self._load_encoders()
            self._known = {**dict(list(self._known.items())[-7:]), text: self.encode(self.ids(text))}
        return self._known[text]

    def condition(self, texts: Sequence[Text], negative: Text) -> dict[str, Any]:
        """Return the UNet's arguments for a batch of texts against one negative text."""
        import torch

        guidance = self.options.guidance_scale
        tokens = diffusion.guided(negative.tokens, torch.cat([t.tokens for t in texts]), guidance)
        found: dict[str, Any] = {"encoder_hidden_states": tokens.to(self.dtype), "added_cond_kwargs": {}}
        pooled = [t.pooled for t in texts if t.pooled is not None]
        if negative.pooled is not None:
            rows = diffusion.guided(negative.pooled, torch.cat(pooled), guidance).to(self.dtype)
            found["added_cond_kwargs"] = {"text_embeds": rows, "time_ids": self._sizes(len(rows))}
        return found

    def predict(self, rows: torch.Tensor, timestep: torch.Tensor, condition: Mapping[str, Any]) -> torch.Tensor:
        """Return the UNet's noise estimate."""
        return self._run(rows.to(self.dtype), timestep, **condition, return_dict=False)[0]

    def denoise(self, start: tuple[torch.Tensor, list[torch.Generator]], predict: diffusion.Predict) -> torch.Tensor:
        """Return latents, (n, c, h, w) float32, from start noise."""
        return diffusion.sample(self.scheduler, self.options.steps, self.options.guidance_scale, start, predict)

    def generate(
        self, requests: Sequence[Request], plan: Callable[[Sequence[Request]], diffusion.Predict]
    ) -> list[Output]:
        """Sample in batches; `plan` prepares the conditions of one batch."""

        def make(batch: Sequence[Request]) -> list[Output]:
            seeds = [request.seed for request in batch]
            start = diffusion.noise(seeds, self.unet.config.in_channels, self.size, self.device)
            return diffusion.decode(self.vae, self.denoise(start, plan(batch)))

        return diffusion.in_batches(requests, self.options.batch, make)

    @property
    def is_xl(self) -> bool:
        """Return whether it is Stable Diffusion XL, which has two text encoders."""
        return len(self.widths) == 2

    @property
    def pixels(self) -> tuple[int, int]:
        """Return the height and width of the images."""
        factor = diffusion.vae_factor(self.vae)
        return self.size[0] * factor, self.size[1] * factor

    def _load_texts(self, texts: Sequence[str]) -> None:
        self.encoders = self._load_encoders()
        self.widths = [int(encoder.config.hidden_size) for _, encoder in self.encoders]
        with diffusion.running(self.options.attention):
            for text in texts:
                self.text(text)
        if texts:
            self.encoders = []

    def _load_vae(self) -> None:
        from diffusers import AutoencoderKL

        options = self.options
        vae_dtype = diffusion.torch_dtype(options.vae_precision, self.device)
        self.vae = weights.load(AutoencoderKL, options.vae or options.base / "vae", vae_dtype).to(self.device)
        diffusion.check_fit(self.unet, self.vae, sum(self.widths), options.base)
        if (self.unet.config.addition_embed_type == "text_time") != self.is_xl:
            raise UserError(f"{options.base}: the UNet and the text encoders are of different bases")
        self.size = diffusion.latent_size(options, self.unet, self.vae)

    def _load_encoders(self) -> list[tuple[Any, Any]]:
        from transformers import CLIPTextModel, CLIPTextModelWithProjection

        found = []
        for network, (words, encoder) in zip((CLIPTextModel, CLIPTextModelWithProjection), ENCODERS, strict=True):
            if (self.options.base / encoder).exists():
                loaded = weights.load(network, self.options.base / encoder, self.dtype).to(self.device)
                found.append((weights.tokenizer(self.options.base / words), loaded))
        return found

    def _sizes(self, count: int) -> torch.Tensor:
        import torch

        # SDXL reads the original size, the crop's corner and the target size.
        sizes = [*self.pixels, 0, 0, *self.pixels]
        return torch.tensor([sizes], dtype=self.dtype, device=self.device).expand(count, -1)


def euler(config: dict[str, Any]) -> Any:
    """Return Euler's method with the base's noise schedule."""
    from diffusers import EulerDiscreteScheduler

    return EulerDiscreteScheduler.from_config(config)


def load_unet(folder: Path, dtype: torch.dtype) -> Any:
    """Load the base's own UNet."""
    from diffusers import UNet2DConditionModel

    return weights.load(UNet2DConditionModel, folder, dtype)


def tokenise(tokenizer: Any, text: str) -> torch.Tensor:
    """Return (1, 77) ids, cut or padded with the tokenizer's own padding."""
    length = tokenizer.model_max_length
    return tokenizer(text, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
