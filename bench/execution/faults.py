"""Whose fault an error is: an image's or a method's, which is a row, or the machine's, which never is."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator

_OF_MACHINE = {
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EROFS,
    errno.ENODEV, errno.ENXIO, errno.EREMOTEIO if hasattr(errno, "EREMOTEIO") else errno.EIO,
}  # fmt: skip
"""What the system says of a disk, a device or memory that another machine may have."""
_OF_TORCH = ("AcceleratorError", "OutOfMemoryError")
"""torch's classes for a GPU that failed, and for one without memory."""


def is_machine_fault(error: BaseException) -> bool:
    """Return whether an error, or what it was raised from, is the machine's: another process may do better.

    So are: no memory, on the CPU or the GPU; a full disk, an I/O error, a stale file handle; any error after which
    the GPU of this process does not answer.

    >>> is_machine_fault(MemoryError()), is_machine_fault(OSError(errno.EIO, "Input/output error"))
    (True, True)
    >>> is_machine_fault(ValueError("no face")), is_machine_fault(PermissionError(errno.EACCES, "Permission denied"))
    (False, False)
    """
    return any(_is_of_machine(one) for one in _chain(error)) or _gpu_is_lost()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_of_machine(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in _OF_MACHINE
    torch = sys.modules.get("torch")
    classes = tuple(getattr(torch, name) for name in _OF_TORCH if hasattr(torch, name))
    return isinstance(error, (MemoryError, *classes))


def _gpu_is_lost() -> bool:
    """Return whether this process has used a GPU that does not answer any more.

    A CUDA error may reach Python as a plain RuntimeError, of torch, cuDNN or ONNX Runtime. After one that spoils the
    process, every later call fails.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False
