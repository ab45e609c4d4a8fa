"""ONNX Runtime: sessions on the device and with the threads that the run fixed, and batches as a file wants them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.runtime import Runtime

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


def providers(device: str) -> list[tuple[str, dict[str, str]]]:
    """Return what to ask of ONNX Runtime for a device; never its own choice.

    TF32 is off, since it changes numbers in the fourth digit.

    >>> [name for name, _ in providers("cuda:1")]
    ['CUDAExecutionProvider', 'CPUExecutionProvider']
    """
    name, _, index = device.partition(":")
    gpu = [(CUDA, {"device_id": index or "0", "use_tf32": "0"})] if name == "cuda" else []
    return [*gpu, (CPU, {})]


def open_session(path: Path, runtime: Runtime) -> InferenceSession:
    """Open a session on a local file.

    A GPU that ONNX Runtime cannot use is passed over with its warning only: see `active_providers`.

    Raises:
        UserError: no such file, or not an ONNX network.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    if not Path(path).is_file():
        raise UserError(f"no ONNX file at {path}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = runtime.threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    _find_cuda(runtime.device)
    known = (errors.Fail, errors.InvalidProtobuf, errors.InvalidGraph, errors.InvalidArgument, errors.NotImplemented)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers(runtime.device))
    except known as error:
        raise UserError(f"{path} is not an ONNX network that can be run: {str(error).splitlines()[0]}") from error


def _find_cuda(device: str) -> None:
    """Load the CUDA libraries that torch brought along, which ONNX Runtime does not find by itself."""
    import onnxruntime

    if device.startswith("cuda") and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()


def active_providers(session: InferenceSession) -> list[str]:
    """Return the providers that a session really uses, the preferred first: without CUDA, it fell back to the CPU."""
    return list(session.get_providers())


def fixed(size: Any) -> int | None:
    """Return a dimension as a file declares it: its size, or None where it is free.

    >>> fixed(112), fixed("batch"), fixed(None)
    (112, None, None)
    """
    return size if isinstance(size, int) and size > 0 else None


def run(session: InferenceSession, blob: NDArray[np.float32], batch: int) -> NDArray[np.float32]:
    """Return the first output for every row of `blob`, at the file's own batch where that is fixed, else at `batch`.

    Batches are filled up with zeros, so that every one has the same size.

    Args:
        session: of a network with one input.
        blob: (n, ...) float32.
        batch: rows at a time.
    """
    source = session.get_inputs()[0]
    size = fixed(source.shape[0]) or batch
    rows = -(-len(blob) // size) * size
    full = np.concatenate([blob, np.zeros((rows - len(blob), *blob.shape[1:]), np.float32)])
    name = session.get_outputs()[0].name
    parts = [session.run([name], {source.name: full[start : start + size]})[0] for start in range(0, rows, size)]
    return np.concatenate(parts)[: len(blob)]
