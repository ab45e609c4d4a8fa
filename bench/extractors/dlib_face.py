"""dlib's recogniser (King, 2017): a ResNet of 29 layers whose weights belong to nobody (CC0)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.errors import UserError
from bench.extractors.protocol import Crops, Distance
from bench.extractors.recognition import with_norm
from bench.faces.chips import SIDE, package
from bench.identity import IDENTITY, RECORDED, Spec, WeightFile
from bench.networks import require_side
from bench.runtime import Runtime


class DlibFace:
    """dlib's network. Input RGB, 150, grey levels. It runs on the CPU, on one thread.

    Two photos show one person where their embeddings are less than 0.6 apart. The cosine of two strangers is mostly
    above 0.8: it must not be used.
    """

    role: ClassVar[str] = "recognition"
    pairwise: ClassVar[bool] = False
    distance: ClassVar[Distance] = "euclidean"

    class Options(Spec):
        """Options of dlib's recogniser.

        Attributes:
            weights: `dlib_face_recognition_resnet_model_v1.dat`.
            view: the crop it reads.
            trained_on: the training set.
            batch: crops at a time.
        """

        weights: WeightFile
        view: Annotated[str, IDENTITY] = "dlib150"
        trained_on: Annotated[str, RECORDED] = ""
        batch: Annotated[int, Field(gt=0), RECORDED] = 8

    def __init__(self, options: Options, runtime: Runtime) -> None:
        dlib = package()
        if not options.weights.is_file():
            raise UserError(f"no weights at {options.weights}")
        try:
            self._network = dlib.face_recognition_model_v1(str(options.weights))
        except RuntimeError as error:
            raise UserError(f"{options.weights} is not dlib's recogniser: {str(error).splitlines()[0]}") from error

    def extract(self, crops: Crops) -> Mapping[str, NDArray[np.float32]]:
        """Return the embeddings of (b, 150, 150, 3) uint8 RGB crops.

        Returns:
            "feature": (b, 128) float32, not normalised; "norm": (b,) its length.

        Raises:
            UserError: crops of another size.
        """
        require_side(crops, SIDE, "dlib's recogniser")
        found = [self._network.compute_face_descriptor(np.ascontiguousarray(crop)) for crop in crops]
        return with_norm(np.array(found, np.float32))
