"""What the methods on FLUX.1 [dev] take on a GPU, counted at their official sizes: the table of docs/methods/flux.md.

    python -m tests.perf.flux_memory

Nothing is loaded or computed: weights and activations are counted on torch's device "meta", every tensor from its
making to its release. What a kernel takes for itself (workspaces, the allocator's gaps) is not in it.
"""

import math
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from baselines import flux, infiniteyou, pulid_flux, withanyone
from tests.perf.full_size import VAE

FLUX_VAE = {**VAE, "latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}
TRANSFORMER = ("FluxTransformer2DModel", {"guidance_embeds": True})
FEW_BLOCKS = {"num_layers": 2, "num_single_layers": 2}
"""A block's tensors are gone when the next has its own, so a few blocks show what all take."""
CONTROLNET = ("FluxControlNetModel", {"num_layers": 4, "num_single_layers": 10, "guidance_embeds": True})
T5 = 4_762_310_656
"""Numbers of T5-XXL's encoder in FLUX.1-dev (9.5 GB in bf16)."""
EVA = 304_432_832
BISENET = 13_300_416
SIGLIP = 92_930_304
"""Numbers of EVA02-CLIP-L-336's image side, of BiSeNet, of SigLIP base's image side: kept in fp32."""
CARDS = (24, 48, 80, 141)
"""GB."""
HALF = 2
FULL = 4
"""Bytes of a number in bf16 and fp32."""


class Method(NamedTuple):
    """A method on FLUX.

    Attributes:
        options: its spec.
        own: bytes of its own networks that stay on the device.
        layered: bytes of its own networks that go there layer by layer with `offload=sequential`.
    """

    options: type[flux.FluxOptions]
    own: int
    layered: int = 0


class Fused(TorchFunctionMode):
    """Attention as the fused kernels do it: only its result is kept."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.nn.functional.scaled_dot_product_attention:
            given = dict(zip(("query", "key", "value"), args, strict=False)) | (kwargs or {})
            return given["query"].new_empty((*given["query"].shape[:-1], given["value"].shape[-1]))
        return function(*args, **(kwargs or {}))


class Counter(TorchDispatchMode):
    """The bytes that live now, and the most that lived together."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        given = {id(t.untyped_storage()) for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.add(tensor.untyped_storage(), given)
        return result

    def add(self, storage: torch.UntypedStorage, given: set[int]) -> None:
        if id(storage) in given or id(storage) in self.known:
            return
        self.known.add(id(storage))
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self.drop, id(storage), storage.nbytes())

    def drop(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.live -= size


def peak(call: Callable[[], Any]) -> int:
    """Return the most bytes that the tensors made by `call` took at a time."""
    with torch.inference_mode(), Fused(), Counter() as counter:
        call()
    return counter.peak


def network(kind: str, config: dict[str, Any], dtype: torch.dtype = torch.bfloat16) -> Any:
    import diffusers

    with torch.device("meta"):
        made = getattr(diffusers, kind).from_config(config)
    # The library's own `to` warns.
    return torch.nn.Module.to(made, dtype).eval()


def count(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())


def numbers(shapes: dict[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def step(transformer: Any, options: flux.FluxOptions) -> int:
    """Return the bytes of one sample in one step, without what a method adds between the blocks."""
    tokens = options.width * options.height // 256
    made = {"device": "meta", "dtype": torch.bfloat16}
    rows = torch.empty(1, tokens, 64, **made)
    text = torch.empty(1, options.text_length, 4096, **made)
    pooled = torch.empty(1, 768, **made)
    moment = torch.empty(1, **made)
    places = (torch.empty(tokens, 3, **made), torch.empty(options.text_length, 3, **made))
    return peak(lambda: transformer(rows, text, pooled, moment, *places, moment))


def decoding(vae: Any, options: flux.FluxOptions) -> int:
    """Return the bytes of one image in the decoder, in fp32."""
    latent = torch.empty(1, 16, options.height // 8, options.width // 8, device="meta")
    return peak(lambda: vae.decode(latent, return_dict=False))


def methods() -> dict[str, Method]:
    """Return each method with its own networks: bf16, and fp32 where they are kept so."""
    control = HALF * count(network(*CONTROLNET))
    pulid = HALF * numbers(pulid_flux.layout(pulid_flux.Sizes())) + FULL * (EVA + BISENET)
    resampler = FULL * numbers(infiniteyou.layout(infiniteyou.Sizes()))
    adapter = HALF * numbers(withanyone.layout(withanyone.Sizes())) + FULL * SIGLIP
    return {
        "PuLID-FLUX": Method(pulid_flux.PuLIDFluxOptions, pulid),
        "InfiniteYou": Method(infiniteyou.InfiniteYouOptions, resampler, control),
        "WithAnyone": Method(withanyone.WithAnyoneOptions, adapter),
    }


def defaults(kind: type[flux.FluxOptions]) -> flux.FluxOptions:
    """Return a method's options with its defaults; its files need not be there."""
    required = [name for name, field in kind.model_fields.items() if field.is_required()]
    return kind(**dict.fromkeys([*required, *({"siglip"} & set(kind.model_fields))], "."))


def row(name: str, method: Method, weights: int, transformer: Any, vae: Any) -> str:
    """Return a row of the table: GB of one image, and how each card holds it; `weights` counts the transformer's."""
    options = defaults(method.options)
    activations = max(step(transformer, options), decoding(vae, options))
    layers = FULL * count(vae) + method.own + activations
    texts = HALF * T5
    whole = max(texts, HALF * weights + method.layered + layers)
    offloaded = max(texts, layers)
    cells = [held(whole, offloaded, card * 10**9) for card in CARDS]
    size = f"{options.width} × {options.height}"
    return f"| {name} | {size} | {whole / 1e9:.1f} | {offloaded / 1e9:.1f} | {' | '.join(cells)} |"


def held(whole: int, offloaded: int, card: int) -> str:
    """Say how a card of so many bytes holds a method.

    >>> held(30, 10, 40), held(30, 10, 20), held(30, 10, 5)
    ('yes', 'with offload', 'no')
    """
    if whole < card:
        return "yes"
    return "with offload" if offloaded < card else "no"


def table() -> list[str]:
    """Return the rows of the table."""
    kind, config = TRANSFORMER
    weights = count(network(kind, config))
    transformer = network(kind, config | FEW_BLOCKS)
    vae = network("AutoencoderKL", FLUX_VAE, torch.float32)
    return [row(name, method, weights, transformer, vae) for name, method in methods().items()]


if __name__ == "__main__":
    print("\n".join(table()))
