"""ONNX Runtime: sessions on the device and with the threads that the run fixed, and batches as a file wants them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.runtime import Runtime, refused

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
IDENTITY_MODEL = (
    "08083a370a100a017812017922084964656e746974791201675a0f0a0178120a"
    "0a08080112040a020801620f0a0179120a0a08080112040a0208014202100d"
)
"""An ONNX file that computes y = x for one float, in hex: a session on it shows whether a provider starts."""


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

    ONNX Runtime passes over a GPU that it cannot use; here that is an error, so that what is recorded is true.

    Raises:
        UserError: no such file, not an ONNX network, or ONNX Runtime cannot use the device.
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
        session = onnxruntime.InferenceSession(str(path), options, providers=providers(runtime.device))
    except known as error:
        raise UserError(f"{path} is not an ONNX network that can be run: {str(error).splitlines()[0]}") from error
    if runtime.device != "cpu" and CUDA not in session.get_providers():
        raise refused(runtime.device, cuda_fault(runtime.device) or f"ONNX Runtime does not run {path} on it")
    return session


def cuda_fault(device: str) -> str:
    """Return why ONNX Runtime cannot use a GPU; "" where a session on it starts."""
    import onnxruntime

    version = f"ONNX Runtime {onnxruntime.__version__}"
    if CUDA not in onnxruntime.get_available_providers():
        return f"{version} is a build for the CPU"
    _find_cuda(device)
    options = onnxruntime.SessionOptions()
    # Its own account of what failed is several lines long.
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(bytes.fromhex(IDENTITY_MODEL), options, providers=providers(device))
    return "" if CUDA in session.get_providers() else f"{version} is built for it, but does not start on it"


def _find_cuda(device: str) -> None:
    """Load the CUDA libraries that torch brought along, which ONNX Runtime does not find by itself."""
    import onnxruntime

    if device.startswith("cuda") and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()


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
