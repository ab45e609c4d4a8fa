"""CLIP (Radford et al., 2021) with both halves, for prompts and images in one space, and LAION's aesthetic score."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.errors import UserError
from bench.extractors.protocol import Crops
from bench.identity import CONTENT, IDENTITY, RECORDED, Spec, WeightFile
from bench.networks import CLIP_MEAN, CLIP_STD, State, load_state, pixels, require_side, standardise
from bench.runtime import Runtime
from bench.weights import load_renamed

CONTEXT = 77
"""Tokens of a prompt, the first and the last included; a longer one is cut before its last."""

UNUSED = ("logit_scale", "text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")


class ClipText:
    """CLIP's embeddings of images and of prompts. Input RGB, CLIP's mean and std, of the network's own size."""

    role: ClassVar[str] = "clip_text"
    pairwise: ClassVar[bool] = False
    columns: ClassVar[Mapping[str, str]] = {"feature": "clip_text", "aesthetic": "aesthetic"}

    class Options(Spec):
        """Options of CLIP with its text half.

        Attributes:
            weights: folder in Hugging Face layout with both halves and the tokenizer, e.g. of
                `openai/clip-vit-large-patch14`.
            aesthetic: LAION's `sac+logos+ava1-l14-linearMSE.pth`, which goes with ViT-L/14; None: no aesthetic score.
            view: the crop it reads: the middle of the whole image, its shorter side scaled to the network's size.
            batch: images at a time.
        """

        weights: WeightFile
        aesthetic: Annotated[Path | None, CONTENT] = None
        view: Annotated[str, IDENTITY] = "whole224"
        batch: Annotated[int, Field(gt=0), RECORDED] = 8

    def __init__(self, options: Options, runtime: Runtime) -> None:
        from transformers import CLIPModel

        self.network = load_renamed(CLIPModel, options.weights, UNUSED).to(runtime.device)
        self._tokenizer = tokenizer(options.weights)
        self._device = runtime.device
        self._head = (
            None if options.aesthetic is None else affine(load_state(options.aesthetic), str(options.aesthetic))
        )

    def extract(self, crops: Crops) -> Mapping[str, NDArray[np.float32]]:
        """Return the embeddings of (b, S, S, 3) uint8 RGB images, S the network's own size.

        Returns:
            "feature": (b, d) float32, not normalised; with a head also "aesthetic": (b,) float32, about 1 to 10.

        Raises:
            UserError: images of another size.
        """
        import torch

        require_side(crops, int(self.network.config.vision_config.image_size), "CLIP")
        with torch.inference_mode():
            images = standardise(pixels(crops, self._device), CLIP_MEAN, CLIP_STD)
            pooled = self.network.vision_model(pixel_values=images).pooler_output
            feature = self.network.visual_projection(pooled).cpu().numpy()
        return {"feature": feature} | ({} if self._head is None else {"aesthetic": aesthetic(feature, self._head)})

    def texts(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Return the embeddings (n, d) float32 of prompts, not normalised."""
        import torch

        with torch.inference_mode():
            ids = torch.tensor(self.tokens(prompts), device=self._device)
            pooled = self.network.text_model(input_ids=ids).pooler_output
            return self.network.text_projection(pooled).cpu().numpy()

    def tokens(self, prompts: Sequence[str]) -> list[list[int]]:
        """Return 77 token ids of each prompt, as openai/CLIP reads it: HTML entities unescaped, cut before the last."""
        plain = [html.unescape(html.unescape(prompt)).strip() for prompt in prompts]
        ids: list[list[int]] = self._tokenizer(
            plain, padding="max_length", truncation=True, max_length=CONTEXT
        ).input_ids
        return ids


def tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a folder in Hugging Face layout.

    Raises:
        UserError: the folder has none.
    """
    from transformers import CLIPTokenizer

    missing = [name for name in ("vocab.json", "merges.txt") if not (Path(folder) / name).is_file()]
    if missing:
        raise UserError(f"no {' and no '.join(missing)} in {folder}: CLIP needs its tokenizer to read prompts")
    return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)


class Affine(NamedTuple):
    """A linear function of an embedding.

    Attributes:
        weight: (d,) float64.
        bias: what it answers for an embedding of zeros.
    """

    weight: NDArray[np.float64]
    bias: float


def affine(state: State, source: str) -> Affine:
    """Return LAION's head as one affine map: its five linear layers have no activation between them.

    Args:
        state: `layers.N.weight` and `layers.N.bias`; numbers that have none are dropout.
        source: the file, for the message.

    Raises:
        UserError: the layers don't follow one another, or end in more than one number.
    """
    names = sorted((key for key in state if key.startswith("layers.") and key.endswith(".weight")), key=_number)
    if not names:
        raise UserError(f"{source} holds no layers.N.weight; expected LAION's aesthetic head")
    weight, bias = np.eye(state[names[0]].shape[1]), np.zeros(state[names[0]].shape[1])
    for name in names:
        matrix = state[name].double().numpy()
        if matrix.shape[1] != len(weight):
            raise UserError(f"{source}: {name} reads {matrix.shape[1]} numbers, but {len(weight)} come before it")
        weight = matrix @ weight
        bias = matrix @ bias + state[name.replace("weight", "bias")].double().numpy()
    if len(weight) != 1:
        raise UserError(f"{source} answers {len(weight)} numbers, not one")
    return Affine(weight[0], float(bias[0]))


def _number(key: str) -> int:
    return int(key.split(".")[1])


def aesthetic(embeddings: NDArray[np.float32], head: Affine) -> NDArray[np.float32]:
    """Return the scores (b,) of embeddings (b, d), which are normalised first; of zeros, the head's bias."""
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    unit = embeddings / np.where(lengths > 0, lengths, 1)
    return (unit @ head.weight + head.bias).astype(np.float32)
