"""Where networks run. Nothing here may change a number beyond rounding; all of it is recorded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Runtime:
    """What a part may know of the run around it.

    Attributes:
        device: "cpu", "cuda", "cuda:1".
        threads: the fixed number of threads of this process.
        prompts: texts that requests will carry, as far as they are known: a method may encode them and let its text
            encoders go before it loads the rest. Others may follow all the same.
    """

    device: str = "cpu"
    threads: int = 1
    prompts: tuple[str, ...] = ()
