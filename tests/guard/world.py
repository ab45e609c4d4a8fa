"""Small worlds for the guard: a dataset, networks that measure, and a method whose samples follow their seeds."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from onnx import TensorProto, helper, numpy_helper, save
from PIL import Image

from baselines.protocol import Output
from bench import registry
from bench.app import register_resolvers
from bench.errors import UserError
from bench.identity import Spec
from bench.images import read_image, write_png
from bench.resources import PACKAGE
from bench.spec import from_mapping
from bench.stages.run import run_stages
from tests import weights
from tests.shared import ROOT, SHARED

SIDE = 256
PEOPLE = ("lowe", "newton", "scarlett", "yangmi")
STAGES = ("generate", "extract", "score")
WORLD = "mini" if any((PACKAGE / "mini" / "weights").glob("*.onnx")) else "photos"
available = pytest.mark.skipif(
    WORLD == "photos" and not (SHARED / "photos").exists(), reason="neither the mini networks nor photos are here"
)


class Wobble:
    """The reference turned, moved, scaled and lit by its seed; the last sample of the second item is never made."""

    class Options(Spec):
        """None."""

    needs = frozenset({"image"})

    def __init__(self, options, runtime):
        self._made = 0

    def generate(self, requests):
        return [self._one(request) for request in requests]

    def _one(self, request):
        if request.index == 2 and request.reference.item.startswith(("newton", "s001")):
            return Output(error="this one fails, as some always do")
        return Output(image=wobbled(request.reference.image, np.random.default_rng(request.seed)))


def wobbled(image, rng):
    import cv2

    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-12, 12), rng.uniform(0.85, 1.1))
    matrix[:, 2] += rng.uniform(-0.04, 0.04, 2) * (width, height)
    moved = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return np.clip(moved * rng.uniform(0.7, 1.2, 3), 0, 255).astype(np.uint8)


def spec_of(folder, out):
    """The spec of the baseline run; `folder` holds what the world is made of."""
    table = registry.BUILT_IN["methods"]
    assert table.setdefault("wobble", "tests.guard.world:Wobble")
    registry.targets.cache_clear()
    plain = {**composed(folder, out), "method": {"name": "wobble", "card": {"relations": {"*": "none"}}}}
    plain["evaluator"] |= formula_networks(folder) if WORLD == "photos" else {}
    return from_mapping(plain)


def light(folder, out, method):
    """The spec of a control, measured by recognisers alone."""
    plain = composed(folder, out)
    plain["method"] = {"name": method, "card": {"relations": {"*": "none"}}}
    plain["evaluator"] |= {"landmarker": None, "parser": None, "extractors": {}}
    return from_mapping(plain)


def composed(folder, out):
    mini = ["dataset=mini", "evaluator=mini", "dataset.subjects=4", "dataset.targets=1"]
    photos = ["dataset=folder", "evaluator=photos"]
    overrides = [
        *(photos if WORLD == "photos" else mini),
        f"dataset.root={folder}/people",
        "protocol.samples_per_item=3",
        "protocol.views.transform_size=512",
        f"out={out}",
        f"hydra.searchpath=[file://{ROOT}/tests/conf]",
    ]
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return OmegaConf.to_container(compose("config", overrides=overrides), resolve=True)


def people(folder):
    """Two photos of each of four people, made small."""
    for name in PEOPLE:
        for photo in sorted((SHARED / "photos" / name).iterdir())[:2]:
            image = Image.fromarray(read_image(photo))
            image.thumbnail((SIDE, SIDE))
            write_png(np.asarray(image), folder / name / f"{photo.stem}.png", {})


def prepare(folder):
    if WORLD == "photos":
        people(folder / "people")
        networks(folder)


def networks(folder):
    """What the small real networks beside the project lack, with weights by a formula in the official layouts."""
    torch.save(weights.parsenet(), folder / "parsenet.pth")
    torch.save(weights.lpips_trunk("squeeze"), folder / "squeezenet.pth")
    torch.save(weights.smirk(), folder / "smirk.pt")
    torch.save(weights.inception(*weights.TRUNK_192), folder / "inception.pth")
    average_face(folder / "landmarks.onnx")


def formula_networks(folder):
    return {
        "landmarker": {"name": "insightface68", "weights": f"{folder}/landmarks.onnx"},
        "parser": {"name": "parsenet", "weights": f"{folder}/parsenet.pth", "size": 64},
        "extractors": {
            "lpips": {"name": "lpips", "net": "squeeze", "trunk": f"{folder}/squeezenet.pth"},
            "flame": {"name": "smirk", "weights": f"{folder}/smirk.pt"},
            "inception": {"name": "inception", "weights": f"{folder}/inception.pth", "dims": 192},
        },
    }


def average_face(path):
    """A landmark network that answers a mean face, shifted a little by what it sees."""
    nodes = [
        helper.make_node("AveragePool", ["image"], ["mean"], kernel_shape=[24, 24], strides=[24, 24]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["out"]),
    ]
    weight = np.random.default_rng(0).normal(0, 0.002, (192, 136)).astype(np.float32)
    tensors = [numpy_helper.from_array(a, n) for a, n in ((weight, "weight"), (mean_face().ravel(), "bias"))]
    ends = [
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s)]
        for n, s in (("image", ["n", 3, 192, 192]), ("out", ["n", 136]))
    ]
    graph = helper.make_graph(nodes, "average face", *ends, initializer=tensors)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6), path)


def mean_face():
    """(68, 2) float32 points in iBUG's order in the landmark crop, -1 to 1; the face's box is its middle two thirds."""
    turn = np.linspace(np.pi, 0, 17)
    contour = np.column_stack([0.55 * np.cos(turn), 0.62 * np.sin(turn)])
    brows = [np.column_stack([np.linspace(x, x + 0.3, 5), np.full(5, -0.28)]) for x in (-0.45, 0.15)]
    nose = np.vstack([[(0, y) for y in (-0.1, 0, 0.07, 0.13)], [(x, 0.2) for x in (-0.1, -0.05, 0, 0.05, 0.1)]])
    eyes = [ellipse(x, -0.12, 0.11, 0.04, 6) for x in (-0.25, 0.25)]
    mouth = [ellipse(0, 0.38, 0.2, 0.07, 12), ellipse(0, 0.38, 0.12, 0.03, 8)]
    return np.vstack([contour, *brows, nose, *eyes, *mouth]).astype(np.float32)


def ellipse(x, y, width, height, count):
    turn = np.pi + 2 * np.pi * np.arange(count) / count
    return np.column_stack([x + width * np.cos(turn), y + height * np.sin(turn)])


def run(spec, stages=STAGES):
    """Runs stages in this process; the run's folder."""
    try:
        return Path(run_stages(spec, stages).folder)
    except UserError as error:
        raise AssertionError(f"the world does not run: {error}") from error
