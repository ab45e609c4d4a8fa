"""What a run of the kill loop imports; the server of its processes does so once, for all of them."""

import cv2  # noqa: F401
import facexlib.parsing  # noqa: F401
import insightface  # noqa: F401
import lpips  # noqa: F401
import scipy.stats  # noqa: F401
import torch  # noqa: F401

import tests.guard.world  # noqa: F401
