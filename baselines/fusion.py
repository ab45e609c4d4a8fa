"""Small networks of identity adapters, as functions of the checkpoint's own tensors.

FastComposer (Xiao et al., 2023) merges the embedding of an object into the text token that names it; PhotoMaker (Li
et al., CVPR 2024) does the same with an embedding of a person; its second version reads patches with a perceiver.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.networks import group

if TYPE_CHECKING:
    import torch

Tensors = Mapping[str, "torch.Tensor"]


def pieces(prompt: str, noun: str, marker: str) -> list[str]:
    """Cut a prompt at its markers; without one, behind the last occurrence of the noun that names the person.

    Raises:
        UserError: neither marker nor noun is in it, or a marker follows nothing.

    >>> pieces("photo of a person, smiling", "person", "img")
    ['photo of a person', ', smiling']
    >>> pieces("a man img in imgur", "person", "img")
    ['a man ', ' in imgur']
    """
    found = re.split(rf"(?<!\w){re.escape(marker)}(?!\w)", prompt)
    if len(found) == 1:
        nouns = list(re.finditer(rf"\b{re.escape(noun)}\b", prompt))
        found = [prompt[: nouns[-1].end()], prompt[nouns[-1].end() :]] if nouns else [""]
    if not found[0].strip():
        raise UserError(
            f"the prompt {prompt!r} has no word {noun!r} (nor {marker!r} behind another) to put the person at"
        )
    return found


def tokens(tokenizer: Any, text: str) -> list[int]:
    """Return a text's ids without start and end."""
    return tokenizer(text, add_special_tokens=False).input_ids


def framed(tokenizer: Any, ids: Sequence[int]) -> torch.Tensor:
    """Return (1, 77) ids with start and end, cut (the end too, as the official code does) or padded."""
    import torch

    length = tokenizer.model_max_length
    row = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id][:length]
    return torch.tensor([row + [tokenizer.pad_token_id] * (length - len(row))])


def marked(tokenizer: Any, found: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the (1, 77) ids of pieces of text put together, and the mask of the last token of each but the last."""
    import torch

    ids: list[int] = []
    places = []
    for piece in found:
        ids += tokens(tokenizer, piece)
        # The place of the piece's last token, after the start token.
        places.append(len(ids))
    row = framed(tokenizer, ids)
    mask = torch.zeros_like(row, dtype=torch.bool)
    mask[:, [place for place in places[:-1] if place < row.shape[1]]] = True
    return row, mask


def linear(tensors: Tensors, name: str, x: torch.Tensor) -> torch.Tensor:
    """Return x W^T + b; b may be missing."""
    import torch

    return torch.nn.functional.linear(x, tensors[f"{name}.weight"], tensors.get(f"{name}.bias"))


def norm(tensors: Tensors, name: str, x: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    """Return the layer norm over the last axis."""
    import torch

    return torch.nn.functional.layer_norm(x, x.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"], eps)


def mlp(tensors: Tensors, names: tuple[str, str, str], x: torch.Tensor) -> torch.Tensor:
    """Apply layer norm, linear, exact GELU, linear: the names of the three."""
    import torch

    hidden = linear(tensors, names[1], norm(tensors, names[0], x))
    return linear(tensors, names[2], torch.nn.functional.gelu(hidden))


def fuse(tensors: Tensors, text: torch.Tensor, objects: torch.Tensor) -> torch.Tensor:
    """Return text tokens (k, d) with the embeddings (k, d) of what they name merged into them."""
    import torch

    both = torch.cat([text, objects], dim=-1)
    first = mlp(tensors, ("mlp1.layernorm", "mlp1.fc1", "mlp1.fc2"), both) + text
    second = mlp(tensors, ("mlp2.layernorm", "mlp2.fc1", "mlp2.fc2"), first) + first
    return norm(tensors, "layer_norm", second)


def put(text: torch.Tensor, mask: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return a copy of (..., tokens, d) with `rows` at the places of the boolean (..., tokens) mask, in order."""
    import torch

    return text.masked_scatter(mask[..., None].expand_as(text), rows.to(text.dtype)) if torch.any(mask) else text


def perceiver(tensors: Tensors, tokens: torch.Tensor, features: torch.Tensor, head_width: int) -> torch.Tensor:
    """Return tokens (n, k, d) that attended to features (n, m, c) and themselves, layer by layer."""
    features = linear(tensors, "proj_in", features)
    layer = 0
    while f"layers.{layer}.0.to_q.weight" in tensors:
        tokens = perceived(group(tensors, f"layers.{layer}."), tokens, features, head_width)
        layer += 1
    return norm(tensors, "norm_out", linear(tensors, "proj_out", tokens))


def perceived(tensors: Tensors, tokens: torch.Tensor, features: torch.Tensor, head_width: int) -> torch.Tensor:
    """Return tokens (n, k, d) after one layer of a perceiver: attention to features (n, m, d) and themselves, MLP."""
    import torch

    layer = group(tensors, "0.")
    own = norm(layer, "norm2", tokens)
    seen = torch.cat([norm(layer, "norm1", features), own], dim=1)
    tokens = tokens + attend(layer, own, seen, head_width)
    return tokens + mlp(tensors, ("1.0", "1.1", "1.3"), tokens)


def cross(
    tensors: Tensors, image: torch.Tensor, tokens: torch.Tensor, head_width: int, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Return what image tokens (n, p, d) read from identity tokens (n, k, c), both normed first: (n, p, d).

    Args:
        tensors: norm1 (of the identity tokens), norm2 (of the image tokens), to_q, to_kv, to_out.
        image: the image tokens of a transformer's block.
        tokens: the identity tokens.
        head_width: width of an attention head.
        mask: (p, k) boolean, which identity token an image token sees; one that sees none reads 0. None: all.
    """
    query, seen = norm(tensors, "norm2", image), norm(tensors, "norm1", tokens)
    if mask is None:
        return attend(tensors, query, seen, head_width)
    sees = mask.any(dim=-1, keepdim=True)
    # A row without any key has no softmax: it sees all, and is then dropped.
    return attend(tensors, query, seen, head_width, mask | ~sees) * sees


def attend(
    tensors: Tensors, query: torch.Tensor, seen: torch.Tensor, head_width: int, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the attention of (n, p, d) to (n, k, c) by to_q, to_kv and to_out; `mask` (p, k): what is seen."""
    import torch

    keys, values = linear(tensors, "to_kv", seen).chunk(2, dim=-1)
    heads = [
        rows.unflatten(-1, (-1, head_width)).transpose(1, 2) for rows in (linear(tensors, "to_q", query), keys, values)
    ]
    found = torch.nn.functional.scaled_dot_product_attention(heads[0], heads[1], heads[2], attn_mask=mask)
    return linear(tensors, "to_out", found.transpose(1, 2).flatten(2))


def affine(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a layer with weight and bias.

    >>> affine("proj", 3, 2)
    {'proj.weight': (3, 2), 'proj.bias': (3,)}
    """
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def cross_layout(name: str, tokens: int, image: int, inner: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what `cross` reads, for identity tokens, image tokens and attention of these widths."""
    return {
        **affine(f"{name}.norm1", tokens),
        **affine(f"{name}.norm2", image),
        f"{name}.to_q.weight": (inner, image),
        f"{name}.to_kv.weight": (2 * inner, tokens),
        f"{name}.to_out.weight": (image, inner),
    }


def perceived_layout(name: str, width: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what `perceived` reads."""
    return {
        **cross_layout(f"{name}.0", width, width, width),
        **affine(f"{name}.1.0", width),
        f"{name}.1.1.weight": (4 * width, width),
        f"{name}.1.3.weight": (width, 4 * width),
    }


def perceiver_layout(prefix: str, features: int, width: int, out: int, layers: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what `perceiver` reads: of features, of its own width, and of what it gives."""
    shapes = {
        **affine(f"{prefix}proj_in", width, features),
        **affine(f"{prefix}proj_out", out, width),
        **affine(f"{prefix}norm_out", out),
    }
    for layer in range(layers):
        shapes |= perceived_layout(f"{prefix}layers.{layer}", width)
    return shapes


def fuser_layout(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what `fuse` reads, for text tokens of this width."""
    shapes = affine(f"{prefix}layer_norm", width)
    for name, given in (("mlp1", 2 * width), ("mlp2", width)):
        shapes |= affine(f"{prefix}{name}.layernorm", given)
        shapes |= affine(f"{prefix}{name}.fc1", width, given) | affine(f"{prefix}{name}.fc2", width, width)
    return shapes
