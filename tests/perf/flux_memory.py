"""What the methods on FLUX.1 [dev] take on a GPU, by their official sizes: the table of docs/methods/flux.md. A script.

    python -m tests.perf.flux_memory

Weights are counted on torch's device "meta"; activations are those of `python -m tests.perf.activations`. Nothing of it
was measured on a GPU.
"""

import math

import torch

from baselines import flux, infiniteyou, pulid_flux, withanyone
from tests.perf.activations import FLUX_VAE, network

T5 = 4_762_310_656
"""Numbers of T5-XXL's encoder in FLUX.1-dev (9.5 GB in bf16)."""
EVA, BISENET, SIGLIP = 304_432_832, 13_300_416, 92_930_304
"""Numbers of EVA02-CLIP-L-336's image side, of BiSeNet, of SigLIP base's image side: kept in fp32."""
CARDS = (24, 48, 80, 141)
"""GB."""


def count(kind: str, config: dict) -> int:
    return sum(p.numel() for p in network(kind, config, torch.bfloat16).parameters())


def numbers(shapes: dict) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def methods() -> dict[str, tuple[type[flux.FluxOptions], int]]:
    """Name -> its options and the bytes of its own networks in bf16 (fp32 where they are kept so)."""
    control = count("FluxControlNetModel", {"num_layers": 4, "num_single_layers": 10, "guidance_embeds": True})
    pulid = numbers(pulid_flux.layout(pulid_flux.Sizes()))
    resampler = numbers(infiniteyou.layout(infiniteyou.Sizes()))
    return {
        "PuLID-FLUX": (pulid_flux.PuLIDFluxOptions, 2 * pulid + 4 * (EVA + BISENET)),
        "InfiniteYou": (infiniteyou.InfiniteYouOptions, 2 * control + 4 * resampler),
        "WithAnyone": (withanyone.WithAnyoneOptions, 2 * numbers(withanyone.layout(withanyone.Sizes())) + 4 * SIGLIP),
    }


def row(name: str, kind: type[flux.FluxOptions], extra: int) -> str:
    """A row of the table: what one image takes, and the largest batch on each card (with offload in parentheses)."""
    given = {name: "." for name, field in kind.model_fields.items() if field.is_required()}
    given |= {"precision": "bf16"} | ({"siglip": "."} if "siglip" in kind.model_fields else {})
    bytes_ = 2 * count("FluxTransformer2DModel", {"guidance_embeds": True})
    vae = count("AutoencoderKL", FLUX_VAE)
    options = kind(**given)
    whole = flux.budget(options, T5, bytes_, vae, extra)
    layers = flux.budget(
        options, T5, flux.OFFLOADED, vae, min(extra, flux.OFFLOADED) if name == "InfiniteYou" else extra
    )
    cells = [cell(whole, layers, card * 10**9) for card in CARDS]
    size = f"{options.width} × {options.height}"
    return f"| {name} | {size} | {whole.peak(1) / 1e9:.0f} | {layers.peak(1) / 1e9:.0f} | {' | '.join(cells)} |"


def cell(whole: flux.Memory, layers: flux.Memory, card: int) -> str:
    fits = largest(whole, card)
    return str(fits) if fits else f"{largest(layers, card)} with offload"


def largest(memory: flux.Memory, card: int) -> int:
    """The largest batch that a card holds, at most 20."""
    return max((batch for batch in range(1, 21) if memory.peak(batch) <= card), default=0)


def table() -> list[str]:
    return [row(name, *more) for name, more in methods().items()]


if __name__ == "__main__":
    print("\n".join(table()))
