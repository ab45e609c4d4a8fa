"""Self-attention that sees a reference image too, as Arc2Face's reference adapter of 2025 has it.

A second UNet reads the reference's latents once and remembers what goes into its self-attention layers. In the
denoising UNet the same layers take keys and values from their own tokens and the remembered ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SELF = ".attn1.processor"
"""How a self-attention's processor is named in a UNet of diffusers."""


class Seeing:
    """An attention processor whose last rows, those with the condition, may see remembered tokens.

    Attributes:
        inner: the processor that it replaces.
        memory: (n, tokens, width) of the last n rows; None: it does what `inner` does.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.memory: torch.Tensor | None = None

    def __call__(self, attention: Any, hidden_states: torch.Tensor, *more: Any, **named: Any) -> torch.Tensor:
        """Return the attention of tokens (rows, tokens, width)."""
        import torch

        if self.memory is None:
            return self.inner(attention, hidden_states, *more, **named)
        plain = len(hidden_states) - len(self.memory)
        rows = hidden_states[plain:]
        seen = torch.cat([rows, self.memory.to(rows.dtype)], dim=1)
        found = self.inner(attention, rows, encoder_hidden_states=seen)
        before = [self.inner(attention, hidden_states[:plain])] if plain else []
        return torch.cat([*before, found])


def install(unet: Any) -> dict[str, Seeing]:
    """Put processors that can see a memory into a UNet's self-attention layers; returns them by layer."""
    processors = dict(unet.attn_processors)
    found = {name: Seeing(processor) for name, processor in processors.items() if name.endswith(SELF)}
    unet.set_attn_processor(processors | found)
    return {name.removesuffix(".processor"): processor for name, processor in found.items()}


def remember(unet: Any, latents: torch.Tensor, text: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what goes into each self-attention layer, (n, tokens, width), in one pass at timestep 0.

    Args:
        unet: the second UNet.
        latents: (n, c, h, w) of the reference images.
        text: (n, tokens, width).
    """
    memories: dict[str, torch.Tensor] = {}
    layers = {name.removesuffix(".processor") for name in unet.attn_processors if name.endswith(SELF)}
    handles = [unet.get_submodule(name).register_forward_pre_hook(_keep(memories, name)) for name in layers]
    try:
        unet(latents.to(unet.dtype), 0, text.to(unet.dtype), return_dict=False)
    finally:
        for handle in handles:
            handle.remove()
    return memories


def _keep(memories: dict[str, torch.Tensor], name: str) -> Any:
    def hook(_layer: Any, inputs: Sequence[Any]) -> None:
        memories[name] = inputs[0]

    return hook


@contextmanager
def seeing(processors: Mapping[str, Seeing], memories: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Let a UNet's layers see what was remembered, for the length of a sampling."""
    for name, processor in processors.items():
        processor.memory = memories.get(name)
    try:
        yield
    finally:
        for processor in processors.values():
            processor.memory = None
