"""Pickles of verification sets: lists of bytes, numbers and flat NumPy arrays.

A pickle is a program. This one may only build such values: its instructions are read before one of them is carried
out, NumPy's own functions are never called, and it cannot ask for more memory than a few times its size.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

import numpy as np
from numpy.typing import NDArray

INSTRUCTIONS = frozenset({
    "PROTO", "FRAME", "MARK", "STOP", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1",
    "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD",
})  # fmt: skip
"""What Python 2 and 3 write for such values in the protocols 2 to 4, and in 5 for those that are no arrays."""
_KEEPS = ("BINPUT", "LONG_BINPUT")
_NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


class Array:
    """A flat NumPy array, or what NumPy pickles as one.

    Attributes:
        values: (n,) its numbers.
        data: the bytes that it was made of.
    """

    def __init__(self) -> None:
        self.values: NDArray[Any] = np.empty(0, np.uint8)
        self.data = b""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, _, data = state
        self.values = _numbers(kind, data)
        self.data = data
        if shape != (len(self.values),):
            raise pickle.UnpicklingError("an array is not flat, or has another size than its bytes")


class _Kind:
    """The type of an array's numbers."""

    def __init__(self, name: str | bytes, *_: Any) -> None:
        self._name = _text(name)
        self._order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._order = _text(state[1])

    def dtype(self) -> np.dtype[Any]:
        """Return NumPy's word for it."""
        if self._name not in _NUMBERS or self._order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("an array holds something else than whole numbers or true and false")
        return np.dtype(self._order + self._name)


def _text(value: Any) -> str:
    """Return a text that Python 2 may have written as bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _numbers(kind: Any, data: Any) -> NDArray[Any]:
    if not isinstance(kind, _Kind) or not isinstance(data, bytes):
        raise pickle.UnpicklingError("an array has no type or no bytes")
    return np.frombuffer(data, kind.dtype())


def _scalar(kind: Any, data: Any) -> Any:
    [number] = _numbers(kind, data)
    return number


def _empty(*_: Any) -> Array:
    return Array()


class _Plain(pickle.Unpickler):
    """Gives a pickle our own functions under the names of NumPy's."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="bytes")
        self._left = len(data)

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("numpy", "dtype"): _Kind,
            ("numpy", "ndarray"): Array,
            ("multiarray", "scalar"): _scalar,
            ("multiarray", "_reconstruct"): _empty,
            ("_codecs", "encode"): self._encode,
        }
        short = {"numpy.core.multiarray": "multiarray", "numpy._core.multiarray": "multiarray"}.get(module, module)
        if (short, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no verification set needs")
        return allowed[short, name]

    def _encode(self, text: str, encoding: str) -> bytes:
        """Make bytes as Python 2 and protocol 2 do; a text that is used again and again would fill the memory."""
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"it asks for the encoding {encoding}")
        self._left -= len(text)
        if self._left < 0:
            raise pickle.UnpicklingError("it makes more bytes than it has")
        return text.encode("latin-1")


def load(data: bytes) -> Any:
    """Return the lists, tuples, bytes, texts, numbers and arrays (`Array`) of a pickle.

    Raises:
        Exception: of almost any kind: the pickle is damaged, or asks for something else.
    """
    for number, (instruction, argument, _) in enumerate(pickletools.genops(data)):
        if instruction.name not in INSTRUCTIONS:
            raise pickle.UnpicklingError(f"it has the instruction {instruction.name}, which no verification set needs")
        # Python makes room for all numbers up to the largest one.
        if instruction.name in _KEEPS and argument is not None and argument > number:
            raise pickle.UnpicklingError(f"it keeps value {argument} after {number} instructions")
    return _Plain(data).load()
