"""Arc2Face (Paraperas Papantoniou et al., ECCV 2024): a face from an ArcFace embedding alone.

A CLIP text encoder reads "photo of a id person" with the token "id" replaced by the unit embedding, zero-padded to the
encoder's width; its output conditions a Stable Diffusion 1.5 UNet. Both were fine-tuned together. The unconditional
branch of the guidance is the same encoder on the empty prompt. Official code: https://github.com/foivospar/Arc2Face

`projection=mlp` puts an MLP in place of the encoder, as the paper's ablation does (`baselines.mlp_prompts`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from baselines import adapters, diffusion, faces, mlp_prompts, reference_attention
from baselines.protocol import Image, Output, Request
from bench import weights
from bench.conditions.kinds import ConditionKind
from bench.errors import UserError
from bench.identity import ADDED, CONTENT, IDENTITY, Parts
from bench.runtime import Runtime

if TYPE_CHECKING:
    import torch

PROMPT = "photo of a id person"
ID_WORD = "id"
IDENTITIES = 4
"""The encoder's declared batch: how many identities it reads at once."""
EXPRESSION = 55
"""FLAME: 50 of expression, 2 eyelids, 3 of the jaw."""

File = Annotated[Path | None, CONTENT]


class Arc2FaceOptions(diffusion.DiffusionOptions):
    """Official defaults.

    Attributes:
        model: folder in the layout of FoivosPar/Arc2Face: `arc2face/` (UNet), `encoder/`; for an MLP
            `projection.safetensors` takes the place of `encoder/`.
        base: folder in the layout of Stable Diffusion 1.5: `tokenizer/`, `vae/`, `scheduler/`; may be `model`.
        recogniser: whose embedding it asks for.
        embedding_size: that embedding's length.
        embedding: a .npy of one or several embeddings, (d,) or (k, d) float32, taken instead of each request's.
        averaging: of several embeddings, of a file or of an item's references: their mean as they are, or of unit
            vectors.
        blend_with: a .npy of another identity's embedding.
        blend: the share of that other identity, 0 to 1.
        lcm_lora: LCM-LoRA (.safetensors); wants `steps` 2 to 8 and `guidance_scale` 1.
        controlnet: the official `controlnet/` folder.
        normal_map: the image that the ControlNet follows (FLAME normals, as RGB) where a sample's condition has none.
        controlnet_scale: of the ControlNet's residuals.
        exp_adapter: the official `exp_adapter.bin`.
        expression: 55 numbers: FLAME expression, eyelids, jaw; taken where a sample's condition has none. Cut to the
            official bounds, as a condition's are.
        expression_scale: of the expression adapter's attention.
        ref_adapter: the official `ref_adapter/pytorch_lora_weights.safetensors`: samples then follow the first
            reference in more than identity; takes a second UNet.
        reference_scale: strength of the reference adapter's LoRA.
        projection: what turns embeddings into prompts: the fine-tuned CLIP encoder, or an MLP.
        activation: between the layers of the MLP.
    """

    model: Annotated[Path, CONTENT, Parts(("arc2face", "encoder", mlp_prompts.FILE))]
    base: Annotated[Path, CONTENT, Parts(("tokenizer", "vae", "scheduler"))]
    recogniser: diffusion.Text = "arcface"
    embedding_size: Annotated[int, IDENTITY, Field(ge=1)] = 512
    embedding: File = None
    averaging: Annotated[Literal["raw", "normalised"], IDENTITY] = "raw"
    blend_with: File = None
    blend: Annotated[float, IDENTITY, Field(ge=0, le=1)] = 0.5
    lcm_lora: File = None
    controlnet: File = None
    normal_map: File = None
    controlnet_scale: diffusion.Scale = 1.0
    exp_adapter: File = None
    expression: Annotated[tuple[float, ...] | None, IDENTITY] = None
    expression_scale: diffusion.Scale = 1.0
    ref_adapter: Annotated[Path | None, CONTENT, ADDED] = None
    reference_scale: Annotated[diffusion.Scale, ADDED] = 0.8
    projection: Annotated[Literal["clip", "mlp"], IDENTITY, ADDED] = "clip"
    activation: Annotated[mlp_prompts.Activation, IDENTITY, ADDED] = "gelu"
    steps: diffusion.Steps = 25
    guidance_scale: diffusion.Guidance = 3.0

    @model_validator(mode="after")
    def _complete(self) -> Arc2FaceOptions:
        if self.normal_map is not None and self.controlnet is None:
            raise UserError("arc2face: normal_map needs a controlnet")
        if self.expression is not None and self.exp_adapter is None:
            raise UserError("arc2face: expression needs an exp_adapter")
        if self.expression is not None and len(self.expression) != EXPRESSION:
            raise UserError(f"arc2face: expression has {len(self.expression)} numbers, not {EXPRESSION}")
        if self.ref_adapter is not None and self.lcm_lora is not None:
            raise UserError("arc2face: ref_adapter and lcm_lora do not go together")
        return self

    @property
    def needs(self) -> frozenset[str]:
        """Return what these options need of a reference."""
        given = {f"embedding:{self.recogniser}"} if self.embedding is None else set()
        return frozenset(given | ({"image", "face"} if self.ref_adapter is not None else set()))

    @property
    def accepts(self) -> frozenset[ConditionKind]:
        """Return the kinds of conditions that the networks of these options follow."""
        networks = {ConditionKind.CONTROL: self.controlnet, ConditionKind.EXPRESSION: self.exp_adapter}
        return frozenset({ConditionKind.EMBEDDING, *(kind for kind, network in networks.items() if network)})


def average(embeddings: NDArray[np.float32], how: Literal["raw", "normalised"]) -> NDArray[np.float32]:
    """Return one embedding, (d,), of several, (k, d): their mean, or the mean of their unit vectors.

    >>> average(np.float32([[4, 0], [0, 2]]), "raw").tolist()
    [2.0, 1.0]
    >>> average(np.float32([[4, 0], [0, 2]]), "normalised").tolist()
    [0.5, 0.5]
    """
    rows = unit(embeddings) if how == "normalised" else embeddings
    return rows.mean(axis=0, dtype=np.float32)


def interpolate(one: NDArray[np.float32], other: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Return a point of the line between two identities' unit vectors, (d,): `one` at 0, `other` at 1 (Fig. 10).

    >>> interpolate(np.float32([3, 0]), np.float32([0, 5]), 0.25).tolist()
    [0.75, 0.25]
    """
    return (np.float32(1 - share) * unit(one) + np.float32(share) * unit(other)).astype(np.float32)


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows (last axis) divided by their L2 norms."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def bounded(expression: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 55 FLAME numbers, (..., 55), as the official code cuts those that SMIRK reads off a face.

    Eyelids lie in [0, 1], the jaw opens (not below 0) and turns by 0.2 at most.

    >>> bounded(np.float32([[0.0] * 50 + [2, -1, -1, 0.5, -0.5]]))[0, 50:].round(2).tolist()
    [1.0, 0.0, 0.0, 0.20000000298023224, -0.20000000298023224]
    """
    low = np.full(EXPRESSION, -np.inf)
    high = np.full(EXPRESSION, np.inf)
    low[50:] = (0, 0, 0, -0.2, -0.2)
    high[50:] = (1, 1, np.inf, 0.2, 0.2)
    return np.clip(expression, low, high).astype(np.float32)


class PromptEncoder:
    """A stock CLIP text encoder that reads identities, several at once.

    Args:
        tokenizer: knows "id" as one token.
        encoder: the fine-tuned CLIPTextModel, not subclassed.

    Raises:
        UserError: the tokenizer splits "id", or this transformers version drops the causal mask.
    """

    def __init__(self, tokenizer: Any, encoder: Any) -> None:
        self.encoder = encoder
        self.width = int(encoder.config.hidden_size)
        self._prompt = self._tokens(tokenizer, PROMPT)
        self._empty = self._tokens(tokenizer, "")
        self._place = self._place_of_id(tokenizer)
        self._check_causal()

    def identities(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return the last hidden states, (n, tokens, width), of (n, d) embeddings of any length, d at most `width`."""
        import torch

        rows = torch.nn.functional.normalize(embeddings.to(self.encoder.device, torch.float32))
        rows = torch.nn.functional.pad(rows, (0, self.width - rows.shape[1]))
        with self._replaced(rows.to(self.encoder.dtype)):
            return self.encoder(self._prompt.expand(len(rows), -1).to(self.encoder.device))[0]

    def unconditional(self) -> torch.Tensor:
        """Return the last hidden states of the empty prompt, (1, tokens, width)."""
        return self.encoder(self._empty.to(self.encoder.device))[0]

    def _tokens(self, tokenizer: Any, text: str) -> torch.Tensor:
        length = int(self.encoder.config.max_position_embeddings)
        return tokenizer(text, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids

    def _place_of_id(self, tokenizer: Any) -> int:
        word = tokenizer(ID_WORD, add_special_tokens=False).input_ids
        places = (self._prompt[0] == word[0]).nonzero().flatten().tolist() if len(word) == 1 else []
        if len(places) != 1:
            raise UserError(f"the tokenizer must read {ID_WORD!r} in {PROMPT!r} as exactly one token; not SD 1.5's")
        return places[0]

    @contextmanager
    def _replaced(self, rows: torch.Tensor) -> Iterator[None]:
        def put(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
            output = output.clone()
            output[:, self._place] = rows
            return output

        handle = self.encoder.get_input_embeddings().register_forward_hook(put)
        try:
            yield
        finally:
            handle.remove()

    def _check_causal(self) -> None:
        import torch

        with torch.inference_mode():
            one, other = self.identities(torch.eye(2, self.width))
        change = (one - other).abs().amax(dim=1)
        if change[: self._place].max() > 1e-4 or change[self._place] == 0:
            raise UserError(
                "the text encoder is not causal or ignores the identity: this transformers version breaks it"
            )


@dataclass(frozen=True, eq=False)
class Steering:
    """What the adapters add to a batch, besides its prompts.

    Attributes:
        tokens: of the expression adapter: one (1, k, width) of each sample.
        normals: of the ControlNet: (n, 3, height, width).
    """

    tokens: Sequence[torch.Tensor] | None = None
    normals: torch.Tensor | None = None


NO_STEERING = Steering()


class Arc2Face:
    """The method; see the module."""

    Options = Arc2FaceOptions
    many_references = True

    def __init__(self, options: Arc2FaceOptions, runtime: Runtime) -> None:
        reads = mlp_prompts.FILE if options.projection == "mlp" else "encoder/config.json"
        weights.demand(options.model, ("arc2face/config.json", reads), "arc2face")
        weights.demand(options.base, ("tokenizer", "vae/config.json", "scheduler"), "arc2face")
        self.options = options
        self.device = runtime.device
        self._dtype = diffusion.torch_dtype(options.precision, runtime.device)
        load = load_mlp if options.projection == "mlp" else load_prompts
        self.prompts = load(options, runtime.device)
        self._load_networks()
        self._given = _embedding_file(options.embedding, options.embedding_size)
        self._other = _embedding_file(options.blend_with, options.embedding_size)
        self._known: dict[bytes, torch.Tensor] = {}

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one output per request; each identity's prompt is encoded once.

        Raises:
            UserError: an embedding is missing, of another length, or zero; or a sample has neither a condition nor an
                option for an adapter that was loaded.
        """
        with diffusion.running(self.options.attention):
            self._encode(requests)
            if self.options.ref_adapter is not None:
                self._shown = {r.photos: faces.ffhq_face(r.references[0], "ref_adapter") for r in requests}
            return diffusion.in_batches(requests, self.options.batch, self._make)

    def embedding(self, request: Request) -> NDArray[np.float32]:
        """Return the embedding, (d,) float32, that a request is made from."""
        options = self.options
        if request.condition.embedding is not None:
            return diffusion.embeddings(request, options.recogniser, options.embedding_size)[0]
        rows = self._given
        if rows is None:
            rows = diffusion.embeddings(request, options.recogniser, options.embedding_size)
        row = average(rows, options.averaging)
        if self._other is None:
            return row
        return interpolate(row, average(self._other, options.averaging), options.blend)

    def latents(self, requests: Sequence[Request]) -> torch.Tensor:
        """Return denoised latents, (n, c, h, w) float32, of requests whose prompts are known."""
        import torch

        start = diffusion.noise([r.seed for r in requests], self.unet.config.in_channels, self.size, self.device)
        prompts = torch.stack([self._known[self.embedding(r).tobytes()] for r in requests])
        steering = Steering(self._tokens(requests), self._normals(requests))
        with reference_attention.seeing(self._seeing, self._memories(requests, prompts, start[1])):
            return self.denoise(start, prompts, self.unconditional, steering)

    def reference_latents(self, images: Sequence[Image], noise: torch.Tensor) -> torch.Tensor:
        """Return photos, (H, W, 3) uint8 RGB each, as draws of the VAE, (n, c, h, w), by noise of that shape."""
        import torch

        pixels = torch.stack([torch.tensor(image, dtype=torch.float32) for image in images]).permute(0, 3, 1, 2)
        found = self.vae.encode((pixels / 127.5 - 1).to(self.device, self.vae.dtype)).latent_dist
        drawn = found.mean.float() + found.std.float() * noise.to(self.device)
        return drawn * self.vae.config.scaling_factor

    def denoise(
        self,
        start: tuple[torch.Tensor, list[torch.Generator]],
        prompts: torch.Tensor,
        unconditional: torch.Tensor,
        steering: Steering = NO_STEERING,
    ) -> torch.Tensor:
        """Sample from start noise (n, c, h, w) and prompts (n, tokens, width) against (1, tokens, width)."""
        options = self.options
        text = diffusion.guided(unconditional, prompts, options.guidance_scale).to(self._dtype)
        extra = self._expression(steering.tokens)

        def predict(_index: int, timestep: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            rows = rows.to(self._dtype)
            control = self._control(rows, timestep, text, steering.normals)
            return self._run(rows, timestep, encoder_hidden_states=text, return_dict=False, **extra, **control)[0]

        return diffusion.sample(self.scheduler, options.steps, options.guidance_scale, start, predict)

    def _make(self, requests: Sequence[Request]) -> list[Output]:
        return diffusion.decode(self.vae, self.latents(requests))

    def _encode(self, requests: Sequence[Request]) -> None:
        """Encode the identities of some requests, and forget all others."""
        import torch

        rows = {row.tobytes(): row for row in map(self.embedding, requests)}
        self._known = {key: prompt for key, prompt in self._known.items() if key in rows}
        new = [row for key, row in rows.items() if key not in self._known]
        for begin in range(0, len(new), IDENTITIES):
            some = new[begin : begin + IDENTITIES]
            padded = some + some[-1:] * (IDENTITIES - len(some))
            encoded = self.prompts.identities(torch.from_numpy(np.stack(padded)))
            self._known |= {row.tobytes(): prompt for row, prompt in zip(some, encoded, strict=False)}

    def _load_networks(self) -> None:
        import torch
        from diffusers import AutoencoderKL, UNet2DConditionModel

        options = self.options
        vae_dtype = diffusion.torch_dtype(options.vae_precision, self.device)
        self.vae = weights.load(AutoencoderKL, options.base / "vae", vae_dtype).to(self.device)
        self.unet = weights.load(UNet2DConditionModel, options.model / "arc2face", self._dtype)
        diffusion.check_fit(self.unet, self.vae, self.prompts.width, options.model)
        self.size = diffusion.latent_size(options, self.unet, self.vae)
        self.scheduler = self._load_scheduler()
        self._load_adapters()
        self._load_reference_adapter()
        self._run = diffusion.placed(self.unet, options, self.device)
        with torch.inference_mode():
            self.unconditional = self.prompts.unconditional()

    def _load_scheduler(self) -> Any:
        from diffusers import DPMSolverMultistepScheduler, LCMScheduler

        found = weights.config(self.options.base / "scheduler", "scheduler_config.json")
        return (LCMScheduler if self.options.lcm_lora else DPMSolverMultistepScheduler).from_config(found)

    def _load_adapters(self) -> None:
        options = self.options
        self._project: Any = None
        self.controlnet: Any = None
        if options.lcm_lora is not None:
            adapters.load_lora(self.unet, self.scheduler, weights.read(options.lcm_lora), options.lcm_lora)
        if options.exp_adapter is not None:
            checkpoint = weights.read(options.exp_adapter)
            scale = options.expression_scale
            load = adapters.load_ip_adapter
            self._project = load(self.unet, self.scheduler, checkpoint, options.exp_adapter, scale)
            # Proves now that the adapter reads as many numbers as it must.
            self._expression_tokens(np.zeros(EXPRESSION, np.float32))
        if options.controlnet is not None:
            self._load_controlnet(options.controlnet)

    def _load_controlnet(self, folder: Path) -> None:
        from diffusers import ControlNetModel

        network = weights.load(ControlNetModel, folder, self._dtype)
        diffusion.check_fit(network, self.vae, self.prompts.width, folder)
        self.controlnet = diffusion.placed(network, self.options, self.device)
        path = self.options.normal_map
        self._normal_map = None if path is None else self._prepared(diffusion.read_control(path))

    def _prepared(self, image: Image) -> torch.Tensor:
        height, width = (side * diffusion.vae_factor(self.vae) for side in self.size)
        return diffusion.control_image(image, (height, width)).to(self.device, self._dtype)

    def _normals(self, requests: Sequence[Request]) -> torch.Tensor | None:
        """Return what the ControlNet follows, (n, 3, height, width), by each sample's condition or by the options."""
        import torch

        if self.controlnet is None:
            return None
        return torch.cat([self._normals_of(request) for request in requests])

    def _normals_of(self, request: Request) -> torch.Tensor:
        if request.condition.control is not None:
            return self._prepared(request.condition.control)
        if self._normal_map is None:
            raise UserError(f"item {request.reference.item!r}, sample {request.index} has no control and no normal_map")
        return self._normal_map

    def _control(
        self, rows: torch.Tensor, timestep: torch.Tensor, text: torch.Tensor, normals: torch.Tensor | None
    ) -> dict[str, Any]:
        if normals is None:
            return {}
        # With guidance there are two rows of each sample.
        normals = normals.repeat(len(rows) // len(normals), 1, 1, 1)
        down, middle = self.controlnet(
            rows, timestep, text, normals, conditioning_scale=self.options.controlnet_scale, return_dict=False
        )
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}

    def _tokens(self, requests: Sequence[Request]) -> list[torch.Tensor] | None:
        """Return the adapter's tokens of each sample's expression: of its condition, else of the options."""
        if self._project is None:
            return None
        return [self._expression_tokens(self._expression_of(request)) for request in requests]

    def _expression_of(self, request: Request) -> NDArray[np.float32]:
        found = request.condition.expression
        given = self.options.expression if found is None else found
        if given is None or len(given) != EXPRESSION:
            count = "no" if given is None else len(given)
            raise UserError(
                f"item {request.reference.item!r}, sample {request.index} has {count} numbers of expression, "
                f"not {EXPRESSION}"
            )
        return bounded(np.asarray(given, np.float32))

    def _expression_tokens(self, expression: NDArray[np.float32]) -> torch.Tensor:
        """Return (1, k, width) tokens of one expression, worked out alone: more rows could differ in the last digit."""
        import torch

        assert self.options.exp_adapter is not None
        row = torch.from_numpy(expression)[None].to(self._dtype)
        with weights.wrong_base(self.options.exp_adapter), torch.inference_mode():
            return self._project(row).to(self.device)

    def _expression(self, tokens: Sequence[torch.Tensor] | None) -> dict[str, Any]:
        if tokens is None:
            return {}
        nothing = self._expression_tokens(np.zeros(EXPRESSION, np.float32))
        return {"added_cond_kwargs": adapters.added(tokens, nothing, self.options.guidance_scale)}

    def _load_reference_adapter(self) -> None:
        from diffusers import UNet2DConditionModel

        options = self.options
        self._seeing: dict[str, reference_attention.Seeing] = {}
        if options.ref_adapter is not None:
            tensors = weights.read(options.ref_adapter)
            adapters.load_lora(self.unet, self.scheduler, tensors, options.ref_adapter, options.reference_scale)
            self._seeing = reference_attention.install(self.unet)
            second = weights.load(UNet2DConditionModel, options.model / "arc2face", self._dtype)
            self._second = diffusion.placed(second, options, self.device)

    def _memories(
        self, requests: Sequence[Request], prompts: torch.Tensor, generators: Sequence[torch.Generator]
    ) -> dict[str, torch.Tensor]:
        """Return what the second UNet remembers of each request's first photo; nothing without the adapter."""
        import torch

        if not self._seeing:
            return {}
        side = tuple(part * diffusion.vae_factor(self.vae) for part in self.size)
        images = [_resized(self._shown[request.photos], side) for request in requests]
        shape = (self.vae.config.latent_channels, *self.size)
        noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
        return reference_attention.remember(self._second, self.reference_latents(images, noise), prompts)


def _resized(image: Image, size: tuple[int, ...]) -> Image:
    from PIL import Image as Pillow

    return np.asarray(Pillow.fromarray(image).resize((size[1], size[0]), Pillow.Resampling.LANCZOS))


def load_prompts(options: Arc2FaceOptions, device: str) -> PromptEncoder:
    """Return the prompt encoder, in float32 whatever the UNet's precision (it runs once per identity).

    Raises:
        UserError: wrong files, or an embedding that is wider than the encoder.
    """
    import torch
    from transformers import CLIPTextModel

    tokenizer = weights.tokenizer(options.base / "tokenizer")
    encoder = PromptEncoder(tokenizer, weights.load(CLIPTextModel, options.model / "encoder", torch.float32).to(device))
    if encoder.width < options.embedding_size:
        raise UserError(
            f"{options.model}/encoder is {encoder.width} wide: too narrow for {options.embedding_size} numbers"
        )
    return encoder


def load_mlp(options: Arc2FaceOptions, device: str) -> mlp_prompts.MlpPrompts:
    """Return the MLP that takes the encoder's place, in float32 as the encoder is.

    Raises:
        UserError: wrong file, or one that does not fit the UNet or the embedding's length.
    """
    path = options.model / mlp_prompts.FILE
    width = int(weights.config(options.model / "arc2face")["cross_attention_dim"])
    prompts = mlp_prompts.load(path, width, options.activation)
    if prompts.reads != options.embedding_size:
        raise UserError(f"{path} reads {prompts.reads} numbers, not {options.embedding_size}")
    prompts.network.to(device)
    return prompts


def _embedding_file(path: Path | None, size: int) -> NDArray[np.float32] | None:
    if path is None:
        return None
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a .npy of embeddings: {error}") from error
    return diffusion.check_embedding(rows, size, str(path))
