"""Margin heads, the training step of IR-SE-50 and verification accuracy against the official implementations."""

import json

import numpy as np
import pytest

from bench.recognition.verification import distances, rates, tar_at_far, verify
from tests.parity.formula import parameter, timg, uniform
from tests.shared import GOLDEN, needs

FOLDER = GOLDEN / "studies"
pytestmark = needs(FOLDER)


def settings():
    return json.loads((GOLDEN / "set.json").read_text())


@pytest.fixture(scope="module")
def pairs():
    return np.load(FOLDER / "fr_verification.npz")


def views(golden, name):
    """Embeddings of both views of all images, (2, 2N, d) float32, and which pairs show one person."""
    genuine, impostor, folds, extra, width = golden[f"{name}_dims"]
    same = np.concatenate([np.r_[np.ones(genuine, bool), np.zeros(impostor, bool)]] * folds + [np.ones(extra, bool)])
    n = len(same)

    def draw(part, *shape):
        return uniform(settings()["salt"], f"study/{name}/{part}", int(np.prod(shape))).reshape(shape)

    a, b = (draw(part, n, width) + draw(f"{part}2", n, width) for part in "ab")
    mix = draw("mix", n)
    weight = np.where(same, 0.55 + 0.45 * mix, 0.12 * (1 + mix))[:, None]
    rows = np.stack([a, weight * a + (1 - weight) * b], 1).reshape(2 * n, width)
    norm = 20 + 8 * draw("norm", 2 * n)[:, None]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True) * norm
    both = rows + 0.35 * draw("view", 2, 2 * n, width) * norm / np.sqrt(width)
    return both.astype(np.float32), same


@pytest.mark.parametrize("name", ["cfp_fp", "lfw", "uneven"])
def test_verification(pairs, name):
    both, same = views(pairs, name)
    np.testing.assert_array_equal(same, pairs[f"{name}_issame"])
    np.testing.assert_array_equal(both[:, :4], pairs[f"{name}_first_rows"])
    folds = int(pairs[f"{name}_dims"][2])
    distance = distances(both.sum(0, np.float64))
    found = verify(distance, same, folds)
    np.testing.assert_array_equal(found.folds, pairs[f"{name}_fold_accuracy"])
    mean_std = pairs[f"{name}_accuracy_mean_std"]
    np.testing.assert_allclose([found.accuracy, found.deviation], mean_std, atol=1e-15)
    for expected, rate in zip(("tpr", "fpr"), rates(distance, same, folds), strict=True):
        np.testing.assert_allclose(rate, pairs[f"{name}_{expected}"], atol=1e-14)
    for far, threshold, tar, achieved in pairs[f"{name}_tar"]:
        at = tar_at_far(distance, same, float(far))
        np.testing.assert_allclose([at.threshold, at.tar, at.achieved], [threshold, tar, achieved], atol=1e-12)


@pytest.mark.parametrize("name", ["cfp_fp", "lfw", "uneven"])
def test_another_fusion_gives_other_numbers(pairs, name):
    both, same = views(pairs, name)
    folds = int(pairs[f"{name}_dims"][2])
    np.testing.assert_array_equal(verify(distances(both[0]), same, folds).folds, pairs[f"{name}_one_view_accuracy"])
    units = both / np.linalg.norm(both, axis=2, keepdims=True)
    found = verify(distances(units[0] + units[1]), same, folds).folds
    np.testing.assert_array_equal(found, pairs[f"{name}_unit_sum_accuracy"])


@pytest.fixture(scope="module")
def head():
    return np.load(GOLDEN / "metrics" / "adaface_head.npz")


def adaface(golden, momentum):
    import torch

    from bench.recognition.heads import AdaFaceHead

    found = AdaFaceHead(32, golden["kernel"].shape[1], momentum=momentum)
    found.kernel.data = torch.from_numpy(golden["kernel"])
    return found


def step(network, golden, batch):
    """Logits, loss and gradients of one batch."""
    import torch

    directions = torch.from_numpy(golden[f"{batch}_embeddings"]).requires_grad_()
    lengths, labels = (torch.from_numpy(golden[f"{batch}_{name}"]) for name in ("norms", "labels"))
    network.zero_grad()
    logits = network(directions, lengths[:, 0], labels)
    loss = torch.nn.functional.cross_entropy(logits, labels)
    loss.backward()
    return logits, loss, directions.grad


def compare(network, golden, batch):
    logits, loss, gradient = step(network, golden, batch)
    np.testing.assert_allclose(logits.detach(), golden[f"{batch}_scaled_logits"], atol=3e-5)
    assert loss.item() == pytest.approx(float(golden[f"{batch}_loss"]), abs=1e-5)
    np.testing.assert_allclose(network.mean, golden[f"{batch}_batch_mean_after"], rtol=1e-6)
    np.testing.assert_allclose(network.deviation, golden[f"{batch}_batch_std_after"], rtol=1e-6)
    np.testing.assert_allclose(gradient, golden[f"{batch}_grad_embeddings"], atol=2e-5)
    np.testing.assert_allclose(network.kernel.grad, golden[f"{batch}_grad_kernel"], atol=2e-5)


def test_adaface_head(head):
    network = adaface(head, 0.01)
    for batch in ("b0", "b1", "b2"):
        compare(network, head, batch)


def test_adaface_head_with_the_whole_batch_as_statistics(head):
    logits, loss, _ = step(adaface(head, 1.0), head, "a1")
    np.testing.assert_allclose(logits.detach(), head["a1_scaled_logits"], atol=3e-5)
    assert loss.item() == pytest.approx(float(head["a1_loss"]), abs=1e-5)


# Three SGD steps of the official IR-SE-50


@pytest.fixture(scope="module")
def official():
    return np.load(FOLDER / "fr_train_step.npz")


def trainee(golden, dtype):
    import torch

    from bench.extractors.backbones import build
    from bench.recognition.heads import AdaFaceHead
    from bench.recognition.network import Trainee

    with torch.device("meta"):
        backbone = build("ir_se_50")
    salt = settings()["salt"]
    values = {
        key: torch.from_numpy(
            parameter(salt, key, tuple(t.shape), key.endswith(("input_layer.2.weight", "layer.3.weight")))
        )
        if not key.endswith("num_batches_tracked")
        else torch.zeros((), dtype=torch.long)
        for key, t in backbone.state_dict().items()
    }
    backbone.load_state_dict(values, assign=True)
    classes = int(golden["classes"])
    head = AdaFaceHead(512, classes)
    kernel = uniform(salt, "head.kernel", 512 * classes).reshape(512, classes).astype(np.float32)
    head.kernel.data = torch.from_numpy(kernel)
    found = Trainee(backbone.requires_grad_(True), head).to(dtype)
    found.backbone.output_layer[1].p = 0.0
    return found.train()


def inputs(golden, step, dtype):
    import torch

    images = np.stack([timg(*arguments) for arguments in golden["image_args"][step]])
    bgr = torch.from_numpy(images[..., ::-1].transpose(0, 3, 1, 2).copy()).to(dtype)
    return (bgr / 255 - 0.5) / 0.5, torch.from_numpy(golden["labels"][step])


def checks(array):
    flat = np.asarray(array, np.float64).ravel()
    wave = np.cos(0.37 * np.arange(flat.size))
    return np.array([flat.sum(), np.abs(flat).sum(), (flat**2).sum(), (flat * wave).sum(), flat.min(), flat.max()])


def trained(golden, dtype):
    """Losses, logits and lengths of the three steps, the first gradients, and the trainee after them."""
    import torch

    from bench.recognition.network import optimiser

    found, seen, gradients = trainee(golden, dtype), [], {}
    sgd = optimiser(found, 0.1, 0.9, 5e-4)
    for step, rate in enumerate(golden["learning_rates"]):
        for group in sgd.param_groups:
            group["lr"] = float(rate)
        images, labels = inputs(golden, step, dtype)
        embeddings = found.backbone(images)
        logits = found.logits(embeddings, labels)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        sgd.zero_grad()
        loss.backward()
        gradients = gradients or {key: p.grad.clone() for key, p in found.named_parameters()}
        statistics = (found.head.mean.item(), found.head.deviation.item())
        seen.append((loss.item(), logits.detach().numpy(), embeddings.detach().norm(dim=1).numpy(), statistics))
        sgd.step()
    return found, seen, gradients


def fused(found, images):
    import torch

    found.eval()
    with torch.inference_mode():
        both = found.backbone(images) + found.backbone(images.flip(3))
    return (both / both.norm(dim=1, keepdim=True)).numpy()


def by_official_name(key):
    return key.removeprefix("backbone.")


def test_loss_in_single_precision(official):
    import torch

    found = trainee(official, torch.float32)
    images, labels = inputs(official, 0, torch.float32)
    with torch.no_grad():
        embeddings = found.backbone(images)
        logits = found.logits(embeddings, labels)
    loss = torch.nn.functional.cross_entropy(logits, labels).item()
    assert loss == pytest.approx(float(official["step0_loss"]), abs=5e-5)
    np.testing.assert_allclose(logits, official["step0_logits"], atol=1e-4)
    np.testing.assert_allclose(embeddings.norm(dim=1), official["step0_norms"], atol=5e-5)
    statistics = (found.head.mean.item(), found.head.deviation.item())
    np.testing.assert_allclose(statistics, official["step0_head_mean_std"], rtol=1e-4)


@pytest.mark.slow
def test_training_step_in_double_precision(official):
    import torch

    found, seen, gradients = trained(official, torch.float64)
    for step, (loss, logits, norms, statistics) in enumerate(seen):
        assert loss == pytest.approx(float(official[f"step{step}_loss"]), abs=1e-8)
        np.testing.assert_allclose(logits, official[f"step{step}_logits"], atol=1e-8)
        np.testing.assert_allclose(norms, official[f"step{step}_norms"], atol=1e-8)
        np.testing.assert_allclose(statistics, official[f"step{step}_head_mean_std"], atol=1e-8)
    named = {by_official_name(key): gradient for key, gradient in gradients.items()}
    for key, expected in zip(official["grad0_keys"], official["grad0_checks"], strict=True):
        np.testing.assert_allclose(checks(named[str(key)]), expected, rtol=1e-8, atol=1e-8, err_msg=str(key))
    np.testing.assert_allclose(named["head.kernel"], official["grad0_head_kernel"], atol=1e-8)
    state = {by_official_name(key): value for key, value in found.state_dict().items()}
    for key, expected in zip(official["after_keys"], official["after_checks"], strict=True):
        np.testing.assert_allclose(checks(state[str(key)]), expected, rtol=1e-8, atol=1e-8, err_msg=str(key))
    np.testing.assert_allclose(found.head.kernel.detach(), official["after_head_kernel"], atol=1e-8)
    images = inputs(official, 0, torch.float64)[0][:2]
    np.testing.assert_allclose(fused(found, images), official["after_eval_flip_fused"], atol=1e-8)
