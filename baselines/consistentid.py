"""ConsistentID (Huang et al., TPAMI 2025): FaceID tokens, and crops of the face's parts merged into words for them.

A caption names the parts that a parser found in the photo. Each noun is fused with CLIP's view of one part. The first
steps see the plain text. Adapter and LoRA are those of IP-Adapter-FaceID-Plus and are loaded by diffusers.
Official code: https://github.com/JackAILab/ConsistentID (Stable Diffusion 1.5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from baselines import adapters, clip, diffusion, fusion
from baselines.protocol import Image, Output, Reference, Request
from baselines.text_to_image import Base, Text, TextToImageOptions, euler
from bench import weights
from bench.errors import UserError
from bench.faces.parsing import Label
from bench.identity import IDENTITY, WeightFile
from bench.networks import group
from bench.runtime import Runtime

if TYPE_CHECKING:
    import torch

EMBEDDING = 512
HEAD_WIDTH = 64
PARTS_AT_MOST = 5
SIDE = 512
"""Pixels of the square that the photo is parsed at."""
MARKER = "<|facial|>"
GROUPS = ("image_proj", "adapter_modules", "FacialEncoder")
NEGATIVE = (
    "monochrome, lowres, bad anatomy, worst quality, low quality, blurry"
    "((((ugly)))), (((duplicate))), ((morbid)), ((mutilated)), [out of frame], extra fingers, mutated hands, "
    "((poorly drawn hands)), ((poorly drawn face)), (((mutation))), (((deformed))), ((ugly)), blurry, ((bad anatomy)), "
    "(((bad proportions))), ((extra limbs)), cloned face, (((disfigured))). out of frame, ugly, extra limbs, "
    "(bad anatomy), gross proportions, (malformed limbs), ((missing arms)), ((missing legs)), (((extra arms))), "
    "(((extra legs))), mutated hands, (fused fingers), (too many fingers), (((long neck)))"
)
PROMPT = "cinematic photo,{}, 50mm photograph, half-length portrait, film, bokeh, professional, 4k, highly detailed"


@dataclass(frozen=True)
class Part:
    """A part of the face: the labels that show it (the first that is found is cropped) and its clause."""

    labels: tuple[Label, ...]
    clause: str


# In the order of the clauses. Crops come in the order of labels, so the ears' clause gets the eye's crop: the official
# code does the same.
PARTS = (
    Part((Label.SKIN,), "The person has one face"),
    Part((Label.L_EAR, Label.R_EAR), "two ears"),
    Part((Label.L_EYE, Label.R_EYE), "two eyes"),
    Part((Label.NOSE,), "one nose"),
    Part((Label.U_LIP, Label.L_LIP), "and one mouth"),
)


class ConsistentIDOptions(TextToImageOptions):
    """Official defaults of `infer.py`.

    Attributes:
        base: Stable Diffusion 1.5 in the layout of diffusers.
        checkpoint: `ConsistentID-v1.bin`.
        image_encoder: folder of CLIP ViT-H/14 (hidden size 1280).
        parser: `face_parsing.pth` or `parsing_bisenet.pth`.
        recogniser: whose embedding it asks for.
        template: what the prompt is put into, at "{}".
        start_merge_step: last call of the UNet (from 0) that sees the plain text.
        negative_prompt: two texts glued without a separator, as officially.
    """

    checkpoint: WeightFile
    image_encoder: WeightFile
    parser: WeightFile
    recogniser: diffusion.Text = "w600k_r50"
    template: diffusion.Text = PROMPT
    start_merge_step: Annotated[int, IDENTITY, Field(ge=-1)] = 30
    negative_prompt: diffusion.Text = NEGATIVE
    steps: diffusion.Steps = 50
    guidance_scale: diffusion.Guidance = 5.0
    width: diffusion.Side = 512
    height: diffusion.Side = 768

    @property
    def needs(self) -> frozenset[str]:
        """Return what these options need of a reference."""
        return frozenset({f"embedding:{self.recogniser}", "image"})


@dataclass(frozen=True, eq=False)
class Subject:
    """What one reference gives.

    Attributes:
        tokens: (1, 4, width) of the adapter.
        parts: labels of the parts that were found, in the order of labels.
        facial: (5, width), an embedding per crop; those that are missing come last.
    """

    tokens: torch.Tensor
    parts: tuple[Label, ...]
    facial: torch.Tensor


class ConsistentID:
    """The method; see the module."""

    Options = ConsistentIDOptions

    def __init__(self, options: ConsistentIDOptions, runtime: Runtime) -> None:
        from bench.faces.parsing import BiSeNet

        self.options = options
        checkpoint = read(options.checkpoint)
        self.base = Base(options, runtime, euler, "consistentid")
        if self.base.is_xl:
            raise UserError(f"{options.base} is not Stable Diffusion 1.5, which ConsistentID v1 is made for")
        self._load_adapter(checkpoint)
        self._load_clip()
        self._load_facial(checkpoint["FacialEncoder"])
        self.parser = BiSeNet(BiSeNet.Options(weights=options.parser), runtime)
        self.base.place()
        with weights.wrong_base(options.checkpoint), diffusion.running(options.attention):
            self._load_unconditional()

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one output per request; each reference is encoded once.

        Raises:
            UserError: an embedding or image is missing, or the embedding of another length or zero.
        """
        with diffusion.running(self.options.attention):
            references = {request.reference.item: request for request in requests}
            checked = {item: self._inputs(request) for item, request in references.items()}
            subjects = {item: self.subject(*inputs) for item, inputs in checked.items()}
            return self.base.generate(requests, lambda batch: self._plan(batch, subjects))

    def subject(self, unit: NDArray[np.float32], image: Image) -> Subject:
        """Return what a unit embedding (1, 512) and a photo (H, W, 3) uint8 RGB give."""
        labels = self.parser.labels(squared(image)[None])[0]
        parts = found_parts(labels)
        crops = [part_crop(image, labels, label) for label in parts]
        return Subject(
            self.tokens(unit, clip.pixels(self._cropped(image))), parts, self.facial(self.crop_pixels(crops))
        )

    def tokens(self, unit: NDArray[np.float32], pixels: torch.Tensor) -> torch.Tensor:
        """Return the adapter's tokens, (1, 4, width), of a unit embedding (1, 512) and CLIP's pixels (1, 3, s, s)."""
        import torch

        self.project.clip_embeds = self.features(pixels)[None]
        return self.project(torch.from_numpy(unit).to(self.base.device, self.base.dtype))

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return CLIP's penultimate hidden states, (n, patches + 1, hidden), of normalised pixels (n, 3, s, s)."""
        pixels = pixels.to(self.base.device, self.base.dtype)
        return self.clip(pixels, output_hidden_states=True).hidden_states[-2]

    def crop_pixels(self, crops: Sequence[Image]) -> torch.Tensor:
        """Return the crops as CLIP reads them, (5, 3, s, s); missing ones are zeros on CLIP's own scale."""
        import torch

        side = self.clip.config.image_size
        rows = [clip.pixels(self._cropped(crop)) for crop in crops]
        return torch.cat([*rows, torch.zeros(PARTS_AT_MOST - len(rows), 3, side, side)])

    def facial(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return an embedding (n, width) of each crop (n, 3, s, s)."""
        return self.projected(self.features(pixels))

    def projected(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return an embedding (n, width) of CLIP's hidden states (n, patches + 1, hidden)."""
        latents = self.resampler["latents"].expand(len(hidden), -1, -1)
        return fusion.perceiver(self.resampler, latents, hidden, HEAD_WIDTH)[:, 0]

    def fused(self, rows: torch.Tensor, mask: torch.Tensor, objects: torch.Tensor) -> torch.Tensor:
        """Return text tokens (1, 77, width) with objects (k, width) fused in at the places of the (1, 77) mask."""
        count = int(mask.sum())
        return fusion.put(rows, mask, fusion.fuse(self.fuser, rows[mask], objects[:count]))

    def texts(self, prompt: str, subject: Subject) -> tuple[Text, Text, Text]:
        """Return the plain text, the text with the person's parts, and the negative text with zeros at these places."""
        base = self.base
        text = captioned(base.encoders[0][0], prompt, subject.parts)
        ids, mask = fusion.marked(base.encoders[0][0], text.split(MARKER))
        mask = mask.to(base.device)
        plain = base.text(text.replace(MARKER, ""))
        person = self.fused(base.encode([ids]).tokens, mask, subject.facial)
        negative = self.fused(base.text(self.options.negative_prompt).tokens, mask, self.no_part)
        return plain, Text(person), Text(negative)

    def predictor(self, texts: Sequence[tuple[Text, Text, Text]], tokens: Sequence[torch.Tensor]) -> diffusion.Predict:
        """Return the UNet under each sample's texts and tokens, the plain text up to `start_merge_step`."""
        last = self.options.start_merge_step
        base = self.base
        plain, person = (self._condition([t[k] for t in texts], [t[2] for t in texts], tokens) for k in (0, 1))
        return lambda index, timestep, rows: base.predict(rows, timestep, plain if index <= last else person)

    def _condition(
        self, texts: Sequence[Text], negatives: Sequence[Text], tokens: Sequence[torch.Tensor]
    ) -> dict[str, Any]:
        import torch

        condition = self.base.condition(texts, Text(torch.cat([text.tokens for text in negatives])))
        condition["added_cond_kwargs"] |= adapters.added(tokens, self.unconditional, self.options.guidance_scale)
        return condition

    def _plan(self, batch: Sequence[Request], subjects: Mapping[str, Subject]) -> diffusion.Predict:
        pairs = [(self.options.template.replace("{}", r.prompt), subjects[r.reference.item]) for r in batch]
        return self.predictor([self.texts(*pair) for pair in pairs], [subject.tokens for _, subject in pairs])

    def _inputs(self, request: Request) -> tuple[NDArray[np.float32], Image]:
        rows = diffusion.embedding(request, self.options.recogniser, EMBEDDING)
        mean = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0, keepdims=True)
        return mean / np.linalg.norm(mean), _image(request.reference)

    def _cropped(self, image: Image) -> Image:
        return clip.centre(image, self.clip.config.image_size)

    def _load_adapter(self, checkpoint: Mapping[str, Any]) -> None:
        base = self.base
        source = self.options.checkpoint
        groups = {"image_proj": checkpoint["image_proj"], "ip_adapter": checkpoint["adapter_modules"]}
        self.project = adapters.load_ip_adapter(base.unet, base.scheduler, groups, source, 1.0).to(base.device)
        self.project.shortcut = False

    def _load_clip(self) -> None:
        from transformers import CLIPVisionModelWithProjection

        folder = self.options.image_encoder
        wanted = self.project.proj_in.in_features
        network = weights.load(CLIPVisionModelWithProjection, folder, self.base.dtype)
        if network.config.hidden_size != wanted:
            raise UserError(
                f"{folder} is {network.config.hidden_size} wide, the adapter reads {wanted} (CLIP ViT-H/14)"
            )
        self.clip = network.to(self.base.device)

    def _load_facial(self, tensors: Mapping[str, torch.Tensor]) -> None:
        base = self.base
        source = self.options.checkpoint
        expected = facial_layout(
            self.clip.config.hidden_size, _width(tensors, source), base.unet.config.cross_attention_dim
        )
        weights.check_layout(tensors, expected, source)
        here = {key: value.to(base.device, base.dtype) for key, value in tensors.items()}
        self.resampler = group(here, "visual_projection.")
        self.fuser = group(here, "fuse_module.")

    def _load_unconditional(self) -> None:
        import torch

        # Zeros after the normalisation, a grey that no image has: so the official code does.
        nothing = torch.zeros(1, 3, self.clip.config.image_size, self.clip.config.image_size)
        self.unconditional = self.tokens(np.zeros((1, EMBEDDING), np.float32), nothing)
        self.no_part = self.facial(nothing).expand(PARTS_AT_MOST, -1)


def read(path: Path) -> dict[str, Any]:
    """Return the three groups of a checkpoint.

    Raises:
        UserError: it has others.
    """
    checkpoint = weights.read(path)
    # The repository's own conversion writes this name, its pipeline reads the other.
    groups = {{"image_proj_model": "image_proj"}.get(name, name): group for name, group in checkpoint.items()}
    if set(groups) != set(GROUPS):
        raise UserError(f"{path} is not ConsistentID-v1.bin: it holds {', '.join(sorted(checkpoint)[:4])} ...")
    return groups


def facial_layout(hidden: int, inner: int, width: int) -> dict[str, tuple[int, ...]]:
    """Return the keys and shapes of the group FacialEncoder.

    Args:
        hidden: width of CLIP's hidden states.
        inner: of the resampler.
        width: of the text's tokens.
    """
    return {
        "visual_projection.latents": (1, 1, inner),
        **fusion.perceiver_layout("visual_projection.", hidden, inner, width, 8),
        **fusion.fuser_layout("fuse_module.", width),
    }


def squared(image: Image) -> Image:
    """Return a photo of any shape as the parser reads it, (512, 512, 3) uint8 RGB: bilinear, Pillow."""
    from PIL import Image as Pillow

    return np.asarray(Pillow.fromarray(image).resize((SIDE, SIDE), Pillow.Resampling.BILINEAR))


def found_parts(labels: NDArray[np.uint8]) -> tuple[Label, ...]:
    """Return the label of each part that is in a parsed photo, in the order of labels; of a pair the first.

    >>> found_parts(np.array([[10, 5, 4, 13]], np.uint8))
    (<Label.L_EYE: 4>, <Label.NOSE: 10>, <Label.L_LIP: 13>)
    """
    present = set(np.unique(labels).tolist())
    chosen = (next((label for label in part.labels if label in present), None) for part in PARTS)
    return tuple(sorted(label for label in chosen if label is not None))


def part_mask(labels: NDArray[np.uint8], label: Label) -> NDArray[np.uint8]:
    """Return a part's mask, (h, w) uint8 of 0 and 255: its outer contours filled, holes too."""
    import cv2

    shape = (labels == label).astype(np.uint8)
    contours, _ = cv2.findContours(shape, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return cv2.drawContours(np.zeros_like(shape), contours, -1, 255, cv2.FILLED)


def part_crop(image: Image, labels: NDArray[np.uint8], label: Label) -> Image:
    """Return a photo (H, W, 3) uint8 RGB with all but one part black."""
    from PIL import Image as Pillow

    photo = Pillow.fromarray(image)
    mask = Pillow.fromarray(part_mask(labels, label)).resize(photo.size)
    return np.asarray(Pillow.composite(photo, Pillow.new("RGB", photo.size), mask))


def caption(parts: Sequence[Label]) -> str:
    """Return the clauses of the parts that were found, a marker behind each noun.

    >>> caption([Label.SKIN, Label.NOSE])
    'The person has one face <|facial|>, one nose <|facial|>,'
    """
    named = [part.clause for part in PARTS if set(part.labels) & set(parts)]
    return " ".join(f"{clause} {MARKER}," for clause in named)


def captioned(tokenizer: Any, prompt: str, parts: Sequence[Label]) -> str:
    """Return a prompt with the caption behind it, or before it where both are longer than the encoder reads."""
    details = caption(parts)
    text = f"{prompt}Detail:{details}"
    pieces = [fusion.tokens(tokenizer, piece) for piece in text.split(MARKER)]
    length = sum(map(len, pieces)) + len(pieces) - 1 + 2
    return text if length <= tokenizer.model_max_length else f"Detail:{details} Caption:{prompt}"


def _width(tensors: Mapping[str, torch.Tensor], source: Path) -> int:
    with weights.wrong_base(source):
        return int(tensors["visual_projection.latents"].shape[-1])


def _image(reference: Reference) -> Image:
    if reference.image is None:
        raise UserError(f"item {reference.item!r} has no image: consistentid needs it")
    return reference.image
