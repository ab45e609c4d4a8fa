"""The reference editors on tiny pipelines: the size and guidance that are asked for, and what is refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from baselines.protocol import Reference, Request
from baselines.reference_edit import ReferenceEdit, ReferenceEditOptions, instruction
from bench.conditions.kinds import ConditionKind
from bench.errors import UserError
from bench.runtime import Runtime
from tests.baselines import tiny_edit
from tests.parity import end_to_end
from tests.parity import generation_formula as formula
from tests.parity import generation_models as models
from tests.shared import needs

pytestmark = [needs(formula.FOLDER / "pulid_flux.npz"), needs(models.VOCABULARY)]

MAKERS = {
    "flux2_klein": tiny_edit.klein,
    "flux_kontext": tiny_edit.kontext,
    "qwen_image_edit_plus": tiny_edit.qwen,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("edit")
    return {name: make(root / name) for name, make in MAKERS.items()}


@pytest.fixture(autouse=True)
def small_references(monkeypatch):
    tiny_edit.show_references_small(monkeypatch)


def make(folders, name, **more):
    given = {"pipeline": name, "model": folders[name], "steps": 2, "guidance_scale": 2.0, "width": 64, "height": 32}
    return ReferenceEdit(ReferenceEditOptions(**{**given, **more}), Runtime())


def passes(method):
    """Counts calls of the transformer."""
    calls = []
    method.pipeline.transformer.register_forward_pre_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize(("name", "a_step"), [("flux2_klein", 1), ("flux_kontext", 1), ("qwen_image_edit_plus", 2)])
def test_whole_method(folders, name, a_step):
    method = make(folders, name)
    people = [end_to_end.reference(person, "none") for person in (1, 2)]
    calls = passes(method)
    one, seed, other = (
        method.generate([request])[0].image
        for request in (
            Request(people[0], 0, 5, "photo of a person"),
            Request(people[0], 1, 6, "photo of a person"),
            Request(people[1], 0, 5, "photo of a person"),
        )
    )
    assert len(calls) == 3 * 2 * a_step
    assert one.shape == (32, 64, 3)
    assert one.dtype == np.uint8
    assert len({image.tobytes() for image in (one, seed, other)}) == 3
    both = method.generate(
        [Request(people[1], 0, 5, "photo of a person"), Request(people[0], 4, 5, "photo of a person")]
    )
    np.testing.assert_array_equal(both[1].image, one)


@pytest.mark.parametrize(("name", "several"), [("flux2_klein", 1), ("flux_kontext", 0), ("qwen_image_edit_plus", 1)])
def test_references_that_are_seen(folders, name, several):
    method = make(folders, name)
    assert (ConditionKind.REFERENCES in method.options.accepts) == several
    one, other = (end_to_end.reference(person, "none") for person in (1, 2))
    asked = [Request(one, 0, 5, "photo of a person")]
    if several:
        asked.append(replace(asked[0], references=(one, replace(other, photo="b.jpg"))))
    assert len({output.image.tobytes() for output in method.generate(asked)}) == len(asked)


def test_the_face_instead_of_the_photo(folders):
    method = make(folders, "flux_kontext", view="face")
    assert method.options.needs == {"image", "face"}
    seen, processor = [], method.pipeline.image_processor
    inner = processor.get_default_height_width
    processor.get_default_height_width = lambda image, *sides: seen.append(image.size) or inner(image, *sides)
    method.generate([Request(end_to_end.reference(1, "none"), 0, 5, "photo of a person")])
    assert seen[0] == (512, 512)


def test_layers_on_demand_change_nothing(folders):
    asked = [Request(end_to_end.reference(1, "none"), 0, 5, "photo of a person")]
    plain, offloaded = (
        make(folders, "flux_kontext", offload=offload).generate(asked)[0].image for offload in ("none", "sequential")
    )
    assert np.abs(plain.astype(int) - offloaded.astype(int)).max() <= 1


def test_an_undistilled_klein_makes_a_second_pass(tmp_path):
    folder = tiny_edit.klein(tmp_path / "klein", distilled=False)
    method = make({"flux2_klein": folder}, "flux2_klein")
    calls = passes(method)
    method.generate([Request(end_to_end.reference(1, "none"), 0, 5, "photo of a person")])
    assert len(calls) == 4


def test_instruction():
    assert instruction("photo of a person", "a person", "this person") == "photo of this person"
    assert instruction("a personal photo", "a person", "this person") == "a personal photo"


def test_references_without_an_image(folders):
    method = make(folders, "flux2_klein")
    calls = passes(method)
    fine = Request(end_to_end.reference(1, "none"), 0, 5, "photo of a person")
    with pytest.raises(UserError, match="'nobody' has no image"):
        method.generate([fine, Request(Reference("nobody", "s"), 0, 0, "photo of a person")])
    assert not calls


@pytest.fixture
def klein(folders, tmp_path):
    return {"flux2_klein": shutil.copytree(folders["flux2_klein"], tmp_path / "klein")}


def refused(folders, words):
    with pytest.raises(UserError, match=words) as caught:
        make(folders, "flux2_klein")
    assert "\n" not in str(caught.value)


def test_folder_of_another_pipeline(folders):
    refused({"flux2_klein": folders["flux_kontext"]}, "made for FluxKontextPipeline, not for Flux2KleinPipeline")


def test_missing_index(klein):
    (klein["flux2_klein"] / "model_index.json").unlink()
    refused(klein, "fetch method=flux2_klein")


@pytest.mark.parametrize("part", ["transformer", "text_encoder", "vae", "tokenizer"])
def test_missing_part(klein, part):
    shutil.rmtree(klein["flux2_klein"] / part)
    refused(klein, part)


@pytest.mark.parametrize(
    ("part", "file"),
    [("transformer", "diffusion_pytorch_model.safetensors"), ("text_encoder", "model.safetensors")],
)
def test_missing_tensor(klein, part, file):
    path = klein["flux2_klein"] / part / file
    state = load_file(path)
    state.pop(sorted(key for key in state if "norm" in key)[0])
    save_file(state, path, metadata={"format": "pt"})
    refused(klein, part)


def test_a_part_of_nowhere(klein):
    path = klein["flux2_klein"] / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "vae": ["os", "system"]}))
    refused(klein, "os.system")
