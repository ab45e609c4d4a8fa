"""What Python's `zipfile` and its decoders raise on damaged, encrypted or unsupported archives."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib

DAMAGE = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError,
    IndexError, OverflowError, RuntimeError,
)  # fmt: skip
"""An entry without a name is an `IndexError`, `RuntimeError` covers `NotImplementedError`.

An `OSError` may also come from the disk.
"""

PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How entries may be packed. The other methods unfold a block at once, whatever size the entry claims: a kilobyte of
bzip2 can become gigabytes in memory."""
