"""Models of diffusers that edit a reference image by an instruction: FLUX.2 klein, FLUX.1 Kontext, Qwen-Image-Edit.

They take the photo itself and no embedding. Their pipelines are diffusers' own; ours are the instruction, the size, and
the proof that every weight arrived.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from baselines import diffusion, faces, flux
from baselines.flux import TransformerOptions
from baselines.protocol import Image, Output, Photos, Reference, Request
from bench import weights
from bench.conditions.kinds import ConditionKind
from bench.errors import UserError
from bench.identity import CONTENT, IDENTITY, Inside
from bench.runtime import Runtime

if TYPE_CHECKING:
    import torch

INDEX = "model_index.json"
PARTS = (
    INDEX,
    "processor",
    "scheduler",
    "text_encoder",
    "text_encoder_2",
    "tokenizer",
    "tokenizer_2",
    "transformer",
    "vae",
)


class ReferenceEditOptions(TransformerOptions):
    """What the three pipelines have in common.

    Attributes:
        pipeline: which of them.
        model: its folder in the layout of diffusers.
        view: what it is shown: the whole photo, or the aligned face (facexlib's 512 crop).
        class_word: what the prompt says for the person.
        named: what is put in its place, so that the prompt speaks of the reference. A prompt without `class_word` is
            an instruction already and stays as it is.
        negative_prompt: the text of the second pass of Qwen-Image-Edit, which without one makes no second pass.
        guidance_scale: true guidance of Qwen-Image-Edit, an input of the transformer of the others.
        precision: of all networks.
    """

    pipeline: Annotated[Literal["flux2_klein", "flux_kontext", "qwen_image_edit_plus"], IDENTITY]
    model: Annotated[Path, CONTENT, Inside(PARTS)]
    view: Annotated[Literal["photo", "face"], IDENTITY] = "photo"
    class_word: diffusion.Text = "a person"
    named: diffusion.Text = "this person"
    negative_prompt: diffusion.Text = " "
    guidance_scale: diffusion.Guidance

    @property
    def needs(self) -> frozenset[str]:
        """Return what these options need of a reference."""
        return frozenset({"image"} if self.view == "photo" else {"image", "face"})

    @property
    def accepts(self) -> frozenset[ConditionKind]:
        """Return the kinds of conditions that the pipeline follows: references where it reads several images."""
        return frozenset({ConditionKind.REFERENCES} if KINDS[self.pipeline].reads_several else ())


@dataclass(frozen=True)
class Kind:
    """A pipeline of diffusers.

    Attributes:
        name: of its class.
        reads_several: whether it takes a list of images.
        arguments: what it is called with in addition to image, prompt, size, steps and generator.
    """

    name: str
    reads_several: bool
    arguments: Callable[[ReferenceEditOptions], Mapping[str, Any]]


KINDS = {
    "flux2_klein": Kind("Flux2KleinPipeline", True, lambda o: {"guidance_scale": o.guidance_scale}),
    # Without max_area the size that is asked for is scaled to a megapixel.
    "flux_kontext": Kind(
        "FluxKontextPipeline", False, lambda o: {"guidance_scale": o.guidance_scale, "max_area": o.width * o.height}
    ),
    # Without a negative prompt the guidance is silently off.
    "qwen_image_edit_plus": Kind(
        "QwenImageEditPlusPipeline",
        True,
        lambda o: {"true_cfg_scale": o.guidance_scale, "negative_prompt": o.negative_prompt},
    ),
}


class ReferenceEdit:
    """The method; see the module."""

    Options = ReferenceEditOptions

    def __init__(self, options: ReferenceEditOptions, runtime: Runtime) -> None:
        self.options = options
        weights.demand(options.model, (INDEX,), options.pipeline)
        dtype = diffusion.torch_dtype(options.precision, runtime.device)
        pipeline = load(options.model, KINDS[options.pipeline].name, dtype)
        self.pipeline = flux.placed(pipeline, options.offload, runtime.device)

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """Return one output per request, made one by one.

        Raises:
            UserError: an image or face is missing.
        """
        shown = {r.photos: [self._shown(reference) for reference in r.references] for r in requests}
        with diffusion.running(self.options.attention):
            return diffusion.in_batches(requests, 1, lambda batch: [self._make(batch[0], shown)])

    def _make(self, request: Request, shown: Mapping[Photos, Sequence[Image]]) -> Output:
        import torch
        from PIL import Image as Pillow

        options = self.options
        images = [Pillow.fromarray(image) for image in shown[request.photos]]
        image = self.pipeline(
            image=images if len(images) > 1 else images[0],
            prompt=instruction(request.prompt, options.class_word, options.named),
            height=options.height,
            width=options.width,
            num_inference_steps=options.steps,
            generator=torch.Generator("cpu").manual_seed(request.seed),
            output_type="np",
            **KINDS[options.pipeline].arguments(options),
        ).images[0]
        return diffusion.to_output(torch.from_numpy(np.asarray(image, np.float32)))

    def _shown(self, reference: Reference) -> Image:
        if self.options.view == "face":
            return faces.facexlib_face(reference, "view=face")
        if reference.image is None:
            raise UserError(f"item {reference.item!r} has no image: reference_edit needs it")
        return reference.image


def instruction(prompt: str, class_word: str, named: str) -> str:
    """Return a prompt that speaks of the reference.

    >>> instruction("photo of a person, smiling", "a person", "this person")
    'photo of this person, smiling'
    >>> instruction("make her smile", "a person", "this person")
    'make her smile'
    """
    return re.sub(rf"\b{re.escape(class_word)}\b", lambda _: named, prompt)


def load(folder: Path, name: str, dtype: torch.dtype) -> Any:
    """Return a pipeline of diffusers from its folder, on the CPU, with proof that every weight arrived.

    Args:
        folder: in the layout of diffusers.
        name: of the pipeline's class, which the folder must be made for.
        dtype: of all networks.

    Raises:
        UserError: a folder of another pipeline, or a part that is missing or wrong.
    """
    import diffusers

    index = weights.config(folder, INDEX)
    if index.get("_class_name") != name:
        raise UserError(f"{folder} is made for {index.get('_class_name')}, not for {name}")
    if not hasattr(diffusers, name):
        raise UserError(f"diffusers {diffusers.__version__} has no {name}; `pip install -U diffusers` brings it")
    given = {key: value for key, value in index.items() if not key.startswith("_")}
    parts = {key: _part(folder / key, value, dtype) for key, value in given.items() if isinstance(value, list)}
    settings = {key: value for key, value in given.items() if not isinstance(value, list)}
    with weights.wrong_base(folder):
        pipeline = getattr(diffusers, name)(**parts, **settings)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _part(folder: Path, described: Sequence[str | None], dtype: torch.dtype) -> Any:
    """Return one part of a pipeline, described by library and class; None where the folder's index leaves it out."""
    import diffusers
    import torch
    import transformers

    library, name = described
    if library is None or name is None:
        return None
    kind = getattr({"diffusers": diffusers, "transformers": transformers}.get(library), name, None)
    if kind is None:
        raise UserError(f"{folder}: neither diffusers nor transformers of these versions has {library}.{name}")
    if not (isinstance(kind, type) and issubclass(kind, torch.nn.Module)):
        return _without_weights(kind, folder)
    if library == "diffusers":
        return weights.load(kind, folder, dtype)
    return weights.load_renamed(kind, folder, dtype=dtype)


def _without_weights(kind: Any, folder: Path) -> Any:
    try:
        return kind.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{folder} does not load as {kind.__name__}: {weights.cause(error)}") from error
