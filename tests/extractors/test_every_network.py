"""What every network must do: RGB in the right range, strict loading, rows that do not see each other, no downloads."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import registry
from bench.errors import UserError
from bench.identity import Mark, identity, mark_of
from bench.runtime import Runtime
from bench.testing import extractor_contract
from bench.testing.parts import heavy_imports
from tests import weights

IMAGENET = ((1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225)
CLIP = ((1 - 0.48145466) / 0.26862954, -0.4578275 / 0.26130258, -0.40821073 / 0.27577711)
SYMMETRIC, UNIT = (1, -1, -1), (1, 0, 0)
FACENET, BLUE_FIRST = (127.5 / 128, -127.5 / 128, -127.5 / 128), (0, 0, 1)


@dataclass(frozen=True)
class Case:
    """One network: its registered group and name, its weights, and what a red pixel must be at its entrance."""

    group: str
    name: str
    write: Any
    red: tuple[float, float, float]
    side: int
    options: tuple[tuple[str, Any], ...] = ()
    folder: bool = False

    @property
    def id(self):
        return "-".join([self.name, *(str(value) for _, value in self.options)])


def saved(make):
    return lambda path: torch.save(make(), path)


def emoca():
    return {f"{name}.{key}": value for name in ("E_flame", "E_expression") for key, value in weights.deca(name).items()}


CASES = (
    Case("extractors", "lpips", saved(lambda: weights.lpips_trunk("alex")), IMAGENET, 64, (("net", "alex"),)),
    Case("extractors", "lpips", saved(lambda: weights.lpips_trunk("vgg")), IMAGENET, 64, (("net", "vgg"),)),
    Case("extractors", "lpips", saved(lambda: weights.lpips_trunk("squeeze")), IMAGENET, 64, (("net", "squeeze"),)),
    Case("extractors", "inception", saved(weights.inception), SYMMETRIC, 64),
    Case(
        "extractors", "inception", saved(lambda: weights.inception(*weights.TRUNK_192)), SYMMETRIC, 64, (("dims", 192),)
    ),
    Case("extractors", "deca", saved(lambda: {"E_flame": weights.deca("E_flame")}), UNIT, 224),
    Case("extractors", "emoca", saved(emoca), UNIT, 224),
    Case("extractors", "smirk", saved(weights.smirk), UNIT, 224),
    Case("extractors", "arcface_torch", saved(weights.iresnet50), SYMMETRIC, 112, (("network", "iresnet50"),)),
    Case("extractors", "dinov2", weights.dinov2, IMAGENET, 64, folder=True),
    Case("extractors", "clip", weights.clip, CLIP, 64, folder=True),
    Case("extractors", "facenet", saved(weights.facenet), FACENET, 160),
    Case("extractors", "magface", saved(weights.iresnet50), BLUE_FIRST, 112, (("network", "iresnet50"),)),
    Case("extractors", "crfiqa", saved(weights.crfiqa), SYMMETRIC, 112, (("network", "iresnet50"),)),
    Case("extractors", "edgeface", saved(weights.edgeface), SYMMETRIC, 112, (("network", "xxs"),)),
    Case("extractors", "cvlface_vit", saved(weights.cvlface_vit), SYMMETRIC, 112, (("network", "small"),)),
    Case("extractors", "sscd", saved(weights.sscd), IMAGENET, 64),
    Case("extractors", "sixdrepnet", saved(weights.sixdrepnet), IMAGENET, 224, (("network", "resnet50"),)),
    Case("parsers", "bisenet", saved(weights.bisenet), IMAGENET, 512),
    Case("parsers", "parsenet", saved(weights.parsenet), SYMMETRIC, 512, (("size", 64),)),
)


ALIKE = {"lpips-vgg", "lpips-alex", "inception-192", "emoca", "arcface_torch-iresnet50", "crfiqa-iresnet50"}
"""Another case of the list runs the same code."""


def often(case):
    """A case of the suite, or one that `make exhaustive` runs."""
    return pytest.param(case, id=case.id, marks=[pytest.mark.exhaustive] if case.id in ALIKE else [])


@pytest.fixture(scope="module", params=map(often, CASES))
def case(request):
    """One network at a time: all tests of a network run before the next is built, and it is freed then."""
    return request.param


@pytest.fixture(scope="module")
def file(case, tmp_path_factory):
    return written(case, tmp_path_factory.mktemp("weights") / case.id)


@pytest.fixture(scope="module")
def network(case, file):
    return built(case, file)


def written(case, path):
    path = path if case.folder else path.with_suffix(".pth")
    case.write(path)
    return path


def of(name):
    """The case of an id."""
    return next(case for case in CASES if case.id == name)


def built(case, path, **others):
    attribute = registry.get(case.group, case.name)
    key = "trunk" if case.name == "lpips" else "weights"
    return attribute(attribute.Options(**{key: path, **dict(case.options), **others}), Runtime())


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a network connection was tried")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def answer(network, crops):
    """One row of numbers per crop."""
    if hasattr(network, "distances"):
        network.batch = len(crops)
        return np.stack([np.concatenate([stage.flatten().numpy() for stage in row]) for row in network.features(crops)])
    if hasattr(network, "labels"):
        return network.labels(crops).reshape(len(crops), -1)
    return np.column_stack(list(network.extract(crops).values()))


def random_crops(case, count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, case.side, case.side, 3), dtype=np.uint8)


def test_a_red_pixel_enters_channel_0_in_the_official_range(case, network):
    red = np.zeros((1, case.side, case.side, 3), dtype=np.uint8)
    red[..., 0] = 255
    entered = entrances(network, red)
    assert entered
    for image in entered:
        assert image.shape[1] == 3
        np.testing.assert_allclose(image.amin((0, 2, 3)), case.red, rtol=0, atol=2e-6)
        np.testing.assert_allclose(image.amax((0, 2, 3)), case.red, rtol=0, atol=2e-6)


def entrances(network, crops):
    """What the convolutions that read three channels were given."""
    seen, hooks = [], []
    for part in [*vars(network).values()]:
        for module in part.modules() if isinstance(part, torch.nn.Module) else ():
            if isinstance(module, torch.nn.Conv2d) and module.in_channels == 3:
                hooks.append(module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone())))
    answer(network, crops)
    for hook in hooks:
        hook.remove()
    return seen


def test_swapped_colours_change_the_answer(case, network):
    crops = random_crops(case, 1)
    assert not np.array_equal(answer(network, crops), answer(network, crops[..., ::-1]))


PROMISES = (
    "declares_its_options", "declares_what_it_is", "answers_a_row_for_each_crop", "rows_do_not_see_each_other",
    "repeats_itself_and_leaves_crops_alone", "answers_a_distance_for_each_pair", "pairs_do_not_see_the_other_crops",
)  # fmt: skip
"""Of `bench.testing`; the others are tested for all networks at once, or more closely, below."""


def test_it_keeps_what_an_extractor_promises(case, file):
    if case.group != "extractors":
        pytest.skip("the contract is that of extractors")
    key = "trunk" if case.name == "lpips" else "weights"
    promises = extractor_contract(registry.get(case.group, case.name), {key: file, **dict(case.options)}, case.side)
    kept = [check() for name, check in promises.items() if name in PROMISES]
    assert len(kept) >= 4


def test_importing_networks_loads_no_heavy_package():
    groups = ("extractors", "detectors", "landmarkers", "parsers")
    modules = {target.partition(":")[0] for group in groups for target in registry.BUILT_IN[group].values()}
    assert heavy_imports(*sorted(modules)) == []


def test_a_row_of_labels_does_not_see_its_place_nor_its_neighbours(case, network):
    if case.group != "parsers":
        pytest.skip("the contract of extractors says the same")
    crops = random_crops(case, 3)
    first = answer(network, crops[:2])
    moved = answer(network, crops[[2, 0]])
    padded = answer(network, np.stack([crops[1], np.zeros_like(crops[1])]))
    np.testing.assert_array_equal(moved[1], first[0])
    np.testing.assert_array_equal(padded[0], first[1])


def test_doubles_are_refused(case, network):
    with pytest.raises(TypeError):
        answer(network, random_crops(case, 1) / np.float64(255))


@pytest.mark.parametrize("name", ["lpips-squeeze", "smirk", "parsenet-64"])
def test_half_precision_files_run_in_float32(name, tmp_path):
    case = of(name)
    whole = torch.load(written(case, tmp_path / name), weights_only=True)
    state = {key: value.half() for key, value in whole.items()}
    torch.save(state, tmp_path / "half.pth")
    torch.save({key: value.float() for key, value in state.items()}, tmp_path / "full.pth")
    half, full = built(case, tmp_path / "half.pth"), built(case, tmp_path / "full.pth")
    parts = [part for part in vars(half).values() if isinstance(part, torch.nn.Module)]
    assert {parameter.dtype for part in parts for parameter in part.parameters()} == {torch.float32}
    crops = random_crops(case, 1)
    np.testing.assert_array_equal(answer(half, crops), answer(full, crops))


FAULTS = {
    "missing": ("one key", "1 keys missing|is missing|holds 0 tensors"),
    "shape": ("another shape", "1 keys of another shape"),
    "foreign": ("another network", r"keys missing|is missing|no encoder|holds 0 tensors"),
    "absent": ("no file", r"no weights at|config\.json cannot be read"),
    "text": ("a web page", r"cannot be read as weights|config\.json cannot be read"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_file_is_named(case, fault, file, tmp_path):
    if case.folder and fault not in ("absent", "text"):
        pytest.skip("covered by test_transformers")
    path = tmp_path / "wrong.pth"
    spoil(file, path, fault)
    with pytest.raises(UserError, match=FAULTS[fault][1]) as caught:
        built(case, path)
    assert str(path) in str(caught.value)


def spoil(good, path, fault):
    if fault == "text":
        path.write_text("<html>sign in to download</html>")
    if fault == "foreign":
        torch.save({"layer.weight": torch.zeros(2, 2)}, path)
    if fault in ("missing", "shape"):
        state = torch.load(good, weights_only=True)
        flat = state.get("E_flame", state)
        key = [key for key in flat if key.endswith("weight") and not key.startswith("fc.")][-1]
        flat[key] = flat[key][:-1]
        if fault == "missing":
            del flat[key]
        torch.save(state, path)


def test_every_option_is_marked_and_the_batch_is_not_identity(case):
    options = registry.get(case.group, case.name).Options
    marks = {field: mark_of(options, field) for field in options.model_fields}
    assert marks["batch"] is Mark.RECORDED
    assert Mark.CONTENT in marks.values()


def test_the_identity_holds_the_bytes_not_the_path(tmp_path):
    options = registry.get("extractors", "smirk").Options
    paths = [Path(tmp_path / name) for name in ("here.pth", "elsewhere.pth", "other.pth")]
    for path, content in zip(paths, (b"one", b"one", b"two"), strict=True):
        path.write_bytes(content)
    here, elsewhere, other = paths
    assert identity(options(weights=here)) == identity(options(weights=elsewhere, batch=3))
    assert identity(options(weights=here)) != identity(options(weights=other))
