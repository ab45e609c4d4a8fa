"""InstantID (Wang et al., 2024): a face embedding as attention tokens, and a ControlNet of them and five key-points.

The image-prompt adapter, its resampler and the ControlNet are diffusers' own; what it lacks is the feeding of the
ControlNet with the identity's tokens in the place of the text, and the drawing of the key-points.
Official code: https://github.com/instantX-research/InstantID (`infer.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from baselines import adapters, diffusion
from baselines.protocol import Image, Output, Reference, Request
from baselines.text_to_image import Base, TextToImageOptions, euler
from bench import weights
from bench.errors import UserError
from bench.identity import WeightFile
from bench.runtime import Runtime

if TYPE_CHECKING:
    import torch

EMBEDDING = 512
NEGATIVE = (
    "(lowres, low quality, worst quality:1.2), (text:1.2), watermark, painting, drawing, illustration, glitch, "
    "deformed, mutated, cross-eyed, ugly, disfigured (lowres, low quality, worst quality:1.2), (text:1.2), watermark, "
    "painting, drawing, illustration, glitch,deformed, mutated, cross-eyed, ugly, disfigured"
)
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
"""RGB of left eye, right eye, nose, left and right mouth corner (the viewer's left)."""
STICKS = ((0, 2), (1, 2), (3, 2), (4, 2))


class InstantIDOptions(TextToImageOptions):
    """Official defaults of `infer.py`, at 1024 pixels.

    Attributes:
        checkpoint: `ip-adapter.bin`.
        controlnet: folder `ControlNetModel`.
        recogniser: whose embedding it asks for; taken raw, not normalised.
        adapter_scale: of the image-prompt attention.
        controlnet_scale: of the ControlNet's residuals.
    """

    checkpoint: WeightFile
    controlnet: WeightFile
    recogniser: diffusion.Text = "glintr100"
    adapter_scale: diffusion.Scale = 0.8
    controlnet_scale: diffusion.Scale = 0.8
    negative_prompt: diffusion.Text = NEGATIVE
    steps: diffusion.Steps = 30
    guidance_scale: diffusion.Guidance = 5.0

    @property
    def needs(self) -> frozenset[str]:
        """Return what these options need of a reference."""
        return frozenset({f"embedding:{self.recogniser}", "image", "face"})


@dataclass(frozen=True, eq=False)
class Subject:
    """What one reference gives: its tokens, (1, k, width), and its drawing, (1, 3, H, W) in [0, 1]."""

    tokens: torch.Tensor
    drawing: torch.Tensor


class InstantID:
    """The method; see the module."""

    Options = InstantIDOptions
    needs = frozenset({"embedding:glintr100", "image", "face"})

    def __init__(self, options: InstantIDOptions, runtime: Runtime) -> None:
        self.options = options
        self.needs = options.needs
        self.base = Base(options, runtime, euler, "instantid", negative=options.negative_prompt)
        if not self.base.is_xl:
            raise UserError(f"{options.base} is not Stable Diffusion XL, which InstantID is made for")
        self._load_adapter()
        self._load_controlnet()
        with weights.wrong_base(options.checkpoint), diffusion.running(options.attention):
            self.unconditional = self.tokens(np.zeros((1, EMBEDDING), np.float32))

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one output per request; each reference is encoded once.

        Raises:
            UserError: an embedding, image or face is missing, or the embedding of another length or zero.
        """
        with diffusion.running(self.options.attention):
            subjects = {r.reference.item: self._subject(r) for r in requests}
            return self.base.generate(requests, lambda batch: self._plan(batch, subjects))

    def tokens(self, embedding: NDArray[np.float32]) -> torch.Tensor:
        """Return the identity's tokens, (1, 16, width), of a raw (1, 512) embedding (zeros: the unconditional ones)."""
        import torch

        rows = torch.from_numpy(embedding).to(self.base.device, self.base.dtype)
        return self.project(rows[:, None])

    def predictor(self, condition: dict[str, Any], tokens: torch.Tensor, drawings: torch.Tensor) -> diffusion.Predict:
        """Return the estimate of noise by the ControlNet and the UNet.

        Args:
            condition: the text, of `Base.condition`; the ControlNet sees its pooled part and sizes, but not its tokens.
            tokens: (rows, 16, width) identity tokens of all rows of the guided batch.
            drawings: (rows, 3, H, W) key-points in [0, 1].
        """
        sizes = {key: condition["added_cond_kwargs"][key] for key in ("text_embeds", "time_ids")}
        whole = condition | {"added_cond_kwargs": sizes | {"image_embeds": [tokens[:, None]]}}

        def predict(_index: int, timestep: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            down, middle = self.residuals(rows, timestep, tokens, drawings, sizes)
            residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
            return self.base.predict(rows, timestep, whole | residuals)

        return predict

    def residuals(
        self,
        rows: torch.Tensor,
        timestep: torch.Tensor,
        tokens: torch.Tensor,
        drawings: torch.Tensor,
        sizes: dict[str, torch.Tensor],
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return the ControlNet's scaled residuals for the UNet's down blocks and its middle."""
        return self.controlnet(
            rows.to(self.base.dtype),
            timestep,
            encoder_hidden_states=tokens,
            controlnet_cond=drawings,
            conditioning_scale=self.options.controlnet_scale,
            added_cond_kwargs=sizes,
            return_dict=False,
        )

    def _plan(self, batch: Sequence[Request], subjects: Mapping[str, Subject]) -> diffusion.Predict:
        import torch

        guidance = self.options.guidance_scale
        base = self.base
        condition = base.condition([base.text(r.prompt) for r in batch], base.text(self.options.negative_prompt))
        tokens = torch.cat([subjects[r.reference.item].tokens for r in batch])
        drawings = torch.cat([subjects[r.reference.item].drawing for r in batch])
        return self.predictor(
            condition,
            diffusion.guided(self.unconditional, tokens, guidance),
            diffusion.guided(drawings, drawings, guidance),
        )

    def _subject(self, request: Request) -> Subject:
        import torch

        rows = diffusion.embedding(request, self.options.recogniser, EMBEDDING)
        drawing = draw(placed_keypoints(request.reference, self.base.pixels), self.base.pixels)
        values = torch.from_numpy(drawing).permute(2, 0, 1)[None] / 255
        return Subject(self.tokens(rows.mean(axis=0, keepdims=True)), values.to(self.base.device, self.base.dtype))

    def _load_adapter(self) -> None:
        options = self.options
        base = self.base
        checkpoint = weights.read(options.checkpoint)
        if "latents" not in checkpoint.get("image_proj", {}):
            raise UserError(f"{options.checkpoint} is not InstantID's ip-adapter.bin")
        scale = options.adapter_scale
        project = adapters.load_ip_adapter(base.unet, base.scheduler, checkpoint, options.checkpoint, scale)
        self.project = project.to(base.device)
        base.place()

    def _load_controlnet(self) -> None:
        from diffusers import ControlNetModel

        network = weights.load(ControlNetModel, self.options.controlnet, self.base.dtype)
        diffusion.check_fit(network, self.base.vae, self.base.unet.config.cross_attention_dim, self.options.controlnet)
        self.controlnet = diffusion.placed(network, self.options, self.base.device)


def placed_keypoints(reference: Reference, canvas: tuple[int, int]) -> NDArray[np.float32]:
    """Return a reference's key-points, (5, 2), with its image scaled into the middle of a (height, width) canvas.

    Raises:
        UserError: no image or no face.
    """
    if reference.image is None or reference.face is None:
        raise UserError(f"item {reference.item!r} has no image or no face: instantid needs both")
    have = np.array(reference.image.shape[1::-1], np.float64)
    want = np.array(canvas[::-1], np.float64)
    scale = float((want / have).min())
    return (reference.face.keypoints * scale + (want - have * scale) / 2).astype(np.float32)


def draw(keypoints: NDArray[np.float32], canvas: tuple[int, int]) -> Image:
    """Draw key-points as InstantID's ControlNet knows them: sticks to the nose at 60 %, discs of radius 10, on black.

    Args:
        keypoints: (5, 2) x, y: left eye, right eye, nose, left and right mouth corner.
        canvas: height and width.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    import cv2

    image = np.zeros((*canvas, 3), np.uint8)
    for first, second in STICKS:
        ends = keypoints[[first, second]]
        along = ends[0] - ends[1]
        centre = (int(ends[:, 0].mean()), int(ends[:, 1].mean()))
        turn = int(np.degrees(np.arctan2(along[1], along[0])))
        axes = (int(np.hypot(*along) / 2), 4)
        cv2.fillConvexPoly(image, cv2.ellipse2Poly(centre, axes, turn, 0, 360, 1), COLOURS[first])
    image = (image * 0.6).astype(np.uint8)
    for (x, y), colour in zip(keypoints, COLOURS, strict=True):
        cv2.circle(image, (int(x), int(y)), 10, colour, -1)
    return image
