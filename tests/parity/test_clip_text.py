"""CLIP's two halves and LAION's aesthetic head against the official code, on weights made by the formula."""

import gzip
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bench.errors import UserError
from bench.extractors.clip_text import ClipText, aesthetic, affine
from bench.faces.boxes import resize, whole
from bench.networks import pixels, standardise
from bench.runtime import Runtime
from tests.parity.judges import FOLDER, case, images, state, unit
from tests.parity.official import checks
from tests.shared import needs, vocabulary

VOCABULARY = vocabulary()
pytestmark = [needs(FOLDER / "clip_text.npz"), needs(VOCABULARY)]


@pytest.fixture(scope="module")
def golden():
    return case("clip_text")


@pytest.fixture(scope="module")
def network(golden, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    (folder / "config.json").write_text(str(golden["config"]))
    save_file(state(golden, "net") | {"logit_scale": torch.tensor(4.6)}, folder / "model.safetensors", {"format": "pt"})
    write_tokenizer(folder)
    return ClipText(ClipText.Options(weights=folder), Runtime())


def write_tokenizer(folder):
    """`vocab.json` and `merges.txt` of OpenAI's byte pairs, as they lie in the Hub's folders."""
    lines = gzip.decompress(VOCABULARY.read_bytes()).decode().splitlines()
    merges = lines[1 : 49152 - 256 - 2 + 1]
    codes = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(code) for code in codes] + [chr(256 + index) for index in range(256 - len(codes))]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(merge.split()) for merge in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))


def test_tokens(golden, network):
    """Up to the end of the text; what follows it is not read."""
    prompts = [str(prompt) for prompt in golden["prompts"]]
    ends = golden["token_ids"].argmax(1)
    for found, expected, end in zip(network.tokens(prompts), golden["token_ids"], ends, strict=True):
        assert found[: end + 1] == expected[: end + 1].tolist()


def test_prompts(golden, network):
    found = network.texts([str(prompt) for prompt in golden["prompts"]])
    np.testing.assert_allclose(found, golden["text_embedding"], atol=5e-5)


@pytest.fixture(scope="module")
def embeddings(golden, network):
    crops = np.stack([whole(image, 56, "bicubic") for image in images(golden)])
    entered = standardise(
        pixels(crops, "cpu"), *((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    )
    np.testing.assert_allclose([checks(image) for image in entered], golden["pixel_checks"], rtol=1e-5, atol=0.01)
    return network.extract(crops)["feature"]


def test_images(golden, network, embeddings):
    np.testing.assert_allclose(embeddings, golden["image_embedding"], atol=5e-5)
    squeezed = np.stack([resize(image, (56, 56), "bicubic") for image in images(golden)])
    np.testing.assert_allclose(network.extract(squeezed)["feature"], golden["stretched_image_embedding"], atol=5e-5)


def test_similarity(golden, network, embeddings):
    texts = network.texts([str(prompt) for prompt in golden["prompts"]])
    np.testing.assert_allclose(unit(embeddings) @ unit(texts).T, golden["similarity"], atol=5e-6)


def test_another_size_is_refused(network):
    with pytest.raises(UserError, match="56 x 56 pixels, not 224 x 224"):
        network.extract(np.zeros((1, 224, 224, 3), np.uint8))


@needs(FOLDER / "aesthetic.npz")
def test_aesthetic_head():
    golden = case("aesthetic")
    head = affine(state(golden, "v1", "v1."), "formula")
    np.testing.assert_allclose(head.weight, golden["v1_as_one_vector"], atol=2e-6)
    np.testing.assert_allclose(head.bias, golden["v1_as_one_bias"][0], atol=2e-6)
    np.testing.assert_allclose(aesthetic(golden["embedding768"], head), golden["v1_score"], atol=2e-6)
    assert np.abs(golden["v1_score"] - golden["wrong_relu_score"]).max() > 0.1


@needs(FOLDER / "aesthetic.npz")
def test_a_head_that_does_not_fit_is_named():
    tensors = state(case("aesthetic"), "v1", "v1.")
    without = {key: tensor for key, tensor in tensors.items() if not key.startswith("layers.4.")}
    with pytest.raises(UserError, match=r"head.pth: layers.6.weight reads 64 numbers, but 128 come before it"):
        affine(without, "head.pth")
    with pytest.raises(UserError, match="holds no layers"):
        affine({}, "head.pth")
