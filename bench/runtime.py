"""Where networks run. Nothing here may change a number beyond rounding; all of it is recorded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Runtime:
    """The device ("cpu", "cuda", "cuda:1") and the fixed number of threads of this process."""

    device: str = "cpu"
    threads: int = 1
