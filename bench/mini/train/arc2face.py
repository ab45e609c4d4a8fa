"""`arc2face/` and `sd15/`: encoder and UNet on the embeddings of `arcface.onnx`, a small tokenizer; official layout.

The encoder sees "photo of a id person" with the embedding of "id" replaced by the normalised face embedding, padded
with zeros to the hidden size, before the position embeddings are added; its last hidden state (after the final layer
norm) is what the UNet attends to. One caption in ten is the empty one: the unconditional branch of guidance.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.mini.train import crops, recognition, vae
from bench.mini.train.data import EVAL, TRAIN, Faces, faces
from bench.mini.train.export import halved
from bench.mini.train.loop import Course, Plan, fit

PROMPT = "photo of a id person"
LENGTH = 7
HIDDEN = 512
COURSE = Course(steps=20000, rate=1.2e-3, decay=1e-4, average=0.997)
BETAS = (0.00085, 0.012)
SCHEDULE = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    "beta_end": BETAS[1],
    "beta_schedule": "scaled_linear",
    "beta_start": BETAS[0],
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}
"""The scheduler of Stable Diffusion 1.5, but for the target, which is that of 2.1; it becomes DPM-Solver++.

From the noise (epsilon) alone, a short training learns little where the picture is nearly all noise, and there the
person is decided.
"""


class Arc2Face(nn.Module):
    """What reads embeddings (`Reading`) and the UNet, trained together."""

    def __init__(self, encoder: nn.Module, unet: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.unet = unet


@dataclass(frozen=True)
class Reading:
    """How a network reads embeddings.

    Attributes:
        make: builds the network.
        states: what the UNet attends to, (n, tokens, 512): of the network, (n, d) embeddings, and (n,) bool, where the
            unconditional branch is meant.
        write: saves the network into the folder of a model.
    """

    make: Callable[[], nn.Module]
    states: Callable[[Any, Tensor, Tensor], Tensor]
    write: Callable[[Any, Path], None]


def _pieces(word: str) -> list[str]:
    """Return the pieces that byte-pair encoding of a word makes, left to right; the last one is the whole word."""
    letters = [*word[:-1], word[-1] + "</w>"]
    grown = ["".join(letters[: k + 1]) for k in range(1, len(letters))]
    return [*letters, *grown]


def vocabulary() -> tuple[dict[str, int], list[str]]:
    """Return pieces with their numbers, and merges, of a CLIP tokenizer that knows letters and the words of the prompt.

    >>> pieces, merges = vocabulary()
    >>> pieces["photo</w>"] > 0, merges[:2]
    (True, ['p h', 'ph o'])
    """
    words = sorted(set(PROMPT.split()), key=PROMPT.split().index)
    alphabet = [chr(code) for code in range(33, 127)]
    pieces = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    merges = []
    for word in words:
        letters = [*word[:-1], word[-1] + "</w>"]
        for k in range(1, len(letters)):
            merges.append(f"{''.join(letters[:k])} {letters[k]}")
        pieces += [piece for piece in _pieces(word) if piece not in pieces]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    return {piece: number for number, piece in enumerate(pieces)}, merges


def write_tokenizer(folder: Path) -> None:
    """Save the tokenizer as SD1.5's is saved, for `CLIPTokenizer`; 7 tokens: the prompt between its two marks."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces, merges = vocabulary()
    (folder / "vocab.json").write_text(json.dumps(pieces))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    special = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    settings = {**special, "do_lower_case": True, "model_max_length": LENGTH, "tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")


@dataclass(frozen=True)
class Words:
    """The prompt and the empty prompt as (7,) token numbers, and the number of "id"."""

    prompt: Tensor
    empty: Tensor
    id: int


def words(folder: Path) -> Words:
    """Tokenise with the tokenizer in `folder`."""
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(folder)
    both = tokenizer(
        [PROMPT, ""], padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
    ).input_ids
    return Words(both[0], both[1], tokenizer.encode("id", add_special_tokens=False)[0])


def encoder(tokens: Words) -> nn.Module:
    """Return a text encoder of the official class with 1.7 M parameters."""
    from transformers import CLIPTextConfig, CLIPTextModel

    last = int(tokens.empty[-1])
    text = CLIPTextConfig(
        vocab_size=last + 1,
        hidden_size=HIDDEN,
        intermediate_size=HIDDEN,
        num_hidden_layers=1,
        num_attention_heads=8,
        max_position_embeddings=LENGTH,
        bos_token_id=last - 1,
        eos_token_id=last,
        pad_token_id=last,
    )
    return CLIPTextModel(text)


def build(reading: Reading, channels: tuple[int, int] = (64, 96)) -> Arc2Face:
    """Return what reads embeddings, and a UNet of the official class: with 3.3 M parameters, or with other channels."""
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=vae.SIZE // 8,
        in_channels=vae.LATENT,
        out_channels=vae.LATENT,
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        block_out_channels=channels,
        layers_per_block=1,
        cross_attention_dim=HIDDEN,
        attention_head_dim=[width // 32 for width in channels],
        norm_num_groups=16,
    )
    return Arc2Face(reading.make(), unet)


def condition(network: Any, tokens: Words, embeddings: Tensor, empty: Tensor) -> Tensor:
    """Return the last hidden states (n, 7, 512): of the prompt with each face for "id", or of "" where `empty`."""
    device = embeddings.device
    numbers = torch.where(empty[:, None], tokens.empty.to(device), tokens.prompt.to(device))
    inner = network.get_input_embeddings()
    padded = F.pad(F.normalize(embeddings), (0, HIDDEN - embeddings.shape[1]))
    seen = torch.where((numbers == tokens.id)[:, :, None], padded[:, None], inner.weight[numbers])
    hook = inner.register_forward_hook(lambda *_: seen)
    try:
        return network(input_ids=numbers).last_hidden_state
    finally:
        hook.remove()


@dataclass(frozen=True)
class Material:
    """What a step is drawn from: (N, 32, 8, 8) latents, (N, 512) embeddings, images of each person, usable rows."""

    latents: Tensor
    embeddings: Tensor
    scenes: int
    rows: np.ndarray


def inside(held: Faces, slack: float = 0.12) -> np.ndarray:
    """Return the rows whose FFHQ crop leaves the frame by at most `slack` of its side: little is mirrored there."""
    moves = crops.ffhq_moves(np.asarray(held.landmarks), 1)
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]) - 0.5
    points = np.einsum("nij,npj->npi", np.linalg.inv(moves[:, :, :2]), corners - moves[:, None, :, 2])
    room = slack * np.linalg.norm(points[:, 2] - points[:, 0], axis=1)[:, None, None]
    fits = (points >= -room) & (points <= held.images.shape[1] - 1 + room)
    return np.flatnonzero(fits.all((1, 2)))


def facing(held: Faces, yaw: float = 35.0, pitch: float = 20.0) -> np.ndarray:
    """Return the rows whose head is turned by at most so many degrees: portraits, as in Arc2Face's training data."""
    turned = np.abs(np.degrees(held.pose[:, :2]))
    return np.flatnonzero((turned <= [yaw, pitch]).all(1))


def material(plan: Plan) -> Material:
    """Return latents of all portraits with a plain background, and their embeddings by the exported recogniser.

    The world's backgrounds are the most various part of its images; drawing them well takes most of a small network's
    time and distinguishes nobody.
    """
    held = faces(TRAIN, plan.work)
    known_basis = vae.basis(vae.portraits(held, plan.work, TRAIN.name))
    images = vae.portraits(held, plan.work, TRAIN.name, plain=True)
    known = _kept(
        plan.work / "embeddings.npy", lambda: recognition.embed(plan.out / "arcface.onnx", held.images, held.keypoints)
    )
    coded = torch.from_numpy(vae.latents(images, known_basis))
    return Material(coded, torch.from_numpy(known), held.scenes, np.intersect1d(inside(held), facing(held)))


def _kept(path: Path, compute: Any) -> np.ndarray:
    if not path.exists():
        np.save(path.with_suffix(".part.npy"), compute())
        os.replace(path.with_suffix(".part.npy"), path)
    return np.load(path)


@dataclass(frozen=True)
class Size:
    """How large a network is, and its batches.

    Attributes:
        channels: of the two levels of the UNet, multiples of 32.
        batch: images in a step.
    """

    channels: tuple[int, int] = (64, 96)
    batch: int = 64


def train(stuff: Material, reading: Reading, plan: Plan, name: str = "arc2face", size: Size = Size()) -> Any:
    """Train encoder and UNet on the velocity (Salimans and Ho 2022), its error weighted by 1 / sqrt(1 + SNR).

    Args:
        stuff: the images.
        reading: what reads embeddings.
        plan: length, seed and folders.
        name: of the checkpoint.
        size: of the UNet and of a batch.
    """
    betas = torch.linspace(BETAS[0] ** 0.5, BETAS[1] ** 0.5, 1000, dtype=torch.float64) ** 2
    kept = torch.cumprod(1 - betas, 0).float().to(plan.device)
    weight = vae.centre(vae.SIZE // 8).to(plan.device)

    latents, embeddings = stuff.latents.to(plan.device), stuff.embeddings.to(plan.device)

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        rows = rng.choice(stuff.rows, size.batch)
        return rows, rows // stuff.scenes * stuff.scenes + rng.integers(0, stuff.scenes, size.batch)

    def loss(module: Any, drawn: Sequence[Tensor]) -> Tensor:
        rows, shown = (part.to(plan.device) for part in drawn)
        latent = latents[rows]
        time = torch.randint(0, 1000, (size.batch,), device=plan.device)
        noise, share = torch.randn_like(latent), kept[time][:, None, None, None]
        noisy = (share.sqrt() * latent + (1 - share).sqrt() * noise).contiguous(memory_format=torch.channels_last)
        velocity = share.sqrt() * noise - (1 - share).sqrt() * latent
        empty = torch.rand(size.batch, device=plan.device) < 0.1
        states = reading.states(module.encoder, embeddings[shown], empty)
        with _attention(plan.device):
            error = module.unet(noisy, time, states).sample.float() - velocity
        return ((weight * error.square()).mean((1, 2, 3)) * (1 - kept[time]).sqrt()).mean()

    def make() -> nn.Module:
        both = build(reading, size.channels)
        if plan.compiled:
            both.unet.compile()
        return both

    return fit(name, make, draw, loss, COURSE, plan)


def _attention(device: str) -> AbstractContextManager[None]:
    """Choose attention: on a CPU the fused kernel is several times slower on so few tokens than the plain formula."""
    return sdpa_kernel(SDPBackend.MATH) if device == "cpu" else nullcontext()


def by_encoder(tokens: Words) -> Reading:
    """Return the reading of Arc2Face: a text encoder that sees the embedding in place of a word."""
    return Reading(
        lambda: encoder(tokens),
        lambda network, embeddings, empty: condition(network, tokens, embeddings, empty),
        _write_encoder,
    )


def by_mlp() -> Reading:
    """Return the reading of the paper's ablation: an MLP of four layers, 1.8 M parameters, that gives four tokens."""
    from baselines import mlp_prompts

    def states(network: Any, embeddings: Tensor, empty: Tensor) -> Tensor:
        return mlp_prompts.tokens_of(network, embeddings * ~empty[:, None], HIDDEN)

    return Reading(lambda: mlp_prompts.mlp([HIDDEN] * 4 + [4 * HIDDEN], "gelu"), states, _write_mlp)


def _write_encoder(network: Any, model: Path) -> None:
    network.config.architectures = ["CLIPTextModel"]
    network.config.save_pretrained(model / "encoder")
    named = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in network.state_dict().items()}
    save(named, model / "encoder" / "model.safetensors")


def _write_mlp(network: Any, model: Path) -> None:
    from baselines import mlp_prompts

    save(network.state_dict(), model / mlp_prompts.FILE)


def write_model(module: Any, reading: Reading, model: Path) -> None:
    """Save the UNet and what reads embeddings in the layout of the official weights."""
    module.unet.save_config(model / "arc2face")
    save(module.unet.state_dict(), model / "arc2face" / "diffusion_pytorch_model.safetensors")
    reading.write(module.encoder, model)


def save(tensors: dict[str, Tensor], path: Path) -> None:
    """Save tensors in 16 bits."""
    from safetensors.torch import save_file

    save_file(halved(tensors), path, metadata={"format": "pt"})


def write_scheduler(folder: Path) -> None:
    """Save the scheduler with the values of SD1.5."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scheduler_config.json").write_text(json.dumps(SCHEDULE, indent=2) + "\n")


def samples(out: Path, embeddings: np.ndarray, count: int) -> np.ndarray:
    """Return samples (n, count, 64, 64, 3) uint8 RGB of (n, 512) embeddings by the project's adapter."""
    from baselines.arc2face import Arc2Face as Method
    from baselines.arc2face import Arc2FaceOptions
    from baselines.protocol import Reference, Request
    from bench.runtime import Runtime

    method = Method(Arc2FaceOptions(model=out / "arc2face", base=out / "sd15", batch=count), Runtime())
    made = []
    for number, row in enumerate(embeddings):
        known = Reference(str(number), str(number), embeddings={"arcface": row.astype(np.float32)})
        requests = [Request(known, k, 1000 * number + k, "photo of a person") for k in range(count)]
        made.append(np.stack([np.asarray(output.image) for output in method.generate(requests)]))
    return np.stack(made)


def measure(out: Path, held: Faces, people: int = 16, count: int = 5) -> dict[str, float]:
    """Return how often samples show a face, their similarity under each recogniser, and rank 1 among the people.

    Args:
        out: folder of all weights: detector and both recognisers are asked.
        held: unseen people; the most frontal image of each is the reference.
        people: how many of them.
        count: samples of each.
    """
    turned = np.abs(held.pose[:, :2]).sum(1)[: people * held.scenes].reshape(people, held.scenes)
    rows = np.arange(people) * held.scenes + turned.argmin(1)
    references = {
        name: recognition.embed(out / f"{name}.onnx", held.images[rows], held.keypoints[rows])
        for name in ("arcface", "judge")
        if (out / f"{name}.onnx").exists()
    }
    made = samples(out, references["arcface"], count)
    found, owner, points = _found(out / "detector.onnx", made)
    quality = {"detection": len(owner) / (people * count)}
    for name, known in references.items():
        scores = recognition.embed(out / f"{name}.onnx", found, points) @ known.T
        own = scores[np.arange(len(owner)), owner]
        others = (scores.sum(1) - own) / (people - 1)
        quality[f"{name}_own"], quality[f"{name}_others"] = float(own.mean()), float(others.mean())
        quality[f"{name}_rank1"] = float((scores.argmax(1) == owner).mean())
    return quality


def _found(detector: Path, made: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the samples with a face, the number of the person of each, and the key points of its largest face."""
    from insightface.model_zoo import get_model

    network = get_model(str(detector), providers=["CPUExecutionProvider"])
    network.prepare(0, input_size=(256, 256), det_thresh=0.5)
    images, owner, points = [], [], []
    for person, several in enumerate(made):
        for image in several:
            boxes, keypoints = network.detect(np.ascontiguousarray(image[:, :, ::-1]))
            if len(boxes):
                images.append(image)
                owner.append(person)
                points.append(keypoints[np.prod(boxes[:, 2:4] - boxes[:, :2], axis=1).argmax()])
    return np.array(images), np.array(owner, int), np.array(points, np.float32)


def run(plan: Plan) -> dict[str, float]:
    """Train and export it; return how like their references its samples are, for people that it never saw."""
    write_tokenizer(plan.out / "sd15" / "tokenizer")
    write_scheduler(plan.out / "sd15" / "scheduler")
    reading = by_encoder(words(plan.out / "sd15" / "tokenizer"))
    write_model(train(material(plan), reading, plan), reading, plan.out / "arc2face")
    return measure(plan.out, faces(EVAL, plan.work)) if (plan.out / "detector.onnx").exists() else {}
