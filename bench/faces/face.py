"""One detected face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Face:
    """A face in an image, in pixel coordinates (x right, y down, pixel centres at integers).

    Attributes:
        box: (4,) float32, x1, y1, x2, y2.
        score: the detector's confidence, 0 to 1.
        keypoints: (5, 2) float32 in image order: left eye, right eye, nose, left and right mouth corner
            ("left" is the viewer's left).
        landmarks: (68, 2) float32 in the iBUG order, or None where no landmark network ran.
    """

    box: NDArray[np.float32]
    score: float
    keypoints: NDArray[np.float32]
    landmarks: NDArray[np.float32] | None = None

    @property
    def area(self) -> float:
        """Return the area of the box in square pixels."""
        width, height = self.box[2:] - self.box[:2]
        return float(max(width, 0) * max(height, 0))

    @property
    def size(self) -> float:
        """Return the side of a square of the box's area, in pixels."""
        return float(np.sqrt(self.area))

    @property
    def roll(self) -> float:
        """Return the angle of the line from left to right eye, in degrees, clockwise, -180 to 180; 0 is upright.

        >>> points = np.array([[10, 10], [10, 30], [0, 20], [5, 10], [5, 30]], np.float32)
        >>> Face(np.array([0, 0, 40, 40], np.float32), 1.0, points).roll
        90.0
        """
        across, down = self.keypoints[1] - self.keypoints[0]
        return float(np.degrees(np.arctan2(down, across)))
