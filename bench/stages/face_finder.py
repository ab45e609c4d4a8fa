"""Detection and landmarks of each image: read where they are known, else found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.faces.face import Face
from bench.faces.search import Detection, detect
from bench.spec import RunSpec
from bench.stages.networks import Networks
from bench.stages.tables import KEYS
from bench.status import SampleStatus, ViewStatus
from bench.store import ShardTable

Row = dict[str, Any]

NO_DETECTION = Detection([])


class FaceFinder:
    """The faces of a list of images, in the order in which they are asked for."""

    def __init__(
        self, networks: Networks, spec: RunSpec, faces: Mapping[int, Row], landmarks: Mapping[int, Row]
    ) -> None:
        """Keep what is known.

        Args:
            networks: of the spec's evaluator.
            spec: detector and landmark network.
            faces: by the image's row, the rows of the faces table that are known.
            landmarks: the same of the landmarks table.
        """
        self._networks = networks
        self._spec = spec
        self._known_faces = faces
        self._known_landmarks = landmarks
        self._faces: list[Row] = []
        self._landmarks: list[Row] = []

    def find(self, row: pd.Series, image: NDArray[np.uint8] | str, with_landmarks: bool) -> tuple[Row, Face | None]:
        """Return the image's row of the faces table, and its face.

        Args:
            row: of the image.
            image: (H, W, 3) uint8 RGB, or why it cannot be had.
            with_landmarks: whether the face gets its landmarks.
        """
        found = self._known_faces.get(int(row["row"])) or self._detect(row, image)
        self._faces.append(found)
        face = face_of_row(found) if found["status"] == SampleStatus.OK else None
        if not with_landmarks:
            self._landmarks.append(_landmarks_row(found, ViewStatus.NOT_READ))
            return found, face
        known = self._known_landmarks.get(int(row["row"])) or self._find_landmarks(found, image, face)
        self._landmarks.append(known)
        if face is not None and known["landmarks"] is not None:
            face = replace(face, landmarks=np.asarray(known["landmarks"], np.float32).reshape(68, 2))
        return found, face

    def _detect(self, row: pd.Series, image: NDArray[np.uint8] | str) -> Row:
        if isinstance(image, str) and row["status"] == SampleStatus.OK:
            return _face_row(row, SampleStatus.UNDECODABLE, image)
        if isinstance(image, str):
            return _face_row(row, row["status"], row["reason"])
        detector = self._networks.part("detectors", self._spec.evaluator.detector)
        detection = detect(detector, image, self._spec.protocol.faces)
        if not detection.faces:
            return _face_row(row, SampleStatus.NO_FACE, "no face found")
        return _face_row(row, SampleStatus.OK, "", detection)

    def _find_landmarks(self, found: Row, image: NDArray[np.uint8] | str, face: Face | None) -> Row:
        assert self._spec.evaluator.landmarker is not None
        if face is None or isinstance(image, str):
            return _landmarks_row(found, found["status"])
        points = self._networks.part("landmarkers", self._spec.evaluator.landmarker).landmarks(image, [face])[0]
        if not np.isfinite(points).all():
            return _landmarks_row(found, ViewStatus.NO_LANDMARKS)
        return _landmarks_row(found, ViewStatus.OK, points)

    def commit(self, shard: int, faces: ShardTable, landmarks: ShardTable | None) -> None:
        """Write what was found in a shard's images, where it was not known.

        Args:
            shard: number of the shard whose images were asked for.
            faces: the faces table.
            landmarks: the landmarks table; None where no image needed landmarks.
        """
        for table, found in ((faces, self._faces), (landmarks, self._landmarks)):
            if table is not None and not table.has(shard):
                table.write(shard, pd.DataFrame(found))


def face_of_row(row: Mapping[str, Any] | pd.Series) -> Face:
    """Return the face of a row of the faces table whose status is ok."""
    return Face(
        box=np.asarray(row["box"], np.float32),
        score=float(row["score"]),
        keypoints=np.asarray(row["keypoints"], np.float32).reshape(5, 2),
    )


def _landmarks_row(found: Row, status: str, points: NDArray[Any] | None = None) -> Row:
    landmarks = None if points is None else np.asarray(points, np.float32).ravel()
    return {**{key: found[key] for key in KEYS}, "status": str(status), "landmarks": landmarks}


def _face_row(row: pd.Series, status: str, reason: str, detection: Detection = NO_DETECTION) -> Row:
    meant = detection.faces[0] if detection.faces else None
    return {
        **{key: row[key] for key in KEYS},
        "status": str(status),
        "reason": reason,
        "n_faces": len(detection.faces),
        "score": meant.score if meant else 0.0,
        "box": np.asarray(meant.box, np.float32) if meant else None,
        "keypoints": np.asarray(meant.keypoints, np.float32).ravel() if meant else None,
        "roll": meant.roll if meant else float("nan"),
        "det_size": detection.scale.side if detection.scale else 0,
        "det_border": detection.scale.border if detection.scale else 0.0,
        "det_configured": detection.is_configured,
        "scales_read": detection.scales_read,
        "scales_agree": detection.scales_agree,
        "disagreement": detection.disagreement,
    }
