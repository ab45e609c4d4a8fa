from pathlib import Path

import numpy as np
import pytest

from bench.errors import UserError
from bench.mini import world
from bench.mini.world import EXPRESSION, IDENTITY, LABELS, Scene
from bench.mini.world.parameters import AMOUNTS

FROZEN = Path(__file__).with_name("world_frozen.npz")
SIZE = 256


def plain(n: int, **values: float | list[float]) -> Scene:
    """n average bald heads, straight and neutral, before the same background; `values` by parameter's name."""
    scene = world.sample_scenes(np.zeros((1, len(IDENTITY)), np.float32), 3, frontal=1).rows([0] * n)
    scene.camera[:] = [8, 0.7, 0, 0]
    scene.light[:] = [-0.4, 0.45, 0.8, 1, 1, 1, 0.4, 0.4, 0.4]
    for name, value in values.items():
        for names, array in ((IDENTITY, scene.identity), (EXPRESSION, scene.expression), (world.POSE, scene.pose)):
            if name in names:
                array[:, names.index(name)] = value
    return scene


def area(labels: np.ndarray, name: str) -> np.ndarray:
    return (labels == LABELS.index(name)).sum((1, 2))


def extent(labels: np.ndarray, *names: str) -> np.ndarray:
    """x1, y1, x2, y2 of the pixels with one of the labels."""
    y, x = np.nonzero(np.isin(labels, [LABELS.index(name) for name in names]))
    return np.array([x.min(), y.min(), x.max(), y.max()])


@pytest.fixture(scope="module")
def varied() -> tuple[Scene, world.Render]:
    scene = world.sample_scenes(world.sample_identities(1, 24), 2)
    return scene, world.render(scene, 96)


def test_same_arguments_same_bytes_whatever_the_batch(varied: tuple[Scene, world.Render]) -> None:
    _, first = varied
    again = world.render(world.sample_scenes(world.sample_identities(1, 24), 2).rows([20, 3]), 96)
    for field in ("images", "labels", "boxes", "keypoints", "landmarks"):
        np.testing.assert_array_equal(getattr(again, field), getattr(first, field)[[20, 3]])


def test_the_world_is_frozen() -> None:
    """The stored networks were trained on these pixels; another machine's arithmetic may move a few by a level."""
    frozen = np.load(FROZEN)
    scene = world.sample_scenes(world.sample_identities(5, 12), 9)
    now = world.render(scene, 64)
    np.testing.assert_allclose(scene.identity, frozen["identity"], atol=1e-6)
    np.testing.assert_allclose(now.landmarks, frozen["landmarks"], atol=1e-2)
    assert (np.abs(now.images.astype(int) - frozen["images"]) > 2).mean() < 1e-3
    assert (now.labels != frozen["labels"]).mean() < 1e-3


def test_shapes_types_and_ranges(varied: tuple[Scene, world.Render]) -> None:
    scene, result = varied
    assert result.images.shape == (24, 96, 96, 3)
    assert result.images.dtype == result.labels.dtype == np.uint8
    assert result.boxes.dtype == result.keypoints.dtype == result.landmarks.dtype == np.float32
    assert result.labels.max() < len(LABELS) == 19
    assert (np.abs(np.degrees(scene.pose)) <= [60.01, 30.01, 25.01]).all()
    assert result.boxes.min() >= 0
    assert result.boxes.max() <= 95
    for name in ("skin", "nose", "neck", "cloth", "background"):
        assert (area(result.labels, name) > 0).all(), name
    assert result.images.std((1, 2)).min() > 8


def test_no_head_to_render() -> None:
    nobody = world.render(world.sample_scenes(world.sample_identities(0, 0), 1), 32)
    assert nobody.images.shape == (0, 32, 32, 3)
    assert nobody.landmarks.shape == (0, 68, 2)


def test_identities_lie_in_their_ranges() -> None:
    drawn = world.sample_identities(0, 500)
    amounts = [k for k, name in enumerate(IDENTITY) if name in AMOUNTS]
    assert len(IDENTITY) >= 40
    assert len(EXPRESSION) >= 8
    assert drawn[:, amounts].min() >= 0
    assert np.abs(drawn).max() <= 1
    assert drawn.std(0).min() > 0.2


def test_parts_of_the_identity_space_are_disjoint_and_alike() -> None:
    train, held_out = world.sample_identities(7, 3000), world.sample_identities(7, 3000, "eval")
    assert (world.split_of(train) == 1).all()
    assert (world.split_of(held_out) == -1).all()
    nearest = min(np.linalg.norm(train - one, axis=1).min() for one in held_out[:300])
    assert nearest > 0.12
    assert np.abs(train.mean(0) - held_out.mean(0)).max() < 0.06
    np.testing.assert_array_equal(world.sample_identities(7, 10), train[:10])
    with pytest.raises(UserError, match="allowed are train and eval"):
        world.sample_identities(0, 1, "test")


@pytest.mark.parametrize("frontal", [-0.1, 1.1])
def test_frontal_outside_its_range(frontal: float) -> None:
    with pytest.raises(UserError, match="frontal"):
        world.sample_scenes(world.sample_identities(0, 1), 0, frontal=frontal)


def test_frontal_shrinks_pose_and_expression() -> None:
    wide, narrow = (world.sample_scenes(world.sample_identities(0, 50), 4, frontal=f) for f in (0.0, 0.75))
    np.testing.assert_allclose(narrow.pose, wide.pose / 4, rtol=1e-5)
    np.testing.assert_allclose(narrow.expression, wide.expression / 4, rtol=1e-5)
    np.testing.assert_array_equal(narrow.light, wide.light)


def test_a_pixel_size_that_cannot_be() -> None:
    with pytest.raises(UserError, match="at least 1"):
        world.render(plain(1), 0)


def test_landmarks_are_where_the_labels_are() -> None:
    angles = np.radians([0, 20, -20])
    scene = plain(3)
    scene.pose[:, 0] = angles
    scene.pose[:, 2] = [0, 0.2, -0.1]
    scene.identity[:] = world.sample_identities(3, 3)
    for name in ("glasses", "hair_amount", "moustache", "beard", "hair_fringe"):
        scene.identity[:, IDENTITY.index(name)] = 0
    result = world.render(scene, 512)
    groups = {("l_eye",): range(36, 42), ("r_eye",): range(42, 48), ("u_lip", "l_lip"): range(48, 60)}
    for names, points in groups.items():
        for k in range(3):
            marks = result.landmarks[k, list(points)]
            truth = np.concatenate([marks.min(0), marks.max(0)])
            assert np.abs(extent(result.labels[k], *names) - truth).max() < 2, (names, k)
    inside = result.landmarks.round().astype(int)
    for k in range(3):
        seen = result.labels[k][inside[k, :, 1], inside[k, :, 0]]
        assert (seen[[18, 19, 20]] == LABELS.index("l_brow")).all()
        assert (seen[[23, 24, 25]] == LABELS.index("r_brow")).all()
        assert (seen[[28, 29, 30, 33]] == LABELS.index("nose")).all()


def test_chin_and_cheeks_bound_the_bald_head() -> None:
    result = world.render(plain(1, ear_size=-1, ear_angle=-1), 512)
    x, y = result.landmarks[0, 8]
    column = result.labels[0][:, round(float(x))]
    assert abs(np.nonzero(column == LABELS.index("skin"))[0].max() - y) < 12
    row = result.labels[0][round(float(result.landmarks[0, 4, 1]))]
    skin = np.nonzero(row == LABELS.index("skin"))[0]
    np.testing.assert_allclose([skin.min(), skin.max()], result.landmarks[0, [4, 12], 0], atol=12)


def test_keypoints_agree_with_landmarks_and_box(varied: tuple[Scene, world.Render]) -> None:
    _, result = varied
    np.testing.assert_array_equal(result.keypoints[:, 2:], result.landmarks[:, [30, 48, 54]])
    low, high = result.boxes[:, None, :2], result.boxes[:, None, 2:]
    assert ((result.landmarks >= low) & (result.landmarks <= high)).all()
    still = world.render(plain(1), SIZE)
    middle = still.landmarks[0].reshape(-1, 2)
    eyes = np.stack([middle[36:42].mean(0), middle[42:48].mean(0)])
    np.testing.assert_allclose(still.keypoints[0, :2], eyes, atol=2.5)
    assert still.keypoints[0, 0, 0] < still.keypoints[0, 1, 0]


def test_signs_of_the_pose() -> None:
    scene = plain(4)
    scene.pose[1:] = np.diag(np.radians([30, 20, 20]))
    marks = world.render(scene, SIZE).keypoints
    eyes = marks[:, :2].mean(1)
    nose = marks[:, 2] - eyes
    assert nose[1, 0] > nose[0, 0] + 10  # yaw: to the viewer's right
    assert marks[2, 2, 1] > marks[0, 2, 1] + 5  # pitch: looks down
    assert marks[3, 1, 1] < marks[3, 0, 1] - 10  # roll: counterclockwise, the right eye rises


def test_the_pose_is_the_documented_rotation() -> None:
    from bench.mini.world.raster import turn

    points = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    pose = np.array([0.7, -0.3, 0.4], np.float32)
    turned = points.copy()
    turn(turned, pose, False)
    np.testing.assert_allclose(turned, points @ world.rotation(pose[None])[0].T, atol=1e-5)


def test_a_far_camera_sees_the_projection() -> None:
    scene = plain(2)
    scene.camera[:] = [[8, 0.6, 0.1, -0.05], [8, 0.3, 0.1, -0.05]]
    marks = world.render(scene, 200).landmarks
    centre = np.array([0.6, 0.45]) * 200 - 0.5
    np.testing.assert_allclose(marks[1] - centre, (marks[0] - centre) / 2, atol=1e-3)


def test_the_jaw_opens_the_mouth() -> None:
    result = world.render(plain(4, jaw_open=[0, 0.3, 0.6, 1]), SIZE)
    inside = area(result.labels, "mouth")
    assert inside[0] == 0
    assert (np.diff(inside) > 150).all()
    assert (np.diff(result.landmarks[:, 8, 1]) > 2).all()
    np.testing.assert_allclose(result.landmarks[3, 36:48], result.landmarks[0, 36:48], atol=0.01)


@pytest.mark.parametrize(("name", "closes", "stays"), [("left", "l_eye", "r_eye"), ("right", "r_eye", "l_eye")])
def test_eyes_close_one_at_a_time(name: str, closes: str, stays: str) -> None:
    result = world.render(plain(3, **{f"eye_close_{name}": [0, 0.5, 1]}), SIZE)
    assert area(result.labels, closes)[0] > 250
    assert (np.diff(area(result.labels, closes)) < -100).all()
    assert area(result.labels, closes)[2] == 0
    assert len(set(area(result.labels, stays))) == 1
    columns = np.nonzero(result.labels[0] == LABELS.index(closes))[1]
    assert (columns.mean() < SIZE / 2) == (name == "left")


def test_the_other_expressions_move_what_they_say() -> None:
    names = ["smile", "smile", "pucker", "pucker", "lips_part", "brow_raise", "brow_lower"]
    scene = plain(8)
    for k, name in enumerate(names):
        scene.expression[k + 1, EXPRESSION.index(name)] = -1 if k in (1, 3) else 1
    result = world.render(scene, SIZE)
    marks = result.landmarks
    corner = marks[:, [48, 54], 1].mean(1)
    width = marks[:, 54, 0] - marks[:, 48, 0]
    brow = marks[:, 17:27, 1].mean(1)
    assert corner[1] < corner[0] - 4 < corner[0] + 4 < corner[2]
    assert width[3] < width[0] - 8 < width[0] + 8 < width[4]
    assert area(result.labels, "mouth")[5] > 200
    assert brow[6] < brow[0] - 3
    assert brow[7] > brow[0] + 2


def test_gaze_moves_the_iris_and_nothing_else() -> None:
    result = world.render(plain(3, gaze_x=[-1, 0, 1], eye_light=-1, eye_hue=-1), SIZE)
    assert (result.labels == result.labels[0]).all()
    np.testing.assert_array_equal(result.landmarks[0], result.landmarks[2])
    dark = [
        np.nonzero((image.sum(-1) < 240) & (labels == LABELS.index("l_eye")))[1].mean()
        for image, labels in zip(result.images, result.labels, strict=True)
    ]
    assert dark[0] < dark[1] - 2 < dark[1] + 2 < dark[2]


def test_light_and_background_leave_the_person_alone() -> None:
    scene = world.sample_scenes(np.repeat(world.sample_identities(2, 1), 6, 0), 8)
    for array in (scene.expression, scene.pose, scene.camera):
        array[:] = array[0]
    result = world.render(scene, 96)
    assert (result.labels == result.labels[0]).all()
    assert (result.landmarks == result.landmarks[0]).all()
    assert len({image.tobytes() for image in result.images}) == 6


def test_each_identity_parameter_shows() -> None:
    """A parameter that moves no pixel would be a lie in the identity vector."""
    base = plain(1).identity[0]
    shown = {"hair_amount": 0.6, "hair_length": 0.1, "glasses": 1.0, "hair_curl": 0.3}
    for name, value in shown.items():
        base[IDENTITY.index(name)] = value
    scene = plain(1 + len(IDENTITY), yaw=0.35)
    scene.identity[:] = base
    for k, name in enumerate(IDENTITY):
        value = base[k]
        scene.identity[k + 1, k] = 0.0 if name in AMOUNTS and value > 0.5 else value + (0.7 if value <= 0.3 else -0.5)
    images = world.render(scene, 96, 1).images.astype(int)
    changed = (np.abs(images[1:] - images[0]).max(-1) > 2).sum((1, 2))
    assert changed.min() > 5, IDENTITY[int(changed.argmin())]


def test_labels_name_the_viewers_left_first() -> None:
    result = world.render(plain(1, glasses=1.0), SIZE)
    for left, right in (("l_brow", "r_brow"), ("l_ear", "r_ear")):
        assert extent(result.labels[0], left)[2] < SIZE / 2 < extent(result.labels[0], right)[0]
    assert area(result.labels, "eye_g")[0] > 1000
    assert area(result.labels, "l_eye")[0] == 0  # the lens covers the eye, as in CelebAMask-HQ
