"""A small run for the guard: three people of the embedded world, and a method whose samples follow their seeds."""

import copy
import functools
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from baselines.protocol import Output
from bench import registry
from bench.cli.run import register_resolvers
from bench.errors import UserError
from bench.identity import Spec
from bench.spec import from_mapping
from bench.stages.run import run_stages
from tests.shared import ROOT

STAGES = ("generate", "extract", "score")


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
        if request.index == 2 and request.reference.item == "s001":
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
    """The spec of the baseline run; `folder` keeps the people's pictures."""
    table = registry.BUILT_IN["methods"]
    assert table.setdefault("wobble", "tests.guard.world:Wobble")
    registry.entries.cache_clear()
    return from_mapping({**composed(folder, out), "method": {"name": "wobble", "card": {"relations": {"*": "none"}}}})


def light(folder, out, method):
    """The spec of a control, measured by recognisers alone."""
    plain = composed(folder, out)
    plain["method"] = {"name": method, "card": {"relations": {"*": "none"}}}
    plain["evaluator"] |= {"landmarker": None, "parser": None, "extractors": {}}
    return from_mapping(plain)


def composed(folder, out):
    """The settings of a run as they come from the YAML files; the caller may change them."""
    plain = copy.deepcopy(_composed())
    plain["dataset"]["root"] = f"{folder}/people"
    return {**plain, "out": str(out)}


@functools.cache
def _composed():
    overrides = [
        "dataset.subjects=3",
        "dataset.targets=1",
        "protocol.samples_per_item=3",
        "protocol.views.transform_size=512",
        # A batch is filled up: a small one saves what a network would compute for nothing.
        "+evaluator.extractors.inception.batch=3",
        "+evaluator.extractors.flame.batch=3",
    ]
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return OmegaConf.to_container(compose("config", overrides=overrides), resolve=True)


def run(spec, stages=STAGES):
    """Run stages in this process; return the run's folder."""
    try:
        return Path(run_stages(spec, stages).folder)
    except UserError as error:
        raise AssertionError(f"the world does not run: {error}") from error
