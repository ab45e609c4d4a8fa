"""Which device a run uses: what was asked for, if this machine can use it."""

from __future__ import annotations

import re
from functools import lru_cache

from bench.errors import UserError
from bench.onnx import cuda_fault
from bench.runtime import refused

AUTO = "auto"
"""The first GPU where torch and ONNX Runtime can both use it, else the CPU."""
_DEVICE = re.compile(r"cpu|cuda(:[0-9]+)?|auto")


@lru_cache(maxsize=8)
def usable_device(asked: str) -> str:
    """Return the device that `execution.device` means on this machine.

    Args:
        asked: "cpu", "cuda", "cuda:N" or "auto".

    Raises:
        UserError: there is no such device, or torch cannot use it here. What ONNX Runtime cannot use is refused where
            its first network is loaded (`bench.onnx.open_session`).

    >>> usable_device("cpu")
    'cpu'
    """
    if not _DEVICE.fullmatch(asked):
        raise UserError(f"execution.device={asked!r}; allowed: cpu, cuda, cuda:0, cuda:1, …, auto")
    if asked == "cpu":
        return asked
    if asked == AUTO:
        return "cpu" if why_not_cuda("cuda") else "cuda"
    if fault := _torch_fault(asked):
        raise refused(asked, fault)
    return asked


@lru_cache(maxsize=8)
def why_not_cuda(device: str) -> str:
    """Return why a GPU cannot be used by torch or by ONNX Runtime; "" where both can use it."""
    return _torch_fault(device) or cuda_fault(device)


def _torch_fault(device: str) -> str:
    import torch

    if not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no GPU here"
    count = torch.cuda.device_count()
    if int(device.partition(":")[2] or 0) >= count:
        return f"torch finds {count} GPU{'s' if count > 1 else ''} here, cuda:0 to cuda:{count - 1}"
    return ""


def gpus() -> list[str]:
    """Return the GPUs that torch sees here: "cuda:0", "cuda:1", …"""
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
