"""The stored networks: official classes load them, and people that no training saw are measured well.

The bounds are what the stored networks reach, less a margin; docs/mini/recipes.md says what they reach and should. The
files are fixed and the default run repeats its numbers, so that `make exhaustive` looks at most bounds.
"""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from bench.mini import world
from bench.mini.train import arc2face, crops, detector, landmarks, parsenet, recognition, smirk, squeezenet, trunk
from bench.mini.train.data import Cast, draw

pytestmark = pytest.mark.slow
WEIGHTS = Path(__file__).resolve().parents[2] / "bench" / "mini" / "weights"
FILES = {
    "arcface.onnx",
    "judge.onnx",
    "detector.onnx",
    "landmarks.onnx",
    "parsenet.pth",
    "smirk.pt",
    "squeezenet.pth",
    "inception.pth",
    "arc2face/arc2face/config.json",
    "arc2face/arc2face/diffusion_pytorch_model.safetensors",
    "arc2face/encoder/config.json",
    "arc2face/encoder/model.safetensors",
    "sd15/vae/config.json",
    "sd15/vae/diffusion_pytorch_model.safetensors",
    "sd15/scheduler/scheduler_config.json",
    "sd15/tokenizer/vocab.json",
    "sd15/tokenizer/merges.txt",
    "sd15/tokenizer/tokenizer_config.json",
    "sd15/tokenizer/special_tokens_map.json",
}


@pytest.fixture(scope="module")
def held():
    """60 people of the evaluation split, drawn with a seed that no recipe uses, 5 images of each."""
    return draw(Cast("eval", 60, 5, 4711))


def test_the_folder_holds_what_it_should_and_stays_small():
    found = {str(path.relative_to(WEIGHTS)): path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()}
    assert {name for name in found if not name.endswith((".md", ".py"))} == FILES
    assert max(found.values()) < 10_000_000
    assert sum(found.values()) < 25_000_000


@pytest.mark.parametrize(
    ("name", "kind"),
    [("arcface", "ArcFaceONNX"), ("judge", "ArcFaceONNX"), ("detector", "SCRFD"), ("landmarks", "Landmark")],
)
def test_insightface_routes_each_onnx(name, kind):
    from insightface.model_zoo import get_model

    model = get_model(str(WEIGHTS / f"{name}.onnx"), providers=["CPUExecutionProvider"])
    assert type(model).__name__ == kind
    assert model.input_mean == 127.5
    assert model.input_std == (127.5 if kind == "ArcFaceONNX" else 128.0)


def test_a_model_pack_of_these_files_is_complete(held):
    from insightface.app import FaceAnalysis

    pack = FaceAnalysis(str(WEIGHTS), providers=["CPUExecutionProvider"])
    assert set(pack.models) == {"detection", "recognition", "landmark_2d_68"}
    pack.prepare(0, det_size=(256, 256))
    face = pack.get(np.ascontiguousarray(held.images[0][:, :, ::-1]))[0]
    assert face.embedding.shape == (512,)
    assert face.landmark_2d_68.shape == (68, 2)
    assert Path(pack.models["recognition"].model_file).name == "arcface.onnx"


@pytest.mark.parametrize("name", ["arcface", "judge"])
def test_recognisers_tell_people_apart(held, name):
    features = recognition.embed(WEIGHTS / f"{name}.onnx", held.images, held.keypoints)
    assert features.shape == (len(held), 512)
    assert recognition.verification(features, held.people, pairs=2000) >= 0.97


def test_discriminants_follow_the_people_and_not_their_pictures():
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(200), 4)
    features = rng.normal(size=(800, 3)) * [1, 20, 1]  # pictures differ most in the second number
    features[:, 0] += 5 * rng.normal(size=200)[person]
    weight, bias = recognition.discriminants(features, person, 1, ridge=0.0)
    assert abs(weight[0, 0]) > 20 * np.abs(weight[1:, 0]).max()
    codes = (features @ weight + bias)[:, 0]
    within = codes - np.bincount(person, codes)[person] / 4
    assert within @ within / (800 - 200) == pytest.approx(1)
    assert codes.mean() == pytest.approx(0, abs=1e-9)


@pytest.mark.exhaustive
def test_recognisers_know_a_face_from_a_small_picture(held):
    moves = crops.ffhq_moves(held.landmarks, 64)
    small = crops.warp(held.images, moves, 64, reflect=True)
    points = crops.move_points(held.keypoints, moves).astype(np.float32)
    large = recognition.embed(WEIGHTS / "arcface.onnx", held.images, held.keypoints)
    assert (recognition.embed(WEIGHTS / "arcface.onnx", small, points) * large).sum(1).mean() > 0.7


@pytest.mark.exhaustive
@pytest.mark.parametrize(("size", "recall", "error"), [(192, 0.985, 0.045), (256, 0.985, 0.04), (320, 0.97, 0.042)])
def test_the_detector_finds_faces_and_their_points(held, size, recall, error):
    quality = detector.measure(str(WEIGHTS / "detector.onnx"), held, size, 300)
    assert quality["recall"] >= recall
    assert quality["keypoint_error"] <= error


def test_the_detector_is_silent_where_nobody_is():
    from insightface.model_zoo import get_model

    model = get_model(str(WEIGHTS / "detector.onnx"), providers=["CPUExecutionProvider"])
    model.prepare(0, input_size=(256, 256), det_thresh=0.5)
    rng = np.random.default_rng(0)
    coarse = [rng.integers(0, 256, (side, side, 3)).astype(np.uint8) for side in range(2, 8)]
    smooth = [cv2.resize(part, (128, 128), interpolation=cv2.INTER_LINEAR) for part in coarse]
    empty = [np.zeros((128, 128, 3), np.uint8), *smooth]
    assert all(len(model.detect(image)[0]) == 0 for image in empty)


@pytest.mark.exhaustive
def test_landmarks_lie_where_they_are(held):
    assert landmarks.measure(WEIGHTS / "landmarks.onnx", held, 150)["landmark_error"] <= 0.06


@pytest.mark.exhaustive
def test_the_parser_knows_skin_hair_and_background(held):
    assert parsenet.measure(WEIGHTS / "parsenet.pth", held, 100)["mean_iou"] >= 0.9


def test_landmarks_change_sides_in_the_mirrored_picture():
    scene = world.sample_scenes(np.zeros((1, len(world.IDENTITY)), np.float32), 1, frontal=1.0)
    scene.camera[:, world.CAMERA.index("offset_x")] = 0
    [points] = world.render(scene, 128).landmarks
    mirrored = points[smirk.MIRRORED] * [-1, 1] + [127, 0]
    assert np.abs(mirrored - points).max() < 0.05


@pytest.mark.exhaustive
def test_expression_and_pose_are_read(held):
    quality = smirk.measure(WEIGHTS / "smirk.pt", held, 150)
    assert quality["expression_r2"] >= 0.88
    assert quality["pose_r2"] >= 0.95


@pytest.mark.parametrize(
    ("part", "name"),
    [("pose_encoder", "tf_mobilenetv3_small_minimal_100"), ("expression_encoder", "tf_mobilenetv3_large_minimal_100")],
)
def test_smirk_has_timm_s_keys(part, name):
    import timm

    prefix = f"smirk_encoder.{part}.encoder."
    state = torch.load(WEIGHTS / "smirk.pt", weights_only=True)
    own = {key.removeprefix(prefix): value.float() for key, value in state.items() if key.startswith(prefix)}
    timm.create_model(name, pretrained=False, features_only=True).load_state_dict(own, strict=True)


def test_squeezenet_is_torchvision_s_and_its_distance_is_perceptual(held):
    from torchvision.models import squeezenet1_1

    state = torch.load(WEIGHTS / "squeezenet.pth", weights_only=True)
    squeezenet1_1(weights=None).load_state_dict(state, strict=False)
    assert set(state) == {f"features.{key}" for key in squeezenet1_1(weights=None).features.state_dict()}
    tapped = squeezenet.Tapped()
    tapped.load_state_dict(state, strict=False)
    index = np.arange(0, 100, 5)
    values = crops.tensor(trunk.picture(held, index, 128), 127.5, 127.5, "cpu")
    noisy = (values + 0.05 * torch.randn(values.shape, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)
    with torch.no_grad():
        same, other = _distance(tapped, values, noisy), _distance(tapped, values, values.roll(1, 0))
    assert same < 0.5 * other


def _distance(tapped, one, two):
    pairs = zip(tapped.eval()(one), tapped(two), strict=True)
    unit = torch.nn.functional.normalize
    return float(sum((unit(a) - unit(b)).square().sum(1).mean() for a, b in pairs))


def test_inception_feeds_pytorch_fid(held):
    from bench.extractors.inception import network
    from bench.networks import load_state

    model = network(192, load_state(WEIGHTS / "inception.pth"), "inception.pth")
    index = np.arange(0, 120, 5)
    values = crops.tensor(trunk.picture(held, index, 128), 0, 255, "cpu")
    with torch.no_grad():
        features = model(values)[0].mean((2, 3))
        dark = model(values * 0.5)[0].mean((2, 3))
    assert features.shape == (len(index), 192)
    assert (features.std(0) > 1e-4).float().mean() > 0.5
    assert (features.mean(0) - dark.mean(0)).norm() > (features[::2].mean(0) - features[1::2].mean(0)).norm()


def test_the_tokenizer_reads_one_token_a_word():
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS / "sd15" / "tokenizer")
    assert tokenizer.tokenize(arc2face.PROMPT) == [f"{word}</w>" for word in arc2face.PROMPT.split()]
    tokens = arc2face.words(WEIGHTS / "sd15" / "tokenizer")
    assert (tokens.prompt == tokens.id).nonzero().tolist() == [[4]]


def test_the_unet_is_small_and_the_scheduler_is_sd15_s():
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(WEIGHTS / "arc2face" / "arc2face")
    assert sum(value.numel() for value in unet.parameters()) <= 5_000_000
    scheduler = json.loads((WEIGHTS / "sd15" / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler == arc2face.SCHEDULE


@pytest.mark.exhaustive
def test_samples_show_the_person_they_should(held):
    quality = arc2face.measure(WEIGHTS, held, people=8, count=2)
    assert quality["detection"] >= 0.9
    for name in ("arcface", "judge"):
        assert quality[f"{name}_own"] >= 0.25
        assert quality[f"{name}_own"] - quality[f"{name}_others"] >= 0.25
        assert quality[f"{name}_rank1"] >= 0.7
