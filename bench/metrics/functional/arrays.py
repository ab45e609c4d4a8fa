"""The types of arrays that metrics pass around."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
"""Numbers of rows."""
Mask = NDArray[np.bool_]
