"""Fig. 3 and 9: runs of models that differ in one factor, and numbers that are stored with the project."""

import numpy as np
import pytest
import torch

from baselines import mlp_prompts
from bench.errors import UserError
from bench.mini import training

torch.manual_seed(0)


def written(folder, sizes, **more):
    from safetensors.torch import save_file

    network = mlp_prompts.mlp(sizes, "gelu")
    state = {
        f"net.{2 * place}.{name}": value
        for place, layer in enumerate(network[::2])
        for name, value in layer.state_dict().items()
    }
    save_file({**{name: value.contiguous() for name, value in state.items()}, **more}, folder / mlp_prompts.FILE)
    return network


def test_an_mlp_is_read_with_the_sizes_of_its_file(tmp_path):
    network = written(tmp_path, [6, 8, 10, 12, 8])
    prompts = mlp_prompts.load(tmp_path / mlp_prompts.FILE, 4, "gelu")
    rows = torch.randn(3, 6) * 5
    found = prompts.identities(rows)
    assert prompts.reads == 6
    assert found.shape == (3, 2, 4)
    unit = rows / rows.norm(dim=1, keepdim=True)
    assert torch.allclose(found, network(unit).reshape(3, 2, 4), atol=1e-6)
    # The length of an embedding says nothing; the unconditional prompt is that of zeros.
    assert torch.allclose(prompts.identities(rows * 2), found, atol=1e-6)
    assert torch.allclose(prompts.unconditional(), network(torch.zeros(1, 6)).reshape(1, 2, 4))


def test_layers_are_ordered_by_number_not_by_letter(tmp_path):
    sizes = [4] * 13
    network = written(tmp_path, sizes)
    prompts = mlp_prompts.load(tmp_path / mlp_prompts.FILE, 4, "gelu")
    row = torch.eye(1, 4)
    assert torch.allclose(prompts.identities(row)[0], network(row), atol=1e-6)


@pytest.mark.parametrize(
    ("sizes", "width", "more", "words"),
    [
        ([4, 6], 4, {}, "gives 6 numbers, no multiple of 4"),
        ([4, 4], 4, {"norm.weight": torch.ones(4)}, "is not an MLP"),
        (
            [4, 4],
            4,
            {"net.2.weight": torch.ones(4, 5), "net.2.bias": torch.ones(4)},
            "gives 4 numbers and the next one takes 5",
        ),
        ([4, 4], 4, {"net.2.weight": torch.full((4, 4), np.nan), "net.2.bias": torch.ones(4)}, "is not finite"),
    ],
)
def test_other_files_are_refused(tmp_path, sizes, width, more, words):
    written(tmp_path, sizes, **more)
    with pytest.raises(UserError, match=words):
        mlp_prompts.load(tmp_path / mlp_prompts.FILE, width, "gelu")


def test_a_model_says_how_it_was_trained(tmp_path):
    known = training.Training(
        people=100,
        images=100,
        projection="mlp",
        steps=7,
        batch=3,
        seed=0,
        device="cpu",
        threads=1,
        seconds=5,
        cpu_seconds=4,
    )
    training.write(tmp_path, known)
    assert training.read(tmp_path) == known
    with pytest.raises(UserError, match=r"training\.json cannot be read; `python -m bench\.mini\.train\.ablation`"):
        training.read(tmp_path / "nothing")
