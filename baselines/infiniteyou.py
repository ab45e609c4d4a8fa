"""InfiniteYou (Jiang et al., ICCV 2025): a face embedding as tokens for a ControlNet of FLUX.

A perceiver makes eight tokens of the unit embedding; the ControlNet (InfuseNet) reads them in the place of the text,
together with a drawing of five key-points or with black. Resampler and drawing are InstantID's.
Official code: https://github.com/bytedance/InfiniteYou
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from baselines import diffusion, faces, flux, fusion
from baselines.instantid import draw
from baselines.protocol import Image, Output, Reference, Request
from baselines.text_to_image import Text
from bench import weights
from bench.conditions.kinds import ConditionKind
from bench.errors import UserError
from bench.identity import IDENTITY, WeightFile
from bench.runtime import Runtime

if TYPE_CHECKING:
    import torch

HEAD_WIDTH = 64
CONTROL_GUIDANCE = 1.0
"""The guidance that the ControlNet reads, whatever the transformer's."""
GROUP = "image_proj"
NAMES = "infiniteyou_aes,infiniteyou_sim"
"""The two configurations, as `fetch` takes them."""
Share = Annotated[float, IDENTITY, Field(ge=0, le=1)]


class InfiniteYouOptions(flux.FluxOptions):
    """Official defaults of `test.py`.

    Attributes:
        checkpoint: `image_proj_model.bin`.
        controlnet: folder `InfuseNetModel`.
        recogniser: whose embedding it asks for; its unit vector is taken.
        control: what the ControlNet follows: black, or a drawing of the first reference's key-points.
        controlnet_scale: of the ControlNet's residuals.
        control_start: share of the steps before the ControlNet begins.
        control_end: share of the steps after which it ends.
        true_cfg_scale: v = v_negative + scale (v - v_negative); at 1 the second pass is left out.
    """

    checkpoint: WeightFile
    controlnet: WeightFile
    recogniser: diffusion.Text = "ir_se50"
    control: Annotated[Literal["black", "keypoints"], IDENTITY] = "black"
    controlnet_scale: diffusion.Scale = 1.0
    control_start: Share = 0.0
    control_end: Share = 1.0
    true_cfg_scale: Annotated[float, IDENTITY, Field(ge=1)] = 1.0
    steps: diffusion.Steps = 30
    width: flux.Side = 864
    height: flux.Side = 1152

    @property
    def needs(self) -> frozenset[str]:
        """Return what these options need of a reference."""
        images = () if self.control == "black" else ("image", "face")
        return frozenset({f"embedding:{self.recogniser}", *images})


@dataclass(frozen=True)
class Sizes:
    """The sizes of a resampler.

    Attributes:
        embedding: length of the vector.
        tokens: number of identity tokens.
        width: of the resampler.
        out: width of an identity token.
        layers: number of layers.
    """

    embedding: int = 512
    tokens: int = 8
    width: int = 1280
    out: int = 4096
    layers: int = 4


@dataclass(frozen=True, eq=False)
class Subject:
    """What one reference gives: its tokens, (1, 8, width), and what the ControlNet follows, (H, W, 3) uint8 RGB."""

    tokens: torch.Tensor
    control: Image


class InfiniteYou:
    """The method; see the module."""

    Options = InfiniteYouOptions
    accepts = frozenset({ConditionKind.EMBEDDING})
    many_references = True

    def __init__(self, options: InfiniteYouOptions, runtime: Runtime) -> None:
        self.options = options
        weights.demand(options.controlnet, ("config.json",), NAMES)
        tensors, self.sizes = _read(options.checkpoint)
        second = [options.negative_prompt] if options.true_cfg_scale > 1 else []
        self.base = flux.Flux(options, runtime, NAMES, second)
        self.resampler = {key: value.float().to(runtime.device) for key, value in tensors.items()}
        self._load_controlnet()

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one output per request; each identity is encoded once.

        Raises:
            UserError: an embedding (or image or face) is missing, or the embedding of another length or zero.
        """
        with diffusion.running(self.options.attention):
            identities = {diffusion.key(request): request for request in requests}
            subjects = {key: self._subject(request) for key, request in identities.items()}
            return self.base.generate(requests, lambda batch, generators: self._plan(batch, generators, subjects))

    def tokens(self, unit: NDArray[np.float32]) -> torch.Tensor:
        """Return identity tokens, (1, 8, width), of the unit vectors (k, 512) of k photos of one person."""
        import torch

        rows = torch.from_numpy(unit).to(self.base.device)[None]
        return fusion.perceiver(self.resampler, self.resampler["latents"], rows, HEAD_WIDTH)

    def control_latents(self, image: Image, noise: torch.Tensor) -> torch.Tensor:
        """Return an image for the ControlNet as latents (1, c, h, w): one draw of the VAE, by noise of that shape."""
        import torch

        base = self.base
        vae = base.vae
        pixels = torch.tensor(image, dtype=torch.float32).permute(2, 0, 1)[None] / 127.5 - 1
        found = vae.encode(pixels.to(base.device, vae.dtype)).latent_dist
        drawn = found.mean.float() + found.std.float() * noise.to(base.device)
        return (drawn - vae.config.shift_factor) * vae.config.scaling_factor

    def residuals(
        self, step: int, latents: torch.Tensor, sigma: torch.Tensor, identity: Text, control: torch.Tensor
    ) -> dict[str, Any]:
        """Return the ControlNet's additions to the transformer's blocks in a step; none outside of its interval.

        Args:
            step: from 0.
            latents: (n, p, channels) packed.
            sigma: noise level.
            identity: identity tokens in the place of the text, and the pooled text.
            control: (n, p, channels) packed.
        """
        scale = scale_at(step, self.options)
        if not scale:
            return {}
        given = self.base.inputs(latents, sigma, identity, CONTROL_GUIDANCE)
        if not self.controlnet.config.guidance_embeds:
            given["guidance"] = None
        control = control.to(self.base.dtype)
        double, single = self.controlnet(**given, controlnet_cond=control, conditioning_scale=scale, return_dict=False)
        return {"controlnet_block_samples": double, "controlnet_single_block_samples": single}

    def velocity(self, prompts: Sequence[str], tokens: torch.Tensor, control: torch.Tensor) -> flux.Velocity:
        """Return the networks under a batch's prompts, identity tokens (n, 8, c) and control latents (n, c, h, w)."""
        text = self.base.text(prompts)
        followed = flux.packed(control)
        identity = Text(tokens.to(self.base.dtype), text.pooled)
        scale = self.options.true_cfg_scale
        negative = self.base.text([self.options.negative_prompt] * len(prompts)) if scale > 1 else None

        def velocity(step: int, sigma: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
            added = self.residuals(step, latents, sigma, identity, followed)
            found = self.base.velocity(latents, sigma, text, **added)
            if negative is None:
                return found
            # The official second pass has no residuals.
            other = self.base.velocity(latents, sigma, negative)
            return other + scale * (found - other)

        return velocity

    def _plan(
        self, batch: Sequence[Request], generators: Sequence[torch.Generator], subjects: Mapping[diffusion.Key, Subject]
    ) -> flux.Velocity:
        import torch

        found = [subjects[diffusion.key(request)] for request in batch]
        shape = (self.base.vae.config.latent_channels, *self.base.size)
        noise = [torch.randn(shape, generator=generator)[None] for generator in generators]
        control = [self.control_latents(s.control, own) for s, own in zip(found, noise, strict=True)]
        return self.velocity([r.prompt for r in batch], torch.cat([s.tokens for s in found]), torch.cat(control))

    def _subject(self, request: Request) -> Subject:
        rows = diffusion.embeddings(request, self.options.recogniser, self.sizes.embedding)
        tokens = self.tokens(rows / np.linalg.norm(rows, axis=1, keepdims=True))
        return Subject(tokens, self._control(request.references[0]))

    def _control(self, reference: Reference) -> Image:
        canvas = self.base.pixels
        if self.options.control == "black":
            return np.zeros((*canvas, 3), np.uint8)
        image, face = faces.seen(reference, "control=keypoints")
        height, width = image.shape[:2]
        return draw(fitted(face.keypoints, (height, width), canvas), canvas)

    def _load_controlnet(self) -> None:
        from diffusers import FluxControlNetModel

        base = self.base
        folder = self.options.controlnet
        network = weights.load(FluxControlNetModel, folder, base.dtype)
        wanted = base.transformer.config
        for name in ("in_channels", "joint_attention_dim", "pooled_projection_dim"):
            if network.config[name] != wanted[name]:
                raise UserError(f"{folder}: {name} is {network.config[name]}, this base's {wanted[name]}")
        if self.sizes.out != wanted.joint_attention_dim:
            raise UserError(
                f"{self.options.checkpoint} gives tokens of {self.sizes.out}, "
                f"this base reads {wanted.joint_attention_dim}: made for another base"
            )
        self.controlnet = base.place(network)


def scale_at(step: int, options: InfiniteYouOptions) -> float:
    """Return the ControlNet's scale in a step: 0 outside of its interval."""
    inside = step / options.steps >= options.control_start and (step + 1) / options.steps <= options.control_end
    return options.controlnet_scale if inside else 0.0


def placement(image: tuple[int, int], canvas: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the size of an image scaled onto a canvas, and the place of its corner there, each (vertical, horizontal).

    The canvas's shorter side is met; the image lies in the middle, and what hangs over is cut off.

    >>> placement((50, 100), (80, 60))
    ((30, 60), (25, 0))
    """
    short = int(canvas[1] <= canvas[0])
    scale = canvas[short] / image[short]
    size = [int(side * scale) for side in image]
    size[short] = canvas[short]
    corner = [(whole - side) // 2 for whole, side in zip(canvas, size, strict=True)]
    return (size[0], size[1]), (corner[0], corner[1])


def fitted(keypoints: NDArray[np.float32], image: tuple[int, int], canvas: tuple[int, int]) -> NDArray[np.float32]:
    """Return five key-points (5, 2) of an image (height, width) on a canvas that it is scaled onto."""
    size, corner = placement(image, canvas)
    ratio = np.array([size[1] / image[1], size[0] / image[0]])
    return (keypoints * ratio + np.array([corner[1], corner[0]])).astype(np.float32)


def _read(path: Path) -> tuple[dict[str, Any], Sizes]:
    checkpoint = weights.read(path)
    group = checkpoint.get(GROUP)
    if not isinstance(group, Mapping) or "latents" not in group:
        raise UserError(
            f"{path} is not InfiniteYou's image_proj_model.bin: it holds {', '.join(sorted(checkpoint)[:3])}"
        )
    with weights.wrong_base(path):
        sizes = Sizes(
            embedding=group["proj_in.weight"].shape[1],
            tokens=group["latents"].shape[1],
            width=group["latents"].shape[2],
            out=len(group["proj_out.weight"]),
            layers=next(n for n in range(len(group)) if f"layers.{n}.0.to_q.weight" not in group),
        )
    weights.check_layout(group, layout(sizes), path)
    return dict(group), sizes


def layout(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Return the keys and shapes of a resampler's checkpoint."""
    return {
        "latents": (1, sizes.tokens, sizes.width),
        **fusion.perceiver_layout("", sizes.embedding, sizes.width, sizes.out, sizes.layers),
    }
