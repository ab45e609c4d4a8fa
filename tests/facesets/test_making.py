"""Making face sets: which images are tried, what becomes of them, and resuming."""

from functools import partial

import numpy as np
import pytest
from PIL import Image

from bench import resources
from bench.errors import UserError
from bench.faces.detection import Scrfd
from bench.faces.face import Face
from bench.faces.search import FaceOptions
from bench.facesets.making import Job, Made, SetOptions, cropped, finder, make, with_spares
from bench.facesets.store import FaceSet, Row, shard_file
from bench.mini import world
from bench.runtime import Runtime
from bench.spec import Execution, Part

DETECTOR = Part(
    name="scrfd",
    options=Scrfd.Options(weights=resources.PACKAGE / "mini/weights/detector.onnx", det_size=(256, 256)),
)


def attempt(bad, asked):
    def rows(places):
        asked.append(list(places))
        return (Row(i, k, status="no_face" if (i, k) in bad else "ok") for i, k in places)

    return rows


def test_spares_follow_failures():
    asked = []
    rows = list(with_spares({0: 3, 1: 2}, 2, attempt({(0, 1), (0, 3)}, asked)))
    assert asked == [[(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)], [(0, 3)], [(0, 4)]]
    assert sum(row.status == "ok" for row in rows if row.identity == 0) == 3


def test_spares_end():
    asked = []
    rows = list(with_spares({5: 2}, 1, attempt({(5, k) for k in range(9)}, asked)))
    assert asked == [[(5, 0), (5, 1)], [(5, 2)]]
    assert [row.index for row in rows] == [0, 1, 2]


def test_without_failures_there_is_no_spare():
    asked = []
    list(with_spares({0: 2, 1: 2}, 5, attempt(set(), asked)))
    assert len(asked) == 1


class Rendered:
    """Images of rendered people; every fourth image shows nobody, and one cannot be made."""

    def __init__(self, stop_at=None):
        self.stop_at = stop_at
        self.people = world.sample_identities(3, 6)

    def __call__(self, places):
        for identity, index in places:
            if identity == self.stop_at:
                raise KeyboardInterrupt
            scene = world.sample_scenes(self.people[identity][None], 10 * identity + index, frontal=0.8)
            image = world.render(scene, 96).images[0]
            if index % 4 == 1:
                yield Made(identity, index, np.zeros_like(image))
            elif (identity, index) == (2, 0):
                yield Made(identity, index, None, "out of paint")
            else:
                yield Made(identity, index, image, seed=7, vector="ab", cosine=0.5)


def job(folder, stop_at=None, workers=1, **options):
    settings = SetOptions(spares=3, shard=2, **options)
    execution = Execution(workers=workers)
    return Job(
        folder, [3] * 6, settings, DETECTOR, FaceOptions(), execution, partial(Rendered, stop_at), True, {"name": "toy"}
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(job(tmp_path_factory.mktemp("made") / "set"))


def test_every_identity_has_its_images(made):
    assert made.per_identity().tolist() == [3] * 6
    tried = made.tried()
    assert tried["status"].value_counts().to_dict() == {"ok": 18, "no_face": 6, "generation_error": 1}
    assert tried.loc[tried["status"] == "generation_error", "reason"].tolist() == ["out of paint"]
    good = tried[tried["status"] == "ok"]
    assert good["score"].min() > 0.5
    assert (good["seed"] == 7).all()
    assert (good["vector"] == "ab").all()


def test_crops_are_aligned(made):
    from bench.faces.align import ARCFACE

    find = finder(DETECTOR, FaceOptions(), Runtime())
    face = find(np.pad(made.image(0), ((56, 56), (56, 56), (0, 0))))[0]
    assert np.abs(face.keypoints - 56 - ARCFACE).max() < 8


def test_what_a_model_made_says_so(made):
    import io

    assert Image.open(io.BytesIO(made.encoded(0))).info["comment"] == b"AI-generated"


def test_killed_and_resumed_it_is_the_same_set(made, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        make(job(tmp_path / "set", stop_at=3))
    assert shard_file(tmp_path / "set", 0).exists()
    assert not shard_file(tmp_path / "set", 1).exists()
    (tmp_path / "set/shards/.tmp-1-00001.tar").write_bytes(b"half")
    again = make(job(tmp_path / "set"))
    assert again.record["content"] == made.record["content"]
    assert sorted(path.name for path in (tmp_path / "set/shards").iterdir()) == ["00000.tar", "00001.tar", "00002.tar"]


def test_whole_images_are_kept_on_request(tmp_path):
    faces = make(job(tmp_path / "set", keep_images=True, crops="png"))
    assert len(list((tmp_path / "set/images").rglob("*.png"))) == 24
    assert faces.encoded(0).startswith(b"\x89PNG")


def nobody(image):
    return []


def somebody(image):
    return [Face(np.zeros(4, np.float32), 0.9, np.zeros((5, 2), np.float32))]


@pytest.mark.parametrize(
    ("find", "image", "status"),
    [
        (nobody, np.zeros((8, 8, 3), np.uint8), "no_face"),
        (somebody, np.zeros((8, 8, 3), np.uint8), "no_crop"),
        (somebody, None, "generation_error"),
    ],
)
def test_failures_are_rows(find, image, status, tmp_path):
    row = cropped(find, SetOptions(), True, tmp_path, Made(1, 2, image, "why"))
    assert (row.identity, row.index, row.status, row.crop) == (1, 2, status, b"")
    assert row.reason


class Empty:
    def __call__(self, places):
        return (Made(i, k, np.zeros((64, 64, 3), np.uint8)) for i, k in places)


def test_a_set_without_any_face(tmp_path):
    blank = Job(tmp_path / "set", [2], SetOptions(spares=1), DETECTOR, FaceOptions(), Execution(), Empty, True, {})
    with pytest.raises(UserError, match=r"no image of .* shows a face: 3 no_face"):
        make(blank)
    with pytest.raises(UserError, match="shows a face"):
        make(blank)


@pytest.mark.exhaustive
def test_two_processes_make_the_same_set(made, tmp_path):
    again = make(job(tmp_path / "set", workers=2))
    assert again.record["content"] == made.record["content"]
    assert len(FaceSet(tmp_path / "set")) == 18
