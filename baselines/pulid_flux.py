"""PuLID-FLUX (Guo et al., NeurIPS 2024): a face embedding and features of the face as tokens that FLUX's blocks read.

A perceiver mixes the recognition embedding with EVA-CLIP's features of the masked face into 32 tokens. After every
second double and every fourth single block a cross-attention adds what the image tokens read from them.
Official code: https://github.com/ToTheBeginning/PuLID (`app_flux.py`, v0.9.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from baselines import diffusion, eva, faces, flux, fusion
from baselines.protocol import Image, Output, Request
from bench import weights
from bench.errors import UserError
from bench.identity import IDENTITY, WeightFile
from bench.networks import CLIP_MEAN, CLIP_STD, group, standardise
from bench.runtime import Runtime

if TYPE_CHECKING:
    import torch

EMBEDDING = 512
ENCODER_HEAD = 64
CROSS_HEAD = 128
"""Widths of an attention head, which the shapes do not give."""
EVERY_DOUBLE = 2
EVERY_SINGLE = 4
SCALES = len(eva.TAPS)
WHITE = (0, 7, 8, 9, 14, 15, 16, 18)
"""Labels of BiSeNet that become white: background, ears, earring, neck, necklace, clothes, hat."""
GREY = (0.299, 0.587, 0.114)
NEGATIVE = "bad quality, worst quality, text, signature, watermark, extra limbs"


class PuLIDFluxOptions(flux.FluxOptions):
    """Official defaults of `app_flux.py`, for photos.

    Attributes:
        checkpoint: `pulid_flux_v0.9.1.safetensors`.
        eva: `EVA02_CLIP_L_336_psz14_s6B.pt`.
        parser: `parsing_bisenet.pth`, which finds what of the face's crop becomes white.
        recogniser: whose embedding it asks for; taken raw, not normalised.
        eva_heads: attention heads of EVA-CLIP, which the file does not give.
        antialias: whether the crop is shrunk with antialias; the official requirements had versions of both kinds.
        id_weight: strength of what the identity adds.
        start_step: first step (from 0) that sees the identity: 4 for photos, 0 or 1 for other styles.
        true_cfg_scale: v = v_negative + scale (v - v_negative); at 1 the second pass is left out.
        true_cfg_start: first step of the second pass.
    """

    checkpoint: WeightFile
    eva: WeightFile
    parser: WeightFile
    recogniser: diffusion.Text = "glintr100"
    eva_heads: Annotated[int, IDENTITY, Field(ge=1)] = 16
    antialias: Annotated[bool, IDENTITY] = True
    id_weight: diffusion.Scale = 1.0
    start_step: Annotated[int, IDENTITY, Field(ge=0)] = 4
    true_cfg_scale: Annotated[float, IDENTITY, Field(ge=1)] = 1.0
    true_cfg_start: Annotated[int, IDENTITY, Field(ge=0)] = 1
    negative_prompt: diffusion.Text = NEGATIVE
    guidance_scale: diffusion.Guidance = 4.0
    width: flux.Side = 896
    height: flux.Side = 1152
    text_length: Annotated[int, IDENTITY, Field(ge=1, le=512)] = 128

    @property
    def needs(self) -> frozenset[str]:
        """Return what these options need of a reference."""
        return frozenset({f"embedding:{self.recogniser}", "image", "face"})


@dataclass(frozen=True)
class Sizes:
    """The sizes of a checkpoint.

    Attributes:
        tokens: identity tokens that the blocks read.
        width: of the encoder.
        out: width of an identity token.
        features: width of EVA-CLIP's hidden states.
        given: numbers of embedding and class output together.
        own: tokens that the encoder makes of them.
        hidden: width inside of the mappings to the encoder.
        image: width of the transformer's image tokens.
        inner: width of the cross-attentions.
        blocks: number of cross-attentions.
    """

    tokens: int = 32
    width: int = 1024
    out: int = 2048
    features: int = 1024
    given: int = 1280
    own: int = 5
    hidden: int = 1024
    image: int = 3072
    inner: int = 2048
    blocks: int = 20


class PuLIDFlux:
    """The method; see the module."""

    Options = PuLIDFluxOptions

    def __init__(self, options: PuLIDFluxOptions, runtime: Runtime) -> None:
        self.options = options
        tensors = weights.read(options.checkpoint)
        sizes = sizes_of(tensors, options.checkpoint)
        weights.check_layout(tensors, layout(sizes), options.checkpoint)
        second = [options.negative_prompt] if options.true_cfg_scale > 1 else []
        self._load_readers(sizes, runtime)
        self.base = flux.Flux(options, runtime, "pulid_flux", second)
        self._load_adapter(tensors, sizes)
        with diffusion.running(options.attention):
            self.unconditional = self._unconditional(sizes)

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one output per request; each reference is encoded once.

        Raises:
            UserError: an embedding, image or face is missing, or the embedding of another length or zero.
        """
        with diffusion.running(self.options.attention):
            references = {request.reference.item: request for request in requests}
            checked = {item: self._inputs(request) for item, request in references.items()}
            tokens = {item: self.tokens(*inputs) for item, inputs in checked.items()}
            return self.base.generate(requests, lambda batch, _: self._plan(batch, tokens))

    def tokens(self, embedding: NDArray[np.float32], aligned: Image) -> torch.Tensor:
        """Return the identity's tokens, (1, 32, c), of a raw (1, 512) embedding and an aligned (512, 512, 3) face."""
        import torch

        labels = self.parser.labels(aligned[None])[0]
        side = self.vision.patch_embed.img_size[0]
        pixels = face_pixels(aligned, labels, side, self.options.antialias)
        output, hidden = eva.features(self.vision, pixels.to(self.base.device))
        return encode(self.encoder, torch.from_numpy(embedding).to(self.base.device), output, hidden)

    def injections(self, tokens: torch.Tensor) -> flux.Injections:
        """Return what each of the blocks that read identity tokens (n, k, c) adds to its image tokens."""
        tokens = tokens.to(self.base.dtype)
        return {
            number: partial(self._read, self.cross[k], tokens)
            for k, number in enumerate(places(self.base.double, self.base.single))
        }

    def velocity(self, prompts: Sequence[str], tokens: torch.Tensor) -> flux.Velocity:
        """Return the networks under a batch's prompts and identity tokens (n, k, c)."""
        own = self._pass(prompts, tokens)
        scale = self.options.true_cfg_scale
        start = self.options.true_cfg_start
        if scale <= 1:
            return own
        negative = self._pass([self.options.negative_prompt] * len(prompts), self.unconditional.expand_as(tokens))

        def both(step: int, sigma: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
            found = own(step, sigma, latents)
            if step < start:
                return found
            other = negative(step, sigma, latents)
            return other + scale * (found - other)

        return both

    def _pass(self, prompts: Sequence[str], tokens: torch.Tensor) -> flux.Velocity:
        text = self.base.text(prompts)
        added = self.injections(tokens)
        first = self.options.start_step
        return lambda step, sigma, latents: self.base.velocity(latents, sigma, text, added if step >= first else None)

    def _plan(self, batch: Sequence[Request], tokens: Mapping[str, torch.Tensor]) -> flux.Velocity:
        import torch

        return self.velocity([r.prompt for r in batch], torch.cat([tokens[r.reference.item] for r in batch]))

    def _read(self, tensors: fusion.Tensors, tokens: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        return self.options.id_weight * fusion.cross(tensors, image, tokens, CROSS_HEAD)

    def _inputs(self, request: Request) -> tuple[NDArray[np.float32], Image]:
        rows = diffusion.embedding(request, self.options.recogniser, EMBEDDING)
        return rows.mean(axis=0, keepdims=True), faces.facexlib_face(request.reference, "pulid_flux")

    def _unconditional(self, sizes: Sizes) -> torch.Tensor:
        import torch

        device = self.base.device
        tokens = self.vision.pos_embed.shape[1]
        embedding = torch.zeros(1, EMBEDDING, device=device)
        output = torch.zeros(1, sizes.given - EMBEDDING, device=device)
        hidden = [torch.zeros(1, tokens, sizes.features, device=device)] * SCALES
        return encode(self.encoder, embedding, output, hidden)

    def _load_readers(self, sizes: Sizes, runtime: Runtime) -> None:
        from bench.faces.parsing import BiSeNet

        options = self.options
        self.vision = eva.load(weights.read(options.eva), options.eva_heads, options.eva).to(runtime.device)
        if (self.vision.embed_dim, self.vision.num_classes) != (sizes.features, sizes.given - EMBEDDING):
            raise UserError(f"{options.eva} is {self.vision.embed_dim} wide, the checkpoint reads {sizes.features}")
        self.parser = BiSeNet(BiSeNet.Options(weights=options.parser), runtime)

    def _load_adapter(self, tensors: Mapping[str, torch.Tensor], sizes: Sizes) -> None:
        options = self.options
        base = self.base
        wanted = len(places(base.double, base.single))
        if (sizes.image, sizes.blocks) != (base.width, wanted):
            raise UserError(
                f"{options.checkpoint} adds to {sizes.blocks} blocks of width {sizes.image}, "
                f"this base has {wanted} of {base.width}: made for another base"
            )
        self.encoder = {k: v.float().to(base.device) for k, v in group(tensors, "pulid_encoder.").items()}
        crossing = {key: value.to(base.device, base.dtype) for key, value in tensors.items()}
        self.cross = [group(crossing, f"pulid_ca.{k}.") for k in range(wanted)]


def places(double: int, single: int) -> list[int]:
    """Return the numbers of the blocks behind which identity is added, double blocks first.

    >>> places(3, 6)
    [0, 2, 3, 7]
    """
    return [*range(0, double, EVERY_DOUBLE), *(double + k for k in range(0, single, EVERY_SINGLE))]


def face_pixels(aligned: Image, labels: NDArray[np.uint8], side: int, antialias: bool) -> torch.Tensor:
    """Return an aligned face in grey on white, (1, 3, side, side) on CLIP's scale.

    Args:
        aligned: (512, 512, 3) uint8 RGB.
        labels: (512, 512) labels of BiSeNet.
        side: pixels, by bicubic interpolation.
        antialias: of that interpolation.
    """
    import torch

    image = torch.tensor(aligned, dtype=torch.float32) / 255
    grey = (image * torch.tensor(GREY)).sum(dim=-1)
    grey[torch.from_numpy(np.isin(labels, WHITE))] = 1
    rows = grey.expand(1, 3, -1, -1)
    shrunk = torch.nn.functional.interpolate(rows, (side, side), mode="bicubic", antialias=antialias)
    return standardise(shrunk, CLIP_MEAN, CLIP_STD)


def encode(
    tensors: fusion.Tensors, embedding: torch.Tensor, output: torch.Tensor, hidden: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Return identity tokens, (n, 32, c).

    Args:
        tensors: the group `pulid_encoder`.
        embedding: (n, 512), raw.
        output: (n, d) EVA-CLIP's class output, which is normalised here; zeros stay zeros.
        hidden: its hidden states, (n, patches + 1, width) each.
    """
    import torch

    given = torch.cat([embedding, torch.nn.functional.normalize(output)], dim=-1)
    latents = tensors["latents"].expand(len(given), -1, -1)
    own = _mapped(group(tensors, "id_embedding_mapping."), given).unflatten(-1, (-1, latents.shape[-1]))
    count = latents.shape[1]
    latents = torch.cat([latents, own], dim=1)
    per_scale = next(n for n in range(len(tensors)) if f"layers.{n}.0.to_q.weight" not in tensors) // len(hidden)
    for scale, states in enumerate(hidden):
        context = torch.cat([own, _mapped(group(tensors, f"mapping_{scale}."), states)], dim=1)
        for layer in range(scale * per_scale, (scale + 1) * per_scale):
            latents = fusion.perceived(group(tensors, f"layers.{layer}."), latents, context, ENCODER_HEAD)
    return latents[:, :count] @ tensors["proj_out"]


def layout(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Return the keys and shapes of a checkpoint."""
    shapes: dict[str, tuple[int, ...]] = {
        "pulid_encoder.latents": (1, sizes.tokens, sizes.width),
        "pulid_encoder.proj_out": (sizes.width, sizes.out),
        **_mapping_layout("pulid_encoder.id_embedding_mapping", sizes.given, sizes.hidden, sizes.own * sizes.width),
    }
    for scale in range(SCALES):
        shapes |= _mapping_layout(f"pulid_encoder.mapping_{scale}", sizes.features, sizes.hidden, sizes.width)
    for layer in range(2 * SCALES):
        shapes |= fusion.perceived_layout(f"pulid_encoder.layers.{layer}", sizes.width)
    for k in range(sizes.blocks):
        shapes |= fusion.cross_layout(f"pulid_ca.{k}", sizes.out, sizes.image, sizes.inner)
    return shapes


def sizes_of(tensors: Mapping[str, Any], source: Path) -> Sizes:
    """Return the sizes of a checkpoint.

    Raises:
        UserError: it is not PuLID-FLUX's.
    """
    if "pulid_encoder.latents" not in tensors:
        raise UserError(f"{source} is not PuLID-FLUX: it holds {', '.join(sorted(tensors)[:3])} ...")
    with weights.wrong_base(source):
        _, tokens, width = tensors["pulid_encoder.latents"].shape
        return Sizes(
            tokens=tokens,
            width=width,
            out=tensors["pulid_encoder.proj_out"].shape[1],
            features=tensors["pulid_encoder.mapping_0.0.weight"].shape[1],
            given=tensors["pulid_encoder.id_embedding_mapping.0.weight"].shape[1],
            own=len(tensors["pulid_encoder.id_embedding_mapping.6.weight"]) // width,
            hidden=len(tensors["pulid_encoder.mapping_0.0.weight"]),
            image=tensors["pulid_ca.0.to_q.weight"].shape[1],
            inner=len(tensors["pulid_ca.0.to_q.weight"]),
            blocks=len({key.split(".")[1] for key in tensors if key.startswith("pulid_ca.")}),
        )


def _mapped(tensors: fusion.Tensors, rows: torch.Tensor) -> torch.Tensor:
    import torch

    for linear, norm in (("0", "1"), ("3", "4")):
        rows = fusion.norm(tensors, norm, fusion.linear(tensors, linear, rows))
        rows = torch.nn.functional.leaky_relu(rows, 0.01)
    return fusion.linear(tensors, "6", rows)


def _mapping_layout(name: str, given: int, hidden: int, out: int) -> dict[str, tuple[int, ...]]:
    return {
        **fusion.affine(f"{name}.0", hidden, given),
        **fusion.affine(f"{name}.1", hidden),
        **fusion.affine(f"{name}.3", hidden, hidden),
        **fusion.affine(f"{name}.4", hidden),
        **fusion.affine(f"{name}.6", out, hidden),
    }
