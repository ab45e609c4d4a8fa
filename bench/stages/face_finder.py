"""Detection and landmarks of each image: read where they are known, else found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.faces.face import Face
from bench.spec import RunSpec
from bench.stages.networks import Networks
from bench.stages.tables import KEYS, NOT_READ
from bench.store import Table


class FaceFinder:
    """Detection and landmarks: read where they are known, else found."""

    def __init__(
        self, networks: Networks, spec: RunSpec, faces: dict[int, dict[str, Any]], marks: dict[int, dict[str, Any]]
    ) -> None:
        self._networks, self._spec, self._known = networks, spec, (faces, marks)
        self._faces: list[dict[str, Any]] = []
        self._marks: list[dict[str, Any]] = []

    def find(self, row: pd.Series, image: NDArray[np.uint8] | str, marks: bool) -> tuple[dict[str, Any], Face | None]:
        """The row of the faces table, and the face (with landmarks if `marks`)."""
        found = self._known[0].get(int(row["row"])) or self._detect(row, image)
        self._faces.append(found)
        face = _face(found)
        if not marks:
            self._marks.append(_mark_row(found, NOT_READ))
            return found, face
        known = self._known[1].get(int(row["row"])) or self._landmarks(found, image, face)
        self._marks.append(known)
        if face is not None and known["landmarks"] is not None:
            points = np.asarray(known["landmarks"], np.float32).reshape(68, 2)
            face = Face(face.box, face.score, face.keypoints, points)
        return found, face

    def _detect(self, row: pd.Series, image: NDArray[np.uint8] | str) -> dict[str, Any]:
        if isinstance(image, str):
            undecodable = row["status"] == "ok"
            status, reason = ("undecodable", image) if undecodable else (row["status"], row["reason"])
            return _face_row(row, status, reason)
        detection = self._networks.part("detectors", self._spec.evaluator.detector).detect(image)
        if not detection.faces:
            return _face_row(row, "no_face", "no face found")
        return _face_row(row, "ok", "", detection.faces, detection.size)

    def _landmarks(self, found: dict[str, Any], image: NDArray[np.uint8] | str, face: Face | None) -> dict[str, Any]:
        assert self._spec.evaluator.landmarker is not None
        if face is None or isinstance(image, str):
            return _mark_row(found, found["status"])
        points = self._networks.part("landmarkers", self._spec.evaluator.landmarker).landmarks(image, [face])[0]
        good = bool(np.isfinite(points).all())
        return _mark_row(found, "ok", points) if good else _mark_row(found, "no_landmarks")

    def commit(self, shard: int, faces: Table, marks: Table | None) -> None:
        """Writes what was found in a shard's pictures, where it was not known."""
        for table, found in ((faces, self._faces), (marks, self._marks)):
            if table is not None and not table.has(shard):
                table.write(shard, pd.DataFrame(found))


def _mark_row(found: Mapping[str, Any], status: str, points: NDArray[Any] | None = None) -> dict[str, Any]:
    landmarks = None if points is None else np.asarray(points, np.float32).ravel()
    return {**{key: found[key] for key in KEYS}, "status": status, "landmarks": landmarks}


def _face_row(row: pd.Series, status: str, reason: str, faces: Sequence[Face] = (), size: int = 0) -> dict[str, Any]:
    largest = faces[0] if faces else None
    return {
        **{key: row[key] for key in KEYS},
        "status": status,
        "reason": reason,
        "n_faces": len(faces),
        "score": largest.score if largest else 0.0,
        "box": np.asarray(largest.box, np.float32) if largest else None,
        "keypoints": np.asarray(largest.keypoints, np.float32).ravel() if largest else None,
        "det_size": size,
    }


def _face(found: Mapping[str, Any]) -> Face | None:
    if found["status"] != "ok":
        return None
    keypoints = np.asarray(found["keypoints"], np.float32).reshape(5, 2)
    return Face(np.asarray(found["box"], np.float32), float(found["score"]), keypoints)
