"""How much memory one sample's activations take, counted on networks of official size without weights. A script.

    python -m tests.perf.activations

Every tensor that a step of the denoising, or the decoding of an image, makes on torch's device "meta" is counted from
its making to its release; no number is computed. What a kernel takes for itself (workspaces, the allocator's gaps) is
not in it.
"""

import weakref

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.perf.full_size import SD_UNET, VAE, XL_COMMON, XL_UP

GUIDED = 2
"""Rows of a sample in the UNet: without and with its condition."""


class Fused(TorchFunctionMode):
    """Attention as the fused kernels do it: nothing but its result is kept."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.nn.functional.scaled_dot_product_attention:
            given = dict(zip(("query", "key", "value"), args, strict=False)) | (kwargs or {})
            return given["query"].new_empty((*given["query"].shape[:-1], given["value"].shape[-1]))
        return function(*args, **(kwargs or {}))


class Counter(TorchDispatchMode):
    """The bytes that live now, and the most that lived together."""

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0
        self.known = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        given = {id(t.untyped_storage()) for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.add(tensor.untyped_storage(), given)
        return result

    def add(self, storage, given):
        if id(storage) in given or id(storage) in self.known:
            return
        self.known.add(id(storage))
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self.drop, id(storage), storage.nbytes())

    def drop(self, key, size):
        self.known.discard(key)
        self.live -= size


def peak(call) -> int:
    """The most bytes that what `call` makes took together."""
    with torch.inference_mode(), Fused(), Counter() as counter:
        call()
    return counter.peak


def network(kind: str, config: dict, dtype: torch.dtype):
    import diffusers

    with torch.device("meta"):
        made = getattr(diffusers, kind).from_config(config)
    return torch.nn.Module.to(made, dtype).eval()  # not the library's own, which warns


def step(
    config: dict, size: tuple[int, int], dtype: torch.dtype = torch.float16, controlnet: dict | None = None
) -> int:
    """Bytes of one sample in one step: both rows of the guidance through the UNet, after its ControlNet if it has one.

    Args:
        config: of the UNet. size: height and width of the image. dtype: of the networks.
        controlnet: its configuration.
    """
    height, width = size
    made = {"device": "meta", "dtype": dtype}
    rows = torch.empty(GUIDED, 4, height // 8, width // 8, **made)
    text = torch.empty(GUIDED, 77, config["cross_attention_dim"], **made)
    moment, sizes = torch.empty((), device="meta"), {}
    if "addition_embed_type" in config:
        sizes = {"text_embeds": torch.empty(GUIDED, 1280, **made), "time_ids": torch.empty(GUIDED, 6, **made)}
    unet = network("UNet2DConditionModel", config, dtype)
    control = controlnet and network("ControlNetModel", controlnet, dtype)
    picture = torch.empty(GUIDED, 3, height, width, **made)

    def call():
        extra = {}
        if control:
            down, middle = control(rows, moment, text, picture, added_cond_kwargs=sizes, return_dict=False)
            extra = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        unet(rows, moment, text, added_cond_kwargs=sizes, **extra, return_dict=False)

    return peak(call)


def decoding(size: tuple[int, int], dtype: torch.dtype = torch.float32) -> int:
    """Bytes of one image in the decoder, which takes images one by one."""
    vae = network("AutoencoderKL", VAE, dtype)
    latent = torch.empty(1, 4, size[0] // 8, size[1] // 8, device="meta", dtype=dtype)
    return peak(lambda: vae.decode(latent, return_dict=False))


FLUX_VAE = {**VAE, "latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}


def flux_step(size: tuple[int, int], text: int, dtype: torch.dtype = torch.bfloat16) -> int:
    """Bytes of one sample in one step of FLUX.1 [dev], which is one pass, with `text` tokens of T5."""
    height, width = size
    tokens = height * width // 256
    made = {"device": "meta", "dtype": dtype}
    transformer = network("FluxTransformer2DModel", {"guidance_embeds": True}, dtype)
    rows, told = torch.empty(1, tokens, 64, **made), torch.empty(1, text, 4096, **made)
    places = torch.empty(tokens, 3, **made), torch.empty(text, 3, **made)
    moment = torch.empty(1, **made)
    return peak(lambda: transformer(rows, told, torch.empty(1, 768, **made), moment, *places, moment))


def flux_decoding(size: tuple[int, int], dtype: torch.dtype = torch.float32) -> int:
    """Bytes of one image in FLUX's decoder."""
    vae = network("AutoencoderKL", FLUX_VAE, dtype)
    latent = torch.empty(1, 16, size[0] // 8, size[1] // 8, device="meta", dtype=dtype)
    return peak(lambda: vae.decode(latent, return_dict=False))


def main() -> None:
    for size, text in (((512, 512), 512), ((1024, 1024), 512), ((1152, 896), 128)):
        tokens = size[0] * size[1] // 256 + text
        for dtype in (torch.bfloat16, torch.float32):
            found = flux_step(size, text, dtype)
            print(
                f"FLUX at {size}, {text} of text, {dtype}: {found / 2**20:.0f} MiB, {found / tokens:.0f} bytes a token"
            )
        found = flux_decoding(size)
        print(
            f"FLUX's decoder at {size} in fp32: {found / 2**20:.0f} MiB, {found / size[0] / size[1]:.0f} bytes a pixel"
        )
    xl = {**XL_COMMON, **XL_UP}
    for dtype in (torch.float16, torch.float32):
        print(dtype)
        print(f"  SD 1.5 at 512 x 512             {step(SD_UNET, (512, 512), dtype) / 2**20:8.0f} MiB")
        print(f"  SD 1.5 at 768 x 512             {step(SD_UNET, (768, 512), dtype) / 2**20:8.0f} MiB")
        print(f"  SDXL at 1024 x 1024             {step(xl, (1024, 1024), dtype) / 2**20:8.0f} MiB")
        print(f"  SDXL with ControlNet, likewise  {step(xl, (1024, 1024), dtype, XL_COMMON) / 2**20:8.0f} MiB")
    for height, width in ((512, 512), (768, 512), (1024, 1024)):
        print(f"decoding {height} x {width} in fp32 {decoding((height, width)) / 2**20:8.0f} MiB")


if __name__ == "__main__":
    main()
