"""Where networks run. Nothing here may change a number beyond rounding; all of it is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError

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


def refused(device: str, fault: str) -> UserError:
    """Return the error for a device that cannot be used."""
    return UserError(f"execution.device={device} cannot be used: {fault}; {_FIX}")
