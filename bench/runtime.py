"""Where networks run. Nothing here may change a number beyond rounding; all of it is recorded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bench.errors import UserError

AUTO = "auto"
"""The first GPU where torch and ONNX Runtime can both use it, else the CPU."""
_DEVICE = re.compile(r"cpu|cuda(:[0-9]+)?|auto")
_FIX = "install what uses a GPU (python -m pip install 'idbench[gpu]'; README), or say execution.device=cpu"


@dataclass(frozen=True)
class Runtime:
    """What a part may know of the run around it.

    Attributes:
        device: "cpu", "cuda", "cuda:1".
        threads: the fixed number of threads of this process.
        prompts: texts that requests will carry, as far as they are known: a method may encode them and let its text
            encoders go before it loads the rest. Others may follow all the same.
        log: folder for what a method wants a person to read later; None outside of a run.
    """

    device: str = "cpu"
    threads: int = 1
    prompts: tuple[str, ...] = ()
    log: Path | None = None


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


def refused(device: str, fault: str) -> UserError:
    """Return the error for a device that cannot be used."""
    return UserError(f"execution.device={device} cannot be used: {fault}; {_FIX}")


@lru_cache(maxsize=8)
def why_not_cuda(device: str) -> str:
    """Return why a GPU cannot be used by torch or by ONNX Runtime; "" where both can use it."""
    from bench.onnx import cuda_fault

    return _torch_fault(device) or cuda_fault(device)


def _torch_fault(device: str) -> str:
    import torch

    if not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no GPU here"
    count = torch.cuda.device_count()
    if int(device.partition(":")[2] or 0) >= count:
        return f"torch finds {count} GPU{'s' if count > 1 else ''} here, cuda:0 to cuda:{count - 1}"
    return ""
