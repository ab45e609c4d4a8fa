"""How the renderer's inner loops are compiled: strict arithmetic, no global lock; entry points are kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile an entry point at its first call; the machine code is cached next to the file.

    The cache notices changes of the entry point's own file only: after a change of a helper in another file delete
    `bench/mini/world/__pycache__`.
    """
    done: F = njit(cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True)(function)
    return done


def helper(function: F) -> F:
    """Compile a function that compiled functions call and Python cannot; it is cached as a part of them."""
    done: F = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    return done
