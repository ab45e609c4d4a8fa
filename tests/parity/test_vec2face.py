"""Vec2Face against the official implementation (golden/generation, section 6)."""

import math

import numpy as np
import pytest
import torch

from baselines import vec2face
from baselines.protocol import Reference, Request
from baselines.vec2face import Sizes, Vec2Face, Vec2FaceOptions
from bench.conditions.kinds import Condition
from bench.errors import UserError
from bench.runtime import Runtime
from tests.parity import generation_formula as formula
from tests.parity import new_generation_models as models
from tests.shared import needs

pytestmark = [needs(formula.FOLDER / "vec2face.npz")]

TINY = models.VEC2FACE
RUNS = (0, 1)


@pytest.fixture(scope="module")
def gold():
    return formula.case("vec2face")


@pytest.fixture(scope="module")
def method(tmp_path_factory):
    return Vec2Face(Vec2FaceOptions(**models.write_vec2face(tmp_path_factory.mktemp("vec2face"))), Runtime())


def vectors(gold) -> torch.Tensor:
    return formula.given("embedding", int(gold["num_embeddings"]), 512, scale=gold["embedding_scale"])


def draw(gold, run) -> vec2face.Draw:
    count = int(gold["num_embeddings"])
    noise = (formula.values(f"input/mask_noise_{run}", count * 49).reshape(count, 49) + 1) / 2
    return vec2face.Draw(vectors(gold).numpy(), noise, np.full(count, float(gold[f"r{run}_mask_rate"])))


def test_sizes_are_read_off_the_file(method):
    assert method.sizes == TINY


def test_perturbation(gold):
    rows = formula.values("input/perturbation", 2 * 512).reshape(2, 512)
    start = vectors(gold)[0].numpy()
    moved = [vec2face.nearby(start, row, float(gold["perturbation_eps"])) for row in rows]
    formula.check(moved, gold["nearby"], 2e-5, "nearby")


@pytest.mark.parametrize("run", RUNS)
def test_masks(gold, run):
    given = draw(gold, run)
    masked, dropped = vec2face.places(given.noise, given.rates)
    np.testing.assert_array_equal(masked, gold[f"r{run}_mask"])
    np.testing.assert_array_equal(masked.sum(axis=1), gold[f"r{run}_masked_count"])
    assert (dropped.sum(axis=1) == 5).all()
    assert not (dropped & ~masked).any()


@pytest.mark.parametrize("run", RUNS)
def test_images(method, gold, run):
    given, name = draw(gold, run), f"r{run}_"
    places = [torch.from_numpy(m) for m in vec2face.places(given.noise, given.rates)]
    with torch.inference_mode():
        tokens = vec2face.spread(method.tensors, vectors(gold))
        encoded = vec2face.encode(method.tensors, vectors(gold), *places)
        logits = vec2face.decode(method.tensors, *encoded)
        images = method.images(given)
    formula.check(tokens[:, :6, ::8], gold[f"{name}tokens_slice"], 2e-5, "tokens")
    formula.check_stats(tokens, gold["tokens_stats"])
    np.testing.assert_array_equal(encoded[0].shape, gold[f"{name}latent_shape"])
    formula.check(encoded[0][:, :5, ::8], gold[f"{name}latent_slice"], 2e-5, "latent")
    formula.check(logits[:, :6, ::8], gold[f"{name}logits_slice"], 2e-5, "logits")
    formula.check(images[:, :, ::7, ::7], gold[f"{name}image_sampled"], 3e-4, "image")
    formula.check_stats(images, gold[f"{name}image_stats"])
    grey = vec2face.to_grey_levels(images.permute(0, 2, 3, 1).numpy())
    formula.check(grey[:, ::7, ::7], gold[f"{name}image_u8_sampled"], 1, "grey levels")


def test_official_sizes():
    shapes = vec2face.layout(Sizes()).values()
    assert len(vec2face.layout(Sizes())) + 1 == 349  # and position_ids, which training counts and nothing reads
    assert sum(math.prod(shape) for shape in shapes) == 174_126_998


def person(number: int) -> Reference:
    row = np.random.default_rng(number).normal(size=512).astype(np.float32)
    return Reference(f"i{number}", "s", embeddings={"vec2face_r100": row})


def test_whole_method(method):
    asked = [Request(person(k % 2), k, 10 + k, "") for k in range(6)]
    found = [output.image for output in method.generate(asked)]
    assert all(image.shape == (448, 448, 3) and image.dtype == np.uint8 for image in found)
    assert len({image.tobytes() for image in found}) == 6
    alone = method.generate([asked[3]])[0].image
    assert np.abs(alone.astype(int) - found[3].astype(int)).max() <= 1
    # Only the seed decides, not the index.
    same = method.generate([Request(person(1), 0, 13, "")])[0].image
    assert np.abs(same.astype(int) - found[3].astype(int)).max() <= 1


def test_several_references_are_averaged_and_a_condition_comes_first(method):
    one, other = person(1), person(2)
    mean = np.stack([one.embeddings["vec2face_r100"], other.embeddings["vec2face_r100"]]).mean(axis=0)
    many = Request(one, 0, 4, "", references=(one, other))
    averaged = Request(Reference("i", "s", embeddings={"vec2face_r100": mean}), 0, 4, "")
    given = Request(other, 0, 4, "", condition=Condition(embedding=mean))
    images = [output.image for output in method.generate([many, averaged, given])]
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[0], images[2])


def test_a_condition_of_another_length_is_refused(method):
    given = Request(person(1), 3, 4, "", condition=Condition(embedding=np.ones(128, np.float32)))
    with pytest.raises(UserError, match="item 'i1', sample 3: an embedding of 128 numbers"):
        method.generate([given])


def test_the_share_of_masked_tokens_keeps_its_bounds(method):
    rates = method.draw([Request(person(0), k, k, "") for k in range(200)]).rates
    assert 0.1 <= rates.min() < 0.15
    assert 0.6 < rates.max() <= 1.0


def test_what_is_not_finite_is_a_failed_sample(method):
    huge = Reference("i", "s", embeddings={"vec2face_r100": np.full(512, 3e38, np.float32)})
    bad, good = method.generate([Request(huge, 0, 0, ""), Request(person(1), 0, 0, "")])
    assert "not finite" in bad.error
    assert good.image is not None


@pytest.mark.parametrize(
    ("rows", "words"),
    [(np.ones(128, np.float32), "128 numbers"), (np.zeros(512, np.float32), "zero"), (None, "no e")],
)
def test_wrong_embeddings(method, rows, words):
    given = {} if rows is None else {"vec2face_r100": rows}
    with pytest.raises(UserError, match=words):
        method.generate([Request(Reference("i", "s", embeddings=given), 0, 0, "")])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("decoder_norm.bias"), "lacks 1 tensors"),
        (lambda t: t.update({"extra": torch.zeros(1)}), "'extra'"),
        (lambda t: t.update({"norm.bias": torch.zeros(3)}), "made for another base"),
        (lambda t: t["norm.bias"].fill_(float("nan")), "not finite"),
        (lambda t: t.pop("latent_prior_proj_f.weight"), "latent_prior_proj_f"),
    ],
)
def test_wrong_files(tmp_path, change, words):
    tensors = {key: torch.zeros(shape) for key, shape in vec2face.layout(TINY).items()}
    change(tensors)
    torch.save({"model_vec2face": tensors}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=words) as caught:
        Vec2Face(Vec2FaceOptions(checkpoint=tmp_path / "a.pth"), Runtime())
    assert "\n" not in str(caught.value)


def test_checkpoint_of_another_method(tmp_path):
    torch.save({"id_encoder": {}}, tmp_path / "a.pth")
    with pytest.raises(UserError, match="not Vec2Face's generator"):
        Vec2Face(Vec2FaceOptions(checkpoint=tmp_path / "a.pth"), Runtime())
    with pytest.raises(UserError, match="no weights"):
        Vec2Face(Vec2FaceOptions(checkpoint=tmp_path / "b.pth"), Runtime())
