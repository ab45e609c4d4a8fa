"""What the diffusion methods share: options, noise, the guided sampling loop, batches that survive a full memory.

Networks, adapters and schedulers are those of diffusers. The loop is written out because one batch carries samples
of several identities, each with its own noise and condition, which the pipelines' image-prompt arguments do not allow.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from baselines.protocol import Image, Output, Photos, Reference, Request
from bench.errors import UserError
from bench.identity import IDENTITY, RECORDED, Spec

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

Precision = Annotated[Literal["fp32", "fp16", "bf16"], IDENTITY]
Steps = Annotated[int, IDENTITY, Field(ge=1, le=1000)]
Guidance = Annotated[float, IDENTITY, Field(ge=0)]
Scale = Annotated[float, IDENTITY, Field(ge=0)]
Side = Annotated[int | None, IDENTITY, Field(ge=8)]
"""Pixels; None: what the UNet was made for."""
Text = Annotated[str, IDENTITY]
Batch = Annotated[int, RECORDED, Field(ge=1)]
Switch = Annotated[bool, RECORDED]
Attention = Annotated[Literal["auto", "math"], RECORDED]


class SamplerOptions(Spec):
    """The options of every method that samples step by step.

    Attributes:
        steps: steps of the scheduler.
        precision: type of the networks, but for the VAE.
        attention: "auto": torch's choice of kernel; "math": plain matrix products.
    """

    steps: Steps
    precision: Precision = "fp32"
    attention: Attention = "auto"


class DiffusionOptions(SamplerOptions):
    """The options of every method on a UNet.

    Attributes:
        guidance_scale: of classifier-free guidance; none at or below 1.
        width: pixels; None: what the UNet was made for.
        height: likewise.
        vae_precision: type of the VAE.
        batch: samples at a time.
        channels_last: lays the networks out with channels last in memory.
        compile: compiles the networks with torch.
    """

    guidance_scale: Guidance
    width: Side = None
    height: Side = None
    vae_precision: Precision = "fp32"
    batch: Batch = 5
    channels_last: Switch = False
    compile: Switch = False


Key = tuple[Photos, bytes]
"""The photos of a sample, and the embedding of its condition."""
Predict = Callable[[int, "torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""(step, timestep, latents) -> noise; with guidance the rows are [unconditional; conditional]."""


def torch_dtype(precision: str, device: str) -> torch.dtype:
    """Return the torch type of a precision.

    Raises:
        UserError: fp16 on a CPU.
    """
    import torch

    if precision == "fp16" and device == "cpu":
        raise UserError("fp16 networks need a GPU; on a CPU say method.precision=fp32 (fp16 files are upcast)")
    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def placed(network: Any, options: DiffusionOptions, device: str) -> Any:
    """Return a network on its device, in the memory layout and compiled as the options say."""
    import torch

    network = network.to(device)
    if options.channels_last:
        network = network.to(memory_format=torch.channels_last)
    return torch.compile(network) if options.compile else network


def vae_factor(vae: Any) -> int:
    """Return the pixels per latent."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def latent_size(options: DiffusionOptions, unet: Any, vae: Any) -> tuple[int, int]:
    """Return the height and width of the latents.

    Raises:
        UserError: a side is not a multiple of the VAE's factor.
    """
    factor = vae_factor(vae)
    native = unet.config.sample_size * factor
    sides = (options.height or native, options.width or native)
    if any(side % factor for side in sides):
        raise UserError(f"height and width must be multiples of {factor}, not {sides[0]} and {sides[1]}")
    return sides[0] // factor, sides[1] // factor


def check_fit(unet: Any, vae: Any, text_width: int, source: Path) -> None:
    """Check that UNet, VAE and text encoder belong to one base.

    Raises:
        UserError: they do not.
    """
    if unet.config.cross_attention_dim != text_width:
        raise UserError(
            f"{source}: the UNet reads text of {unet.config.cross_attention_dim}, the encoder gives {text_width}"
        )
    if unet.config.in_channels != vae.config.latent_channels:
        raise UserError(
            f"{source}: {unet.config.in_channels} channels into the UNet, {vae.config.latent_channels} in the VAE"
        )


def noise(
    seeds: Sequence[int], channels: int, size: tuple[int, int], device: str
) -> tuple[torch.Tensor, list[torch.Generator]]:
    """Draw start noise, (n, channels, h, w) float32, and the generator of each row, on the CPU whatever the device.

    A row depends on its own seed alone. The generators go on to the schedulers that draw noise at each step.
    """
    import torch

    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    rows = [torch.randn((channels, *size), generator=g, dtype=torch.float32) for g in generators]
    return torch.stack(rows).to(device), generators


def guided(unconditional: torch.Tensor, conditional: torch.Tensor, guidance: float) -> torch.Tensor:
    """Return the rows of a condition as `sample` wants them: both halves with guidance, else the conditional half."""
    import torch

    if guidance <= 1:
        return conditional
    return torch.cat([unconditional.expand_as(conditional), conditional])


def sample(
    scheduler: Any,
    steps: int,
    guidance: float,
    start: tuple[torch.Tensor, list[torch.Generator]],
    predict: Predict,
) -> torch.Tensor:
    """Denoise with classifier-free guidance; none at or below 1, as in diffusers.

    Args:
        scheduler: of diffusers; its arithmetic is in float32 whatever the networks' precision.
        steps: number of inference steps.
        guidance: e = e_uncond + guidance * (e_cond - e_uncond).
        start: noise of unit variance and one generator per row, as from `noise`.
        predict: the networks.

    Returns:
        (n, c, h, w) float32 latents.
    """
    import torch

    latents, generators = start
    scheduler.set_timesteps(steps, device=latents.device)
    latents = latents * scheduler.init_noise_sigma
    draws = {"generator": generators} if "generator" in inspect.signature(scheduler.step).parameters else {}
    for index, timestep in enumerate(scheduler.timesteps):
        rows = torch.cat([latents] * 2) if guidance > 1 else latents
        estimate = predict(index, timestep, scheduler.scale_model_input(rows, timestep)).float()
        if guidance > 1:
            unconditional, conditional = estimate.chunk(2)
            estimate = unconditional + guidance * (conditional - unconditional)
        latents = scheduler.step(estimate, timestep, latents, **draws, return_dict=False)[0]
    return latents


def decode(vae: Any, latents: torch.Tensor) -> list[Output]:
    """Decode latents one at a time, so that memory and the last bit do not depend on the batch."""
    return [to_output(decode_one(vae, row)) for row in latents]


def decode_one(vae: Any, latent: torch.Tensor) -> torch.Tensor:
    """Decode one (c, h, w) latent to an (H, W, 3) float32 image on the CPU, RGB in [0, 1]."""
    scaled = latent[None].to(vae.dtype) / vae.config.scaling_factor
    if vae.config.get("shift_factor") is not None:
        scaled = scaled + vae.config.shift_factor
    decoded = vae.decode(scaled, return_dict=False)[0][0].float()
    return (decoded / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).cpu()


def to_output(image: torch.Tensor) -> Output:
    """Return an (H, W, 3) image in [0, 1] as uint8, or the reason why there is none."""
    if not image.isfinite().all():
        return Output(error="the decoded image is not finite (an overflow: take a wider precision)")
    return Output(image=to_uint8(image.numpy()))


def to_uint8(image: NDArray[np.float32]) -> Image:
    """Return [0, 1] as 0..255, rounded to nearest.

    >>> to_uint8(np.float32([0, 0.5, 1])).tolist()
    [0, 128, 255]
    """
    return (image * 255).round().astype(np.uint8)


def in_batches(
    requests: Sequence[Request], size: int, make: Callable[[Sequence[Request]], list[Output]]
) -> list[Output]:
    """Call `make` with exactly `size` requests at a time; the last batch is padded with its last one."""
    outputs: list[Output] = []
    for begin in range(0, len(requests), size):
        chunk = list(requests[begin : begin + size])
        padded = chunk + chunk[-1:] * (size - len(chunk))
        outputs += halved(padded, make)[: len(chunk)]
    return outputs


def halved(requests: Sequence[Request], make: Callable[[Sequence[Request]], list[Output]]) -> list[Output]:
    """Return `make(requests)`; where memory does not suffice, make them in halves, with the same seeds.

    The outputs' notes then say so.

    Raises:
        UserError: memory does not suffice for one.
    """
    outputs = _within_memory(requests, make)
    if outputs is not None:
        return outputs
    if len(requests) == 1:
        raise UserError("not enough memory for one image; take a narrower precision or a smaller size")
    middle = (len(requests) + 1) // 2
    note = f"out of memory at a batch of {len(requests)}: made with the same seeds in batches of {middle}"
    log.warning(note)
    outputs = halved(requests[:middle], make) + halved(requests[middle:], make)
    return [replace(output, note=output.note or note) for output in outputs]


def _within_memory(
    requests: Sequence[Request], make: Callable[[Sequence[Request]], list[Output]]
) -> list[Output] | None:
    import torch

    try:
        return make(requests)
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
    # Outside of the handler: the traceback kept the failed batch's tensors alive.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def _out_of_memory(error: BaseException) -> bool:
    import torch

    # torch's allocator on the CPU raises a plain RuntimeError, which only its words set apart.
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


@contextmanager
def running(attention: Literal["auto", "math"]) -> Iterator[None]:
    """Run without gradients; attention by torch's choice, or by plain matrix products."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with torch.inference_mode():
        if attention == "auto":
            yield
        else:
            with sdpa_kernel(SDPBackend.MATH):
                yield


def read_control(path: Path) -> Image:
    """Read an image for a ControlNet.

    Raises:
        UserError: not a readable image.
    """
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    try:
        return np.asarray(Pillow.open(path).convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise UserError(f"{path} is not a readable image: {error}") from error


def control_image(image: Image, size: tuple[int, int]) -> torch.Tensor:
    """Return an image for a ControlNet: (1, 3, height, width) float32 RGB in [0, 1], resized as diffusers does."""
    from diffusers.image_processor import VaeImageProcessor
    from PIL import Image as Pillow

    processor = VaeImageProcessor(do_normalize=False)
    return processor.preprocess(Pillow.fromarray(image), height=size[0], width=size[1])


def embedding(request: Request, recogniser: str, size: int) -> NDArray[np.float32]:
    """Return the embedding of the item's own reference, as `embedding_of`."""
    return embedding_of(request.reference, recogniser, size)


def key(request: Request) -> Key:
    """Return what a request's identity may be kept by."""
    given = request.condition.embedding
    return request.photos, b"" if given is None else given.tobytes()


def embeddings(request: Request, recogniser: str, size: int) -> NDArray[np.float32]:
    """Return what a sample is made from, (k, size) float32, raw: its condition's embedding, else its references'.

    Raises:
        UserError: as `embedding_of`.
    """
    given = request.condition.embedding
    if given is not None:
        return check_embedding(given, size, f"item {request.reference.item!r}, sample {request.index}")
    return np.concatenate([embedding_of(reference, recogniser, size) for reference in request.references])


def embedding_of(reference: Reference, recogniser: str, size: int) -> NDArray[np.float32]:
    """Return a reference's embedding, (k, size) float32, raw; k is 1 but for a reference that brings several.

    Raises:
        UserError: the reference has no such embedding, or it is of another size, zero or not finite.
    """
    name = f"item {reference.item!r}" if reference.item else f"photo {reference.photo!r}"
    found = reference.embeddings.get(recogniser)
    if found is None:
        raise UserError(f"{name} has no embedding of {recogniser!r}")
    return check_embedding(found, size, name)


def check_embedding(rows: NDArray[np.float32], size: int, source: str) -> NDArray[np.float32]:
    """Return a (size,) or (k, size) embedding as (k, size) float32.

    Raises:
        UserError: another size, a row of zero norm, or not finite.
    """
    rows = np.atleast_2d(np.asarray(rows, dtype=np.float32))
    if rows.ndim != 2 or rows.shape[1] != size:
        raise UserError(f"{source}: an embedding of {rows.shape[-1]} numbers, this method takes {size}")
    if not np.isfinite(rows).all() or not np.linalg.norm(rows, axis=1).all():
        raise UserError(f"{source}: the embedding is zero or not finite")
    return rows
