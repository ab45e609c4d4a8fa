"""Which GPU a process uses: the first that no other process of this machine has claimed."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.console import say

VISIBLE = "CUDA_VISIBLE_DEVICES"
PAUSE = 0.5
"""Seconds between two looks for a free GPU."""


def physical(device: str, visible: str | None) -> str:
    """Return what the driver calls a GPU.

    Args:
        device: "cuda:1", or "cuda" for the first.
        visible: `CUDA_VISIBLE_DEVICES` of this process; None where it is not set.

    >>> physical("cuda:1", None), physical("cuda:1", "4,6"), physical("cuda", "GPU-1a2b")
    ('1', '6', 'GPU-1a2b')
    """
    number = int(device.partition(":")[2] or 0)
    return visible.split(",")[number].strip() if visible else str(number)


def slots(devices: Sequence[str], visible: str | None) -> list[tuple[str, str]]:
    """Return (GPU, name of its lock) for each device; one that is named twice has two locks.

    >>> slots(["cuda:0", "cuda:1", "cuda:0"], "2,3")
    [('2', 'idbench-gpu-2-0.lock'), ('3', 'idbench-gpu-3-0.lock'), ('2', 'idbench-gpu-2-1.lock')]
    """
    names = [physical(device, visible) for device in devices]
    return [(name, f"idbench-gpu-{name}-{names[:number].count(name)}.lock") for number, name in enumerate(names)]


def claim(devices: Sequence[str], folder: Path | None = None) -> str:
    """Take the first free of some GPUs until this process ends, and make it the only one that the process sees.

    The kernel frees the lock with the process, however it ends. Call it before torch is loaded.

    Args:
        devices: "cuda:0", "cuda:1", …
        folder: of the locks; None: the system's for temporary files.

    Returns:
        The GPU as the driver calls it.
    """
    places = slots(devices, os.environ.get(VISIBLE))
    where = Path(tempfile.gettempdir()) if folder is None else folder
    has_waited = False
    while True:
        for gpu, name in places:
            if _lock(where / name):
                os.environ[VISIBLE] = gpu
                return gpu
        if not has_waited:
            say(f"waiting for a GPU: others use {', '.join(devices)}")
            has_waited = True
        time.sleep(PAUSE)


_HELD: dict[Path, int] = {}
"""Locks of this process, open until it ends."""


def _lock(path: Path) -> bool:
    """Return whether this process has got a lock just now."""
    import fcntl

    # The file may be another user's: a lock needs no right to write. A link is not followed.
    handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _HELD[path] = handle
        return True
    os.close(handle)
    return False
